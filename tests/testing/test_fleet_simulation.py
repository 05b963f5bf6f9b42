"""Simulation of a fleet: deterministic for a seed, all fault kinds, shrinking, no false alarm."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import LogHead, ReferenceStore
from gateway_proto.testing import (
    FLEET_FAULT_KINDS,
    FleetSimulation,
    FleetSimulationConfig,
    InvariantViolation,
    shrink,
)
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.invariants import FLEET_INVARIANTS
from gateway_proto.testing.simulation.fleet.observer import LogId
from tests.testing.support import digest_elsewhere, fence_nobody

IDLE = FleetSimulationConfig(machines=2, shards=3, fault_interval=None)
FAULTY = FleetSimulationConfig(machines=3, shards=3, fault_interval=2.0)
RUN = "FleetSimulation.for_seed(5).run()"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fleet_has_the_same_history_in_every_process() -> None:
    digests = {
        *(digest_elsewhere(RUN, seed) for seed in ("1", "2")),
        FleetSimulation.for_seed(5).run().digest,
    }

    assert len(digests) == 1
    assert digests != {FleetSimulation.for_seed(6).run().digest}


def test_fleet_history_does_not_depend_on_the_number_of_runs() -> None:
    whole, parts = FleetSimulation(1, FAULTY), FleetSimulation(1, FAULTY)

    for _ in range(10):
        parts.run(10.0)

    assert parts.run(0.0) == whole.run(100.0)
    assert parts.now == 100.0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fleet_invariants_hold_under_all_faults() -> None:
    faults: Counter[str] = Counter()
    for seed in range(4):
        report = FleetSimulation(seed, FAULTY).run()
        faults += report.fault_counts
        assert report.events > 500
        assert report.records > report.claims >= 3
        assert report.identifies >= 3
        assert report.seconds == 3 * FAULTY.cycle

    assert set(faults) == set(FLEET_FAULT_KINDS), "each fault kind was injected"


@pytest.mark.slow
def test_fault_phase_follows_a_recovery_phase() -> None:
    simulation = FleetSimulation(2, FAULTY)

    first = simulation.run()
    second = simulation.run()

    assert second.fault_counts.total() > first.fault_counts.total() + 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fleet_without_fencing_breaks_in_six_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    fence_nobody(monkeypatch)

    for seed in (1, 2, 3, 4, 6, 7):  # seed 5 breaks none
        with pytest.raises(InvariantViolation):
            FleetSimulation.for_seed(seed).run()


def test_slot_after_the_end_of_a_connection_is_dropped() -> None:
    # In this history a connection ends while its owner, which has a slot, reads the head.
    simulation = FleetSimulation.for_seed(33)

    report = simulation.run()

    assert report.identifies >= simulation.config.shards


def test_idle_fleet_identifies_each_shard_once() -> None:
    report = FleetSimulation(1, IDLE).run()

    assert report.identifies == 3
    assert not report.fault_counts


def test_idle_fleet_logs_all_that_servers_dispatched() -> None:
    simulation = FleetSimulation(1, IDLE)

    simulation.run()

    store, network = simulation.fleet.store.scope("g1"), simulation.fleet.network
    for shard in range(3):
        logged = [event for _, record in store.records(shard, 0) for event in record.events]
        session = store.head(shard).session
        assert session is not None
        assert sum(name == "READY" for name, _, _ in logged) == 1
        ticks = sum(name == "SIMULATED_TICK" for name, _, _ in logged)
        assert ticks == network.last_number(session.id) > 50


def test_excluded_fault_of_a_fleet_is_not_injected() -> None:
    without = attrs.evolve(FAULTY, excluded_faults={"machine_crash", "cut"})

    faults = FleetSimulation(2, without).run(150.0).fault_counts

    assert not {"machine_crash", "cut"} & set(faults)
    assert len(faults) > 5


def test_unknown_fault_of_a_fleet_is_rejected() -> None:
    with pytest.raises(LocalProtocolError, match="unknown fault kind 'rain': expected one of mach"):
        FleetSimulationConfig(excluded_faults=frozenset({"cut", "rain"}))


def test_spent_budget_leaves_shards_without_a_session() -> None:
    simulation = FleetSimulation(1, attrs.evolve(IDLE, identify_budget=6))

    for _ in range(12):
        simulation.run(8.0)
        simulation.chaos.inject("expire")
    report = simulation.run(160.0)

    assert report.identifies == 6
    assert simulation.fleet.is_budget_spent()
    assert None in [simulation.fleet.head(LogId("g1", shard)).session for shard in range(3)]


# ----- broken invariants -----


def test_broken_fleet_is_reported_with_command_and_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    fence_nobody(monkeypatch)

    with pytest.raises(InvariantViolation) as caught:
        FleetSimulation.for_seed(0, excluded_faults=["cut"]).run()

    broken = caught.value
    assert broken.replay == "gateway-proto simulate --fleet --seed 0 --without cut"
    assert broken.seed == 0
    assert len(broken.trace) <= 120
    assert any("acquires shard" in line for line in broken.trace)
    times = [float(line.split()[0]) for line in broken.trace]
    assert times == sorted(times)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_shrinking_a_fleet_excludes_unrelated_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    true = FleetHistory.machine

    def machine(self: FleetHistory, process: Any, text: str) -> None:
        true(self, process, text)
        if text == "crashes":
            raise self.broken("NeverCrashes", "it crashed", None)

    monkeypatch.setattr(FleetHistory, "machine", machine)
    with pytest.raises(InvariantViolation) as caught:
        FleetSimulation.for_seed(0).run()

    small = shrink(caught.value, simulation=FleetSimulation)

    left_out = small.replay.rpartition(" ")[2].split(",")
    assert small.name == "NeverCrashes"
    assert set(FLEET_FAULT_KINDS) - set(left_out) == {"machine_crash"}


def test_exception_ends_the_simulation_of_a_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    def head(self: ReferenceStore, shard: int) -> LogHead:
        raise KeyError("a bug")

    monkeypatch.setattr(ReferenceStore, "head", head)

    with pytest.raises(InvariantViolation, match="KeyError: 'a bug'") as caught:
        FleetSimulation(1, IDLE).run()

    assert caught.value.name == "NoException"
    assert caught.value.replay == "the same FleetSimulation with the seed 1"


def test_every_invariant_of_a_fleet_has_a_description() -> None:
    names = [kind.__name__ for kind in FLEET_INVARIANTS]

    assert len(names) == len(set(names))
    assert all(kind.__doc__ for kind in FLEET_INVARIANTS)


# ----- single faults -----


def _settled() -> FleetSimulation:
    """A fleet whose shards are all READY."""
    simulation = FleetSimulation(1, IDLE)
    simulation.run(60.0)
    assert _ready(simulation) == [0, 1, 2]
    return simulation


def _ready(simulation: FleetSimulation) -> list[int]:
    processes = [machine.process for machine in simulation.machines]
    owners = [owner for one in processes if one is not None for owner in one.owners]
    return sorted(owner.shard for owner in owners if owner.is_ready)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["machine_crash", "machine_drain", "machine_stall", "store_cut"])
def test_shards_of_a_lost_machine_are_resumed_elsewhere(kind: str) -> None:
    simulation = _settled()

    for _ in range(6):
        simulation.chaos.inject(kind)
    report = simulation.run(190.0)

    assert report.fault_counts[kind] >= 1
    assert report.identifies == 3, "no session was lost"
    assert _ready(simulation) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["store_away", "store_slow", "store_rewind", "restart"])
def test_fault_outside_of_the_machines_costs_no_session(kind: str) -> None:
    simulation = _settled()

    for _ in range(6):
        simulation.chaos.inject(kind)
    report = simulation.run(190.0)

    assert report.fault_counts[kind] == 6
    assert report.identifies == 3
    assert _ready(simulation) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["expire", "invalidate"])
def test_lost_session_is_identified_again(kind: str) -> None:
    simulation = _settled()

    simulation.chaos.inject(kind)
    report = simulation.run(30.0)

    assert report.identifies == 4
    logs = (simulation.fleet.store.scope("g1").records(shard, 0) for shard in range(3))
    lost = [record for log in logs for _, record in log if record.session_lost]
    assert len(lost) >= 1


def test_fault_without_a_target_is_not_counted() -> None:
    simulation = FleetSimulation(1, IDLE)

    for kind in FLEET_FAULT_KINDS:
        if not kind.startswith("store_") and kind != "restart":
            simulation.chaos.inject(kind)

    assert not simulation.chaos.counts


def test_frozen_or_draining_machine_gets_no_further_fault() -> None:
    simulation = _settled()
    for machine in simulation.machines:
        assert machine.process is not None
        machine.process.freeze(5.0, clock_stands=True)

    simulation.chaos.inject("machine_crash")
    simulation.run(10.0)
    for machine in simulation.machines:
        assert machine.process is not None
        machine.process.drain()
        assert machine.process.clock_lag == 5.0
    simulation.chaos.inject("machine_drain")

    assert not simulation.chaos.counts


def test_connection_that_is_not_ready_gets_no_fault_of_a_server() -> None:
    simulation = FleetSimulation(1, attrs.evolve(IDLE, machines=1, shards=1, latency=1.0))
    owner = None
    for _ in range(100):
        simulation.run(0.1)
        process = simulation.machines[0].process
        owner = None if process is None or not process.owners else process.owners[0]
        if owner is not None and owner.connection is not None:
            break
    assert owner is not None
    assert owner.connection is not None

    simulation.chaos.inject("reconnect")

    assert not simulation.chaos.counts
    assert "connecting" in repr(owner)
