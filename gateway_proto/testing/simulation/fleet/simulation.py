"""The simulation of a fleet from one seed, with checked invariants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import attrs

from gateway_proto._checks import SECONDS, instance_of, optional
from gateway_proto.testing.simulation.config import SEED
from gateway_proto.testing.simulation.fleet.chaos import FleetChaos
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.consumer import Consumer
from gateway_proto.testing.simulation.fleet.fault_kinds import FLEET_FAULT_KINDS
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.invariants import FLEET_INVARIANTS, Fleet
from gateway_proto.testing.simulation.fleet.machine import Machine
from gateway_proto.testing.simulation.fleet.operator import Operator
from gateway_proto.testing.simulation.fleet.store import SimulatedStore
from gateway_proto.testing.simulation.fleet.ticks import Ticks
from gateway_proto.testing.simulation.network import Network
from gateway_proto.testing.simulation.observer import InvariantViolation
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.simulation import Report

__all__ = ["FleetReport", "FleetSimulation"]

_CONFIG = optional(instance_of(FleetSimulationConfig, "a FleetSimulationConfig"))
_SECONDS = optional(SECONDS)

_QUIET = 20.0
"""Seconds without dispatches at the end of a recovery phase, so that all can be logged."""
_START = 5.0
"""Seconds in which all machines start."""


@attrs.frozen(kw_only=True)
class FleetReport(Report):
    """The result of a simulated fleet. `seconds` is summed over all shards."""

    identifies: int
    """The number of Identifies that were sent."""
    records: int
    """The number of records in all logs, claims included."""
    claims: int
    """The number of claims: starts, moves and take-overs of shards."""
    consumed: int
    """The number of events that the consumers of the feed took."""
    changes: int
    """The number of changes to another number of shards that were completed."""


class FleetSimulation:
    """Machines that share a bot's shards, consumers, a store, a gateway, and faults, from one seed.

    Fault phases and recovery phases alternate. `run` raises `InvariantViolation` as soon as an
    invariant does not hold.
    """

    fault_kinds: ClassVar[Mapping[str, str]] = FLEET_FAULT_KINDS
    """The description of each kind of fault, by name."""

    def __init__(self, seed: int, config: FleetSimulationConfig | None = None) -> None:
        SEED.named("seed", seed)
        _CONFIG.named("config", config)
        self.seed: int = seed
        self.config: FleetSimulationConfig = (
            FleetSimulationConfig.for_seed(seed) if config is None else config
        )
        rng = SeededRandom(f"fleet {seed}")
        self._random = rng
        self._scheduler = scheduler = Scheduler()
        self.observer: FleetHistory = FleetHistory(
            scheduler, seed, _replay(seed, self.config, own=config is not None)
        )
        network = Network(scheduler, rng.child("network"), self.config.servers(), self.observer)
        store = SimulatedStore(scheduler, rng.child("store"), self.config, self.observer)
        self.machines: Sequence[Machine] = tuple(
            Machine(
                number,
                scheduler=scheduler,
                config=self.config,
                network=network,
                store=store,
                observer=self.observer,
                random=rng.child(f"machine {number}"),
            )
            for number in range(self.config.machines)
        )
        """The machines."""
        self.consumers: Sequence[Consumer] = tuple(
            Consumer(
                self.config.machines + number,
                scheduler=scheduler,
                config=self.config,
                store=store,
                observer=self.observer,
                random=rng.child(f"consumer {number}"),
            )
            for number in range(self.config.consumers)
        )
        """The consumers of the feed."""
        operator = Operator(
            self.config.machines + self.config.consumers, scheduler=scheduler, store=store
        )
        self.fleet: Fleet = Fleet(
            scheduler,
            self.config,
            network,
            store,
            self.machines,
            self.consumers,
            operator,
            Ticks(),
        )
        """All parts."""
        self.chaos: FleetChaos = FleetChaos(self.fleet, rng.child("chaos"))
        """The injection of faults."""
        self.observer.begin([kind(self.observer, self.fleet) for kind in FLEET_INVARIANTS])
        self._is_recovery = self._is_quiet = False
        starts = rng.child("starts")
        for each in self._hosts():
            scheduler.at(starts.uniform(0.0, _START), each.start)
        self._schedule_dispatch(rng.child("dispatches"))
        if self.config.fault_interval is not None:
            self._schedule_fault(rng.child("faults"), self.config.fault_interval)
        scheduler.at(self.config.fault_phase, self._begin_recovery)

    @classmethod
    def for_seed(cls, seed: int, *, excluded_faults: Iterable[str] = ()) -> FleetSimulation:
        """Return the simulation for a seed, without the excluded kinds of faults."""
        config = FleetSimulationConfig.for_seed(seed, excluded_faults=excluded_faults)
        simulation = cls(seed, config)
        simulation.observer.replay = _replay(seed, config, own=False)
        return simulation

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self._scheduler.now

    @property
    def report(self) -> FleetReport:
        """The result so far."""
        return FleetReport(
            seed=self.seed,
            seconds=self.now * self.config.shards,
            digest=self.observer.digest,
            events=self.observer.events,
            fault_counts=Counter(self.chaos.counts),
            identifies=self.observer.identifies,
            records=self.observer.records,
            claims=self.observer.claims,
            consumed=self.observer.consumed_events,
            changes=self.observer.changes,
        )

    def run(self, seconds: float | None = None) -> FleetReport:
        """Advance the time, by a fault phase and a recovery phase by default.

        Raises `InvariantViolation` if an invariant does not hold.
        """
        _SECONDS.named("seconds", seconds)
        try:
            self._scheduler.run(self.now + (self.config.cycle if seconds is None else seconds))
        except InvariantViolation:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise self.observer.broken("NoException", what, None) from error
        return self.report

    # ----- fault phases and recovery phases -----

    def _schedule_fault(self, rng: SeededRandom, every: float) -> None:
        def inject() -> None:
            if not self._is_recovery:
                self.chaos.inject()
            self._scheduler.after(rng.uniform(0.0, 2 * every), inject)

        self._scheduler.after(rng.uniform(0.0, 2 * every), inject)

    def _schedule_dispatch(self, rng: SeededRandom) -> None:
        every = self.config.dispatch_interval
        server, ticks = self.fleet.network.servers[0], self.fleet.ticks

        def dispatch() -> None:
            if not self._is_quiet:
                ticks.dispatch(server)
            self._scheduler.after(rng.uniform(0.0, 2 * every), dispatch)

        self._scheduler.after(rng.uniform(0.0, 2 * every), dispatch)

    def _begin_recovery(self) -> None:
        """Begin a recovery phase: no faults, and a process at each machine."""
        self._is_recovery = True
        self.fleet.network.recover()
        self.fleet.store.recover(calm=True)
        for each in self._hosts():
            each.recover()
        config = self.config
        self._scheduler.after(config.settle, self.observer.settled)
        self._scheduler.after(config.recovery_phase - _QUIET, self._stop_dispatches)
        self._scheduler.after(config.recovery_phase, self._end_recovery)

    def _hosts(self) -> list[Machine | Consumer]:
        return [*self.machines, *self.consumers]

    def _stop_dispatches(self) -> None:
        self._is_quiet = True

    def _end_recovery(self) -> None:
        """Check that each shard is READY at one machine, and begin a fault phase."""
        self.observer.fleet_recovered()
        self._is_recovery = self._is_quiet = False
        self.fleet.store.recover(calm=False)
        self._scheduler.after(self.config.fault_phase, self._begin_recovery)


def _replay(seed: int, config: FleetSimulationConfig, *, own: bool) -> str:
    if own:
        return f"the same FleetSimulation with the seed {seed}"
    without = (
        f" --without {','.join(sorted(config.excluded_faults))}" if config.excluded_faults else ""
    )
    return f"gateway-proto simulate --fleet --seed {seed}{without}"
