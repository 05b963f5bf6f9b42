"""Errors of clients with their documented close codes, and timeouts."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from gateway_proto import Closed, Initiator, MalformedPayload, State
from gateway_proto.server import Server, ServerConfig, World
from tests.server.support import V10, accept_connection, identify_on, ready_connection, send_payload


@pytest.mark.parametrize(
    ("op", "d", "code"),
    [
        (3, {"since": None, "activities": [], "status": "online", "afk": False}, 4003),
        (99, None, 4001),
        (1.5, None, 4001),
        (None, None, 4001),
        (2, None, 4002),
        (2, {"token": 5}, 4002),
        (2, {"token": "wrong", "intents": 0}, 4004),
        (2, {"token": "t", "intents": 0, "shard": [2, 2]}, 4010),
        (2, {"token": "t", "intents": 0, "shard": [-1, 2]}, 4010),
        (2, {"token": "t"}, 4013),
        (2, {"token": "t", "intents": -1}, 4013),
        (2, {"token": "t", "intents": 1 << 32}, 4013),
        (3, "x" * 4096, 4002),
    ],
)
def test_invalid_payload_before_ready_is_closed_with_its_code(op: Any, d: Any, code: int) -> None:
    connection = accept_connection(Server(ServerConfig(tokens=frozenset({"t"}))))

    send_payload(connection, op, d)

    close = connection.close_to_send()
    assert close is not None
    assert close[0] == code
    assert connection.state is State.CLOSING


@pytest.mark.parametrize("op", [2, 6])
def test_identify_or_resume_after_ready_is_closed_with_4005(op: int) -> None:
    connection = ready_connection()

    send_payload(connection, op, {"token": "t", "intents": 0, "session_id": "s", "seq": 1})

    assert connection.close_to_send() == (4005, "Already authenticated")


def test_malformed_payload_is_closed_with_4002_and_reported() -> None:
    connection = ready_connection()
    connection.events()

    connection.receive_message("{", now=0.0)

    assert connection.close_to_send() == (4002, "Error while decoding payload")
    assert isinstance(connection.events()[0], MalformedPayload)


@pytest.mark.parametrize(
    "message",
    [b"\xff\xfe\0\1garbage", b"", b"x\x9c", zlib.compress(b"{}"), b"\x83t\0\0", "garbage"],
)
def test_undecodable_data_is_closed_with_4002(message: str | bytes) -> None:
    connection = accept_connection()

    connection.receive_message(message, now=0.0)

    assert connection.close_to_send() == (4002, "Error while decoding payload")


def test_client_without_identify_is_closed_after_timeout() -> None:
    connection = accept_connection(target="/")

    connection.handle_timer(now=60.0)

    assert connection.close_to_send() == (4009, "Session timed out")


def test_heartbeats_keep_an_unidentified_client_connected() -> None:
    connection = accept_connection()
    for at in range(40, 400, 40):
        send_payload(connection, 1, None, now=float(at))

    assert connection.state is State.IDENTIFYING


def test_transport_without_a_request_is_dropped() -> None:
    connection = Server().accept(now=0.0)

    connection.handle_timer(now=20.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.error == "waited too long for the HTTP response"


def test_close_unanswered_by_the_client_ends_by_timeout() -> None:
    connection = ready_connection()
    connection.close(4000, "x", now=0.0)

    connection.handle_timer(now=5.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.initiator) == (4000, Initiator.SELF)


@pytest.mark.parametrize(
    "changes",
    [
        {"large_threshold": -(10**300)},
        {"large_threshold": 10**300},
        {"token": "t" * 3000},
        {"token": ""},
        {"token": "\N{BELL} Bot Bot x"},
        {"shard": [10**300, 10**301]},
        {"shard": [0, 10**300]},
        {"shard": [-1, 2]},
        {"presence": {"since": 10**300, "activities": [{"name": "", "type": 10**30}]}},
        {"presence": {"status": "x" * 1000, "afk": False}},
        {"properties": {"os": 5, "browser": [[]], "device": None}},
    ],
    ids=lambda changes: repr(changes)[:40],
)
@pytest.mark.parametrize("target", ["/", "/?v=6", V10, "/?v=10&encoding=etf"])
def test_invalid_identify_fields_never_raise(changes: dict[str, Any], target: str) -> None:
    if "etf" in target:
        pytest.importorskip("erlpack")
    server = Server(ServerConfig(control="/control", world=World([{"id": "5"}])))
    connection = accept_connection(server, target)

    identify_on(connection, v=3, **changes)
    send_payload(connection, 8, {"guild_id": "5", "user_ids": [10**300], "limit": -(10**30)})
    send_payload(connection, 4, {"guild_id": "5", "channel_id": 10**200})
    server.dispatch("X", 1, now=0.0)

    assert connection.state is not State.IDENTIFYING
