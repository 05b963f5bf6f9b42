"""Invariants of recovery: each client is READY or has given up with a reason."""

from __future__ import annotations

import re
from typing import Any

from gateway_proto.events import Event, IdentifyBudgetSpent
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.invariants.base import Invariant

__all__ = ["DOCUMENTED_REASONS", "GivesReason", "RecoversAfterOutage"]

DOCUMENTED_REASONS: tuple[str, ...] = (
    r"the lookup named a gateway that is not trusted",
    r"the lookup was answered with HTTP (401|404)",
    r"the server closed with \d+ .*, after which no reconnect helps",
    r"\d+ connections in a row did not become ready",
    r".*, twice after the same command",
)
"""Patterns for the beginning of the reasons for giving up."""


class GivesReason(Invariant):
    """A client that no longer dials was stopped, or gave up with a documented reason."""

    def client_stopped(self, bot: ClientProcess) -> None:
        """Check the reason."""
        reason = bot.client.gave_up
        if reason is None:
            self.check(bot.is_stopping, "it no longer dials, without a reason", bot)
        else:
            documented = any(re.match(known, reason) for known in DOCUMENTED_REASONS)
            self.check(documented, f"it gave up with an undocumented reason: {reason}", bot)


class RecoversAfterOutage(Invariant):
    """After a recovery phase each client is READY or has given up.

    A client that started during the phase has at least half of that time. So has one that has used
    its Identifies of the day, after the reported wait.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._spent_until: dict[int, float] = {}

    def began(self, bot: ClientProcess) -> None:
        """Start again for a new process."""
        self._spent_until.pop(bot.number, None)

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Note the time until which no Identify is possible."""
        if isinstance(event, IdentifyBudgetSpent) and event.seconds is not None:
            self._spent_until[bot.number] = bot.clock() + event.seconds

    def recovery_ended(self, bot: ClientProcess) -> None:
        """Check the state."""
        half = self._config.recovery_phase / 2
        if bot.alive and bot.scheduler.now - bot.started_at < half:
            return
        if bot.alive and bot.clock() < self._spent_until.get(bot.number, -half) + half:
            return
        ready = bot.is_ready or (not bot.alive and bot.client.gave_up is not None)
        state = "no connection" if bot.end is None else bot.end.connection.state.value
        self.check(ready, f"it is not READY after the recovery phase: {state}", bot)
