"""Driver on asyncio: bytes, events and the timer of one connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from gateway_asyncio._wakes import WakeBatch
from gateway_proto import Connection, State
from gateway_proto.driver.iteration import FLUSH_SECONDS, READ_SIZE, excuse_blocked_loop, raisable

__all__ = ["ConnectionDriver"]


class _Buffers(threading.local):
    """Read buffer of all drivers of a thread: each copies its data before the next one reads.

    A new buffer per read would be mapped, filled with zeros and unmapped by the system.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ_SIZE))


_of_thread = _Buffers()


class ConnectionDriver(asyncio.BufferedProtocol):
    """Driver of one connection of either role over one transport.

    `make_connection` is called when the transport is open. `deliver` takes events, and returns
    whether there is capacity for more; if not, the socket is not read until `resume_reading` is
    called. An exception in the connection or in a callback ends the driver, and is kept in `error`.
    `wakes` schedules output steps; None means the event loop.
    """

    __slots__ = (
        "_buffer",
        "_deliver",
        "_is_excused",
        "_loop",
        "_make_connection",
        "_paused",
        "_timer",
        "_timer_at",
        "_transport",
        "_wakes",
        "_woken",
        "_writable",
        "closed",
        "connection",
        "ended",
        "error",
    )

    def __init__(
        self,
        make_connection: Callable[[ConnectionDriver], Connection[Any, Any]],
        deliver: Callable[[ConnectionDriver, list[Any]], bool],
        wakes: WakeBatch | None = None,
    ) -> None:
        self._make_connection: Callable[[ConnectionDriver], Connection[Any, Any]] | None
        self._make_connection = make_connection
        self._deliver = deliver
        self._buffer = _of_thread.buffer
        self._loop = asyncio.get_running_loop()
        self._wakes: WakeBatch | asyncio.AbstractEventLoop = wakes or self._loop
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None  # a handle of uvloop may have no `when`
        self._writable = True
        self._paused = False
        self._is_excused = False  # for a blocked loop, since data was received
        self._woken = False
        self.connection: Connection[Any, Any] | None = None
        self.error: BaseException | None = None
        """Exception that ended the driver; None if it ended normally or still runs."""
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection is CLOSED, or failed; its last bytes may still be sent."""
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done when the transport is closed."""

    # ----- called by asyncio -----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        try:
            assert self._make_connection is not None
            self.connection = self._make_connection(self)
            self._make_connection = None  # a bound method takes 64 bytes
            self.connection.on_wake = self.wake
        except BaseException as error:
            self.fail(error)
        self.process_output()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        connection = self.connection
        if connection is None or self.error is not None:
            return
        try:
            # Both clocks are read together: a slow read must not look like a clock jump.
            unix, now = time.time(), self._loop.time()
            self._is_excused = False
            self._excuse(connection, self._timer_at, now)
            self._woken = True  # its own output is processed below, without another step
            connection.receive_data(bytes(self._buffer[:nbytes]), now=now)
            connection.check_clock(unix, now=now)
            self._woken = False
            self._process_output(connection)
        except BaseException as error:
            self.fail(error)

    def eof_received(self) -> bool:
        return False  # the transport closes itself, and connection_lost is called

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish()
        if self.connection is not None:
            # Without a reference cycle, received data is freed without garbage collection.
            self.connection.on_wake = None
        self._set_timer(None)
        for future in (self.ended, self.closed):
            if not future.done():
                future.set_result(None)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self.process_output()

    # ----- called by the adapter -----

    def wake(self) -> None:
        """Schedule `process_output`, because another caller changed the connection."""
        if not self._woken:
            self._woken = True
            self._wakes.call_soon(self.process_output)

    def process_output(self) -> None:
        """Send the bytes, deliver the events and set the timer, after each change."""
        self._woken = False
        if self.connection is not None and self.error is None:
            try:
                self._process_output(self.connection)
            except BaseException as error:
                self.fail(error)

    def resume_reading(self) -> None:
        """Resume reading: the event queue has capacity again."""
        if self._paused and self.connection is not None and self.error is None:
            self._paused = False
            try:
                if self._transport is not None:
                    self._transport.resume_reading()
                self.connection.unpause(now=self._loop.time())
                self._set_timer(self.connection.next_timer())
            except BaseException as error:
                self.fail(error)

    def finish(self) -> None:
        """End the connection as if the transport had closed; pending bytes are still sent."""
        if self.connection is not None and self.error is None:
            try:
                self.connection.receive_eof(now=self._loop.time())
            except BaseException as error:
                self.fail(error)
            self.process_output()

    def fail(self, error: BaseException) -> None:
        """Stop because of an exception in the connection or in a callback."""
        if self.error is None:
            self.error = raisable(error)
            if self.connection is not None:
                # The owner may count connections. The cause of the error may raise here again.
                with contextlib.suppress(Exception):
                    self.connection.receive_eof(now=self._loop.time())
            if self._transport is not None:
                self._end(self._transport)
            self.abort()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def abort(self) -> None:
        """Close the transport at once."""
        if self._transport is not None:
            self._transport.abort()

    # ----- inside -----

    def _process_output(self, connection: Connection[Any, Any]) -> None:
        transport = self._transport
        assert transport is not None
        if self._writable and (data := connection.data_to_send()):
            transport.write(data)
        has_capacity = self._deliver(self, connection.events())
        if connection.state is State.CLOSED:
            self._end(transport)
            return
        if not has_capacity and not self._paused:
            self._paused = True
            transport.pause_reading()
            connection.pause(now=self._loop.time())
        self._set_timer(connection.next_timer())

    def _excuse(self, connection: Connection[Any, Any], due: float | None, now: float) -> None:
        if not self._paused and not self._is_excused:
            self._is_excused = excuse_blocked_loop(connection, due, now)

    def _set_timer(self, at: float | None) -> None:
        if self._timer is not None:
            # A timer that fires early is harmless, and cheaper than a new timer per change.
            if at is not None and self._timer_at is not None and self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer = None if at is None else self._loop.call_at(at, self._on_timer)
        self._timer_at = at

    def _on_timer(self) -> None:
        self._timer = None
        connection = self.connection
        if connection is None or self.error is not None:
            return
        try:
            unix, now = time.time(), self._loop.time()
            self._excuse(connection, self._timer_at, now)
            connection.check_clock(unix, now=now)
            connection.handle_timer(now=now)
            self._process_output(connection)
        except BaseException as error:
            self.fail(error)

    def _end(self, transport: asyncio.Transport) -> None:
        if not transport.is_closing():
            transport.close()
        self._set_timer(None)
        if not self.ended.done():
            self.ended.set_result(None)
            # The peer may not read: drop data that is not sent by then.
            handle = self._loop.call_later(FLUSH_SECONDS, transport.abort)
            self.closed.add_done_callback(lambda _: handle.cancel())
