"""trio stream ↔ connection: bytes, events and the timer; nothing of the protocol."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from gateway_proto import Connection, State
from gateway_proto._driving import excuse_blocked_loop, raisable

__all__ = ["Pump"]

_CHUNK = 262144
_FLUSH_SECONDS = 5.0
_STEPS_OF_A_READ = 3
"""Checkpoints within which data that waits in the socket is received, with TLS too."""


class Pump:
    """Drives one connection of either role over one stream.

    `deliver` takes events, and returns whether there is capacity for more; without capacity the
    stream is not read until `resume` is called. An exception in the state machine or in a callback
    ends the pump: it is kept in `error`.
    """

    def __init__(
        self,
        connection: Connection[Any, Any],
        stream: trio.abc.Stream,
        deliver: Callable[[Pump, list[Any]], bool],
    ) -> None:
        self.connection: Connection[Any, Any] = connection
        self._stream = stream
        self._deliver = deliver
        self._unsent = b""
        self._to_write = trio.Event()
        self._armed = math.inf
        self._to_time = trio.Event()
        self._room = trio.Event()
        self._is_paused = False
        self._is_excused = False  # for a blocked loop, since data was received
        self._scope = trio.CancelScope()
        self.error: BaseException | None = None
        """The exception that ended the pump."""
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
                    self.turn()
                    nursery.start_soon(self._guarded, self._read)
                    nursery.start_soon(self._guarded, self._time)
                    await self._guarded(self._write)
                    nursery.cancel_scope.cancel()
        finally:
            self.finish()
            # No cycle may keep what a thousand hostile connections sent until it is collected.
            self.connection.on_wake = None
            self.ended.set()
            self.closed.set()
            await trio.aclose_forcefully(self._stream)

    def wake(self) -> None:
        """Schedule a turn: the connection was changed by another caller."""
        self._to_time.set()

    def turn(self) -> None:
        """After each change: send the bytes, hand over the events, set the timer."""
        if self.error is None:
            try:
                self._turn()
            except BaseException as error:
                self.fail(error)

    def resume(self) -> None:
        """There is capacity for events again."""
        if self._is_paused and self.error is None:
            self._is_paused = False
            try:
                self.connection.unpause(now=trio.current_time())
            except BaseException as error:
                self.fail(error)
            self._room.set()
            self._to_time.set()

    def finish(self) -> None:
        """End the connection as if the stream had closed; its last bytes are still sent."""
        if self.error is None:
            try:
                self.connection.receive_eof(now=trio.current_time())
            except BaseException as error:
                self.fail(error)
            self.turn()

    def fail(self, error: BaseException) -> None:
        """End because of an exception in the state machine or in a callback."""
        if self.error is None:
            self.error = raisable(error)
            # For an owner who counts connections. The cause may raise here again.
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

    def _turn(self) -> None:
        connection = self.connection
        self._take_bytes()
        has_room = self._deliver(self, connection.events())
        if not has_room and not self._is_paused:
            # Not only after a read: a timer goes on with what waits in the connection.
            self._is_paused = True
            self._room = trio.Event()
            connection.pause(now=trio.current_time())
        # A timer that fires early is harmless, and cheaper than to wake a task for each turn.
        at = connection.next_timer()
        if at is not None and at < self._armed:
            self._to_time.set()
        if connection.state is State.CLOSED and not self.ended.is_set():
            self.ended.set()
            self._to_write.set()
            self._to_time.set()
            # The peer may not read: drop what is not sent by then.
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + _FLUSH_SECONDS)

    def _take_bytes(self) -> None:
        # More is taken when these are sent: what waits in the connection counts for its limits.
        if not self._unsent and (data := self.connection.data_to_send()):
            self._unsent = data
            self._to_write.set()

    async def _turn_after_writing(self) -> None:
        """Let the bytes reach the system before the events reach an application that may block."""
        self._take_bytes()
        if self._unsent:
            # The writer runs in the same batch of tasks as this one, and the application after it.
            await trio.lowlevel.cancel_shielded_checkpoint()
        self.turn()

    def _excuse(self, now: float) -> None:
        if not self._is_paused and not self._is_excused:
            self._is_excused = excuse_blocked_loop(self.connection, self._armed, now)

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception as error:
            self.fail(error)

    # ----- three tasks -----

    async def _read(self) -> None:
        connection = self.connection
        while connection.state is not State.CLOSED:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
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
            await self._turn_after_writing()
            if self._is_paused:
                await self._room.wait()

    async def _time(self) -> None:
        connection = self.connection
        while connection.state is not State.CLOSED:
            at = connection.next_timer()
            self._armed = math.inf if at is None else at
            with trio.move_on_at(self._armed):
                await self._to_time.wait()
            self._to_time = trio.Event()
            # What waits in the stream is read first: it may be what a timer waits for.
            for _ in range(_STEPS_OF_A_READ):
                await trio.lowlevel.checkpoint()
            if connection.next_timer() == at:  # else the read has fired it, and another is next
                unix, now = time.time(), trio.current_time()
                self._excuse(now)
                connection.check_clock(unix, now=now)
                connection.handle_timer(now=now)
            await self._turn_after_writing()

    async def _write(self) -> None:
        while True:
            self._to_write = trio.Event()
            if self._unsent:
                try:
                    await self._stream.send_all(self._unsent)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.finish()
                    return
                self._unsent = b""
                self._take_bytes()
            elif self.connection.state is State.CLOSED:
                return
            else:
                await self._to_write.wait()
