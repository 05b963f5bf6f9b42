"""asyncio transport ↔ connection: bytes, events and the timer; nothing of the protocol."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from gateway_proto import Connection, State

__all__ = ["Pump"]

_FLUSH_SECONDS = 5.0
_CHUNK = 262144


class _Buffers(threading.local):
    """One for all pumps of a thread: what is read is taken out before the next pump reads.

    A new one for each read would be mapped, filled with zeros and unmapped by the system.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_CHUNK))


_of_thread = _Buffers()


class Pump(asyncio.BufferedProtocol):
    """Drives one connection of either role over one transport.

    `connect` makes the connection once the transport is there, or None: it came too late, and is
    closed. `deliver` takes its events, and
    says whether there is room for more; without room the socket is not read, so that the peer
    waits, until `resume` is called.
    """

    __slots__ = (
        "_buffer",
        "_connect",
        "_deliver",
        "_loop",
        "_paused",
        "_timer",
        "_transport",
        "_woken",
        "_writable",
        "closed",
        "connection",
    )

    def __init__(
        self,
        connect: Callable[[Pump], Connection[Any, Any] | None],
        deliver: Callable[[Pump, list[Any]], bool],
    ) -> None:
        self._connect = connect
        self._deliver = deliver
        self._buffer = _of_thread.buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True
        self._paused = False
        self._woken = False
        self.connection: Connection[Any, Any] | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done once the transport is closed."""

    # ----- asyncio calls these -----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.connection = self._connect(self)
        if self.connection is None:
            self._transport.abort()
            return
        self.connection.on_wake = self.wake
        self.turn()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert self.connection is not None  # nothing is read once the transport is aborted
        now = self._loop.time()
        self.connection.receive_data(bytes(self._buffer[:nbytes]), now=now)
        self.connection.check_clock(time.time(), now=now)
        self.turn()

    def eof_received(self) -> bool:
        return False  # the transport closes itself, and connection_lost says so

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connection is not None:
            self.connection.receive_eof(now=self._loop.time())
            self.turn()
            # No cycle may keep what a thousand hostile connections sent until it is collected.
            self.connection.on_wake = None
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self.turn()

    # ----- the adapter calls these -----

    def wake(self) -> None:
        """Let a turn follow soon: somebody has changed the connection."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self.turn)

    def turn(self) -> None:
        """After each change: send the bytes, hand over the events, set the timer."""
        self._woken = False
        connection, transport = self.connection, self._transport
        assert connection is not None and transport is not None
        if self._writable and (data := connection.data_to_send()):
            transport.write(data)
        room = self._deliver(self, connection.events())
        if connection.state is State.CLOSED:
            self._end(transport)
            return
        if not room and not self._paused:
            self._paused = True
            transport.pause_reading()
            connection.pause(now=self._loop.time())
        self._set_timer(connection.next_timer())

    def resume(self) -> None:
        """There is room for events again."""
        if self._paused and self.connection is not None and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
            self.connection.unpause(now=self._loop.time())
            self._set_timer(self.connection.next_timer())

    def abort(self) -> None:
        """Close the transport at once."""
        if self._transport is not None:
            self._transport.abort()

    # ----- inside -----

    def _set_timer(self, at: float | None) -> None:
        if self._timer is not None:
            # One that fires early is harmless, and cheaper than a new one for each turn.
            if at is not None and self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = None if at is None else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.connection is not None:
            now = self._loop.time()
            self.connection.check_clock(time.time(), now=now)
            self.connection.handle_timer(now=now)
            self.turn()

    def _end(self, transport: asyncio.Transport) -> None:
        if not transport.is_closing():
            transport.close()
        if self._timer is not None:
            self._timer.cancel()
        # A peer that does not read must not keep us: what is not flushed by then is lost.
        self._timer = None
        if not self.closed.done():
            handle = self._loop.call_later(_FLUSH_SECONDS, transport.abort)
            self.closed.add_done_callback(lambda _: handle.cancel())
