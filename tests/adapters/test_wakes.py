"""Output steps of the drivers of a server: how many, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import trio
import trio.testing
import wsproto.events as ws
from wsproto.connection import Connection, ConnectionType

import gateway_trio
from gateway_asyncio import open_gateway, serve_gateway
from gateway_asyncio._wakes import WakeBatch
from gateway_proto import ClientConnection, Config, Ready, Resumed, State
from gateway_proto.server import Server
from gateway_trio._driver import ConnectionDriver
from tests.adapters.support import adapter_config, wait_for_event
from tests.wire.support import UPGRADE

_UPGRADE = UPGRADE.replace(b"/x", b"/?v=10")
_IDENTIFY = Connection(ConnectionType.CLIENT).send(
    ws.TextMessage('{"op":2,"d":{"token":"t","intents":0}}')
)


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
            writer.write(_UPGRADE)
            await reader.readuntil(b"heartbeat_interval")
            writer.write(_IDENTIFY)
            await reader.readuntil(b"READY")
            assert steps == []
            running.dispatch("RESUMED", {})
            await reader.readuntil(b"RESUMED")
            assert len(steps) == 1
            writer.close()

    monkeypatch.setattr(WakeBatch, "call_soon", count)
    asyncio.run(main())


def test_ended_connection_leaves_no_timer_in_the_event_loop() -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(10),
            serve_gateway(Server()) as serving,
            open_gateway(adapter_config(serving)) as gateway,
        ):
            await wait_for_event(gateway, Ready)
        scheduled: list[asyncio.TimerHandle] = vars(asyncio.get_running_loop())["_scheduled"]
        assert not [handle for handle in scheduled if not handle.cancelled()]

    asyncio.run(main())


def test_ended_connections_are_not_kept_by_their_gateway() -> None:
    async def main() -> None:
        server = Server()
        async with (
            asyncio.timeout(20),
            serve_gateway(server) as serving,
            open_gateway(adapter_config(serving)) as gateway,
        ):
            await wait_for_event(gateway, Ready)
            for _ in range(4):
                for connection in server.open_connections:
                    connection.drop(now=serving.now())
                await wait_for_event(gateway, Resumed)
            assert len(gateway._lingering) <= 2

    asyncio.run(main())


def test_dispatches_of_a_trio_server_reach_an_idle_client() -> None:
    async def main() -> None:
        async with gateway_trio.serve_gateway(Server()) as running:
            stream = await trio.open_tcp_stream(running.host, running.port)
            async with stream:
                received = b""
                for data, end in ((_UPGRADE, b"heartbeat_interval"), (_IDENTIFY, b"READY")):
                    await stream.send_all(data)
                    while end not in received:
                        received += await stream.receive_some()
                await trio.testing.wait_all_tasks_blocked()
                with trio.fail_after(5):
                    for name in ("CHANNEL_PINS_UPDATE", "RESUMED"):
                        running.dispatch(name, {}, to=lambda _: True)
                        running.dispatch(name, {}, to=lambda _: True)
                        while received.count(name.encode()) < 2:
                            received += await stream.receive_some()

    trio.run(main)


def test_trio_sends_what_was_added_during_a_write() -> None:
    async def main() -> None:
        config = Config(token="t", intents=0, gateway_url="ws://localhost", random=lambda: 0.99)
        connection = ClientConnection(config, "ws://localhost/?v=10", now=trio.current_time())
        server = Server().accept(now=trio.current_time())
        ours, theirs = trio.testing.memory_stream_pair()
        may_go_on = trio.Event()
        transfer = ours.send_stream.send_all_hook
        assert transfer is not None

        async def transfer_and_wait() -> None:
            await transfer()
            await may_go_on.wait()

        ours.send_stream.send_all_hook = transfer_and_wait
        driver = ConnectionDriver(connection, ours, lambda driver, events: True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run)
            server.receive_data(await theirs.receive_some(), now=trio.current_time())
            await theirs.send_all(server.data_to_send())  # HELLO
            await trio.testing.wait_all_tasks_blocked()
            assert connection.state is State.IDENTIFYING
            may_go_on.set()
            with trio.fail_after(5):
                server.receive_data(await theirs.receive_some(), now=trio.current_time())
            nursery.cancel_scope.cancel()
        assert server.session is not None

    trio.run(main)
