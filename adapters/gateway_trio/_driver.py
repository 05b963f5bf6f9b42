"""Driver on trio: bytes, events and the timer of one connection."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from gateway_proto import Connection, State
from gateway_proto.driver.iteration import FLUSH_SECONDS, READ_SIZE, excuse_blocked_loop, raisable

__all__ = ["ConnectionDriver"]

_LOST = (OSError, EOFError, trio.BrokenResourceError, trio.ClosedResourceError)
"""Exceptions of a lost connection: streams of the caller may raise the errors of sockets."""
_STEPS_OF_A_READ = 3
"""Checkpoints within which data in the socket buffer is received, also with TLS."""


class ConnectionDriver:
    """Driver of one connection of either role over one stream.

    `deliver` takes events, and returns whether there is capacity for more; if not, the stream is
    not read until `resume_reading` is called. An exception in the connection or in a callback ends
    the driver, and is kept in `error`.
    """

    def __init__(
        self,
        connection: Connection[Any, Any],
        stream: trio.abc.Stream,
        deliver: Callable[[ConnectionDriver, list[Any]], bool],
    ) -> None:
        self.connection: Connection[Any, Any] = connection
        self._stream = stream
        self._deliver = deliver
        self._unsent = b""
        self._output_ready = trio.Event()
        self._is_woken = False
        self._armed = math.inf
        self._timer_changed = trio.Event()
        self._may_read = trio.Event()
        self._is_paused = False
        self._is_excused = False  # for a blocked loop, since data was received
        self._scope = trio.CancelScope()
        self.error: BaseException | None = None
        """Exception that ended the driver; None if it ended normally or still runs."""
        self.ended: trio.Event = trio.Event()
        """Set when the connection is CLOSED, or failed; its last bytes may still be sent."""
        self.closed: trio.Event = trio.Event()
        """Set when the stream is closed."""

    async def run(self) -> None:
        """Return when the connection is CLOSED and the stream too."""
        self.connection.on_wake = self.wake
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self.process_output()
                    nursery.start_soon(self._guarded, self._read)
                    nursery.start_soon(self._guarded, self._run_timer)
                    await self._guarded(self._write)
                    nursery.cancel_scope.cancel()
        finally:
            self.finish()
            # Without a reference cycle, received data is freed without garbage collection.
            self.connection.on_wake = None
            self.ended.set()
            self.closed.set()
            with contextlib.suppress(*_LOST):
                await trio.aclose_forcefully(self._stream)

    def wake(self) -> None:
        """Schedule `process_output`, because another caller changed the connection."""
        if self._unsent:  # the writer may wait for the peer
            self._timer_changed.set()
        else:
            # The writer does it: to wake the task of the timer too would take twice the time.
            self._is_woken = True
            self._output_ready.set()

    def process_output(self) -> None:
        """Send the bytes, deliver the events and set the timer, after each change."""
        if self.error is None:
            try:
                self._process_output()
            except BaseException as error:
                self.fail(error)

    def resume_reading(self) -> None:
        """Resume reading: the event queue has capacity again."""
        if self._is_paused and self.error is None:
            self._is_paused = False
            try:
                self.connection.unpause(now=trio.current_time())
            except BaseException as error:
                self.fail(error)
            self._may_read.set()
            self._timer_changed.set()

    def finish(self) -> None:
        """End the connection as if the stream had closed; pending bytes are still sent."""
        if self.error is None:
            try:
                self.connection.receive_eof(now=trio.current_time())
            except BaseException as error:
                self.fail(error)
            self.process_output()

    def fail(self, error: BaseException) -> None:
        """Stop because of an exception in the connection or in a callback."""
        if self.error is None:
            self.error = raisable(error)
            # The owner may count connections. The cause of the error may raise here again.
            with contextlib.suppress(Exception):
                self.connection.receive_eof(now=trio.current_time())
            self.ended.set()
            self._scope.cancel()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error

    def abort(self) -> None:
        """Close the stream at once."""
        self._scope.cancel()

    # ----- inside -----

    def _process_output(self) -> None:
        connection = self.connection
        self._take_bytes()
        has_capacity = self._deliver(self, connection.events())
        if not has_capacity and not self._is_paused:
            # Not only after a read: a timer also continues with data buffered in the connection.
            self._is_paused = True
            self._may_read = trio.Event()
            connection.pause(now=trio.current_time())
        # A timer that fires early is harmless, and cheaper than waking a task per change.
        at = connection.next_timer()
        if at is not None and at < self._armed:
            self._timer_changed.set()
        if connection.state is State.CLOSED and not self.ended.is_set():
            self.ended.set()
            self._output_ready.set()
            self._timer_changed.set()
            # The peer may not read: drop data that is not sent by then.
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + FLUSH_SECONDS)

    def _take_bytes(self) -> None:
        # More is taken after these are sent: bytes in the connection count towards its limits.
        if not self._unsent and (data := self.connection.data_to_send()):
            self._unsent = data
            self._output_ready.set()

    async def _process_output_after_writing(self) -> None:
        """Process output, but write the bytes first: a handler of the events may block the loop."""
        self._is_woken = False  # done below
        self._take_bytes()
        if self._unsent:
            # The writer runs in the same batch of tasks as this one, the application in the next.
            await trio.lowlevel.cancel_shielded_checkpoint()
        self.process_output()

    def _excuse(self, now: float) -> None:
        if not self._is_paused and not self._is_excused:
            self._is_excused = excuse_blocked_loop(self.connection, self._armed, now)

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as error:
            if error.subgroup(trio.Cancelled) is not None:  # of a nursery within the stream
                raise
            self.fail(error)
        except BaseException as error:
            self.fail(error)

    # ----- three tasks -----

    async def _read(self) -> None:
        connection = self.connection
        while connection.state is not State.CLOSED:
            try:
                data = await self._stream.receive_some(READ_SIZE)
            except _LOST:
                data = b""
            # Both clocks are read together: a slow read must not look like a clock jump.
            unix, now = time.time(), trio.current_time()
            if data:
                self._is_excused = False
                self._excuse(now)
                connection.receive_data(bytes(data), now=now)
                connection.check_clock(unix, now=now)
            else:
                connection.receive_eof(now=now)
            await self._process_output_after_writing()
            if self._is_paused:
                await self._may_read.wait()

    async def _run_timer(self) -> None:
        connection = self.connection
        while connection.state is not State.CLOSED:
            at = connection.next_timer()
            self._armed = math.inf if at is None else at
            with trio.move_on_at(self._armed) as until_due:
                await self._timer_changed.wait()
            self._timer_changed = trio.Event()
            if until_due.cancelled_caught:
                # Read buffered data first: the timer may be waiting for it.
                for _ in range(_STEPS_OF_A_READ):
                    await trio.lowlevel.checkpoint()
                if connection.next_timer() == at:  # else the read has fired it already
                    unix, now = time.time(), trio.current_time()
                    self._excuse(now)
                    connection.check_clock(unix, now=now)
                    connection.handle_timer(now=now)
            await self._process_output_after_writing()

    async def _write(self) -> None:
        while True:
            self._output_ready = trio.Event()
            if self._is_woken:
                self._is_woken = False
                self.process_output()
            if self._unsent:
                try:
                    await self._stream.send_all(self._unsent)
                except _LOST:
                    self.finish()
                    return
                self._unsent = b""
                self._take_bytes()
            elif self.connection.state is State.CLOSED:
                return
            else:
                await self._output_ready.wait()
