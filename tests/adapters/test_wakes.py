"""Output steps of the drivers of a server on asyncio, which one handle runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import wsproto.events as ws
from wsproto.connection import Connection, ConnectionType

from gateway_asyncio import serve_gateway
from gateway_asyncio._wakes import WakeBatch
from gateway_proto.server import Server
from tests.wire.support import UPGRADE


def test_callbacks_run_in_order_in_the_next_iteration() -> None:
    ran: list[int] = []

    async def main() -> None:
        wakes = WakeBatch()
        wakes.call_soon(lambda: wakes.call_soon(lambda: ran.append(3)))
        for number in (1, 2):
            wakes.call_soon(lambda number=number: ran.append(number))
        assert ran == []
        await asyncio.sleep(0)
        assert ran == [1, 2]
        await asyncio.sleep(0)

    asyncio.run(main())

    assert ran == [1, 2, 3]


def test_callbacks_after_an_interrupt_run_later() -> None:
    ran: list[int] = []
    loop = asyncio.new_event_loop()

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def wake(*callbacks: Callable[[], None]) -> None:
        wakes = WakeBatch()
        for callback in callbacks:
            wakes.call_soon(callback)
        await asyncio.sleep(0)

    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(
                wake(lambda: ran.append(1), interrupt, lambda: ran.append(2), lambda: ran.append(3))
            )
        assert ran == [1]
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()

    assert ran == [1, 2, 3]


def test_answer_to_a_read_needs_no_further_output_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Callable[[], None]] = []
    call_soon = WakeBatch.call_soon

    def count(wakes: WakeBatch, callback: Callable[[], None]) -> None:
        steps.append(callback)
        call_soon(wakes, callback)

    async def main() -> None:
        async with serve_gateway(Server()) as running:
            reader, writer = await asyncio.open_connection(running.host, running.port)
            writer.write(UPGRADE.replace(b"/x", b"/?v=10"))
            await reader.readuntil(b"heartbeat_interval")
            identify = ws.TextMessage('{"op":2,"d":{"token":"t","intents":0}}')
            writer.write(Connection(ConnectionType.CLIENT).send(identify))
            await reader.readuntil(b"READY")
            assert steps == []
            running.dispatch("RESUMED", {})
            await reader.readuntil(b"RESUMED")
            assert len(steps) == 1
            writer.close()

    monkeypatch.setattr(WakeBatch, "call_soon", count)
    asyncio.run(main())
