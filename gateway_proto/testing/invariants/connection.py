"""connections → are their queues bounded, are they silent once over, and do they never raise."""

from __future__ import annotations

from gateway_proto._layers.state import State
from gateway_proto.events import Closed, CommandsWait, Event
from gateway_proto.testing.bot import Bot, BotEnd
from gateway_proto.testing.invariants.invariant import Invariant

__all__ = ["Bounded", "OnlyLocalProtocolError", "SilentAfterClosed"]

_ONE_READ = 400
"""Events that one read may hold beyond the limit of the queue: it is parsed to its end."""
_LATER = 1e9


class Bounded(Invariant):
    """Queues and buffers have an end: events, commands that wait, and what a server keeps."""

    def turned(self, bot: Bot, end: BotEnd) -> None:
        """How much waits?"""
        events, limit = bot.mailbox.size, self._setting.queue_limit + _ONE_READ
        self.check(events <= limit or bot.is_stopping, f"{events} events wait", bot)
        if end.peer is not None:
            kept = end.peer.connection.waiting
            self.check(kept <= end.peer.output_limit, f"{kept} bytes wait at the server", bot)

    def received(self, bot: Bot, event: Event) -> None:
        """How many commands wait, now that they wait long?"""
        if isinstance(event, CommandsWait):
            commands, limit = len(bot.client.waiting), bot.config.waiting_limit + 1  # a presence
            self.check(commands <= limit, f"{commands} commands wait", bot)


class SilentAfterClosed(Invariant):
    """`Closed` is the last event, once; after it there are no timers, bytes or events."""

    def delivered(self, bot: Bot, events: list[Event]) -> None:
        """Is it the last?"""
        count = sum(isinstance(event, Closed) for event in events)
        end = bot.end
        if count:
            alone = count == 1 and isinstance(events[-1], Closed)
            self.check(alone, "Closed is not the one last event", bot)
        if end is not None and end.connection.state is State.CLOSED:
            self.check(count == 1, "a connection is over without Closed", bot)

    def closed(self, bot: Bot, end: BotEnd) -> None:
        """Does it say anything more, whatever is done to it?"""
        connection = end.connection
        connection.data_to_send()
        self._is_silent(bot, end)
        connection.receive_data(b"\x81\x02{}", now=_LATER)
        self._is_silent(bot, end)
        connection.receive_eof(now=_LATER)
        connection.handle_timer(now=_LATER)
        self._is_silent(bot, end)

    def _is_silent(self, bot: Bot, end: BotEnd) -> None:
        connection = end.connection
        silent = connection.next_timer() is None and not connection.data_to_send()
        silent = silent and connection.events() == [] and connection.state is State.CLOSED
        self.check(silent, "it was closed, and is not silent", bot)


class OnlyLocalProtocolError(Invariant):
    """Nothing but `LocalProtocolError` is raised, and that only for what the application asks.

    What else is raised ends the simulation, under this name.
    """
