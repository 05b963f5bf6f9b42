"""Messages of a server in another encoding than requested are reported and decoded."""

from __future__ import annotations

import json

import pytest

from gateway_proto import ClientConnection, Encoding, EncodingIgnored, Hello, Opened, Ready, State
from gateway_proto.urls import Url
from tests.client.support import config_with

JSON_HELLO = json.dumps({"op": 10, "d": {"heartbeat_interval": 41250}})
JSON_READY = json.dumps(
    {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "x", "heartbeat_interval": 41250}}
)


def _connection(**changes: object) -> ClientConnection:
    config = config_with(**changes)
    url = Url.parse("ws://localhost")
    connection = ClientConnection(config, url, framing=False, now=0.0)
    assert isinstance(*connection.events(), Opened)
    return connection


def _etf(text: str) -> bytes:
    erlpack = pytest.importorskip("erlpack")
    packed: bytes = erlpack.pack(json.loads(text))
    return packed


def test_json_hello_is_reported_if_etf_was_requested() -> None:
    pytest.importorskip("erlpack")
    connection = _connection(encoding="etf")

    connection.receive_message(JSON_HELLO, now=0.0)

    assert connection.events() == [EncodingIgnored(Encoding.ETF, Encoding.JSON), Hello(41250)]
    assert connection.state is State.IDENTIFYING


def test_etf_hello_is_reported_if_json_was_requested() -> None:
    connection = _connection()

    connection.receive_message(_etf(JSON_HELLO), now=0.0)

    assert connection.events() == [EncodingIgnored(Encoding.JSON, Encoding.ETF), Hello(41250)]


def test_etf_ready_is_reported_in_versions_without_hello() -> None:
    connection = _connection(version=4, intents=None, unix_offset=0.0)

    connection.receive_message(_etf(JSON_READY), now=0.0)

    ignored, ready = connection.events()
    assert ignored == EncodingIgnored(Encoding.JSON, Encoding.ETF)
    assert isinstance(ready, Ready)


@pytest.mark.parametrize("encoding", ["json", "etf"])
def test_hello_in_the_requested_encoding_is_not_reported(encoding: str) -> None:
    message = JSON_HELLO if encoding == "json" else _etf(JSON_HELLO)
    connection = _connection(encoding=encoding)

    connection.receive_message(message, now=0.0)

    assert connection.events() == [Hello(41250)]


def test_hello_without_data_is_not_reported() -> None:
    connection = _connection()

    connection.receive_message(_etf('{"op": 10}'), now=0.0)

    assert EncodingIgnored not in map(type, connection.events())
