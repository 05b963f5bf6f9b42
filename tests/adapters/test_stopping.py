"""Stop, cancellation and leaving of a gateway, with both adapters."""

from __future__ import annotations

import contextlib
import socket
import warnings

import pytest
import trio

from gateway_proto import Config, DialFailed, GaveUp, LocalProtocolError, Ready, UpdatePresence
from gateway_proto.server import Server
from tests.adapters.support import (
    KITS,
    Kit,
    adapter_config,
    wait_for_event,
)

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)

UNREACHABLE = Config(
    token="secret",
    intents=0,
    gateway_url="ws://127.0.0.1:1",
    backoff_initial=1000.0,
    backoff_max=1000.0,
    random=lambda: 0.99,
)
"""A client whose first dial fails, and whose next one is far away."""


def test_stop_without_keeping_the_session_ends_it_on_the_server(kit: Kit) -> None:
    async def main() -> None:
        server = Server()
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            await wait_for_event(gateway, Ready)
            assert server.sessions
            await gateway.stop(keep_session=False)
            assert gateway.session is None
            assert not [event async for event in gateway if isinstance(event, GaveUp)]
            while server.sessions:
                await kit.sleep(0.01)

    kit.run(main)


def test_stop_during_a_dial_ends_the_client(kit: Kit) -> None:
    # Connecting to a listening socket succeeds without accept(); no data follows.
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            config = Config(token="secret", intents=0, gateway_url=f"ws://127.0.0.1:{port}")
            async with kit.limit(), kit.adapter.open_gateway(config) as gateway:
                await gateway.stop()
                assert not [event async for event in gateway if isinstance(event, GaveUp)]
            async with kit.limit(), kit.adapter.open_gateway(config) as gateway:
                await kit.sleep(0)
                await kit.sleep(0)
                await gateway.stop()
                await kit.sleep(0.05)
                assert gateway.gave_up is None

    kit.run(main)


def test_stop_during_the_backoff_ends_the_events_immediately(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.open_gateway(UNREACHABLE) as gateway:
            await wait_for_event(gateway, DialFailed)
            await gateway.stop()
            assert all(type(event) is not GaveUp for event in [e async for e in gateway])
            with pytest.raises(LocalProtocolError, match="closed for good: it was stopped"):
                await gateway.send(UpdatePresence())

    kit.run(main)


def test_leaving_by_an_exception_closes_cleanly_and_raises_it(kit: Kit) -> None:
    class Mine(Exception):
        pass

    async def main() -> None:
        server = Server()
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            with pytest.raises(Mine):
                async with kit.adapter.open_gateway(adapter_config(serving)) as gateway:
                    await wait_for_event(gateway, Ready)
                    raise Mine
            while server.connections:
                await kit.sleep(0.01)
            assert len(server.sessions) == 1

    kit.run(main)


def test_cancelling_a_reader_closes_all_connections(kit: Kit) -> None:
    async def main() -> None:
        server = Server()
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            with contextlib.suppress(TimeoutError, trio.TooSlowError):
                async with (
                    kit.limit(0.3),
                    kit.adapter.open_gateway(adapter_config(serving)) as gateway,
                ):
                    async for _ in gateway:
                        pass
            while server.connections:
                await kit.sleep(0.01)

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        kit.run(main)


def test_leaving_during_the_backoff_is_immediate(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.open_gateway(UNREACHABLE) as gateway:
            await wait_for_event(gateway, DialFailed)

    kit.run(main)
