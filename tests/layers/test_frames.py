"""bytes ↔ messages: whatever the peer sends becomes a value, and every size is bounded."""

from __future__ import annotations

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
from tests.messages import one_by_one

LIMIT = 1000
UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _client() -> ClientFrames:
    return ClientFrames(host="h", target="/x", user_agent="ua", limit=LIMIT)


def _open() -> tuple[ClientFrames, ServerFrames]:
    client, server = _client(), ServerFrames(limit=LIMIT)
    (requested,) = one_by_one(server.receive(client.data_to_send()))
    assert isinstance(requested, Requested)
    assert one_by_one(server.accept()) == [Upgraded()]
    assert one_by_one(client.receive(server.data_to_send())) == [Upgraded()]
    return client, server


def _frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """As a server sends it: without a mask."""
    assert len(payload) < 65536
    size = bytes([len(payload)]) if len(payload) < 126 else struct.pack("!BH", 126, len(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + size + payload


def test_messages_go_both_ways_as_text_and_binary() -> None:
    client, server = _open()

    client.send("text")
    client.send(b"binary")
    assert one_by_one(server.receive(client.data_to_send())) == ["text", b"binary"]
    server.send("back")
    assert server.waiting > 0
    assert one_by_one(client.receive(server.data_to_send())) == ["back"]
    assert server.waiting == 0


def test_the_request_carries_host_target_and_user_agent() -> None:
    request = ServerFrames(limit=LIMIT).receive(_client().data_to_send())

    (requested,) = request

    assert isinstance(requested, Requested)
    assert (requested.method, requested.target, requested.upgrade) == ("GET", "/x", True)
    assert requested.headers["host"] == "h"
    assert requested.headers["user-agent"] == "ua"


def test_fragments_are_joined() -> None:
    client, _ = _open()

    data = _frame(1, b"a", fin=False) + _frame(0, b"b", fin=False) + _frame(0, b"c")

    assert one_by_one(client.receive(data)) == ["abc"]
    data = _frame(2, b"a", fin=False) + _frame(0, b"b")
    assert one_by_one(client.receive(data)) == [b"ab"]


def test_an_empty_message_is_a_message() -> None:
    client, _ = _open()

    assert one_by_one(client.receive(_frame(1, b"") + _frame(2, b""))) == ["", b""]


def test_a_ping_between_fragments_is_answered() -> None:
    client, server = _open()
    data = _frame(1, b"a", fin=False) + _frame(9, b"ping") + _frame(0, b"b") + _frame(10, b"")

    assert one_by_one(client.receive(data)) == ["ab"]

    assert one_by_one(server.receive(client.data_to_send())) == []  # a pong is no message


@pytest.mark.parametrize("sizes", [[LIMIT + 1], [LIMIT, 1], [600, 600]])
def test_a_message_over_the_limit_is_broken_before_its_end(sizes: list[int]) -> None:
    client, _ = _open()
    data = _frame(2, b"x" * sizes[0], fin=False)
    for size in sizes[1:]:
        data += _frame(0, b"x" * size, fin=False)

    (broken,) = one_by_one(client.receive(data))

    assert broken == Broken(1009, f"a message has more than {LIMIT} bytes")


def test_a_message_of_just_the_limit_is_taken_and_the_next_counts_anew() -> None:
    client, _ = _open()
    whole = "x" * LIMIT

    received = one_by_one(client.receive(_frame(1, whole.encode()) * 2))

    assert received == [whole, whole]


def test_endless_empty_fragments_do_not_fill_the_memory() -> None:
    client, _ = _open()
    assert one_by_one(client.receive(_frame(1, b"", fin=False))) == []

    assert one_by_one(client.receive(_frame(0, b"", fin=False) * 1000)) == []

    assert len(client._parts) == 1


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
def test_a_broken_frame_is_told_from_the_peers_close(data: bytes, code: int) -> None:
    client, _ = _open()

    (broken,) = one_by_one(client.receive(data))

    assert isinstance(broken, Broken)
    assert broken.code == code
    assert "broken WebSocket frame" in broken.error


@pytest.mark.parametrize(
    ("payload", "received"),
    [
        (b"", CloseReceived(None, "")),
        (struct.pack("!H", 1000), CloseReceived(1000, "")),
        (struct.pack("!H", 4004) + b"why", CloseReceived(4004, "why")),
    ],
)
def test_a_close_comes_with_its_code_or_with_none(payload: bytes, received: Any) -> None:
    client, _ = _open()

    assert one_by_one(client.receive(_frame(8, payload))) == [received]


def test_what_follows_a_close_is_dropped() -> None:
    client, server = _open()

    received = one_by_one(client.receive(_frame(8, b"") + _frame(1, b"late")))
    assert received == [CloseReceived(None, "")]
    assert one_by_one(client.receive(_frame(1, b"later"))) == []

    client.close(1000, "")
    (closed,) = one_by_one(server.receive(client.data_to_send()))
    assert isinstance(closed, CloseReceived)
    assert one_by_one(server.receive(b"more")) == []


def test_a_ping_after_our_close_is_not_answered() -> None:
    client, _ = _open()
    client.close(4000, "bye")
    client.data_to_send()

    assert one_by_one(client.receive(_frame(9, b"ping"))) == []

    assert client.data_to_send() == b""


def test_a_close_before_the_websocket_is_open_or_a_second_one_says_nothing() -> None:
    early = _client()
    early.data_to_send()
    early.close(1000, "")
    assert early.data_to_send() == b""
    client, _ = _open()
    client.close(1000, "")
    client.data_to_send()

    client.close(1000, "")

    assert client.data_to_send() == b""


def test_a_refusal_comes_with_status_headers_and_body() -> None:
    client = _client()
    answer = b"HTTP/1.1 429 No\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nslow"

    assert one_by_one(client.receive(answer)) == [
        Refused(429, {"retry-after": "3", "content-length": "4"}, b"slow")
    ]


def test_a_refusal_without_a_length_ends_with_the_transport() -> None:
    client = _client()
    assert one_by_one(client.receive(b"HTTP/1.0 403 No\r\n\r\nbad to")) == []
    assert one_by_one(client.receive(b"ken")) == []

    (refused,) = client.receive_eof()

    assert refused == Refused(403, {}, b"bad token")


def test_a_refusals_body_is_kept_up_to_a_bound() -> None:
    client = _client()
    body = b"x" * 10_000

    head = b"HTTP/1.1 500 No\r\nContent-Length: 10000\r\n\r\n"
    (refused,) = one_by_one(client.receive(head + body))

    assert isinstance(refused, Refused)
    assert len(refused.body) == 4096


def test_an_informational_answer_that_is_no_upgrade_refuses() -> None:
    (refused,) = _client().receive(b"HTTP/1.1 103 Hints\r\n\r\n")

    assert isinstance(refused, Refused)
    assert refused.status == 103


@pytest.mark.parametrize("size", [21, 1000])
def test_a_refusal_comes_before_what_is_not_understood_behind_it(size: int) -> None:
    answer = b"HTTP/1.1 181 Queued\n\n" + b"garbage\n\n"
    client = _client()

    refused, broken = [*client.receive(answer[:size]), *client.receive(answer[size:])][:2]

    assert isinstance(refused, Refused)
    assert isinstance(broken, Broken)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: \xe9\r\n\r\n",
        b"HTTP/1.1 101 x\r\n" + b"A: " + b"x" * 70_000,
    ],
)
def test_an_answer_that_is_not_understood_is_broken(answer: bytes) -> None:
    (broken,) = _client().receive(answer)

    assert isinstance(broken, Broken)
    assert "not understood" in broken.error


def test_frames_behind_the_answer_are_read_with_it() -> None:
    client, server = _client(), ServerFrames(limit=LIMIT)
    one_by_one(server.receive(client.data_to_send()))
    one_by_one(server.accept())
    server.send("at once")

    received = one_by_one(client.receive(server.data_to_send()))

    assert received == [Upgraded(), "at once"]


def test_the_end_of_the_transport_means_nothing_once_the_websocket_is_open() -> None:
    client, _ = _open()

    assert one_by_one(client.receive_eof()) == []


# ----- the server's side -----


def test_frames_behind_the_request_are_read_with_it() -> None:
    server = ServerFrames(limit=LIMIT)
    behind = Connection(ConnectionType.CLIENT).send(ws.TextMessage("eager"))

    one_by_one(server.receive(UPGRADE + behind))

    assert one_by_one(server.accept()) == [Upgraded(), "eager"]


def test_a_request_that_comes_in_pieces_is_one_request() -> None:
    server = ServerFrames(limit=LIMIT)
    received: list[Any] = []

    for at in range(len(UPGRADE)):
        received += one_by_one(server.receive(UPGRADE[at : at + 1]))

    assert [type(item) for item in received] == [Requested]
    assert one_by_one(server.receive(b"more")) == []


@pytest.mark.parametrize(
    "request_",
    [
        b"garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without a host
        b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 70_000,
    ],
)
def test_a_bad_request_is_answered_with_400(request_: bytes) -> None:
    server = ServerFrames(limit=LIMIT)

    (broken,) = one_by_one(server.receive(request_))

    assert isinstance(broken, Broken)
    assert server.data_to_send().startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    "request_",
    [
        UPGRADE.replace(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b""),
        UPGRADE.replace(b"Connection: Upgrade\r\n", b""),
        UPGRADE.replace(b"HTTP/1.1\r\nHost: h\r\n", b"HTTP/1.0\r\n"),
    ],
)
def test_an_upgrade_that_is_not_complete_is_answered_with_400(request_: bytes) -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(request_))

    (broken,) = server.accept()

    assert isinstance(broken, Broken)
    assert server.data_to_send().startswith(b"HTTP/1.1 400")


def test_a_post_with_a_body_can_be_answered() -> None:
    server = ServerFrames(limit=LIMIT)
    request = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"

    (requested,) = one_by_one(server.receive(request))
    server.respond(405, b"text/plain", b"no")

    assert isinstance(requested, Requested)
    assert not requested.upgrade
    assert server.data_to_send().endswith(b"\r\n\r\nno")


def test_an_answer_to_head_has_no_body() -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"))

    server.respond(200, b"text/plain", b"hidden")

    answer = server.data_to_send()
    assert b"content-length: 6" in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


@given(st.lists(st.one_of(st.text(max_size=50), st.binary(max_size=50))), st.integers(1, 30))
def test_any_cutting_gives_the_same_messages(messages: list[str | bytes], size: int) -> None:
    client, server = _open()
    for message in messages:
        server.send(message)
    data = server.data_to_send()

    received: list[Any] = []
    for at in range(0, len(data), size):
        received += one_by_one(client.receive(data[at : at + size]))

    assert received == messages


def test_unframed_messages_and_the_first_close_wait_in_order() -> None:
    unframed = Unframed()
    unframed.send("a")
    unframed.send(b"bc")
    unframed.close(4000, "first")
    unframed.close(1000, "second")

    assert unframed.waiting == 3
    assert unframed.messages_to_send() == ["a", b"bc"]
    assert unframed.messages_to_send() == []
    assert unframed.close_to_send() == (4000, "first")
    assert unframed.close_to_send() is None
