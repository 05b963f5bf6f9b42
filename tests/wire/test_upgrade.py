"""HTTP side of the WebSocket handshake: responses for the client, requests for the server."""

from __future__ import annotations

from typing import Any

import pytest
import wsproto.events as ws
from wsproto.connection import Connection, ConnectionType

from gateway_proto.wire import server_frames
from gateway_proto.wire.fast_frames import ProtocolViolation
from gateway_proto.wire.frame_events import HttpRequest, Upgraded, UpgradeRejected
from gateway_proto.wire.server_frames import ServerFrames
from tests.messages import one_by_one
from tests.wire.support import (
    LIMIT,
    UPGRADE,
    client_frames,
    http_response,
    library_reason,
    open_pair,
)


def test_rejected_upgrade_has_status_headers_and_body() -> None:
    client = client_frames()
    answer = b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nContent-Length: 4\r\nX: \xe9\r\n\r\nslow"

    assert one_by_one(client.receive(answer)) == [
        UpgradeRejected(429, {"retry-after": "3", "content-length": "4", "x": "\xe9"}, b"slow")
    ]


def test_rejection_received_byte_by_byte_is_reported_once() -> None:
    client = client_frames()
    answer = b"HTTP/1.1 429 No\r\nContent-Length: 8\r\n\r\n\r\n\r\nslow"

    received = [item for at in range(len(answer)) for item in client.receive(answer[at : at + 1])]

    assert received == [UpgradeRejected(429, {"content-length": "8"}, b"\r\n\r\nslow")]


def test_rejection_without_length_ends_at_eof() -> None:
    client = client_frames()
    assert one_by_one(client.receive(b"HTTP/1.0 403 No\r\n\r\nbad to")) == []
    assert one_by_one(client.receive(b"ken")) == []

    (refused,) = client.receive_eof()

    assert refused == UpgradeRejected(403, {}, b"bad token")


def test_rejection_body_is_truncated_at_its_limit() -> None:
    client = client_frames()
    body = b"x" * 10_000

    head = b"HTTP/1.1 500 No\r\nContent-Length: 10000\r\n\r\n"
    (refused,) = one_by_one(client.receive(head + body))

    assert isinstance(refused, UpgradeRejected)
    assert len(refused.body) == 4096


_INTERIM = [
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102\r\n\r\n",
    b"HTTP/1.0 199 x\nA: b\n\n",
]


@pytest.mark.parametrize("size", [1, 7, 21, 1000])
@pytest.mark.parametrize("interim", [*_INTERIM, b"".join(_INTERIM)])
def test_informational_responses_are_skipped(interim: bytes, size: int) -> None:
    client = client_frames()
    answer = interim + b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nbad token"

    (refused,) = [
        item
        for at in range(0, len(answer), size)
        for item in client.receive(answer[at : at + size])
    ]

    assert refused == UpgradeRejected(403, {"content-length": "9"}, b"bad token")


@pytest.mark.parametrize("size", [1000, 10**6])
@pytest.mark.parametrize("interim", [_INTERIM[1] * 33, b"HTTP/1.1 103 x\r\nA: " + b"x" * 70_000])
def test_informational_responses_are_bounded(interim: bytes, size: int) -> None:
    client = client_frames()

    items = [
        item
        for at in range(0, len(interim), size)
        for item in client.receive(interim[at : at + size])
    ]

    error = (
        "the upgrade has no answer after more than 32 informational responses, or too large ones"
    )
    assert items[0] == ProtocolViolation(1002, error)
    assert all(item == items[0] for item in items)


@pytest.mark.parametrize("start", [b"", b"HT", b"HTTP/1.1 10", b"HTTP/1.1 103 Hints\r\nA: b"])
def test_eof_within_informational_response_is_an_error(start: bytes) -> None:
    client = client_frames()
    assert list(client.receive(start)) == []

    (broken,) = client.receive_eof()

    assert isinstance(broken, ProtocolViolation)
    assert broken.code == 1002


@pytest.mark.parametrize("size", [10, 1000])
def test_rejection_with_invalid_body_is_reported(size: int) -> None:
    answer = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"
    client = client_frames()

    items = [
        item
        for at in range(0, len(answer), size)
        for item in client.receive(answer[at : at + size])
    ]

    assert isinstance(items[0], UpgradeRejected)
    assert items[0].status == 503


def test_rejection_with_truncated_body_is_reported() -> None:
    client = client_frames()
    assert not list(client.receive(b"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\nsorry"))

    (refused,) = client.receive_eof()

    assert refused == UpgradeRejected(503, {"content-length": "99"}, b"sorry")


def test_repeated_headers_are_joined() -> None:
    (refused,) = client_frames().receive(
        b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nretry-after: 60\r\nContent-Length: 0\r\n\r\n"
    )

    assert isinstance(refused, UpgradeRejected)
    assert refused.headers["retry-after"] == "3, 60"


_UPGRADING = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: "


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        _UPGRADING + b"Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        _UPGRADING + b"\xe9\r\n\r\n",
        b"HTTP/1.1 101 x\r\n" + b"A: " + b"x" * 70_000,
    ],
)
def test_invalid_upgrade_response_is_a_protocol_error(answer: bytes) -> None:
    (broken,) = client_frames().receive(answer)

    assert isinstance(broken, ProtocolViolation)
    assert broken.code == 1002
    assert library_reason(broken, after="the answer to the upgrade is not understood: ")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 x\r\nUpgrade: "])
def test_end_before_the_upgrade_response_is_named(answer: bytes) -> None:
    frames = client_frames()
    one_by_one(frames.receive(answer))

    (broken,) = frames.receive_eof()

    assert broken == ProtocolViolation(1002, "the transport ended before the answer to the upgrade")


def test_frames_sent_with_the_upgrade_response_are_received() -> None:
    client, server = client_frames(), ServerFrames(limit=LIMIT)
    one_by_one(server.receive(client.data_to_send()))
    one_by_one(server.accept())
    server.send("at once\r\n\r\n")

    received = one_by_one(client.receive(server.data_to_send()))

    assert received == [Upgraded(), "at once\r\n\r\n"]


@pytest.mark.parametrize("size", [7, 8, 10**6])
@pytest.mark.parametrize(("more", "is_accepted"), [(0, True), (1, True), (2, False)])
def test_head_of_the_upgrade_response_is_bounded(size: int, more: int, is_accepted: bool) -> None:
    """16 KiB and one byte, however the head is split."""
    client, server = client_frames(), ServerFrames(limit=LIMIT)
    one_by_one(server.receive(client.data_to_send()))
    one_by_one(server.accept())
    head = server.data_to_send()
    padding = b"X: " + b"x" * (16384 + more - len(head) - 5) + b"\r\n"
    answer = head[:-2] + padding + b"\r\n"

    received = [
        item
        for at in range(0, len(answer), size)
        for item in client.receive(answer[at : at + size])
    ]

    if is_accepted:
        assert received == [Upgraded()]
    else:
        assert isinstance(received[0], ProtocolViolation)
        assert received[0].code == 1002


def test_eof_after_upgrade_yields_no_item() -> None:
    client, _ = open_pair()

    assert one_by_one(client.receive_eof()) == []


# ----- requests, for the server -----


def test_frames_sent_with_the_upgrade_request_are_received() -> None:
    server = ServerFrames(limit=LIMIT)
    following = Connection(ConnectionType.CLIENT).send(ws.TextMessage("eager"))

    one_by_one(server.receive(UPGRADE + following))

    assert one_by_one(server.accept()) == [Upgraded(), "eager"]


def test_message_after_a_close_of_the_server_is_dropped() -> None:
    _, server = open_pair()
    server.close(1000, "")
    closed = server.data_to_send()

    server.send("late")
    server.send_text(b"late")

    assert closed == b"\x88\x02\x03\xe8"
    assert server.data_to_send() == b""


def test_request_received_byte_by_byte_is_one_request() -> None:
    server = ServerFrames(limit=LIMIT)
    received: list[Any] = []

    for at in range(len(UPGRADE)):
        received += one_by_one(server.receive(UPGRADE[at : at + 1]))

    headers = {
        "host": "h",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-version": "13",
    }
    assert received == [HttpRequest("GET", "/x", headers, b"", upgrade=True)]


def test_data_between_upgrade_request_and_response_is_dropped() -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(UPGRADE))

    assert one_by_one(server.receive(b"more")) == []

    assert one_by_one(server.accept()) == [Upgraded()]
    assert server.data_to_send() == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
    )


def test_upgrade_header_is_case_insensitive() -> None:
    server = ServerFrames(limit=LIMIT)

    (requested,) = server.receive(UPGRADE.replace(b"websocket", b"WebSocket"))

    assert isinstance(requested, HttpRequest)
    assert requested.upgrade
    assert one_by_one(server.accept()) == [Upgraded()]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # without a host
        (UPGRADE.removesuffix(b"\r\n") + b"X\r\n\r\n", 400),  # a line without a colon
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 70_000, 431),
    ],
)
def test_invalid_http_request_is_rejected_and_the_rest_ignored(
    request_: bytes, status: int
) -> None:
    server = ServerFrames(limit=LIMIT)

    (broken,) = one_by_one(server.receive(request_))

    assert broken.code == 1002
    why = library_reason(broken, after="bad HTTP request: ")
    assert server.data_to_send() == http_response(status, f"bad request: {why}\n".encode())
    assert one_by_one(server.receive(UPGRADE)) == []
    assert server.data_to_send() == b""


@pytest.mark.parametrize(
    "request_",
    [
        UPGRADE.replace(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b""),
        UPGRADE.replace(b"Connection: Upgrade\r\n", b""),
        UPGRADE.replace(b"HTTP/1.1\r\nHost: h\r\n", b"HTTP/1.0\r\n"),
    ],
)
def test_incomplete_upgrade_request_is_rejected_with_400(request_: bytes) -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(request_))

    (broken,) = one_by_one(server.accept())

    assert broken.code == 1002
    why = library_reason(broken, after="no WebSocket upgrade: ")
    assert server.data_to_send() == http_response(400, f"no WebSocket upgrade: {why}\n".encode())


@pytest.mark.parametrize(
    ("old", "new", "accepted"),
    [
        (b"", b"", True),
        (b"Connection: Upgrade", b"Connection: keep-alive, UPGRADE", True),
        (b"Connection: Upgrade", b"Connection: close\r\nConnection: Upgrade", True),
        (b"Connection: Upgrade", b"Connection: Upgrade\r\nConnection: close", False),
        (b"Connection: Upgrade", b"Connection: Upgrade, \xe9", False),
        (b"Upgrade: websocket", b"Upgrade: h2c, websocket", False),
        (b"Version: 13", b"Version: 8", False),
        (b"Version: 13", b"Version: 013", False),
        (b"Host: h", b"Host: xn--bcher-kva.example", True),
        (b"Host: h", b"Host: xn--\x22", False),
        (b"Host: h", b"Host: h\xe9", False),
        (b"Host: h", b"Host: h\r\nSec-WebSocket-Extensions: \xe9", False),
        (b"Host: h", b"Host: h\r\nSec-WebSocket-Extensions: permessage-deflate", True),
        (b"Host: h", b"Host: h\r\nSec-WebSocket-Protocol: a, b", True),
        (b"Host: h", b"Host: h\r\nContent-Length: 0", True),
    ],
)
def test_upgrade_is_accepted_as_wsproto_accepts_it(
    old: bytes, new: bytes, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = UPGRADE.replace(old, new)
    answers = []

    for path in (server_frames.plain_upgrade, lambda _: None):
        monkeypatch.setattr(server_frames, "plain_upgrade", path)
        server = ServerFrames(limit=LIMIT)
        one_by_one(server.receive(request))
        found = one_by_one(server.accept())
        answers.append((found, server.data_to_send()))

    assert answers[0] == answers[1]
    assert (answers[0][0] == [Upgraded()]) is accepted


@pytest.mark.parametrize("key", [b"x", b"", b"MDEyMzQ1Njc4OWFiY2RlZg", b"!" * 24, b"AAAA"])
def test_invalid_websocket_key_is_rejected(key: bytes) -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(UPGRADE.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", key)))

    (broken,) = one_by_one(server.accept())

    assert broken.code == 1002
    assert server.data_to_send().startswith(b"HTTP/1.1 400 ")


def test_repeated_websocket_key_is_rejected() -> None:
    server = ServerFrames(limit=LIMIT)
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    one_by_one(server.receive(UPGRADE.replace(key, key * 2)))

    (broken,) = one_by_one(server.accept())

    assert broken.code == 1002


@pytest.mark.parametrize(("count", "status"), [(99, None), (100, 431), (5000, 431)])
def test_request_with_too_many_headers_is_rejected(count: int, status: int | None) -> None:
    server = ServerFrames(limit=LIMIT)
    fields = b"".join(b"X-%d: y\r\n" % number for number in range(count))

    (item,) = one_by_one(server.receive(b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n"))

    assert isinstance(item, HttpRequest) == (status is None)
    assert server.data_to_send()[9:12] == (b"" if status is None else b"431")


def test_post_request_with_a_body_can_be_answered() -> None:
    server = ServerFrames(limit=LIMIT)
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX: \xe9\r\n\r\n"

    received = one_by_one(server.receive(head + b"a"))
    received += one_by_one(server.receive(b"bc"))
    server.respond(405, b"text/plain", b"no", [(b"Retry-After", b"1.5")])

    headers = {"host": "h", "content-length": "3", "x": "\xe9"}
    assert received == [HttpRequest("POST", "/x", headers, b"abc", upgrade=False)]
    assert server.data_to_send() == http_response(405, b"no", b"Retry-After: 1.5")


def test_expect_header_is_answered_with_100_continue() -> None:
    server = ServerFrames(limit=LIMIT)
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

    assert one_by_one(server.receive(head)) == []

    assert server.data_to_send() == b"HTTP/1.1 100 \r\n\r\n"


def test_body_over_the_limit_is_rejected_and_the_rest_ignored() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    server = ServerFrames(limit=LIMIT, body_limit=3)
    (requested,) = one_by_one(server.receive(head % 3 + b"abc"))
    assert isinstance(requested, HttpRequest)
    server = ServerFrames(limit=LIMIT, body_limit=3)

    received = one_by_one(server.receive(head % 9 + b"abcd"))

    error = "a body of more than 3 bytes is not accepted"
    assert received == [ProtocolViolation(1009, error)]
    assert server.data_to_send() == http_response(413, f"{error}\n".encode())
    assert one_by_one(server.receive(b"efg")) == []
    assert server.data_to_send() == b""


def test_response_to_head_request_has_no_body() -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"))

    server.respond(200, b"text/plain", b"hidden")

    assert server.data_to_send() == http_response(200, b"hidden").removesuffix(b"hidden")


def test_end_of_an_incomplete_request_completes_nothing() -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(UPGRADE[:20]))

    assert list(server.receive_eof()) == []
    assert server.data_to_send() == b""
