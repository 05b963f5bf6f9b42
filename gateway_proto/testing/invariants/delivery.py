"""events handled → is each there, once and in order, and is each loss told."""

from __future__ import annotations

from typing import Any

from gateway_proto.events import Dispatch, Event, Ready
from gateway_proto.session import Session
from gateway_proto.testing.bot import Bot
from gateway_proto.testing.invariants.invariant import Invariant
from gateway_proto.testing.provider import TICK

__all__ = ["HandledOnce", "LossIsTold"]


class HandledOnce(Invariant):
    """Each dispatch of a session is handled exactly once and in order, crash or not.

    A session in which a bit was turned over proves nothing: TLS is what keeps bits as they are.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._last: dict[int, tuple[str, int]] = {}

    def handled(self, bot: Bot, event: Event, before: Session | None) -> None:
        """Count its number."""
        if type(event) is not Dispatch or event.name != TICK or before is None:
            return
        if not self._network.is_sound(before.id):
            return
        session_id, last = self._last.get(bot.number, ("", 0))
        last = last if session_id == before.id else 0
        number = event.data["n"]
        self.check(number == last + 1, f"dispatch {number} was handled after {last}", bot)
        self._last[bot.number] = (before.id, number)

    def rested(self, bot: Bot) -> None:
        """By now the last one is handled too."""
        session = bot.mailbox.session if bot.is_ready else None
        if session is None or not self._network.is_sound(session.id):
            return
        session_id, last = self._last.get(bot.number, ("", 0))
        last = last if session_id == session.id else 0
        sent = self._network.last_number(session.id)
        self.check(last == sent, f"of {sent} dispatches {last} were handled", bot)


class LossIsTold(Invariant):
    """A lost session is reported by an event, never silent."""

    def handled(self, bot: Bot, event: Event, before: Session | None) -> None:
        """A session begins only where there is none."""
        if not isinstance(event, Ready) or before is None:
            return
        sound = self._network.is_sound(before.id) and self._network.is_sound(event.session_id)
        self.check(not sound, f"a session began, and nobody said that {before.id} was lost", bot)

    def rested(self, bot: Bot) -> None:
        """The application's session is the client's."""
        if bot.is_ready and bot.connection is not None:
            own, handled = bot.client.session, bot.mailbox.session
            same = (own and own.id) == (handled and handled.id)
            self.check(same, "the application believes in another session than the client", bot)
