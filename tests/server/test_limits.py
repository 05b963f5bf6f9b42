"""Limits that a server enforces, and their close codes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import GatewayFound, SessionStartLimit
from gateway_proto.server import Server, ServerConfig, World
from tests.server.support import (
    V10,
    accept_connection,
    identify_on,
    send_payload,
    sent_close_code,
    sent_payloads,
)


@pytest.mark.parametrize("target", ["/?v=99", "/?v=2", "/?v=999&encoding=json"])
def test_unknown_version_is_closed_with_4012(target: str) -> None:
    connection = accept_connection(target=target)

    assert sent_payloads(connection) == []
    assert sent_close_code(connection) == 4012


@pytest.mark.parametrize(("count", "code"), [(120, None), (121, 4008)])
def test_rate_limit_of_120_payloads_is_enforced_by_close_4008(count: int, code: int | None) -> None:
    connection = accept_connection()
    for _ in range(count):
        send_payload(connection, 1, None, now=1.0)

    assert sent_close_code(connection) == code


def test_rate_limit_frees_slots_after_a_minute() -> None:
    connection = accept_connection()
    for number in range(400):
        send_payload(connection, 1, None, now=number * 0.51)

    assert sent_close_code(connection) is None


@pytest.mark.parametrize(
    ("asked", "allowed", "code"),
    [
        (1, None, None),
        (1 << 8, 1, 4014),
        (1, 1, None),
        (3, 1, 4014),
        (1 << 32, None, 4013),
        (-1, None, 4013),
    ],
)
def test_invalid_or_disallowed_intents_are_closed(
    asked: int, allowed: int | None, code: int | None
) -> None:
    connection = accept_connection(Server(ServerConfig(allowed_intents=allowed)))

    identify_on(connection, intents=asked)

    assert sent_close_code(connection) == code


def test_intents_of_version_6_may_be_missing_but_not_invalid() -> None:
    for intents, code in ((None, None), (1 << 40, 4013)):
        connection = accept_connection(target="/?v=6")
        identify_on(connection, intents=intents)
        assert sent_close_code(connection) == code


@pytest.mark.parametrize(("shard", "code"), [(None, 4011), ([0, 1], 4011), ([0, 3], None)])
def test_too_many_guilds_for_a_shard_are_closed_with_4011(shard: Any, code: int | None) -> None:
    world = World([{"id": str(number << 22)} for number in range(6)])
    connection = accept_connection(Server(ServerConfig(world=world, guilds_per_shard=2)))

    identify_on(connection, shard=shard)

    assert sent_close_code(connection) == code


def test_identify_rate_limit_is_enforced_per_key_by_op_9() -> None:
    """ "max_concurrency per 5 s, key = shard_id mod max_concurrency; surplus: op 9"."""
    server = Server(ServerConfig(identify_seconds=5.0, max_concurrency=2))
    ops = []
    for now, shard_id in ((0.0, 0), (1.0, 1), (2.0, 2), (5.0, 2)):
        connection = server.accept(now=now, framing=False, target=V10)
        connection.messages_to_send()
        d = {"token": "t", "intents": 0, "shard": [shard_id, 4]}
        send_payload(connection, 2, d, now=now)
        ops.append(sent_payloads(connection)[0]["op"])
        assert connection.close_to_send() is None

    assert ops == [0, 0, 9, 0]


def test_client_without_a_shard_uses_identify_slot_of_shard_0() -> None:
    server = Server(ServerConfig(identify_seconds=5.0, max_concurrency=2))
    ops = []
    for shard in (None, [0, 2], [1, 2]):
        connection = accept_connection(server)
        connection.messages_to_send()
        identify_on(connection, shard=shard)
        ops.append(sent_payloads(connection)[0]["op"])

    assert ops == [0, 9, 0]


def test_identifies_of_a_day_are_counted_and_limited() -> None:
    server = Server(ServerConfig(identifies_per_day=2))

    def left(now: float) -> tuple[int, int]:
        limit = server._context.gateway_found("ws://x", now=now).session_start_limit
        assert limit is not None
        return limit.remaining, limit.reset_after

    assert left(0.0) == (2, 0)
    codes = []
    for now in (0.0, 100.0, 200.0, 86400.0):
        connection = server.accept(now=now, framing=False, target=V10)
        send_payload(connection, 2, {"token": "t", "intents": 0}, now=now)
        codes.append(sent_close_code(connection))
        if now == 100.0:
            assert left(now) == (0, 86_300_000)

    assert codes == [None, None, 4004, None]


def test_lookup_answer_has_the_configured_limits() -> None:
    server = Server(ServerConfig(shards=3, identifies_per_day=7, max_concurrency=2))

    limit = SessionStartLimit(7, 7, 0, max_concurrency=2)
    assert server._context.gateway_found("ws://x", now=0.0) == GatewayFound("ws://x", 3, limit)
