"""HTTP requests: lookups; version, encoding and compression of an upgrade."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from gateway_proto import LocalProtocolError, State
from gateway_proto.server import HttpRequested, Server, ServerConfig
from tests.server.support import V10, accept_connection, identify_on


def _http(request: bytes, config: ServerConfig | None = None) -> tuple[bytes, list[Any]]:
    connection = Server(config).accept(now=0.0)
    connection.receive_data(request, now=0.0)
    assert connection.state is State.CLOSED
    return connection.data_to_send(), connection.events()


def test_lookup_returns_the_host_of_its_request() -> None:
    answer, events = _http(b"GET /api/v10/gateway HTTP/1.1\r\nHost: here:5\r\n\r\n")

    assert answer.endswith(b'{"url":"ws://here:5"}')
    assert b"content-type: application/json\r\n" in answer.lower()
    assert events[0] == HttpRequested("GET", "/api/v10/gateway", 200, route="/gateway")


@pytest.mark.parametrize(
    ("header", "status"),
    [(b"", b"401"), (b"Authorization: Bot t\r\n", b"200"), (b"Authorization: t\r\n", b"200"),
     (b"Authorization: Bot wrong\r\n", b"401")],
)  # fmt: skip
def test_bot_routes_need_the_token(header: bytes, status: bytes) -> None:
    request = b"GET /api/v10/gateway/bot HTTP/1.1\r\nHost: h\r\n" + header + b"\r\n"

    answer, _ = _http(request, ServerConfig(tokens=frozenset({"Bot t"})))

    assert answer.startswith(b"HTTP/1.1 " + status)


UPGRADE = (
    "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    ("target", "expected_text"),
    [
        ("/?v=x", "version 'x'"),
        ("/?v=" + "9" * 5000, "version '99999"),
        ("/?v=10&encoding=xml", "encoding 'xml'"),
        ("/?v=10&compress=lzma", "compression 'lzma'"),
        ("/?v=3&compress=zlib-stream", "compression 'zlib-stream'"),
        ("/?v=10&compress=payload", "compression 'payload'"),
    ],
)
def test_unsupported_connection_option_is_rejected_with_400(
    target: str, expected_text: str
) -> None:
    answer, _ = _http(UPGRADE.format(target=target).encode())

    assert answer.startswith(b"HTTP/1.1 400")
    assert expected_text.encode() in answer
    with pytest.raises(LocalProtocolError, match=expected_text):
        accept_connection(target=target)


@pytest.mark.parametrize(
    ("versions", "target", "version"),
    [
        ((3, 10), "/", 3),
        ((3, 10), "/4", 3),
        ((3, 10), "/?v=3", 3),
        ((3, 10), "/?encoding=json&v=10", 10),
        ((10,), "/", 10),
        ((6, 10), "/", 6),
        ((3,), "/", 3),
    ],
)
def test_version_is_that_of_the_query_or_the_oldest(
    versions: tuple[int, ...], target: str, version: int
) -> None:
    connection = accept_connection(Server(ServerConfig(versions=versions)), target)

    assert connection.version.number == version


@pytest.mark.parametrize("versions", [(), (99,), (3, 99)])
def test_missing_or_unknown_versions_are_rejected(versions: tuple[int, ...]) -> None:
    with pytest.raises(LocalProtocolError, match="one or more of 3, 4, 5, 6, 7, 8, 9, 10"):
        ServerConfig(versions=versions)


def test_stream_compression_disables_payload_compression() -> None:
    connection = accept_connection(target=V10 + "&compress=zlib-stream")
    identify_on(connection, compress=True)
    context = zlib.decompressobj()

    messages = connection.messages_to_send()

    texts = [json.loads(context.decompress(m)) for m in messages if isinstance(m, bytes)]
    assert [text.get("t") for text in texts] == [None, "READY"]
    assert len(texts) == len(messages)
