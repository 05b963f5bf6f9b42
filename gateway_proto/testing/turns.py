"""shards, now → whose turn it is to identify, as a service that all processes of a bot share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_proto.client_connection import ClientConnection
from gateway_proto.shards import IdentifyQueue
from gateway_proto.testing.agenda import Agenda

if TYPE_CHECKING:
    from gateway_proto.testing.bot import Bot

__all__ = ["IdentifyTurns"]


class IdentifyTurns:
    """An `IdentifyQueue` that outlives the processes that ask it."""

    def __init__(self, agenda: Agenda, *, max_concurrency: int) -> None:
        self._agenda = agenda
        self._queue = IdentifyQueue(max_concurrency=max_concurrency)
        self._planned: float | None = None

    def needed(self, bot: Bot, connection: ClientConnection) -> None:
        """A connection waits for its turn."""

        def grant(_at: float) -> None:
            if bot.frozen:  # it would identify too late, and in somebody else's turn
                bot.after(0.0, lambda: self.needed(bot, connection))
            else:
                connection.grant_identify(now=bot.clock())

        self._queue.leave(bot.number)
        self._queue.join(bot.number, grant)
        self._give()

    def leave(self, number: int) -> None:
        """A shard's process is gone."""
        self._queue.leave(number)

    def _give(self) -> None:
        now = self._agenda.now
        if self._planned is not None and self._planned <= now:
            self._planned = None
        self._queue.handle_timer(now=now)
        at = self._queue.next_timer()
        if at is not None and (self._planned is None or at < self._planned):
            self._planned = at
            self._agenda.at(at, self._give)
