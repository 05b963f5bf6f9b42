"""`connect=`: streams of the caller, TLS over them, and exceptions."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pathlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
import trustme

import gateway_asyncio
import gateway_trio
from gateway_proto import Config, DialFailed, Dispatch, LocalProtocolError, Ready
from gateway_proto.server import Server
from tests.adapters.support import PATIENCE

Run = Callable[[Callable[[], Awaitable[None]]], None]
RUNNERS: dict[str, tuple[Any, Run]] = {
    "asyncio": (gateway_asyncio, lambda main: asyncio.run(main())),
    "trio": (gateway_trio, lambda main: trio.run(main)),
}

each_loop = pytest.mark.parametrize("name", RUNNERS)
CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost", backoff_initial=0.05)


async def _open(name: str, sock: socket.socket) -> Any:
    """Return the streams of a socket as `connect` does."""
    if name == "asyncio":
        return await asyncio.open_connection(sock=sock)
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


async def _until(
    adapter: Any, config: Config, kind: Any, connect: Any, **options: Any
) -> list[Any]:
    events = []
    async with adapter.open_gateway(config, connect=connect, **options) as gateway:
        async for event in gateway:
            events.append(event)
            if isinstance(event, kind):
                break
    return events


@each_loop
@pytest.mark.parametrize("encrypted", [False, True])
def test_stream_of_the_caller_is_used_for_the_gateway(name: str, encrypted: bool) -> None:
    adapter, run = RUNNERS[name]
    authority, server_side = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("gateway.example").configure_cert(server_side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    dials: list[Any] = []
    content = "x" * 300_000

    async def main() -> None:
        options = {"ssl_context": server_side} if encrypted else {}
        async with adapter.serve_gateway(Server(), **options) as serving:

            async def connect(dial: Any) -> Any:
                dials.append(dial)
                return await _open(name, socket.create_connection((serving.host, serving.port)))

            config = Config(
                token="t", intents=0, gateway_url=f"ws{'s' if encrypted else ''}://gateway.example",
                allow_plaintext=True,
            )  # fmt: skip
            events = []
            async with adapter.open_gateway(
                config, connect=connect, ssl_context=trusting
            ) as gateway:
                async for event in gateway:
                    events.append(event)
                    if isinstance(event, Ready):
                        serving.dispatch("USER_UPDATE", {"content": content})
                    if isinstance(event, Dispatch) and event.name == "USER_UPDATE":
                        assert event.data["content"] == content
                        return
                    assert not isinstance(event, DialFailed), event

    run(main)
    gc.collect()

    assert [dial.host for dial in dials] == ["gateway.example"]


@each_loop
def test_unix_socket_is_used_for_the_gateway(name: str, tmp_path: pathlib.Path) -> None:
    adapter, run = RUNNERS[name]
    path = str(tmp_path / "gateway.sock")

    async def connect(dial: Any) -> Any:
        if name == "asyncio":
            return await asyncio.open_unix_connection(path)
        return await trio.open_unix_socket(path)

    async def main() -> None:
        events = await _until(adapter, CONFIG, DialFailed, connect)

        assert "calling connect: " in events[-1].error
        assert "No such file or directory" in events[-1].error

    run(main)


@each_loop
def test_tls_over_a_stream_of_the_caller_is_verified(name: str) -> None:
    adapter, run = RUNNERS[name]
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("gateway.example").configure_cert(server_side)

    async def main() -> None:
        async with adapter.serve_gateway(Server(), ssl_context=server_side) as serving:

            async def connect(dial: Any) -> Any:
                return await _open(name, socket.create_connection((serving.host, serving.port)))

            config = Config(token="t", intents=0, gateway_url="wss://gateway.example")
            events = await _until(adapter, config, DialFailed, connect)

            assert "TLS handshake with 'gateway.example': " in events[-1].error
            assert "certificate verify failed" in events[-1].error

    run(main)
    gc.collect()


FAILURES = [
    (OSError("the tunnel is down"), "calling connect: the tunnel is down"),
    (TimeoutError(), "calling connect: timed out"),
    (EOFError(), "calling connect: connection closed by the peer"),
    (trio.BrokenResourceError(), "calling connect: connection closed by the peer"),
    (ExceptionGroup("", [OSError("one"), OSError("two")]), "calling connect: one; two"),
]


@each_loop
@pytest.mark.parametrize(("error", "expected_text"), FAILURES, ids=lambda one: repr(one)[:30])
def test_network_error_in_connect_is_a_failed_dial(
    name: str, error: Any, expected_text: str
) -> None:
    adapter, run = RUNNERS[name]

    async def connect(dial: Any) -> Any:
        raise error

    async def main() -> None:
        events = await _until(adapter, CONFIG, DialFailed, connect)

        assert events[-1].error == expected_text

    run(main)


@each_loop
def test_connect_timeout_is_a_failed_dial(name: str) -> None:
    adapter, run = RUNNERS[name]

    async def connect(dial: Any) -> Any:
        await (asyncio.sleep(60) if name == "asyncio" else trio.sleep(60))

    async def main() -> None:
        config = attrs.evolve(CONFIG, handshake_timeout=0.3)
        events = await _until(adapter, config, DialFailed, connect)

        assert events[-1].error == "timed out after 0.3 s: calling connect"

    run(main)


@each_loop
@pytest.mark.parametrize("mistake", ["raises", "returns"])
def test_bug_in_connect_is_raised_by_the_iteration(name: str, mistake: str) -> None:
    adapter, run = RUNNERS[name]

    async def connect(dial: Any) -> Any:
        if mistake == "raises":
            raise RuntimeError("a mistake in connect")
        return 7

    async def main() -> None:
        wanted: Any = (RuntimeError, LocalProtocolError)
        with pytest.raises(wanted, match=r"a mistake in connect|connect returned 7: expected"):
            await _until(adapter, CONFIG, DialFailed, connect)

    run(main)


@each_loop
def test_connect_and_proxy_exclude_each_other(name: str) -> None:
    adapter, run = RUNNERS[name]

    async def connect(dial: Any) -> Any:
        raise AssertionError

    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="exclude each other"):
            await _until(adapter, CONFIG, DialFailed, connect, proxy="http://127.0.0.1:1")

    run(main)


@each_loop
def test_ended_stream_is_dialed_again(name: str) -> None:
    adapter, run = RUNNERS[name]
    dials = []

    async def main() -> None:
        async with adapter.serve_gateway(Server()) as serving:

            async def connect(dial: Any) -> Any:
                dials.append(dial)
                if len(dials) == 1:
                    ours, theirs = socket.socketpair()
                    theirs.close()
                    return await _open(name, ours)
                return await _open(name, socket.create_connection((serving.host, serving.port)))

            events = await _until(adapter, CONFIG, Ready, connect)

            assert isinstance(events[-1], Ready)

    run(main)
    gc.collect()

    assert len(dials) == 2


def test_cancelled_await_in_connect_is_a_failed_dial() -> None:
    async def connect(dial: Any) -> Any:
        other = asyncio.get_running_loop().create_future()
        other.cancel()
        await other

    async def main() -> None:
        events = await _until(gateway_asyncio, CONFIG, DialFailed, connect)

        assert events[-1].error == "calling connect: cancelled"

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_peer_that_does_not_read_pauses_stream_writes() -> None:
    """Buffered data is written when the peer reads again; leaving does not wait for it."""
    from gateway_asyncio._streams import StreamTransport

    calls: list[str] = []

    class Protocol(asyncio.BufferedProtocol):
        def pause_writing(self) -> None:
            calls.append("pause")

        def resume_writing(self) -> None:
            calls.append("resume")

        def connection_lost(self, exc: Exception | None) -> None:
            calls.append("lost")

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            transport = StreamTransport.of(await asyncio.open_connection(sock=ours))
            transport.set_protocol(Protocol())
            size = 4_000_000
            transport.write(bytes(size))
            await asyncio.sleep(0)
            assert calls == ["pause"]
            received = 0
            while received < size:
                received += len(await asyncio.get_running_loop().sock_recv(theirs, 1 << 20))
            while calls == ["pause"]:
                await asyncio.sleep(0.01)
            transport.write(bytes(size))
            transport.close()
            transport.abort()
            while "lost" not in calls:
                await asyncio.sleep(0.01)
            assert transport.is_closing()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    gc.collect()

    assert calls[:2] == ["pause", "resume"]
    assert calls.count("lost") == 1
    assert calls[-1] == "lost"


def test_trio_accepts_memory_streams() -> None:
    async def main() -> None:
        async def connect(dial: Any) -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(serve, theirs)
            return ours

        async def serve(stream: trio.abc.Stream) -> None:
            connection = Server().accept(now=trio.current_time())
            driver = gateway_trio.ConnectionDriver(connection, stream, lambda *_: True)
            await driver.run()

        async with trio.open_nursery() as nursery:
            events = await _until(gateway_trio, CONFIG, Ready, connect)
            nursery.cancel_scope.cancel()

        assert isinstance(events[-1], Ready)

    with contextlib.suppress(trio.Cancelled):
        trio.run(main)
