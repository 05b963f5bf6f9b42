"""Drivers whose event loop is blocked again and again: each read excuses the peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import trio

import gateway_asyncio._driver
import gateway_trio
from gateway_proto import State


class OverdueConnection:
    """A connection whose timer should have fired long ago; it notes its pauses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.state = State.READY
        self.pauses: list[float] = []
        self.on_wake: Callable[[], None] | None = None
        self._clock = clock

    def receive_data(self, data: bytes, *, now: float) -> None:
        pass

    def receive_eof(self, *, now: float) -> None:
        self.state = State.CLOSED

    def check_clock(self, unix: float, *, now: float) -> None:
        pass

    def pause(self, *, now: float) -> None:
        self.pauses.append(now)

    def unpause(self, *, now: float) -> None:
        pass

    def data_to_send(self) -> bytes:
        return b""

    def events(self) -> list[Any]:
        return []

    def next_timer(self) -> float:
        return self._clock() - 10.0


class DueAtOnceLoop(asyncio.SelectorEventLoop):
    """An event loop that makes no timer for what is due, as uvloop does."""

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        if when <= self.time():
            return self.call_soon(callback, *args, context=context)
        return super().call_at(when, callback, *args, context=context)


class TwoReads:
    """A stream with two reads of data, and then its end."""

    def __init__(self) -> None:
        self.left = [b"a", b"b", b""]

    async def receive_some(self, size: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.left.pop(0)


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, DueAtOnceLoop])
def test_each_read_excuses_the_peer_on_asyncio(loop: type[asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        connection: Any = OverdueConnection(asyncio.get_running_loop().time)
        driver = gateway_asyncio._driver.ConnectionDriver(lambda _: connection, lambda *_: True)
        driver.connection_made(asyncio.Transport())

        driver.buffer_updated(1)
        driver.buffer_updated(1)
        driver._set_timer(None)

        assert driver.error is None
        assert len(connection.pauses) == 2

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_each_read_excuses_the_peer_on_trio() -> None:
    async def main() -> None:
        connection: Any = OverdueConnection(trio.current_time)
        stream: Any = TwoReads()
        driver = gateway_trio.ConnectionDriver(connection, stream, lambda *_: True)
        driver._armed = trio.current_time() - 10.0

        await driver._read()

        assert driver.error is None
        assert len(connection.pauses) == 2

    trio.run(main)
