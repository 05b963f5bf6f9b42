"""Changes of the number of shards in a simulated fleet: phases, cancellation, single faults."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from gateway_proto.fleet import (
    Cutover,
    GenerationPhase,
    GenerationRole,
    Generations,
    LogHead,
    LogRecord,
    ReleaseRequested,
)
from gateway_proto.testing import FleetSimulation, FleetSimulationConfig, InvariantViolation
from gateway_proto.testing.simulation.fleet.consumer import ConsumedShard, Consumer
from gateway_proto.testing.simulation.fleet.invariants import CutoverOnce, NoNeedlessIdentify
from gateway_proto.testing.simulation.fleet.machine import MachineProcess
from gateway_proto.testing.simulation.fleet.observer import LogId
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner

pytestmark = pytest.mark.slow

IDLE = FleetSimulationConfig(
    machines=2, shards=2, fault_interval=None, loss=0.0, max_concurrency=4, dispatch_interval=0.2
)


def _settled(config: FleetSimulationConfig = IDLE, seed: int = 1) -> FleetSimulation:
    """A fleet whose shards are all READY."""
    simulation = FleetSimulation(seed, config)
    simulation.run(30.0)
    return simulation


def _generations(simulation: FleetSimulation) -> Generations:
    known = simulation.fleet.store.generations
    assert known is not None
    return known


def _until(simulation: FleetSimulation, phase: GenerationPhase) -> None:
    """Run until the phase of a change."""
    for _ in range(2000):
        known = _generations(simulation)
        if known.next is not None and known.phase is phase:
            return
        simulation.run(0.05)
    raise AssertionError(f"the phase {phase.value} did not begin")


def _records(simulation: FleetSimulation, generation: str, shard: int) -> list[LogRecord]:
    log = simulation.fleet.store.scope(generation).records(shard, 0)
    return [record for _, record in log]


def _process(simulation: FleetSimulation, number: int) -> MachineProcess:
    process = simulation.machines[number].process
    assert process is not None
    return process


def _roles(simulation: FleetSimulation) -> set[tuple[str, GenerationRole]]:
    return {(member.generation.id, member.role) for member in simulation.fleet.members}


@pytest.mark.parametrize("count", [1, 5])
def test_reshard_identifies_each_new_shard_once(count: int) -> None:
    simulation = _settled()

    simulation.fleet.operator.reshard(count)
    report = simulation.run(60.0)

    assert report.changes == 1
    assert report.identifies == 2 + count
    assert _roles(simulation) == {("g2", GenerationRole.PRESENT)}
    assert _generations(simulation).present.count == count
    owners = [owner for machine in simulation.fleet.members for owner in machine.owners.values()]
    assert sorted(owner.shard for owner in owners if owner.is_ready) == list(range(count))


def test_logs_of_both_generations_end_and_begin_at_the_change() -> None:
    simulation = _settled()

    simulation.fleet.operator.reshard(3)
    simulation.run(60.0)

    for shard in range(2):
        records = _records(simulation, "g1", shard)
        assert [record.cutover for record in records] == [False] * (len(records) - 1) + [True]
        assert records[-1].session is None
    for shard in range(3):
        records = _records(simulation, "g2", shard)
        entered = [record.entered for record in records]
        assert entered.count(True) == 1
        assert not any(record.events for record in records[: entered.index(True)])
        assert all(record.events for record in records[entered.index(True) + 1 :])


def test_events_come_twice_for_two_seconds_at_most() -> None:
    simulation = _settled()
    ticks = simulation.fleet.ticks

    def logged(generation: str, shard: int) -> set[int]:
        return {
            ticks.tick(record.session.id, ticks.number(record.session.id, sequence))
            for record in _records(simulation, generation, shard)
            for name, sequence, _ in record.events
            if name == "SIMULATED_TICK" and record.session is not None
        }

    simulation.fleet.operator.reshard(4)
    simulation.run(60.0)

    for shard in range(4):
        old, new = logged("g1", shard % 2), logged("g2", shard)
        assert old | new == set(range(min(old), ticks.count + 1)), "none is missing"
        assert 1 <= len(old & new) <= 2.5 / IDLE.dispatch_interval


def test_consumers_follow_after_the_last_cutover() -> None:
    simulation = _settled()

    simulation.fleet.operator.reshard(3)
    simulation.run(60.0)

    for consumer in simulation.consumers:
        assert consumer.process is not None
        assert consumer.process.reading.place.generation == _generations(simulation).present
    shards = [shard for one in simulation.consumers for shard in one.process.shards]  # type: ignore[union-attr]
    assert sorted(shards) == [0, 1, 2]


def test_cancelled_reshard_leaves_the_fleet_as_it_was() -> None:
    simulation = _settled(attrs.evolve(IDLE, max_concurrency=1))
    before = _generations(simulation)

    simulation.fleet.operator.reshard(4)
    simulation.run(8.0)
    assert {role for _, role in _roles(simulation)} == {
        GenerationRole.PRESENT,
        GenerationRole.PREPARING,
    }
    simulation.fleet.operator.cancel()
    simulation.run(3.0)
    identifies = simulation.report.identifies
    report = simulation.run(30.0)

    known = _generations(simulation)
    assert (known.present, known.next, known.earlier) == (before.present, None, ())
    assert _roles(simulation) == {("g1", GenerationRole.PRESENT)}
    assert report.identifies == identifies < 2 + 4
    assert report.changes == 0
    assert not any(
        record.events for shard in range(4) for record in _records(simulation, "g2", shard)
    )


def test_reshard_after_a_cancelled_one_completes() -> None:
    simulation = _settled()

    simulation.fleet.operator.reshard(4)
    simulation.run(3.0)
    simulation.fleet.operator.cancel()
    simulation.run(3.0)
    simulation.fleet.operator.reshard(3)
    simulation.run(60.0)

    assert _generations(simulation).present.id == "g3"
    assert simulation.report.changes == 1


def test_second_reshard_and_late_cancel_change_nothing() -> None:
    simulation = _settled()
    simulation.fleet.operator.reshard(4)
    _until(simulation, GenerationPhase.ENTERING)

    simulation.fleet.operator.reshard(3)
    simulation.fleet.operator.cancel()
    simulation.run(0.2)

    known = _generations(simulation)
    assert known.next is not None
    assert known.next.count == 4


def test_command_of_the_operator_without_an_answer_is_given_up() -> None:
    simulation = _settled()
    simulation.fleet.store.go_away(10.0)

    simulation.fleet.operator.reshard(4)
    simulation.run(20.0)

    assert _generations(simulation).next is None


@pytest.mark.parametrize("phase", list(GenerationPhase))
def test_machine_that_drains_during_a_change_gives_all_away(phase: GenerationPhase) -> None:
    simulation = _settled()
    simulation.fleet.operator.reshard(4)
    _until(simulation, phase)
    process = _process(simulation, 0)

    process.drain()
    simulation.run(30.0)

    assert not process.alive
    assert simulation.report.identifies == 2 + 4
    assert simulation.report.changes == 1


@pytest.mark.parametrize("phase", list(GenerationPhase))
def test_machine_that_starts_during_a_change_takes_part(phase: GenerationPhase) -> None:
    simulation = _settled()
    simulation.fleet.operator.reshard(4)
    _until(simulation, phase)

    simulation.machines[0].crash(silent=False, seconds=0.1)
    simulation.run(60.0)

    assert _roles(simulation) == {("g2", GenerationRole.PRESENT)}
    assert len(simulation.fleet.members) == 2


def test_machine_that_was_stopped_during_the_change_starts_again() -> None:
    simulation = _settled()
    process = _process(simulation, 0)
    process.freeze(40.0, clock_stands=False)
    simulation.run(1.0)

    simulation.fleet.operator.reshard(3)
    simulation.run(60.0)

    assert not process.alive
    assert _process(simulation, 0) is not process
    assert _roles(simulation) == {("g2", GenerationRole.PRESENT)}


def test_shard_that_cannot_resume_is_closed_after_15_seconds() -> None:
    simulation = _settled()
    simulation.fleet.operator.reshard(3)
    _until(simulation, GenerationPhase.ENTERING)
    host = simulation.fleet.network.servers[0].gateway_hosts[0]

    simulation.fleet.network.refuse(host, 60.0)
    for owner in _process(simulation, 0).owners + _process(simulation, 1).owners:
        if owner.log.generation == "g1" and owner.end is not None:
            owner.end.wire.cut()
    _until(simulation, GenerationPhase.LEAVING)
    simulation.run(10.0)
    assert _generations(simulation).next is not None
    simulation.run(10.0)

    assert _generations(simulation).present.id == "g2"


def test_lost_cutover_does_not_hold_consumers_back() -> None:
    simulation = _settled()
    for consumer in simulation.consumers:
        assert consumer.process is not None
        consumer.process.freeze(30.0)
    simulation.fleet.operator.reshard(3)
    _until(simulation, GenerationPhase.LEAVING)
    while not _records(simulation, "g1", 0)[-1].cutover:
        simulation.run(0.01)

    simulation.fleet.store.rewind(LogId("g1", 0), 1)
    simulation.run(60.0)

    assert not _records(simulation, "g1", 0)[-1].cutover
    value, _ = simulation.fleet.store.place
    assert value is not None
    assert b'"g2"' in value


def test_consumer_that_drains_during_a_change_gives_all_away() -> None:
    simulation = _settled()
    process = simulation.consumers[0].process
    assert process is not None
    simulation.fleet.operator.reshard(3)
    _until(simulation, GenerationPhase.ENTERING)

    process.drain()
    simulation.run(30.0)

    assert not process.alive
    value, _ = simulation.fleet.store.place
    assert value is not None
    assert b'"g2"' in value


def test_process_that_drains_before_it_knows_the_generation_ends() -> None:
    simulation = FleetSimulation(1, attrs.evolve(IDLE, machines=1, consumers=1, store_latency=0.3))
    while simulation.machines[0].process is None or simulation.consumers[0].process is None:
        simulation.run(0.01)
    machine, consumer = _process(simulation, 0), simulation.consumers[0].process

    machine.drain()
    consumer.drain()
    simulation.run(60.0)

    assert not machine.alive
    assert not consumer.alive
    assert _roles(simulation) == {("g1", GenerationRole.PRESENT)}


def test_fault_of_the_operator_needs_a_fleet_and_its_phase() -> None:
    simulation = FleetSimulation(1, IDLE)

    for kind in ("reshard", "reshard_cancel", "store_rewind"):
        simulation.chaos.inject(kind)
    assert not simulation.chaos.counts
    simulation.run(30.0)
    simulation.chaos.inject("reshard_cancel")
    simulation.chaos.inject("reshard")
    simulation.run(0.5)
    simulation.chaos.inject("reshard")
    simulation.chaos.inject("reshard_cancel")

    assert simulation.chaos.counts == {"reshard": 1, "reshard_cancel": 1}


def test_identify_of_a_shard_that_was_closed_is_needless() -> None:
    simulation = _settled()
    owner = _process(simulation, 0).owners[0]
    simulation.fleet.operator.reshard(3)
    _until(simulation, GenerationPhase.LEAVING)
    while not _records(simulation, "g1", owner.shard)[-1].cutover:
        simulation.run(0.01)

    with pytest.raises(InvariantViolation, match="identifies, but the shard was closed"):
        simulation.observer.identified(owner)


def _cancelled(simulation: FleetSimulation) -> tuple[NoNeedlessIdentify, ShardOwner]:
    """Return an invariant and an owner of a generation that was cancelled a second ago."""
    simulation.fleet.operator.reshard(3)
    _until(simulation, GenerationPhase.PREPARING)
    simulation.run(2.0)
    owner = next(one for one in _process(simulation, 0).owners if one.log.generation == "g2")
    invariant = NoNeedlessIdentify(simulation.observer, simulation.fleet)
    invariant.generations_written(_generations(simulation))
    simulation.fleet.operator.cancel()
    simulation.run(1.0)
    invariant.generations_written(_generations(simulation))
    return invariant, owner


def test_identify_after_a_stop_during_a_cancel_is_allowed() -> None:
    simulation = _settled()
    invariant, owner = _cancelled(simulation)
    _process(simulation, 0).freeze(30.0, clock_stands=False)

    simulation.run(35.0)
    invariant.identified(owner)
    simulation.run(10.0)

    with pytest.raises(InvariantViolation, match="identifies, but its generation is over"):
        invariant.identified(owner)


def test_identify_of_a_cancelled_generation_is_needless() -> None:
    simulation = _settled()
    invariant, owner = _cancelled(simulation)
    invariant.identified(owner)
    simulation.run(10.0)

    with pytest.raises(InvariantViolation, match="identifies, but its generation is over"):
        invariant.identified(owner)


def test_shard_released_before_its_owner_begins_is_given_away() -> None:
    simulation = _settled(attrs.evolve(IDLE, machines=1))
    (member,) = simulation.fleet.members
    owner = member.owners.pop(0)
    owner.end_now()

    member.membership_event(ReleaseRequested(0, owner.claim, None))
    member._own(0, member.membership.owned[0])
    simulation.run(0.01)

    assert repr(member) == f"<{member.member}, present>"
    assert 0 not in member.membership.owned


def test_shard_that_was_lost_before_its_owner_begins_has_none() -> None:
    simulation = _settled(attrs.evolve(IDLE, machines=1))
    (member,) = simulation.fleet.members
    before = dict(member.owners)

    member._own(0, LogHead(99, "another", "another"))

    assert member.owners == before


def test_lost_beginning_of_a_generation_is_reported_to_consumers() -> None:
    simulation = _settled()
    for consumer in simulation.consumers:
        assert consumer.process is not None
        consumer.process.freeze(40.0)
    simulation.fleet.operator.reshard(2 + 1)
    _until(simulation, GenerationPhase.LEAVING)
    while _generations(simulation).next is not None:
        simulation.run(0.1)
    records = _records(simulation, "g2", 0)
    entered = [record.entered for record in records].index(True)

    simulation.fleet.store.rewind(LogId("g2", 0), len(records) - entered)
    simulation.run(60.0)

    assert not any(record.entered for record in _records(simulation, "g2", 0))
    logs = [shard.cursor for one in simulation.consumers for shard in _shards(one)]
    assert len(logs) == 3
    assert all(cursor.is_handled for cursor in logs)


def test_event_after_a_cutover_breaks_the_invariant() -> None:
    simulation = FleetSimulation(1, IDLE)
    invariant = CutoverOnce(simulation.observer, simulation.fleet)
    consumer: Any = SimpleNamespace(log=LogId("g1", 0), claim=LogHead(1, "c", "m"))
    invariant.consumed(consumer, Cutover())

    with pytest.raises(InvariantViolation, match="follows the cutover"):
        invariant.consumed(consumer, Cutover())


def _shards(consumer: Consumer) -> list[ConsumedShard]:
    return [] if consumer.process is None else list(consumer.process.shards.values())


def test_shard_that_leaves_already_is_cut_over_once() -> None:
    simulation = _settled()
    simulation.fleet.operator.reshard(3)
    _until(simulation, GenerationPhase.LEAVING)
    owners = [owner for owner in _process(simulation, 0).owners if owner.log.generation == "g1"]

    for owner in owners:
        owner.leave()
        owner.leave()
    simulation.run(60.0)

    assert owners
    assert all(_records(simulation, "g1", one.shard)[-1].cutover for one in owners)
    cutovers = [
        record.cutover for one in owners for record in _records(simulation, "g1", one.shard)
    ]
    assert cutovers.count(True) == len(owners)


@pytest.mark.parametrize(
    "seed",
    [
        4,  # a store that falls back while shards leave, and a lost shard that has a slot
        9,  # a machine that drains while it has a step of a change to make
        118,  # a cutover that is lost, and consumers that have read it
    ],
)
def test_rare_interleavings_of_a_change_break_nothing(seed: int) -> None:
    report = FleetSimulation.for_seed(seed).run()

    assert report.changes >= 1
