"""Recorded REST requests, unknown routes and scripted replies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.server import HttpRequested, Server
from gateway_proto.server.rest_call import iso_time
from tests.server.support import CHANNEL, GUILD, http, rest_server

# ----- recorded requests, unknown routes -----


def test_requests_are_recorded_without_their_token() -> None:
    server = rest_server(tokens={"secret-token"})
    connection = server.accept(now=0.0)
    connection.receive_data(
        b"POST /api/v10/channels/2000/messages?a=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 15\r\n"
        b'Authorization: Bot secret-token\r\n\r\n{"content":"x"}',
        now=0.0,
    )

    (requested,) = server.rest.requests
    assert requested == HttpRequested(
        "POST", "/api/v10/channels/2000/messages", 200, "a=1", {"content": "x"},
        route="/channels/{channel_id}/messages",
    )  # fmt: skip
    assert connection.events()[0] == requested
    assert "secret-token" not in repr(server.rest.requests)


def test_only_the_last_requests_are_kept() -> None:
    server = rest_server(requests_limit=2, requests_bytes=40)
    for _ in range(3):
        http(server, "GET", "/api/x")
    assert (len(server.rest.requests), len(server.rest.unknown)) == (2, 2)

    http(server, "POST", "/api/x", {"content": "x" * 50})
    assert len(server.rest.requests) == 0


def test_unknown_route_is_answered_with_404_and_listed() -> None:
    server = rest_server()

    assert http(server, "GET", "/api/v10/x") == (404, {"message": "404: Not Found", "code": 0})
    assert http(server, "DELETE", GUILD)[0] == 405
    assert [requested.path for requested in server.rest.unknown] == ["/api/v10/x", GUILD]


@pytest.mark.parametrize("token", [None, "wrong"])
def test_route_without_valid_token_is_answered_with_401(token: str | None) -> None:
    server = rest_server(tokens={"t"})

    assert http(server, "GET", GUILD, token=token)[0] == 401
    assert http(rest_server(), "GET", GUILD, token=None)[0] == 401


def test_body_without_etf_form_is_rejected_and_has_no_effect() -> None:
    pytest.importorskip("erlpack")
    server = rest_server()
    deep: Any = 0
    for _ in range(600):
        deep = [deep]

    answered = http(server, "PATCH", GUILD, {"description": deep})

    assert answered[0] == 400
    assert server.world.guilds[0]["description"] is None


# ----- scripted replies -----


def test_scripted_reply_replaces_the_answer_once() -> None:
    server = rest_server()
    path = "/channels/{channel_id}/messages"

    server.rest.reply("POST", path, status=500, json={"message": "x"}, times=1)
    server.rest.reply("GET", "/api/v10/more/{x}", body=b"{", headers={"X-A": "b"})

    assert http(server, "POST", f"{CHANNEL}/messages", {"content": "x"})[0] == 500
    assert http(server, "POST", f"{CHANNEL}/messages", {"content": "x"})[0] == 200
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /api/v10/more/5 HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)
    answered = connection.data_to_send()
    assert b"X-A: b\r\n" in answered and answered.endswith(b"\r\n\r\n{")
    assert http(server, "GET", "/api/v10/more/5/6")[0] == 404
    assert [requested.status for requested in server.rest.requests] == [500, 200, 200, 404]


def test_scripted_reply_for_several_times_ends_after_them() -> None:
    server = rest_server()
    server.rest.reply("GET", "/users/@me", status=503, times=2)

    statuses = [http(server, "GET", "/api/users/@me")[0] for _ in range(3)]

    assert statuses == [503, 503, 200]


@pytest.mark.parametrize(
    ("scope", "header"),
    [
        ("user", b"X-RateLimit-Bucket: gateway_proto\r\n"),
        ("global", b"X-RateLimit-Global: true\r\n"),
    ],
)
def test_rate_limit_has_the_documented_headers_and_body(scope: str, header: bytes) -> None:
    server = rest_server()
    server.rest.rate_limit("GET", "/users/@me", retry_after=0.5, scope=scope)
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /api/users/@me HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)

    answered = connection.data_to_send()

    assert answered.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 0.5\r\n" in answered and header in answered
    body = json.loads(answered.partition(b"\r\n\r\n")[2])
    assert (body["retry_after"], body["global"]) == (0.5, scope == "global")
    assert http(server, "GET", "/api/users/@me")[0] == 200


def _answer_text(server: Server, target: str) -> tuple[str, bytes]:
    """Return the head of the answer to GET in lower case, and the body."""
    connection = server.accept(now=0.0)
    connection.receive_data(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), now=0.0)
    head, _, body = connection.data_to_send().partition(b"\r\n\r\n")
    return head.decode().lower(), body


@pytest.mark.parametrize("target", ["/api/gateway", "/api/users/@me", "/api/none", "/api/limited"])
def test_rest_answer_has_the_via_header(target: str) -> None:
    server = rest_server()
    server.rest.rate_limit("GET", "/limited")

    head, _ = _answer_text(server, target)

    assert head.count("\r\nvia: 1.1 google") == 1


def test_via_header_of_a_reply_replaces_the_default() -> None:
    server = rest_server()
    server.rest.reply("GET", "/x", status=429, headers={"via": "1.1 own"})

    head, _ = _answer_text(server, "/x")

    assert head.count("\r\nvia: ") == 1 and "via: 1.1 own" in head


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"message": "400: Bad Request", "code": 0}),
        (500, {"message": "500: Internal Server Error", "code": 0}),
        (599, {"message": "599: Unknown Error", "code": 0}),
        (429, {"message": "You are being rate limited.", "retry_after": 1.0, "global": False}),
    ],
)
def test_error_reply_without_body_has_the_default_body(status: int, body: dict[str, Any]) -> None:
    server = rest_server()
    server.rest.reply("GET", "/x", status=status)

    head, text = _answer_text(server, "/x")

    assert "content-type: application/json" in head
    assert json.loads(text) == body


@pytest.mark.parametrize("arguments", [{"status": 204}, {}, {"status": 500, "body": b""}])
def test_reply_with_an_empty_body_has_no_content_type(arguments: dict[str, Any]) -> None:
    server = rest_server()
    server.rest.reply("GET", "/x", **arguments)

    head, text = _answer_text(server, "/x")

    assert "content-type" not in head
    assert text == b""


def test_ignored_request_has_no_answer_until_the_timeout() -> None:
    server = rest_server(handshake_timeout=5.0)
    server.rest.ignore("GET", "/users/@me")
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /api/users/@me HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)

    assert connection.data_to_send() == b""
    assert server.rest.requests[-1].status == 0
    connection.handle_timer(now=5.0)
    assert connection.state.value == "closed"
    assert http(server, "GET", "/api/users/@me")[0] == 200


def test_content_type_of_a_reply_replaces_the_default() -> None:
    server = rest_server()
    server.rest.reply("GET", "/x", body=b"<html>", headers={"Content-Type": "text/html"})
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)

    assert connection.data_to_send().lower().count(b"content-type") == 1


def test_clear_removes_requests_and_scripts() -> None:
    server = rest_server()
    server.rest.reply("GET", "/users/@me", status=500)
    assert http(server, "GET", "/api/users/@me")[0] == 500

    server.rest.clear()

    assert len(server.rest.requests) == 0
    assert http(server, "GET", "/api/users/@me")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"method": "get"}, "invalid method 'get'"),
        ({"path": "users"}, "invalid path 'users'"),
        ({"status": 100}, "invalid status 100"),
        ({"times": 0}, "invalid times 0"),
        ({"body": "text"}, "invalid body 'text'"),
        ({"json": object()}, "JSON"),
        ({"headers": {"a b": "c"}}, "invalid header name 'a b'"),
        ({"headers": {"Content-Length": "5"}}, "invalid header name"),
        ({"headers": {"a": "b\r\nc"}}, "invalid header a"),
    ],
)
def test_script_with_invalid_arguments_is_rejected(arguments: dict[str, Any], error: str) -> None:
    rest = rest_server().rest

    with pytest.raises(LocalProtocolError, match=error):
        rest.reply(**{"method": "GET", "path": "/x", **arguments})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000+00:00"),
        (951782400.5, "2000-02-29T00:00:00.500000+00:00"),
        (1767225599.0, "2025-12-31T23:59:59.000000+00:00"),
    ],
)
def test_time_is_formatted_as_iso_8601(seconds: float, text: str) -> None:
    assert iso_time(seconds) == text


def test_ids_increase_and_contain_the_time() -> None:
    server = rest_server(unix_offset=1420070400.0)

    first, second = server.rest.new_id(now=1.0), server.rest.new_id(now=1.0)

    assert (int(first) >> 22, int(second) - int(first)) == (1000, 1)
