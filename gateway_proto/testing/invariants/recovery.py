"""a network that is well again → is every client READY, or has it said why not."""

from __future__ import annotations

import re

from gateway_proto.testing.bot import Bot
from gateway_proto.testing.invariants.invariant import Invariant

__all__ = ["DOCUMENTED", "GivesReason", "ReadyAgain"]

DOCUMENTED: tuple[str, ...] = (
    r"\d+ identifies in 24 hours",
    r"only \d+ sessions may still be opened today",
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

    One that somebody has started meanwhile has at least half of that time.
    """

    def rested(self, bot: Bot) -> None:
        """It is long enough since."""
        if bot.alive and bot.agenda.now - bot.started_at < self._setting.calm / 2:
            return
        ready = bot.is_ready or (not bot.alive and bot.client.gave_up is not None)
        state = "no connection" if bot.end is None else bot.end.connection.state.value
        self.check(ready, f"the network has long been well, and it has {state}", bot)
