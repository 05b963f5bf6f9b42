"""The base class of the invariants of a fleet."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from gateway_proto.fleet import LogHead
from gateway_proto.session import Session
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.consumer import Consumer
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.machine import Machine
from gateway_proto.testing.simulation.fleet.observer import FleetObserver
from gateway_proto.testing.simulation.fleet.store import SimulatedStore
from gateway_proto.testing.simulation.network import Network
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["Fleet", "FleetInvariant"]


@attrs.frozen
class Fleet:
    """All parts of a simulated fleet."""

    scheduler: Scheduler
    config: FleetSimulationConfig
    network: Network
    store: SimulatedStore
    machines: Sequence[Machine]
    consumers: Sequence[Consumer]

    def head(self, shard: int) -> LogHead:
        """Return the head of a shard's log, as the store has it."""
        return self.store.reference.head(shard)

    @property
    def kept_identifies(self) -> int:
        """The number of Identifies of the budget that the fleet leaves to others."""
        total = self.config.identify_budget
        return min(self.config.identify_reserve * min(total, 1000) // 1000, total - 1)

    def is_budget_spent(self) -> bool:
        """Whether a process knows that no further Identify is allowed."""
        processes = [one.process for one in self.machines if one.process is not None]
        left = [one.slots.slots.left for one in processes]
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

    def check(self, holds: bool, what: str, shard: int | None = None) -> None:
        """Raise `InvariantViolation` if the condition does not hold."""
        if not holds:
            raise self._history.broken(type(self).__name__, what, shard)
