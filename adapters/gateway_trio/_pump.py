"""trio stream ↔ connection: bytes, events and the timer; nothing of the protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import trio

from gateway_proto import Connection, State

__all__ = ["Pump"]

_CHUNK = 262144
_FLUSH_SECONDS = 5.0


class Pump:
    """Drives one connection of either role over one stream.

    `deliver` takes its events, and says whether there is room for more; without room the stream
    is not read, so that the peer waits, until `resume` is called.
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
        self._unsent: list[bytes] = []
        self._to_write = trio.Event()
        self._armed = math.inf
        self._to_time = trio.Event()
        self._room = trio.Event()
        self._has_room = True
        self._scope = trio.CancelScope()
        self.closed: trio.Event = trio.Event()
        """Set once the connection is CLOSED and what it had to say is sent."""

    async def run(self) -> None:
        """Returns when the connection is CLOSED and the stream too."""
        self.connection.on_wake = self.wake
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self.turn()
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._time)
                    await self._write()
                    nursery.cancel_scope.cancel()
        finally:
            self.connection.receive_eof(now=trio.current_time())
            self._deliver(self, self.connection.events())
            # No cycle may keep what a thousand hostile connections sent until it is collected.
            self.connection.on_wake = None
            self.closed.set()
            await trio.aclose_forcefully(self._stream)

    def wake(self) -> None:
        """Let a turn follow soon: somebody has changed the connection."""
        self._to_time.set()

    def turn(self) -> None:
        """After each change: send the bytes, hand over the events, set the timer."""
        connection = self.connection
        self._has_room = self._deliver(self, connection.events())
        if data := connection.data_to_send():
            self._unsent.append(data)
            self._to_write.set()
        # A timer that fires early is harmless, and cheaper than to wake a task for each turn.
        at = connection.next_timer()
        if at is not None and at < self._armed:
            self._to_time.set()
        if connection.state is State.CLOSED:
            self._to_write.set()
            self._to_time.set()
            # A peer that does not read must not keep us: what is not flushed by then is lost.
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + _FLUSH_SECONDS)

    def resume(self) -> None:
        """There is room for events again."""
        self._room.set()

    # ----- three tasks -----

    async def _read(self) -> None:
        while self.connection.state is not State.CLOSED:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if data:
                now = trio.current_time()
                self.connection.receive_data(bytes(data), now=now)
                self.connection.check_clock(time.time(), now=now)
            else:
                self.connection.receive_eof(now=trio.current_time())
            self.turn()
            if not self._has_room:
                self._room = trio.Event()
                self.connection.pause(now=trio.current_time())
                await self._room.wait()
                self.connection.unpause(now=trio.current_time())
                self.turn()

    async def _time(self) -> None:
        while self.connection.state is not State.CLOSED:
            at = self.connection.next_timer()
            self._armed = math.inf if at is None else at
            with trio.move_on_at(self._armed):
                await self._to_time.wait()
            self._to_time = trio.Event()
            now = trio.current_time()
            self.connection.check_clock(time.time(), now=now)
            self.connection.handle_timer(now=now)
            self.turn()

    async def _write(self) -> None:
        while True:
            self._to_write = trio.Event()
            if self._unsent:
                data = b"".join(self._unsent)
                self._unsent.clear()
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.connection.receive_eof(now=trio.current_time())
                    self.turn()
            elif self.connection.state is State.CLOSED:
                return
            else:
                await self._to_write.wait()
