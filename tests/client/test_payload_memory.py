"""Payloads that change the state: other values in them are never made, and never matter."""

from __future__ import annotations

import tracemalloc
from typing import Any

import attrs
import pytest

from gateway_proto import (
    ClientConnection,
    Closed,
    Config,
    Hello,
    MalformedPayload,
    Ready,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    SessionInvalidated,
    State,
    UnknownPayload,
)
from gateway_proto.client import requests
from tests.client.request_client import RequestClient
from tests.encodings import NEEDS_ETF

CONFIG = Config(token="t0ken", intents=0, gateway_url="ws://localhost", skip_malformed=True)
HELLO = '{"op":10,"d":{"heartbeat_interval":40000}}'
READY = '{"op":0,"t":"READY","s":1,"d":{"session_id":"s"}}'
# A list takes 56 bytes of memory and 3 bytes of text.
LISTS = "[%s1]" % ("[]," * 120_000)

PAYLOADS = {
    "HELLO": ([], '{"op":10,"d":{"heartbeat_interval":%s}}'),
    "READY": ([HELLO], '{"op":0,"t":"READY","s":1,"d":{"session_id":%s}}'),
    "resume URL": (
        [HELLO],
        '{"op":0,"t":"READY","s":1,"d":{"session_id":"s","resume_gateway_url":%s}}',
    ),
    "INVALID_SESSION": ([HELLO, READY], '{"op":9,"d":%s}'),
    "RECONNECT": ([HELLO, READY], '{"op":7,"d":{"url":%s}}'),
    "RATE_LIMITED": (
        [HELLO, READY],
        '{"op":0,"t":"RATE_LIMITED","s":2,"d":{"opcode":8,"meta":{"guild_id":%s}}}',
    ),
    "GUILD_MEMBERS_CHUNK of nobody": (
        [HELLO, READY],
        '{"op":0,"t":"GUILD_MEMBERS_CHUNK","s":2,"d":{"guild_id":"1","nonce":"1","members":%s}}',
    ),
    "error text": ([HELLO, READY], '{"op":50,"message":%s}'),
    "members before an invalid d": ([HELLO, READY], '{"op":0,"x":%s,"d":NaN}'),
    "incomplete": ([HELLO, READY], '{"op":0,"d":%s'),
}


@pytest.mark.parametrize("version", [4, 10])
@pytest.mark.parametrize(("before", "payload"), PAYLOADS.values(), ids=PAYLOADS)
def test_values_in_a_payload_are_not_made(
    monkeypatch: pytest.MonkeyPatch, before: list[str], payload: str, version: int
) -> None:
    monkeypatch.setattr("gateway_proto.wire.envelope._MAX_PARSED", 100_000)
    config = attrs.evolve(CONFIG, version=version)
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    for message in before:
        connection.receive_message(message, now=0.0)
    if "CHUNK" in payload and version == 10:
        connection.request(RequestGuildMembers("2", "a", 5), now=0.0)
    message = payload % LISTS

    tracemalloc.start()
    connection.receive_message(message, now=0.0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # 22 times the size with the lists.
    assert most < 6 * len(message)


UNDECODABLE = {
    "lone surrogate": rb'"\ud800"',
    "NaN": b"NaN",
    "invalid UTF-8": b'"\xff"',
    "control character": b'"\t"',
    "deep nesting": b"[" * 5000 + b"]" * 5000,
    "large number": b"1" * 5000,
}


@pytest.mark.parametrize("value", UNDECODABLE.values(), ids=UNDECODABLE)
def test_undecodable_value_beside_needed_ones_is_ignored(value: bytes) -> None:
    connection = ClientConnection(CONFIG, "ws://localhost", now=0.0, framing=False)

    for message in (
        b'{"op":10,"d":{"_trace":%s,"heartbeat_interval":40000}}' % value,
        b'{"op":0,"t":"READY","s":1,"d":{"session_id":"s","user":[%s]}}' % value,
        b'{"op":50,"d":%s,"message":%s}' % (value, value),
    ):
        connection.receive_message(message, now=0.0)

    assert connection.state is State.READY
    events: dict[type[Any], Any] = {type(event): event for event in connection.events()}
    assert events[Hello].heartbeat_interval == 40000
    assert events[Ready].session_id == "s"
    assert events[UnknownPayload].op == 50


@NEEDS_ETF
@pytest.mark.parametrize("name", ["op", "s", "t"])
def test_etf_list_in_the_envelope_is_not_made(name: str) -> None:
    config = attrs.evolve(CONFIG, encoding="etf")
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    for message in (HELLO, READY):
        connection.receive_message(message, now=0.0)
    connection.events()
    size = 1_000_000
    key = b"m\0\0\0" + bytes([len(name)]) + name.encode()
    message = b"\x83t\0\0\0\1" + key + b"l" + size.to_bytes(4, "big") + b"j" * (size + 1)

    tracemalloc.start()
    connection.receive_message(message, now=0.0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    (malformed,) = connection.events()
    assert isinstance(malformed, MalformedPayload)
    assert malformed.error == "message is not a payload: op, s or t is a list or a map"
    assert most < 6 * len(message)


def test_op_9_with_an_undecodable_value_ends_the_session() -> None:
    connection = ClientConnection(CONFIG, "ws://localhost", now=0.0, framing=False)
    for message in (HELLO, READY, b'{"op":9,"d":[NaN]}'):
        connection.receive_message(message, now=0.0)

    *_, invalidated, closed = connection.events()
    assert invalidated == SessionInvalidated(resumable=False)
    assert isinstance(closed, Closed)


def test_rate_limited_keeps_no_long_guild_id() -> None:
    client = RequestClient()
    free_at = client.connection()._sender.requests._free_at
    for size in (65, 64):
        client.dispatch(
            "RATE_LIMITED", opcode=31, retry_after=5, meta={"guild_id": "x" * size, "nonce": None}
        )

    assert [len(guild_id) for _, guild_id in free_at] == [64]


def test_endless_sounds_fail_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_MAX_BYTES", 10_000)
    client = RequestClient()
    client.request(RequestSoundboardSounds(["1", "2"]))

    for _ in range(10):
        client.dispatch("SOUNDBOARD_SOUNDS", guild_id="1", soundboard_sounds=[])

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert failed.reason == "the answer has more than 10000 bytes"
