"""Dials: reasons of failures, several addresses, a blocked loop, closed sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import trustme

import gateway_asyncio
import gateway_trio
from gateway_proto import Client, Config, DialFailed, Ready
from gateway_proto.server import Server
from tests.adapters.support import PATIENCE, not_with_uvloop

Run = Callable[[Callable[[], Awaitable[None]]], None]
RUNNERS: dict[str, tuple[Any, Run]] = {
    "asyncio": (gateway_asyncio, lambda main: asyncio.run(asyncio.wait_for(main(), PATIENCE))),
    "trio": (gateway_trio, lambda main: trio.run(main)),
}

pytestmark = pytest.mark.parametrize("name", RUNNERS)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[tuple[str, int]]], None]:
    """Return a function that sets the addresses of a name."""
    real = socket.getaddrinfo

    def resolver(name: str, addresses: list[tuple[str, int]]) -> None:
        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            if host not in (name, name.encode()):
                return real(host, *args, **kwargs)
            families = [
                socket.AF_INET6 if ":" in address[0] else socket.AF_INET for address in addresses
            ]
            return [
                (family, socket.SOCK_STREAM, 6, "", sockaddr)
                for family, sockaddr in zip(families, addresses, strict=True)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolver


@pytest.fixture
def hole() -> Iterator[tuple[str, int]]:
    """An address that does not respond: with a full backlog Linux drops connection requests."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextlib.contextmanager
def _answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a server in a thread that calls `answer` for each connection; yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                answer(sock)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def _fails(
    name: str, url: str, options: dict[str, Any] | None = None, **settings: Any
) -> tuple[str, float]:
    """Return the error of a failed dial and the seconds that it took."""
    adapter, run = RUNNERS[name]
    config = Config(token="t", intents=0, gateway_url=url, **settings)
    failures: list[str] = []
    began = time.monotonic()

    async def main() -> None:
        async with adapter.open_gateway(config, **(options or {})) as gateway:
            async for event in gateway:
                if isinstance(event, DialFailed):
                    failures.append(event.error)
                    return

    run(main)
    gc.collect()  # a socket that was left open is a ResourceWarning
    return failures[0], time.monotonic() - began


def _connects(name: str, url: str, server: Any = None, **settings: Any) -> float:
    """Return the seconds until READY."""
    adapter, run = RUNNERS[name]
    seconds: list[float] = []

    async def main() -> None:
        config = Config(token="t", intents=0, gateway_url=url, backoff_initial=0.1, **settings)
        began = time.monotonic()
        async with adapter.open_gateway(config) as gateway:
            async for event in gateway:
                if isinstance(event, Ready):
                    seconds.append(time.monotonic() - began)
                    return

    async def with_server() -> None:
        if server is None:
            await main()
            return
        async with adapter.serve_gateway(Server(), *server):
            await main()

    run(with_server)
    gc.collect()
    return seconds[0]


def test_rejected_dial_names_the_address_once(name: str, closed_port: int, resolve: Any) -> None:
    resolve("one.localhost", [("127.0.0.1", closed_port)])

    of_address, _ = _fails(name, f"ws://127.0.0.1:{closed_port}")
    of_name, _ = _fails(name, f"ws://one.localhost:{closed_port}")

    assert of_address == "Connection refused"
    assert of_name == f"127.0.0.1 port {closed_port}: Connection refused"


def test_each_address_is_named_with_its_reason(name: str, closed_port: int, resolve: Any) -> None:
    resolve("two.localhost", [("127.0.0.1", closed_port), ("127.0.0.2", closed_port)])

    error, _ = _fails(name, f"ws://two.localhost:{closed_port}")

    assert error == (
        f"127.0.0.1 port {closed_port}: Connection refused; "
        f"127.0.0.2 port {closed_port}: Connection refused"
    )


@pytest.mark.parametrize("first", ["silent", "refused", "ipv6"])
def test_second_address_is_tried_in_time(
    name: str, first: str, hole: tuple[str, int], closed_port: int, resolve: Any
) -> None:
    port = hole[1] if first == "silent" else closed_port
    address: Any = ("::1", port, 0, 0) if first == "ipv6" else ("127.0.0.1", port)
    resolve("two.localhost", [address, ("127.0.0.2", port)])

    seconds = _connects(
        name, f"ws://two.localhost:{port}", ("127.0.0.2", port), handshake_timeout=PATIENCE
    )

    assert seconds < PATIENCE / 2


def test_dial_timeout_names_step_and_addresses(
    name: str, hole: tuple[str, int], resolve: Any
) -> None:
    port = hole[1]
    resolve("two.localhost", [("127.0.0.1", port), ("127.0.0.2", port)])

    error, seconds = _fails(name, f"ws://two.localhost:{port}", handshake_timeout=1.5)

    assert error == (
        f"timed out after 1.5 s: connecting to 'two.localhost' (127.0.0.1 port {port}: no answer; "
        f"127.0.0.2 port {port}: Connection refused)"
    )
    assert seconds < PATIENCE / 2


@pytest.mark.parametrize("host", ["gateway.invalid", f"{'x' * 63}.{'y' * 63}.invalid"])
def test_name_without_address_is_reported(
    name: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    error, _ = _fails(name, f"wss://{host}")

    assert error == f"resolving {host!r}: Name or service not known"


def test_end_of_the_loop_does_not_wait_for_a_resolver(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answered = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        # trio asks for numbers first, without a thread.
        if not (args[4:] and args[4] & socket.AI_NUMERICHOST):
            answered.wait(PATIENCE)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    began = time.monotonic()
    try:
        error, _ = _fails(name, "wss://gateway.invalid", handshake_timeout=0.3)
    finally:
        answered.set()

    assert error == "timed out after 0.3 s: resolving 'gateway.invalid'"
    assert time.monotonic() - began < PATIENCE / 2


def test_tls_handshake_timeout_is_reported(name: str) -> None:
    def answer(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    with _answering(answer) as port:
        error, _ = _fails(name, f"wss://127.0.0.1:{port}", handshake_timeout=1)

    assert error == "timed out after 1 s: TLS handshake with '127.0.0.1'"


def test_connection_closed_during_tls_is_reported(name: str) -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(65536)

    with _answering(answer) as port:
        error, _ = _fails(name, f"wss://127.0.0.1:{port}")

    assert error == "TLS handshake with '127.0.0.1': connection closed by the peer"


def test_connection_reset_during_tls_is_reported(name: str) -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with _answering(answer) as port:
        error, _ = _fails(name, f"wss://127.0.0.1:{port}")

    assert error == "TLS handshake with '127.0.0.1': Connection reset by peer"


@pytest.mark.parametrize("connects", [False, True], ids=["", "connect"])
def test_connection_lost_as_tls_completes_fails_one_dial(
    name: str, connects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "trio":
        pytest.skip("start_tls is of asyncio")

    async def start_tls(
        _loop: object, transport: asyncio.Transport, *_: object, **__: object
    ) -> None:
        transport.abort()  # in the step of the loop in which the handshake completes

    monkeypatch.setattr(asyncio.BaseEventLoop, "start_tls", start_tls)
    options: dict[str, Any] = {}
    if connects:
        options["connect"] = lambda dial: asyncio.open_connection(dial.host, dial.port)

    with _answering(lambda sock: None) as port:
        error, _ = _fails(name, f"wss://127.0.0.1:{port}", options)

    assert error == "TLS handshake with '127.0.0.1': connection closed by the peer"


@not_with_uvloop
def test_server_without_tls_is_a_failed_handshake(name: str) -> None:
    with _answering(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        error, _ = _fails(name, f"wss://127.0.0.1:{port}")

    assert error == (
        "TLS handshake with '127.0.0.1': the server does not use TLS at this port: "
        "without TLS, URLs begin with ws or http"
    )


def test_untrusted_certificate_is_reported_as_permanent(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_side, reported = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server_side)
    real = Client.dial_failed

    def dial_failed(self: Client, error: str, *, permanent: bool = False, now: float) -> None:
        reported.append(permanent)
        real(self, error, permanent=permanent, now=now)

    monkeypatch.setattr(Client, "dial_failed", dial_failed)

    def answer(sock: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError):
            server_side.wrap_socket(sock, server_side=True).close()

    with _answering(answer) as port:
        _fails(name, f"wss://127.0.0.1:{port}")

    assert reported == [True]


def test_all_dials_of_shards_share_one_tls_context(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, made = trustme.CA(), []
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    real = ssl.create_default_context

    def create_default_context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        made.append(real(*args, **kwargs))
        authority.configure_trust(made[-1])
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    adapter, run = RUNNERS[name]

    async def main() -> None:
        server = Server()
        async with adapter.serve_gateway(server, ssl_context=server_side) as serving:
            config = Config(token="t", intents=0, gateway_url=serving.url)
            ready = 0
            async with adapter.open_shards(config, count=3) as shards:
                async for _, event in shards:
                    ready += isinstance(event, Ready)
                    if ready == 1:
                        return

    run(main)

    assert len(made) == 1


def test_loop_blocked_during_a_tls_handshake_fails_one_dial(name: str) -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    server_side.sni_callback = lambda *_: time.sleep(0.2)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    up, over, ports = threading.Event(), threading.Event(), []

    def serve() -> None:
        async def main() -> None:
            async with gateway_asyncio.serve_gateway(Server(), ssl_context=server_side) as serving:
                ports.append(serving.port)
                up.set()
                await asyncio.to_thread(over.wait, PATIENCE)

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    assert up.wait(PATIENCE)
    adapter, run = RUNNERS[name]
    came = []

    async def main() -> None:
        config = Config(
            token="t",
            intents=0,
            gateway_url=f"wss://localhost:{ports[0]}",
            backoff_initial=0.05,
            handshake_timeout=2,
        )
        async with adapter.open_gateway(config, ssl_context=trusting) as gateway:
            await (asyncio.sleep if name == "asyncio" else trio.sleep)(0.1)
            time.sleep(2.5)  # blocks the loop during the handshake
            async for event in gateway:
                came.append(type(event))
                if isinstance(event, Ready):
                    return

    try:
        run(main)
    finally:
        over.set()
        thread.join()

    assert came[-1] is Ready
    assert came.count(DialFailed) <= 1
