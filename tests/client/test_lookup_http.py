"""GET /gateway and /gateway/bot, in both roles."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import (
    Closed,
    Config,
    GatewayFound,
    Initiator,
    LocalProtocolError,
    NextAction,
    SessionStartLimit,
    State,
)
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.server import Server, ServerConfig, World
from gateway_proto.urls import Url
from gateway_proto.wire.http_values import parse_retry_after
from tests.server.support import http

CONFIG = Config(token="t0ken", intents=0, api_url="http://localhost:1/api/v10")


def _lookup() -> LookupConnection:
    return LookupConnection(CONFIG, CONFIG.endpoint, now=0.0)


def _response(body: bytes, status: int = 200, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), head, body)


def _closed(connection: LookupConnection) -> Closed:
    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert connection.state is State.CLOSED
    assert connection.next_timer() is None
    return closed


def test_lookup_of_version_10_has_no_token() -> None:
    connection = _lookup()

    request = connection.data_to_send().decode()

    assert request.startswith("GET /api/v10/gateway HTTP/1.1\r\n")
    assert "host: localhost:1\r\n" in request.lower()
    assert "t0ken" not in request
    assert connection.data_to_send() == b""


def test_response_with_a_url_ends_the_lookup() -> None:
    connection = _lookup()

    connection.receive_data(_response(b'{"url":"ws://x"}'), now=1.0)

    found, closed = connection.events()
    assert found == GatewayFound("ws://x")
    assert closed == Closed(code=200, initiator=Initiator.SELF, next_action=NextAction.IDENTIFY)
    assert connection.state is State.CLOSED


def test_response_for_bots_has_shards_and_limits() -> None:
    connection = _lookup()
    limit = {"total": 1000, "remaining": 999, "reset_after": 5, "max_concurrency": 16}
    body = {"url": "ws://x", "shards": 3, "session_start_limit": limit, "more": 1}

    connection.receive_data(_response(json.dumps(body).encode()), now=1.0)

    assert connection.events()[0] == GatewayFound("ws://x", 3, SessionStartLimit(**limit))


def test_response_in_single_bytes_is_one_response() -> None:
    connection = _lookup()
    data = b"HTTP/1.1 103 Hints\r\n\r\n" + _response(b'{"url":"ws://x"}')

    for at in range(len(data)):
        connection.receive_data(data[at : at + 1], now=1.0)

    assert connection.events()[0] == GatewayFound("ws://x")


def test_chunk_of_a_response_must_end_with_a_line_break() -> None:
    """RFC 9112, section 7.1. h11 below 0.16 skips any two bytes, as CVE-2025-43859 describes."""
    connection = _lookup()
    body = b'{"url":"ws://x"}'
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    connection.receive_data(head + b"%x\r\n%bxx0\r\n\r\n" % (len(body), body), now=1.0)

    (closed,) = connection.events()
    assert isinstance(closed, Closed)
    assert "the lookup's answer is not HTTP" in (closed.error or "")


def test_response_without_length_ends_at_eof() -> None:
    connection = _lookup()
    connection.receive_data(b'HTTP/1.0 200 OK\r\n\r\n{"url":"ws://x"}', now=1.0)
    assert connection.events() == []

    connection.receive_eof(now=1.0)

    assert connection.events()[0] == GatewayFound("ws://x")


@pytest.mark.parametrize(
    ("data", "error_text"),
    [
        (b"SSH-2.0\r\n\r\n", "is not HTTP"),
        (_response(b"not json"), "has no URL of a gateway"),
        (_response(b"{}"), "has no URL of a gateway"),
        (_response(b'{"url":5}'), "has no URL of a gateway"),
        (_response(b"[" * 60_000), "has no URL of a gateway"),
        (_response(b'{"url":"\xff"}'), "has no URL of a gateway"),
        (_response(b"x" * 70_000), "more than 65536 bytes"),
        (_response(b"", 301), "HTTP 301"),
    ],
)
def test_unusable_response_ends_the_lookup_with_a_reason(data: bytes, error_text: str) -> None:
    connection = _lookup()

    connection.receive_data(data, now=1.0)

    error = _closed(connection).error
    assert error is not None
    assert error_text in error


_LIMIT = {"total": 1000, "remaining": 900, "reset_after": 14400000, "max_concurrency": 1}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, SessionStartLimit(1000, 900, 14400000, 1)),
        ({"reset_after": 14399999.5}, SessionStartLimit(1000, 900, 14400000, 1)),
        ({"reset_after": None}, SessionStartLimit(1000, 900, 0, 1)),
        ({"reset_after": "7"}, SessionStartLimit(1000, 900, 7, 1)),
        ({"reset_after": 10**400}, SessionStartLimit(1000, 900, 2592000000, 1)),
        ({"reset_after": -5}, SessionStartLimit(1000, 900, 0, 1)),
        ({"remaining": None}, SessionStartLimit(1000, 1000, 14400000, 1)),
        ({"remaining": 3.9}, SessionStartLimit(1000, 3, 14400000, 1)),
        ({"remaining": -1}, SessionStartLimit(1000, 0, 14400000, 1)),
        ({"total": [1]}, SessionStartLimit(1000, 900, 14400000, 1)),
        ({"total": 0, "remaining": 0}, SessionStartLimit(1000, 1000, 14400000, 1)),
        ({"total": -1, "remaining": "0"}, SessionStartLimit(1000, 1000, 14400000, 1)),
        ({"total": 10**400}, SessionStartLimit(2**31, 900, 14400000, 1)),
        ({"max_concurrency": 0}, SessionStartLimit(1000, 900, 14400000, 1)),
        ({"max_concurrency": None}, SessionStartLimit(1000, 900, 14400000, 1)),
        ({"max_concurrency": "16"}, SessionStartLimit(1000, 900, 14400000, 16)),
        ({"total": None, "remaining": None, "max_concurrency": None}, None),
    ],
)
def test_numbers_of_a_session_limit_are_read_leniently(
    change: dict[str, Any], expected: SessionStartLimit | None
) -> None:
    connection = _lookup()
    answer = {"url": "ws://localhost ", "shards": 1, "session_start_limit": {**_LIMIT, **change}}

    connection.receive_data(_response(json.dumps(answer).encode()), now=1.0)

    assert connection.events()[0] == GatewayFound("ws://localhost", 1, expected)


@pytest.mark.parametrize("limit", [None, 5, "x", [], True])
def test_session_limit_of_another_type_is_ignored(limit: Any) -> None:
    connection = _lookup()
    answer = {"url": "ws://localhost", "session_start_limit": limit}

    connection.receive_data(_response(json.dumps(answer).encode()), now=1.0)

    assert connection.events()[0] == GatewayFound("ws://localhost")


@pytest.mark.parametrize(
    ("shards", "expected"),
    [(3, 3), (2.5, 3), ("4", 4), (0, None), (-1, None), (None, None), ([], None),
     (10**400, 2**31), (True, None)],
)  # fmt: skip
def test_shard_count_is_read_leniently(shards: Any, expected: int | None) -> None:
    connection = _lookup()

    connection.receive_data(
        _response(json.dumps({"url": "ws://localhost", "shards": shards}).encode()), now=1.0
    )

    assert connection.events()[0] == GatewayFound("ws://localhost", expected)


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"url":"ws://localhost"}',
        b'{"url":"ws://localhost","x":NaN,"y":1e999,"z":"\xff\\ud800\t"}',
    ],
)
def test_response_in_invalid_but_readable_json_is_accepted(data: bytes) -> None:
    connection = _lookup()

    connection.receive_data(_response(data), now=1.0)

    assert connection.events()[0] == GatewayFound("ws://localhost")


def test_informational_responses_are_skipped() -> None:
    connection = _lookup()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 32

    connection.receive_data(interim + _response(b'{"url":"ws://localhost"}'), now=1.0)

    assert connection.events()[0] == GatewayFound("ws://localhost")


def test_too_many_informational_responses_end_the_lookup() -> None:
    connection = _lookup()

    connection.receive_data(b"HTTP/1.1 100 Continue\r\n\r\n" * 33, now=1.0)

    error = _closed(connection).error
    assert error == "the lookup has no answer after more than 32 informational responses"


def _slow_refusal() -> LookupConnection:
    connection = _lookup()
    head = b"HTTP/1.1 429 No\r\nRetry-After: 5\r\nretry-after: 77\r\nContent-Length: 99\r\n\r\n"
    connection.receive_data(head + b"{", now=1.0)
    assert connection.state is State.CONNECTING
    return connection


@pytest.mark.parametrize("end", ["eof", "timeout", "size", "garbage"])
def test_error_status_with_endless_body_is_an_error(end: str) -> None:
    connection = _slow_refusal()
    if end == "eof":
        connection.receive_eof(now=2.0)
    elif end == "timeout":
        connection.handle_timer(now=20.0)
    else:
        connection = _lookup()
        head = b"HTTP/1.1 429 No\r\nRetry-After: 77\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"z" if end == "garbage" else b"11170\r\n" + b"x" * 70_000
        connection.receive_data(head + body + b"\r\n", now=1.0)

    closed = _closed(connection)
    assert (closed.code, closed.retry_after) == (429, 77.0)
    assert closed.error == "the lookup was answered with HTTP 429"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
def test_redirect_is_reported_with_its_location(status: int) -> None:
    connection = _lookup()

    connection.receive_data(
        b"HTTP/1.1 %d Moved\r\nLocation: https://new.example/\xff\r\n"
        b"Content-Length: 0\r\n\r\n" % status,
        now=1.0,
    )

    assert _closed(connection).error == (
        f"the lookup was answered with HTTP {status}, Location 'https://new.example/\xff': is the "
        "URL right?"
    )


def test_retry_after_date_is_relative_to_unix_time() -> None:
    config = Config(token="t", intents=0, unix_offset=784111777.0)
    connection = LookupConnection(config, Url.parse("http://localhost/api/gateway"), now=0.0)
    connection.data_to_send()

    connection.receive_data(
        b"HTTP/1.1 503 No\r\nRetry-After: Sun, 06 Nov 1994 08:51:37 GMT\r\n"
        b"Content-Length: 0\r\n\r\n",
        now=20.0,
    )

    assert _closed(connection).retry_after == 100.0


def test_early_eof_ends_the_lookup_once() -> None:
    connection = _lookup()

    connection.receive_eof(now=1.0)

    closed = _closed(connection)
    assert closed.initiator is Initiator.TRANSPORT
    connection.receive_eof(now=1.0)
    connection.receive_data(b"late", now=1.0)
    connection.close(now=1.0)
    assert connection.events() == []


def test_missing_response_ends_the_lookup_by_timeout() -> None:
    connection = _lookup()
    assert connection.next_timer() == 20.0

    connection.receive_data(b"", now=19.9)
    assert connection.state is State.CONNECTING
    connection.handle_timer(now=20.0)

    assert _closed(connection).error == "waited too long for the HTTP response of the lookup"


def test_paused_lookup_does_not_time_out() -> None:
    connection = _lookup()
    connection.pause(now=10.0)
    connection.handle_timer(now=100.0)
    assert connection.state is State.CONNECTING

    connection.unpause(now=100.0)

    assert connection.next_timer() == 110.0


def test_closed_lookup_has_no_data_to_send() -> None:
    connection = _lookup()
    with pytest.raises(LocalProtocolError, match="wait for READY"):
        connection.send(None, now=0.0)

    connection.close(1000, "enough", now=0.0)

    closed = _closed(connection)
    assert (closed.code, closed.reason, closed.next_action) == (1000, "enough", NextAction.STOP)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("", None), ("soon", None), ("-1", None), ("nan", None),
     ("1e9", 2_592_000.0)],
)  # fmt: skip
def test_invalid_retry_after_is_ignored(value: str, seconds: float | None) -> None:
    assert parse_retry_after({"retry-after": value}) == seconds


# ----- the server's side -----

WORLD = World(user={"id": "5", "username": "u"})


def _answer(method: str, target: str, *, authorized: bool = True) -> tuple[int, Any]:
    server = Server(ServerConfig(world=WORLD, shards=3, url="ws://x"))
    return http(server, method, target, token="t" if authorized else None)


@pytest.mark.parametrize(
    "target",
    ["/api/gateway", "/api/v3/gateway", "/api/v10/gateway/", "/api/gateway?x=1", "/gateway"],
)
def test_server_answers_the_lookup_of_every_version(target: str) -> None:
    assert _answer("GET", target, authorized=False) == (200, {"url": "ws://x"})


def test_client_routes_answer_requests_with_a_token() -> None:
    status, bot = _answer("GET", "/api/v10/gateway/bot")
    assert (status, bot["url"], bot["shards"]) == (200, "ws://x", 3)
    assert bot["session_start_limit"].keys() == {
        "total",
        "remaining",
        "reset_after",
        "max_concurrency",
    }
    assert _answer("GET", "/api/v10/users/@me") == (200, WORLD.user)
    for target in ("/api/v10/oauth2/applications/@me", "/api/v10/applications/@me"):
        status, application = _answer("GET", target)
        assert (status, application["id"], application["owner"]["id"]) == (200, "5", "5")
        # Documented, and required by hikari and interactions.py.
        assert {"summary", "approximate_guild_count", "event_webhooks_status"} <= application.keys()
    assert _answer("GET", "/api/v10/soundboard-default-sounds") == (200, [])


@pytest.mark.parametrize(
    "route", ["gateway/bot", "users/@me", "oauth2/applications/@me", "applications/@me"]
)
def test_route_without_its_token_returns_401(route: str) -> None:
    assert _answer("GET", f"/api/v10/{route}", authorized=False)[0] == 401


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/v10/nothing", 404),
        ("GET", "/api/vX/gateway", 404),
        ("POST", "/api/gateway", 405),
        ("HEAD", "/api/gateway", 200),
        ("HEAD", "/api/users/@me", 200),
    ],
)
def test_unsupported_requests_get_an_error_status(method: str, target: str, status: int) -> None:
    assert _answer(method, target)[0] == status


def test_lookup_url_is_below_the_base_url() -> None:
    assert (
        str(Url.parse("http://localhost/api/").under("gateway")) == "http://localhost/api/gateway"
    )
