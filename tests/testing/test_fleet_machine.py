"""Machines of a simulated fleet and their shard owners, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from gateway_proto import Dial
from gateway_proto.events import DialPurpose
from gateway_proto.fleet import LogHead, LogRecord, ReferenceStore
from gateway_proto.testing import FleetSimulation, FleetSimulationConfig, InvariantViolation
from gateway_proto.testing.simulation.fleet.generation_member import GenerationMember
from gateway_proto.testing.simulation.fleet.invariants import NoNeedlessIdentify
from gateway_proto.testing.simulation.fleet.machine import MachineProcess
from gateway_proto.testing.simulation.fleet.observer import LogId
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner
from gateway_proto.testing.simulation.fleet.store import StoreClient

LOG = LogId("g1", 0)
ALONE = FleetSimulationConfig(machines=1, shards=1, fault_interval=None, loss=0.0)


def _owner(simulation: FleetSimulation, shard: int = 0) -> ShardOwner:
    """The owner of a shard, as soon as there is one."""
    for _ in range(600):
        simulation.run(0.1)
        process = simulation.machines[0].process
        for owner in [] if process is None else process.owners:
            if owner.shard == shard:
                return owner
    raise AssertionError("the shard has no owner")


def _process(simulation: FleetSimulation) -> MachineProcess:
    process = simulation.machines[0].process
    assert process is not None
    return process


def _stale_dial() -> Dial:
    host = "g0.api.sim.example"
    return Dial(
        host=host, port=443, tls=True, at=0.0, url=f"wss://{host}/", purpose=DialPurpose.IDENTIFY
    )


def test_claim_that_is_refused_three_times_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def append(self: ReferenceStore, shard: int, after: object, record: object) -> None:
        attempts.append(record)

    monkeypatch.setattr(ReferenceStore, "append", append)
    simulation = FleetSimulation(1, ALONE)

    simulation.run(30.0)

    process = simulation.machines[0].process
    assert process is not None
    assert not process.owners
    assert len(attempts) > 3
    assert attempts[0] == attempts[2] != attempts[3]


def test_claim_without_an_answer_is_looked_up_in_the_head() -> None:
    for seed in range(10):
        simulation = FleetSimulation(seed, attrs.evolve(ALONE, loss=0.1))

        owner = _owner(simulation)

        claims = [one for _, one in simulation.fleet.store.scope("g1").records(0, 0) if one.claim]
        assert owner.claim in [claim.id for claim in claims]


def test_slot_of_a_lost_connection_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    grants: list[Callable[[float], bool]] = []
    monkeypatch.setattr(
        GenerationMember, "join_slots", lambda self, shard, grant: grants.append(grant)
    )
    simulation = FleetSimulation(1, ALONE)
    owner = _owner(simulation)
    simulation.run(5.0)
    (grant,) = grants
    assert owner.end is not None

    owner.end.wire.cut()
    simulation.run(1.0)

    assert grant(simulation.now) is False
    assert simulation.report.identifies == 0


def test_slot_is_not_used_if_another_owner_has_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    grants: list[Callable[[float], bool]] = []
    monkeypatch.setattr(
        GenerationMember, "join_slots", lambda self, shard, grant: grants.append(grant)
    )
    simulation = FleetSimulation(1, ALONE)
    owner = _owner(simulation)
    simulation.run(5.0)

    simulation.fleet.store.rewind(LOG, 1)
    assert grants[-1](simulation.now) is True
    simulation.run(1.0)

    assert owner.is_over
    assert simulation.report.identifies == 0


def test_slot_that_is_checked_too_late_is_asked_for_again() -> None:
    simulation = FleetSimulation(1, attrs.evolve(ALONE, store_latency=0.4))

    simulation.run(60.0)

    assert simulation.report.identifies <= 1


def test_frozen_process_is_thawed_by_its_last_freeze() -> None:
    simulation = FleetSimulation(1, ALONE)
    _owner(simulation)
    process = _process(simulation)

    process.freeze(5.0, clock_stands=False)
    simulation.run(1.0)
    process.thaw()
    process.thaw()
    process.freeze(10.0, clock_stands=True)
    simulation.run(5.0)
    assert process.frozen
    simulation.run(6.0)

    assert not process.frozen
    assert process.clock_lag == pytest.approx(10.0)


@pytest.mark.parametrize("silent", [True, False])
def test_crash_closes_connections_unless_it_is_silent(silent: bool) -> None:
    simulation = FleetSimulation(1, ALONE)
    owner = _owner(simulation)
    simulation.run(10.0)
    assert owner.is_ready
    server = simulation.fleet.network.servers[0].server

    simulation.machines[0].crash(silent=silent, seconds=100.0)
    simulation.run(1.0)

    assert len(server.connections) == silent
    assert simulation.machines[0].process is None


def test_server_knows_which_sessions_can_be_resumed() -> None:
    simulation = FleetSimulation(1, ALONE)
    _owner(simulation)
    simulation.run(10.0)
    session = simulation.fleet.head(LOG).session
    assert session is not None

    assert simulation.fleet.can_resume(session)
    simulation.chaos.inject("expire")
    assert not simulation.fleet.can_resume(session)


def test_identify_while_a_session_can_be_resumed_is_needless() -> None:
    simulation = FleetSimulation(1, ALONE)
    owner = _owner(simulation)
    simulation.run(10.0)

    with pytest.raises(InvariantViolation, match="identifies, but could resume"):
        simulation.observer.identified(owner)


def test_identify_that_was_lost_does_not_make_the_next_needless() -> None:
    simulation = FleetSimulation(1, ALONE)
    owner = _owner(simulation)
    invariant = NoNeedlessIdentify(simulation.observer, simulation.fleet)

    invariant.identified(owner)
    invariant.connection_lost(owner)
    invariant.released(owner)
    invariant.identified(owner)
    invariant.released(owner)

    with pytest.raises(InvariantViolation, match="did not wait for READY"):
        invariant.identified(owner)


def test_failure_of_a_replaced_dial_is_ignored() -> None:
    owner = _owner(FleetSimulation(1, ALONE))
    expected = owner.client.next_dial()

    owner.dial_failed(_stale_dial(), "refused")

    assert owner.client.next_dial() is expected


def test_append_refused_at_an_unchanged_head_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = FleetSimulation(1, attrs.evolve(ALONE, dispatch_interval=1000.0))
    owner = _owner(simulation)
    simulation.run(10.0)
    sent: list[tuple[LogRecord, Callable[[int | None], None]]] = []

    def append(
        self: StoreClient, shard: int, after: LogHead, record: LogRecord, *answers: Any
    ) -> None:
        sent.append((record, answers[0]))

    monkeypatch.setattr(StoreClient, "append", append)
    owner.enter()
    record, refuse = sent[0]

    refuse(None)
    simulation.run(1.0)

    assert [one for one, _ in sent] == [record, record]
    assert owner.stage is None


def test_transport_that_opens_for_a_replaced_dial_is_refused() -> None:
    owner = _owner(FleetSimulation(1, ALONE))
    wire: Any = None

    is_taken = owner.dial_succeeded(_stale_dial(), wire)

    assert not is_taken
