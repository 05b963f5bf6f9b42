"""The base class of the invariants of a fleet."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gateway_proto.fleet import Generation, GenerationPhase, LogHead
from gateway_proto.session import Session
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.consumer import Consumer
from gateway_proto.testing.simulation.fleet.generation_member import GenerationMember
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.machine import Machine
from gateway_proto.testing.simulation.fleet.observer import FleetObserver, LogId
from gateway_proto.testing.simulation.fleet.operator import Operator
from gateway_proto.testing.simulation.fleet.store import SimulatedStore
from gateway_proto.testing.simulation.fleet.ticks import Ticks
from gateway_proto.testing.simulation.network import Network
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["Fleet", "FleetInvariant", "logs_of"]


def logs_of(generation: Generation) -> list[LogId]:
    """Return the logs of a generation."""
    return [LogId(generation.id, shard) for shard in range(generation.count)]


@attrs.frozen
class Fleet:
    """All parts of a simulated fleet."""

    scheduler: Scheduler
    config: FleetSimulationConfig
    network: Network
    store: SimulatedStore
    machines: Sequence[Machine]
    consumers: Sequence[Consumer]
    operator: Operator
    ticks: Ticks

    def head(self, log: LogId) -> LogHead:
        """Return the head of a shard's log, as the store has it."""
        return self.store.scope(log.generation).head(log.shard)

    @property
    def present_logs(self) -> list[LogId]:
        """The logs of the present generation."""
        generations = self.store.generations
        return [] if generations is None else logs_of(generations.present)

    @property
    def running_logs(self) -> list[LogId]:
        """The logs of the present generation and of the next one."""
        generations = self.store.generations
        if generations is None or generations.next is None:
            return self.present_logs
        return self.present_logs + logs_of(generations.next)

    def is_preparing(self, log: LogId) -> bool:
        """Whether a log is of the next generation, or of a cancelled one: it has no events."""
        generations = self.store.generations
        assert generations is not None
        entered = [*generations.earlier, generations.present]
        if generations.next is not None and generations.phase is not GenerationPhase.PREPARING:
            entered.append(generations.next)
        return log.generation not in [generation.id for generation in entered]

    @property
    def members(self) -> list[GenerationMember]:
        """The members of all generations that run."""
        processes = [one.process for one in self.machines if one.process is not None]
        return [member for process in processes for member in process.members]

    @property
    def kept_identifies(self) -> int:
        """The number of Identifies of the budget that the fleet leaves to others."""
        total = self.config.identify_budget
        return min(self.config.identify_reserve * min(total, 1000) // 1000, total - 1)

    def is_budget_spent(self) -> bool:
        """Whether a process knows that no further Identify is allowed."""
        left = [member.slots.slots.left for member in self.members]
        return any(known is not None and known <= self.kept_identifies for known in left)

    def can_resume(self, session: Session) -> bool:
        """Whether the server would resume a session, with all that it missed."""
        server = self.network.servers[0].server
        server._context.registry.expire(self.scheduler.now)
        known = server.sessions.get(session.id)
        if known is None:
            return False
        return known.dispatches_after(session.sequence, session.encoding) is not None


class FleetInvariant(FleetObserver):
    """A condition that must hold in every history of a fleet. The class's name is its name.

    It overrides the methods of `FleetObserver` that it needs.
    """

    def __init__(self, history: FleetHistory, fleet: Fleet) -> None:
        self._history = history
        self._fleet = fleet
        self._config: FleetSimulationConfig = fleet.config

    def check(self, holds: bool, what: str, log: LogId | None = None) -> None:
        """Raise `InvariantViolation` if the condition does not hold."""
        if not holds:
            raise self._history.broken(type(self).__name__, what, log)
