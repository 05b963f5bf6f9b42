"""bytes ↔ messages: whatever the peer sends becomes a value, and every size is bounded."""

from __future__ import annotations

import base64
import re
import struct
from typing import Any

import pytest
import wsproto.events as ws
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType

from gateway_proto._layers.frames import (
    Broken,
    ClientFrames,
    CloseReceived,
    Refused,
    Requested,
    ServerFrames,
    Unframed,
    Upgraded,
)
from tests.messages import one_by_one, unmasked

LIMIT = 1000
UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _client() -> ClientFrames:
    return ClientFrames(host="h", target="/x", user_agent="ua", limit=LIMIT)


def _answer(status: int, body: bytes, *more: bytes) -> bytes:
    """As a server writes one: the last of its connection."""
    length = b"Content-Length: %d" % len(body)
    head = [b"HTTP/1.1 %d " % status, b"Content-Type: text/plain", length, b"Connection: close"]
    return b"\r\n".join([*head, *more, b"", body])


def _open() -> tuple[ClientFrames, ServerFrames]:
    client, server = _client(), ServerFrames(limit=LIMIT)
    (requested,) = one_by_one(server.receive(client.data_to_send()))
    assert isinstance(requested, Requested)
    assert one_by_one(server.accept()) == [Upgraded()]
    assert one_by_one(client.receive(server.data_to_send())) == [Upgraded()]
    return client, server


def _reason(broken: Broken, *, behind: str) -> str:
    """What wsproto or h11 said, in words of theirs, which are not ours to hold."""
    assert broken.error.startswith(behind)
    reason = broken.error.removeprefix(behind)
    assert reason not in ("", "None")
    return reason


def _frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """As a server sends it: without a mask."""
    assert len(payload) < 65536
    size = bytes([len(payload)]) if len(payload) < 126 else struct.pack("!BH", 126, len(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + size + payload


def test_text_and_binary_messages_arrive_in_both_directions() -> None:
    client, server = _open()

    client.send("text")
    client.send(b"binary")
    assert one_by_one(server.receive(client.data_to_send())) == ["text", b"binary"]
    server.send("back")
    assert server.waiting > 0
    assert one_by_one(client.receive(server.data_to_send())) == ["back"]
    assert server.waiting == 0


def test_upgrade_request_has_host_target_and_user_agent() -> None:
    request = _client().data_to_send()

    head, key, rest = re.split(rb"(?<=Sec-WebSocket-Key: )(\S+)", request)

    assert head == (
        b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: "
    )
    assert len(base64.b64decode(key)) == 16
    assert rest == b"\r\nSec-WebSocket-Version: 13\r\nUser-Agent: ua\r\n\r\n"


def test_fragments_are_joined_to_one_message() -> None:
    client, _ = _open()

    data = _frame(1, b"a", fin=False) + _frame(0, b"b", fin=False) + _frame(0, b"c")

    assert one_by_one(client.receive(data)) == ["abc"]
    data = _frame(2, b"a", fin=False) + _frame(0, b"b")
    assert one_by_one(client.receive(data)) == [b"ab"]


def test_empty_messages_are_received() -> None:
    client, _ = _open()

    assert one_by_one(client.receive(_frame(1, b"") + _frame(2, b""))) == ["", b""]


def test_ping_between_fragments_is_answered() -> None:
    client, server = _open()
    data = _frame(1, b"a", fin=False) + _frame(9, b"ping") + _frame(0, b"b") + _frame(10, b"")

    assert one_by_one(client.receive(data)) == ["ab"]

    assert one_by_one(server.receive(client.data_to_send())) == []  # a pong is no message


def test_each_ping_is_answered_with_its_data_in_order() -> None:
    client, server = _open()
    client.send("before")

    assert one_by_one(client.receive(_frame(9, b"one") + _frame(9, b""))) == []

    assert unmasked(client.data_to_send()) == [(0x81, b"before"), (0x8A, b"one"), (0x8A, b"")]
    assert one_by_one(server.receive(b"\x89\x80mask")) == []
    assert server.data_to_send() == b"\x8a\x00"


@pytest.mark.parametrize("sizes", [[LIMIT + 1], [LIMIT, 1], [600, 600]])
def test_message_over_the_limit_is_rejected_before_its_end(sizes: list[int]) -> None:
    client, _ = _open()
    data = _frame(2, b"x" * sizes[0], fin=False)
    for size in sizes[1:]:
        data += _frame(0, b"x" * size, fin=False)

    (broken,) = one_by_one(client.receive(data))

    assert broken == Broken(1009, f"a message has more than {LIMIT} bytes")


def test_message_of_exactly_the_limit_is_accepted_repeatedly() -> None:
    client, _ = _open()
    whole = "x" * LIMIT

    received = one_by_one(client.receive(_frame(1, whole.encode()) * 2))

    assert received == [whole, whole]


@pytest.mark.parametrize("sizes", [[LIMIT, 0], [LIMIT - 1, 1], [400, 300, 300]])
def test_fragments_of_exactly_the_limit_are_accepted_repeatedly(
    sizes: list[int],
) -> None:
    client, _ = _open()
    parts = [_frame(0, b"x" * size, fin=False) for size in sizes]
    message = b"\x02" + b"".join(parts)[1:] + _frame(0, b"")

    received = one_by_one(client.receive(message * 2))

    assert received == [b"x" * LIMIT] * 2


def test_server_accepts_messages_up_to_the_limit() -> None:
    client, server = _open()
    client.send("x" * LIMIT)
    client.send(b"x" * (LIMIT + 1))

    received = one_by_one(server.receive(client.data_to_send()))

    assert received == ["x" * LIMIT, Broken(1009, f"a message has more than {LIMIT} bytes")]


@pytest.mark.parametrize(
    ("length", "code"), [(LIMIT + 1, 1009), (2**62, 1009), (2**63, 1002), (2**64 - 1, 1002)]
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_header_over_the_limit_is_rejected_immediately(role: str, length: int, code: int) -> None:
    client, server = _open()
    if role == "server":
        client.send("before")
        before, receiver = client.data_to_send(), server
        head = struct.pack(
            "!BBQ" if length > 65535 else "!BBH", 0x82, 0xFE + (length > 65535), length
        )
    else:
        server.send("before")
        before, receiver = server.data_to_send(), client
        head = struct.pack(
            "!BBQ" if length > 65535 else "!BBH", 0x82, 126 + (length > 65535), length
        )

    message, broken = one_by_one(receiver.receive(before + head + b"mask" * (role == "server")))

    assert message == "before"
    assert isinstance(broken, Broken)
    assert broken.code == code


def test_many_small_fragments_are_joined_in_one_buffer() -> None:
    _, server = _open()
    parts = [b"\x01\x81\0\0\0\0a", *[b"\x00\x82\0\0\0\0\xc3\xa4"] * 400, b"\x80\x80\0\0\0\0"]
    binary = [b"\x02\x81\0\0\0\0\xff", b"\x80\x81\0\0\0\0\xfe"]

    received = one_by_one(server.receive(b"".join(parts + binary)))

    assert received == ["a" + "ä" * 400, b"\xff\xfe"]


@pytest.mark.parametrize("role", ["client", "server"])
def test_unread_pongs_are_bounded(role: str) -> None:
    client, server = _open()
    masked = role == "server"
    receiver = server if masked else client

    for number in range(1000):
        payload = b"%d" % number
        mask = b"\0\0\0\0" if masked else b""
        head = bytes([0x89, len(payload) | (0x80 if masked else 0)])
        assert one_by_one(receiver.receive(head + mask + payload)) == []
    receiver.send("after")
    sent = receiver.data_to_send()

    if masked:
        first = b"".join(b"\x8a" + bytes([len(b"%d" % n)]) + b"%d" % n for n in range(16))
        assert sent == first + b"\x81\x05after\x8a\x03999"
    else:
        pongs = [(0x8A, b"%d" % number) for number in range(16)]
        assert unmasked(sent) == [*pongs, (0x81, b"after"), (0x8A, b"999")]
    assert receiver.data_to_send() == b""


def test_last_pong_is_sent_before_our_close_only() -> None:
    _, server = _open()
    pings = b"\x89\x80\0\0\0\0" * 20
    one_by_one(server.receive(pings))

    server.close(4000, "")

    assert server.data_to_send() == b"\x8a\x00" * 17 + b"\x88\x02\x0f\xa0"
    _, server = _open()
    assert one_by_one(server.receive(pings + b"\x88\x80\0\0\0\0")) == [CloseReceived(None, "")]
    server.close(1000, "")
    assert server.data_to_send() == b"\x8a\x00" * 16 + b"\x88\x02\x03\xe8"


def test_endless_empty_fragments_use_no_memory() -> None:
    client, _ = _open()
    assert one_by_one(client.receive(_frame(1, b"", fin=False))) == []

    assert one_by_one(client.receive(_frame(0, b"", fin=False) * 1000)) == []

    assert not client._parts


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes([0x83, 0]), 1002),  # an op code that there is not
        (bytes([0xC1, 0]), 1002),  # a reserved bit
        (bytes([0x81, 0x80, 0, 0, 0, 0]), 1002),  # a mask from a server
        (_frame(0, b"x"), 1002),  # a fragment of nothing
        (_frame(1, b"\xff"), 1007),  # no UTF-8
        (_frame(8, b"x"), 1002),  # a close of one byte
        (_frame(8, struct.pack("!H", 1005)), 1002),  # a code that never travels
    ],
)
@pytest.mark.parametrize("closing", [False, True])
def test_invalid_frame_is_not_reported_as_close(data: bytes, code: int, closing: bool) -> None:
    client, _ = _open()
    if closing:
        client.close(1000, "")

    (broken,) = one_by_one(client.receive(data))

    assert isinstance(broken, Broken)
    assert broken.code == code
    assert _reason(broken, behind="broken WebSocket frame: ")


@pytest.mark.parametrize(
    ("payload", "received"),
    [
        (b"", CloseReceived(None, "")),
        (struct.pack("!H", 1000), CloseReceived(1000, "")),
        (struct.pack("!H", 4004) + b"why", CloseReceived(4004, "why")),
    ],
)
def test_close_is_received_with_or_without_code(payload: bytes, received: Any) -> None:
    client, _ = _open()

    assert one_by_one(client.receive(_frame(8, payload))) == [received]


def test_data_after_a_received_close_is_dropped() -> None:
    client, server = _open()

    received = one_by_one(client.receive(_frame(8, b"") + _frame(1, b"late")))
    assert received == [CloseReceived(None, "")]
    assert one_by_one(client.receive(_frame(1, b"later"))) == []

    client.close(1000, "bye")
    assert one_by_one(server.receive(client.data_to_send())) == [CloseReceived(1000, "bye")]
    assert one_by_one(server.receive(b"more")) == []


def test_messages_and_close_after_our_close_are_received() -> None:
    client, server = _open()
    server.send("before")
    client.send("last")
    client.close(4000, "bye")

    received = one_by_one(server.receive(client.data_to_send()))
    server.close(1000, "")

    assert received == ["last", CloseReceived(4000, "bye")]
    received = one_by_one(client.receive(server.data_to_send()))
    assert received == ["before", CloseReceived(1000, "")]


def test_ping_after_our_close_is_not_answered() -> None:
    client, _ = _open()
    client.close(4000, "bye")
    client.data_to_send()

    assert one_by_one(client.receive(_frame(9, b"ping"))) == []

    assert client.data_to_send() == b""


def test_close_before_upgrade_or_after_close_sends_no_frame() -> None:
    early = _client()
    early.data_to_send()
    early.close(1000, "")
    assert early.data_to_send() == b""
    client, _ = _open()
    client.close(1000, "")
    client.data_to_send()

    client.close(1000, "")

    assert client.data_to_send() == b""


def test_rejected_upgrade_has_status_headers_and_body() -> None:
    client = _client()
    answer = b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nContent-Length: 4\r\nX: \xe9\r\n\r\nslow"

    assert one_by_one(client.receive(answer)) == [
        Refused(429, {"retry-after": "3", "content-length": "4", "x": "\xe9"}, b"slow")
    ]


def test_rejection_received_byte_by_byte_is_reported_once() -> None:
    client = _client()
    answer = b"HTTP/1.1 429 No\r\nContent-Length: 8\r\n\r\n\r\n\r\nslow"

    received = [item for at in range(len(answer)) for item in client.receive(answer[at : at + 1])]

    assert received == [Refused(429, {"content-length": "8"}, b"\r\n\r\nslow")]


def test_rejection_without_length_ends_at_eof() -> None:
    client = _client()
    assert one_by_one(client.receive(b"HTTP/1.0 403 No\r\n\r\nbad to")) == []
    assert one_by_one(client.receive(b"ken")) == []

    (refused,) = client.receive_eof()

    assert refused == Refused(403, {}, b"bad token")


def test_rejection_body_is_truncated_at_its_limit() -> None:
    client = _client()
    body = b"x" * 10_000

    head = b"HTTP/1.1 500 No\r\nContent-Length: 10000\r\n\r\n"
    (refused,) = one_by_one(client.receive(head + body))

    assert isinstance(refused, Refused)
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
    client = _client()
    answer = interim + b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nbad token"

    (refused,) = [
        item
        for at in range(0, len(answer), size)
        for item in client.receive(answer[at : at + size])
    ]

    assert refused == Refused(403, {"content-length": "9"}, b"bad token")


@pytest.mark.parametrize("size", [1000, 10**6])
@pytest.mark.parametrize("interim", [_INTERIM[1] * 33, b"HTTP/1.1 103 x\r\nA: " + b"x" * 70_000])
def test_informational_responses_are_bounded(interim: bytes, size: int) -> None:
    client = _client()

    items = [
        item
        for at in range(0, len(interim), size)
        for item in client.receive(interim[at : at + size])
    ]

    assert items
    assert all(isinstance(item, Broken) for item in items)


@pytest.mark.parametrize("start", [b"", b"HT", b"HTTP/1.1 10", b"HTTP/1.1 103 Hints\r\nA: b"])
def test_eof_within_informational_response_is_an_error(start: bytes) -> None:
    client = _client()
    assert list(client.receive(start)) == []

    assert all(isinstance(item, Broken) for item in client.receive_eof())


@pytest.mark.parametrize("size", [10, 1000])
def test_rejection_with_invalid_body_is_reported(size: int) -> None:
    answer = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"
    client = _client()

    items = [
        item
        for at in range(0, len(answer), size)
        for item in client.receive(answer[at : at + size])
    ]

    assert isinstance(items[0], Refused)
    assert items[0].status == 503


def test_rejection_with_truncated_body_is_reported() -> None:
    client = _client()
    assert not list(client.receive(b"HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\nsorry"))

    (refused,) = client.receive_eof()

    assert refused == Refused(503, {"content-length": "99"}, b"sorry")


def test_repeated_headers_are_joined() -> None:
    (refused,) = _client().receive(
        b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nretry-after: 60\r\nContent-Length: 0\r\n\r\n"
    )

    assert isinstance(refused, Refused)
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
    (broken,) = _client().receive(answer)

    assert isinstance(broken, Broken)
    assert broken.code == 1002
    assert _reason(broken, behind="the answer to the upgrade is not understood: ")


def test_frames_sent_with_the_upgrade_response_are_received() -> None:
    client, server = _client(), ServerFrames(limit=LIMIT)
    one_by_one(server.receive(client.data_to_send()))
    one_by_one(server.accept())
    server.send("at once\r\n\r\n")

    received = one_by_one(client.receive(server.data_to_send()))

    assert received == [Upgraded(), "at once\r\n\r\n"]


def test_eof_after_upgrade_yields_no_item() -> None:
    client, _ = _open()

    assert one_by_one(client.receive_eof()) == []


# ----- the server's side -----


def test_frames_sent_with_the_upgrade_request_are_received() -> None:
    server = ServerFrames(limit=LIMIT)
    behind = Connection(ConnectionType.CLIENT).send(ws.TextMessage("eager"))

    one_by_one(server.receive(UPGRADE + behind))

    assert one_by_one(server.accept()) == [Upgraded(), "eager"]


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
    assert received == [Requested("GET", "/x", headers, b"", upgrade=True)]


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

    assert isinstance(requested, Requested)
    assert requested.upgrade
    assert one_by_one(server.accept()) == [Upgraded()]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # without a host
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 70_000, 431),
    ],
)
def test_invalid_http_request_is_rejected_and_the_rest_ignored(
    request_: bytes, status: int
) -> None:
    server = ServerFrames(limit=LIMIT)

    (broken,) = one_by_one(server.receive(request_))

    assert broken.code == 1002
    why = _reason(broken, behind="bad HTTP request: ")
    assert server.data_to_send() == _answer(status, f"bad request: {why}\n".encode())
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
    why = _reason(broken, behind="no WebSocket upgrade: ")
    assert server.data_to_send() == _answer(400, f"no WebSocket upgrade: {why}\n".encode())


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

    assert isinstance(item, Requested) == (status is None)
    assert server.data_to_send()[9:12] == (b"" if status is None else b"431")


def test_post_request_with_a_body_can_be_answered() -> None:
    server = ServerFrames(limit=LIMIT)
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX: \xe9\r\n\r\n"

    received = one_by_one(server.receive(head + b"a"))
    received += one_by_one(server.receive(b"bc"))
    server.respond(405, b"text/plain", b"no", [(b"Retry-After", b"1.5")])

    headers = {"host": "h", "content-length": "3", "x": "\xe9"}
    assert received == [Requested("POST", "/x", headers, b"abc", upgrade=False)]
    assert server.data_to_send() == _answer(405, b"no", b"Retry-After: 1.5")


def test_expect_header_is_answered_with_100_continue() -> None:
    server = ServerFrames(limit=LIMIT)
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

    assert one_by_one(server.receive(head)) == []

    assert server.data_to_send() == b"HTTP/1.1 100 \r\n\r\n"


def test_body_over_the_limit_is_rejected_and_the_rest_ignored() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    server = ServerFrames(limit=LIMIT, body_limit=3)
    (requested,) = one_by_one(server.receive(head % 3 + b"abc"))
    assert isinstance(requested, Requested)
    server = ServerFrames(limit=LIMIT, body_limit=3)

    received = one_by_one(server.receive(head % 9 + b"abcd"))

    error = "a body of more than 3 bytes is not accepted"
    assert received == [Broken(1009, error)]
    assert server.data_to_send() == _answer(413, f"{error}\n".encode())
    assert one_by_one(server.receive(b"efg")) == []
    assert server.data_to_send() == b""


def test_response_to_head_request_has_no_body() -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"))

    server.respond(200, b"text/plain", b"hidden")

    assert server.data_to_send() == _answer(200, b"hidden").removesuffix(b"hidden")


@given(st.lists(st.one_of(st.text(max_size=50), st.binary(max_size=50))), st.integers(1, 30))
def test_message_boundaries_do_not_depend_on_chunk_size(
    messages: list[str | bytes], size: int
) -> None:
    client, server = _open()
    for message in messages:
        server.send(message)
    data = server.data_to_send()

    received: list[Any] = []
    for at in range(0, len(data), size):
        received += one_by_one(client.receive(data[at : at + size]))

    assert received == messages


def test_unframed_messages_and_first_close_are_buffered_in_order() -> None:
    unframed = Unframed()
    assert unframed.close_to_send() is None
    unframed.send("a")
    unframed.send(b"bc")
    unframed.close(4000, "first")
    unframed.close(1000, "second")

    assert unframed.waiting == 3
    assert unframed.messages_to_send() == ["a", b"bc"]
    assert unframed.messages_to_send() == []
    assert unframed.close_to_send() == (4000, "first")
    assert unframed.close_to_send() is None
