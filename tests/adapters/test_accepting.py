"""Listeners of both adapters: without file descriptors, with several addresses."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trio

import gateway_asyncio
import gateway_trio
from gateway_dialing._accepting import AcceptErrors
from gateway_proto.server import Server, ServerConfig
from tests.adapters.support import PATIENCE, not_with_uvloop

resource = pytest.importorskip("resource")

ASK = b"GET /api/v10/gateway HTTP/1.1\r\nHost: h\r\n\r\n"


@contextlib.contextmanager
def _no_descriptors() -> Iterator[None]:
    """Take all file descriptors that are left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _asked_on_asyncio() -> bytes:
    async with gateway_asyncio.serve_gateway(Server()) as serving:
        with socket.socket() as client:
            client.setblocking(False)
            with _no_descriptors():
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, (serving.host, serving.port))
                await asyncio.sleep(2.2)
            await loop.sock_sendall(client, ASK)
            return await asyncio.wait_for(loop.sock_recv(client, 4096), PATIENCE)


async def _asked_on_trio() -> bytes:
    async with gateway_trio.serve_gateway(Server()) as serving:
        with trio.socket.socket() as client:
            with _no_descriptors():
                await client.connect((serving.host, serving.port))
                await trio.sleep(2.2)
            await client.send(ASK)
            with trio.fail_after(PATIENCE):
                return await client.recv(4096)


@not_with_uvloop
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_lack_of_file_descriptors_is_logged_in_one_line(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = asyncio.run(_asked_on_asyncio()) if loop == "asyncio" else trio.run(_asked_on_trio)

    assert answer.startswith(b"HTTP/1.1 200")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "cannot accept connections: Too many open files" in lines[0]


def test_accept_failures_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    errors = AcceptErrors()

    pauses = [errors.pause(OSError(errno.EMFILE, "full"), now=float(now)) for now in range(61)]

    assert pauses == [1.0] * 61
    assert len(caplog.records) == 2


def test_aborted_client_connection_causes_no_pause(caplog: pytest.LogCaptureFixture) -> None:
    assert AcceptErrors().pause(ConnectionAbortedError(), now=0.0) == 0.0
    assert not caplog.records


async def _ports_on_asyncio(host: str) -> tuple[str, int, list[bytes]]:
    async with gateway_asyncio.serve_gateway(Server(), host=host) as serving:
        return serving.host, serving.port, await asyncio.to_thread(_answers, serving.port)


async def _ports_on_trio(host: str) -> tuple[str, int, list[bytes]]:
    async with gateway_trio.serve_gateway(Server(), host=host) as serving:
        return serving.host, serving.port, await trio.to_thread.run_sync(_answers, serving.port)


def _answers(port: int) -> list[bytes]:
    answers = []
    for _, _, _, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address[:2], PATIENCE) as client,
        ):
            client.sendall(ASK)
            answers.append(client.recv(4096)[:12])
    return answers


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_all_addresses_of_a_name_have_one_port(loop: str) -> None:
    result: Any = (
        asyncio.run(_ports_on_asyncio("localhost"))
        if loop == "asyncio"
        else trio.run(_ports_on_trio, "localhost")
    )

    assert result[2]
    assert set(result[2]) == {b"HTTP/1.1 200"}


def test_address_in_use_is_reported_by_asyncio() -> None:
    async def twice() -> None:
        async with gateway_asyncio.serve_gateway(Server()) as serving:
            await gateway_asyncio.serve_gateway(Server(), port=serving.port).__aenter__()

    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        asyncio.run(twice())


def _tls_context() -> ssl.SSLContext:
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


def _is_closed_by_peer(client: socket.socket) -> bool:
    client.settimeout(PATIENCE)
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


async def _leave_asyncio(context: ssl.SSLContext) -> socket.socket:
    async with gateway_asyncio.serve_gateway(Server(), ssl_context=context) as serving:
        client = socket.create_connection((serving.host, serving.port))
        await asyncio.sleep(0.1)
    return client


async def _leave_trio(context: ssl.SSLContext) -> socket.socket:
    async with gateway_trio.serve_gateway(Server(), ssl_context=context) as serving:
        client = socket.create_connection((serving.host, serving.port))
        await trio.sleep(0.1)
    return client


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_leaving_drops_clients_in_a_tls_handshake(loop: str) -> None:
    context = _tls_context()

    if loop == "asyncio":
        client = asyncio.run(_leave_asyncio(context))
    else:
        client = trio.run(_leave_trio, context)

    with client:
        assert _is_closed_by_peer(client)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00"])
def test_unfinished_tls_handshake_ends_after_its_timeout(loop: str, sent: bytes) -> None:
    context, server = _tls_context(), Server(ServerConfig(handshake_timeout=0.3))

    def probe(port: int) -> bool:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent)
            return _is_closed_by_peer(client)

    async def on_asyncio() -> bool:
        async with gateway_asyncio.serve_gateway(server, ssl_context=context) as serving:
            return await asyncio.to_thread(probe, serving.port)

    async def on_trio() -> bool:
        async with gateway_trio.serve_gateway(server, ssl_context=context) as serving:
            return await trio.to_thread.run_sync(probe, serving.port)

    assert asyncio.run(on_asyncio()) if loop == "asyncio" else trio.run(on_trio)


class _BrokenTls(ssl.SSLContext):
    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        raise GeneratorExit("a bug of the context")


@not_with_uvloop
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_exception_in_the_tls_context_ends_the_server(loop: str) -> None:
    context = _BrokenTls(ssl.PROTOCOL_TLS_SERVER)
    clients = []

    async def on_asyncio() -> None:
        async with gateway_asyncio.serve_gateway(Server(), ssl_context=context) as serving:
            clients.append(socket.create_connection((serving.host, serving.port)))
            await asyncio.sleep(PATIENCE)

    async def on_trio() -> None:
        async with gateway_trio.serve_gateway(Server(), ssl_context=context) as serving:
            clients.append(socket.create_connection((serving.host, serving.port)))
            await trio.sleep(PATIENCE)

    with pytest.raises(RuntimeError, match="GeneratorExit was raised in a callback"):
        asyncio.run(on_asyncio()) if loop == "asyncio" else trio.run(on_trio)

    with clients[0] as client:
        assert _is_closed_by_peer(client)


def test_connection_that_arrives_while_leaving_is_closed() -> None:
    """Its task is cancelled before its first step, or before the socket was handed to it."""

    async def leave_after(steps: int) -> socket.socket:
        async with gateway_asyncio.serve_gateway(Server()) as serving:
            client = socket.create_connection((serving.host, serving.port))
            for _ in range(steps):
                await asyncio.sleep(0)
        return client

    for steps in range(6):
        with asyncio.run(leave_after(steps)) as client:
            gc.collect()  # an unclosed socket is an error of the tests
            assert _is_closed_by_peer(client)
