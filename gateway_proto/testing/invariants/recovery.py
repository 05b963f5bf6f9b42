"""a network that is well again → is every client READY, or has it said why not."""

from __future__ import annotations

import re
from typing import Any

from gateway_proto.events import Event, IdentifyBudgetSpent
from gateway_proto.testing.bot import Bot
from gateway_proto.testing.invariants.invariant import Invariant

__all__ = ["DOCUMENTED", "GivesReason", "ReadyAgain"]

DOCUMENTED: tuple[str, ...] = (
    r"the lookup named a gateway that is not trusted",
    r"the lookup was answered with HTTP (401|404)",
    r"the server closed with \d+ .*, after which no reconnect helps",
    r"\d+ connections in a row did not become ready",
    r".*, twice after the same command",
)
"""How the reasons begin for which a client gives up."""


class GivesReason(Invariant):
    """Who dials no more was stopped, or has given up with a documented reason."""

    def over(self, bot: Bot) -> None:
        """Why?"""
        reason = bot.client.gave_up
        if reason is None:
            self.check(bot.is_stopping, "it dials no more, and does not say why", bot)
        else:
            documented = any(re.match(known, reason) for known in DOCUMENTED)
            self.check(documented, f"it gave up, and nobody knows the reason: {reason}", bot)


class ReadyAgain(Invariant):
    """When the network heals, every client is READY within `Setting.calm`, or has given up.

    One that somebody has started meanwhile has at least half of that time, and one whose Identifies
    of the day are used has it after the reported wait.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._spent_until: dict[int, float] = {}

    def began(self, bot: Bot) -> None:
        """A process remembers nothing of the one before it."""
        self._spent_until.pop(bot.number, None)

    def received(self, bot: Bot, event: Event) -> None:
        """Note until when no Identify is possible."""
        if isinstance(event, IdentifyBudgetSpent) and event.seconds is not None:
            self._spent_until[bot.number] = bot.clock() + event.seconds

    def rested(self, bot: Bot) -> None:
        """It is long enough since."""
        half = self._setting.calm / 2
        if bot.alive and bot.agenda.now - bot.started_at < half:
            return
        if bot.alive and bot.clock() < self._spent_until.get(bot.number, -half) + half:
            return
        ready = bot.is_ready or (not bot.alive and bot.client.gave_up is not None)
        state = "no connection" if bot.end is None else bot.end.connection.state.value
        self.check(ready, f"the network has long been well, and it has {state}", bot)
