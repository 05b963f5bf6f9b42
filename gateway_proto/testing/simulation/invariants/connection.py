"""Invariants of connections: bounded queues, no output after the end, no exceptions."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway_proto.client.client import Dial
from gateway_proto.client.connection import ClientConnection
from gateway_proto.events import Closed, CommandsDelayed, Dispatch, Event
from gateway_proto.state import State
from gateway_proto.testing.simulation.client_endpoint import ClientEndpoint
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.config import EVENTS_LIMIT, MESSAGE_LIMIT
from gateway_proto.testing.simulation.invariants.base import Invariant
from gateway_proto.versions import Opcode
from gateway_proto.wire.payload import Payload

__all__ = ["BoundedBuffers", "NothingAfterClose", "OnlyLocalProtocolError", "SilentAfterClosed"]

_CLOSE = 8
"""The op code of a close frame."""
_MAX_OUTPUT = 65536
"""The maximum size in bytes of the output that a client keeps for a slow server."""
_MAX_EVENTS = EVENTS_LIMIT + 100_000
"""The maximum size in bytes of waiting events: the last message may start below the limit."""
_ONE_READ = 400
"""Events of one read that may exceed the queue's limit: a read is parsed as a whole."""
_LATER = 1e9


class BoundedBuffers(Invariant):
    """Queues and buffers are bounded: events, commands, messages and output."""

    def output_processed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Check the number of events and the size of the output."""
        events, limit = bot.gateway.size, self._config.queue_limit + _ONE_READ
        self.check(events <= limit or bot.is_stopping, f"{events} events wait", bot)
        frames = getattr(end.connection, "_frames", None)
        kept = 0 if frames is None else frames.buffered_bytes
        self.check(kept <= _MAX_OUTPUT, f"{kept} bytes wait at the client", bot)
        if end.peer is not None:
            kept = end.peer.connection.buffered_bytes
            self.check(kept <= end.peer.output_limit, f"{kept} bytes wait at the server", bot)

    def delivered(self, bot: ClientProcess, events: list[Event]) -> None:
        """Check the size of the waiting events."""
        size = bot.gateway.bytes if bot.gateway.size > 1 else 0
        self.check(size <= _MAX_EVENTS or bot.is_stopping, f"events of {size} bytes wait", bot)

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Check the size of a message and the number of waiting commands."""
        if type(event) is Dispatch:
            size = len(event.raw)
            self.check(size <= MESSAGE_LIMIT, f"a message of {size} bytes was accepted", bot)
        if isinstance(event, CommandsDelayed):
            commands, limit = (
                len(bot.client.queued_commands),
                bot.config.command_queue_limit + 1,
            )  # a presence
            self.check(commands <= limit, f"{commands} commands wait", bot)


class NothingAfterClose(Invariant):
    """A client sends nothing after its close frame, and counts only Identifies that were sent."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._closed: set[int] = set()
        self._identifies: Counter[int] = Counter()

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Start again for a new connection."""
        self._closed.discard(bot.number)
        self._identifies.pop(bot.number, None)

    def sent(self, bot: ClientProcess, payload: Payload) -> None:
        """Count Identifies."""
        self._identifies[bot.number] += payload.opcode == Opcode.IDENTIFY

    def closed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Compare the number of Identifies with the client's."""
        if isinstance(end.connection, ClientConnection):
            counted, sent = len(end.connection._outcome.identified_at), self._identifies[bot.number]
            self.check(
                counted == sent, f"{counted} Identifies were counted, but {sent} were sent", bot
            )

    def wrote(self, bot: ClientProcess, opcode: int) -> None:
        """Check that no frame follows the close frame."""
        self.check(bot.number not in self._closed, f"frame {opcode} follows the close frame", bot)
        if opcode == _CLOSE:
            self._closed.add(bot.number)


class SilentAfterClosed(Invariant):
    """`Closed` is the last event, once; after it there are no timers, bytes or events."""

    def delivered(self, bot: ClientProcess, events: list[Event]) -> None:
        """Check that `Closed` is the last event."""
        count = sum(isinstance(event, Closed) for event in events)
        end = bot.end
        if count:
            alone = count == 1 and isinstance(events[-1], Closed)
            self.check(alone, "Closed is not the only and last event", bot)
        if end is not None and end.connection.state is State.CLOSED:
            self.check(count == 1, "a connection ended without Closed", bot)

    def closed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Check that further calls have no effect."""
        connection = end.connection
        connection.data_to_send()
        self._is_silent(bot, end)
        connection.receive_data(b"\x81\x02{}", now=_LATER)
        self._is_silent(bot, end)
        connection.receive_eof(now=_LATER)
        connection.handle_timer(now=_LATER)
        self._is_silent(bot, end)

    def _is_silent(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        connection = end.connection
        silent = connection.next_timer() is None and not connection.data_to_send()
        silent = silent and connection.events() == [] and connection.state is State.CLOSED
        self.check(silent, "a closed connection has timers, output or events", bot)


class OnlyLocalProtocolError(Invariant):
    """Only `LocalProtocolError` is raised, and only because of a call of the application.

    Any other exception ends the simulation with an error of this name.
    """
