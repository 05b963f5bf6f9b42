"""Frames: every input of the peer becomes a value, and every size is bounded."""

from __future__ import annotations

import base64
import re
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto.wire.fast_frames import ProtocolViolation
from gateway_proto.wire.frame_events import CloseReceived, ExternalWebSocket, Upgraded
from gateway_proto.wire.server_frames import ServerFrames
from tests.messages import one_by_one, unmasked
from tests.wire.support import (
    LIMIT,
    UPGRADE,
    client_frames,
    library_reason,
    open_pair,
    server_frame,
)


def test_text_and_binary_messages_arrive_in_both_directions() -> None:
    client, server = open_pair()

    client.send("text")
    client.send(b"binary")
    assert one_by_one(server.receive(client.data_to_send())) == ["text", b"binary"]
    server.send("back")
    assert server.buffered_bytes > 0
    assert one_by_one(client.receive(server.data_to_send())) == ["back"]
    assert server.buffered_bytes == 0


def test_client_makes_no_wsproto_connection_for_common_frames() -> None:
    """An idle connection takes 1.7 KB less without it."""
    client, server = open_pair()

    client.send("text")
    assert one_by_one(server.receive(client.data_to_send())) == ["text"]
    assert one_by_one(client.receive(server_frame(1, b"back"))) == ["back"]
    assert client._ws is None
    assert one_by_one(client.receive(server_frame(9, b"ping"))) == []

    assert client._ws is not None
    client.send("after")
    assert one_by_one(server.receive(client.data_to_send())) == ["after"]


def test_message_after_our_close_is_dropped() -> None:
    client, server = open_pair()
    client.close(1000, "")
    close = client.data_to_send()

    client.send("late")

    assert close
    assert client.data_to_send() == b""
    assert one_by_one(server.receive(close)) == [CloseReceived(1000, "")]


def test_upgrade_request_has_host_target_and_user_agent() -> None:
    request = client_frames().data_to_send()

    head, key, rest = re.split(rb"(?<=Sec-WebSocket-Key: )(\S+)", request)

    assert head == (
        b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: "
    )
    assert len(base64.b64decode(key)) == 16
    assert rest == b"\r\nSec-WebSocket-Version: 13\r\nUser-Agent: ua\r\n\r\n"


def test_fragments_are_joined_to_one_message() -> None:
    client, _ = open_pair()

    data = (
        server_frame(1, b"a", fin=False) + server_frame(0, b"b", fin=False) + server_frame(0, b"c")
    )

    assert one_by_one(client.receive(data)) == ["abc"]
    data = server_frame(2, b"a", fin=False) + server_frame(0, b"b")
    assert one_by_one(client.receive(data)) == [b"ab"]


def test_empty_messages_are_received() -> None:
    client, _ = open_pair()

    assert one_by_one(client.receive(server_frame(1, b"") + server_frame(2, b""))) == ["", b""]


def test_ping_between_fragments_is_answered() -> None:
    client, server = open_pair()
    data = (
        server_frame(1, b"a", fin=False)
        + server_frame(9, b"ping")
        + server_frame(0, b"b")
        + server_frame(10, b"")
    )

    assert one_by_one(client.receive(data)) == ["ab"]

    assert one_by_one(server.receive(client.data_to_send())) == []  # a pong is not reported


def test_each_ping_is_answered_with_its_data_in_order() -> None:
    client, server = open_pair()
    client.send("before")

    assert one_by_one(client.receive(server_frame(9, b"one") + server_frame(9, b""))) == []

    assert unmasked(client.data_to_send()) == [(0x81, b"before"), (0x8A, b"one"), (0x8A, b"")]
    assert one_by_one(server.receive(b"\x89\x80mask")) == []
    assert server.data_to_send() == b"\x8a\x00"


@pytest.mark.parametrize("sizes", [[LIMIT + 1], [LIMIT, 1], [600, 600]])
def test_message_over_the_limit_is_rejected_before_its_end(sizes: list[int]) -> None:
    client, _ = open_pair()
    data = server_frame(2, b"x" * sizes[0], fin=False)
    for size in sizes[1:]:
        data += server_frame(0, b"x" * size, fin=False)

    (broken,) = one_by_one(client.receive(data))

    assert isinstance(broken, ProtocolViolation)
    assert broken.code == 1009


def test_message_of_exactly_the_limit_is_accepted_repeatedly() -> None:
    client, _ = open_pair()
    whole = "x" * LIMIT

    received = one_by_one(client.receive(server_frame(1, whole.encode()) * 2))

    assert received == [whole, whole]


@pytest.mark.parametrize("sizes", [[LIMIT, 0], [LIMIT - 1, 1], [400, 300, 300]])
def test_fragments_of_exactly_the_limit_are_accepted_repeatedly(
    sizes: list[int],
) -> None:
    client, _ = open_pair()
    parts = [server_frame(0, b"x" * size, fin=False) for size in sizes]
    message = b"\x02" + b"".join(parts)[1:] + server_frame(0, b"")

    received = one_by_one(client.receive(message * 2))

    assert received == [b"x" * LIMIT] * 2


def test_server_accepts_messages_up_to_the_limit() -> None:
    client, server = open_pair()
    client.send("x" * LIMIT)
    client.send(b"x" * (LIMIT + 1))

    message, broken = one_by_one(server.receive(client.data_to_send()))

    assert message == "x" * LIMIT
    assert broken == ProtocolViolation(1009, "a message has more than 1000 bytes")


@pytest.mark.parametrize(
    ("length", "code"), [(LIMIT + 1, 1009), (2**62, 1009), (2**63, 1002), (2**64 - 1, 1002)]
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_header_over_the_limit_is_rejected_immediately(role: str, length: int, code: int) -> None:
    client, server = open_pair()
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
    assert isinstance(broken, ProtocolViolation)
    assert broken.code == code


def test_many_small_fragments_are_joined_in_one_buffer() -> None:
    _, server = open_pair()
    parts = [b"\x01\x81\0\0\0\0a", *[b"\x00\x82\0\0\0\0\xc3\xa4"] * 400, b"\x80\x80\0\0\0\0"]
    binary = [b"\x02\x81\0\0\0\0\xff", b"\x80\x81\0\0\0\0\xfe"]

    received = one_by_one(server.receive(b"".join(parts + binary)))

    assert received == ["a" + "ä" * 400, b"\xff\xfe"]


def test_server_keeps_fragments_in_proportion_to_their_size() -> None:
    _, server = open_pair()
    fragments = b"\x00\x82\0\0\0\0cd" * 100
    one_by_one(server.receive(b"\x01\x82\0\0\0\0ab" + fragments))

    tracemalloc.start()
    for _ in range(100):
        one_by_one(server.receive(fragments))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # 37 times the size with an object for each fragment.
    assert kept < 4 * 20_000


@pytest.mark.parametrize("role", ["client", "server"])
def test_unread_pongs_are_bounded(role: str) -> None:
    client, server = open_pair()
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


def test_pings_sent_with_the_upgrade_request_are_bounded() -> None:
    server = ServerFrames(limit=LIMIT)
    one_by_one(server.receive(UPGRADE + b"\x89\x80mask" * 20))

    assert one_by_one(server.accept()) == [Upgraded()]

    assert server.data_to_send().partition(b"\r\n\r\n")[2] == b"\x8a\x00" * 17


def test_close_of_one_byte_is_reported_by_its_length() -> None:
    client, _ = open_pair()

    (broken,) = one_by_one(client.receive(server_frame(8, b"\x03")))

    assert isinstance(broken, ProtocolViolation)
    assert not broken.error.endswith(")")


def test_last_pong_is_sent_before_our_close_only() -> None:
    _, server = open_pair()
    pings = b"\x89\x80\0\0\0\0" * 20
    one_by_one(server.receive(pings))

    server.close(4000, "")

    assert server.data_to_send() == b"\x8a\x00" * 17 + b"\x88\x02\x0f\xa0"
    _, server = open_pair()
    assert one_by_one(server.receive(pings + b"\x88\x80\0\0\0\0")) == [CloseReceived(None, "")]
    server.close(1000, "")
    assert server.data_to_send() == b"\x8a\x00" * 16 + b"\x88\x02\x03\xe8"


def test_endless_empty_fragments_use_no_memory() -> None:
    client, _ = open_pair()
    assert one_by_one(client.receive(server_frame(1, b"", fin=False))) == []

    assert one_by_one(client.receive(server_frame(0, b"", fin=False) * 1000)) == []

    assert not client._parts


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes([0x83, 0]), 1002),  # an unknown op code
        (bytes([0xC1, 0]), 1002),  # a reserved bit
        (bytes([0x81, 0x80, 0, 0, 0, 0]), 1002),  # a mask from a server
        (server_frame(0, b"x"), 1002),  # a continuation without start
        (server_frame(8, b"x"), 1002),  # a close payload of one byte
        (server_frame(8, struct.pack("!H", 1005)), 1002),  # a code not allowed in a frame
    ],
)
@pytest.mark.parametrize("closing", [False, True])
def test_invalid_frame_is_not_reported_as_close(data: bytes, code: int, closing: bool) -> None:
    client, _ = open_pair()
    if closing:
        client.close(1000, "")

    (broken,) = one_by_one(client.receive(data))

    assert isinstance(broken, ProtocolViolation)
    assert broken.code == code
    assert library_reason(broken, after="broken WebSocket frame: ")


@pytest.mark.parametrize(
    ("payload", "received"),
    [
        (b"", CloseReceived(None, "")),
        (struct.pack("!H", 1000), CloseReceived(1000, "")),
        (struct.pack("!H", 4004) + b"why", CloseReceived(4004, "why")),
    ],
)
def test_close_is_received_with_or_without_code(payload: bytes, received: Any) -> None:
    client, _ = open_pair()

    assert one_by_one(client.receive(server_frame(8, payload))) == [received]


def test_data_after_a_received_close_is_dropped() -> None:
    client, server = open_pair()

    received = one_by_one(client.receive(server_frame(8, b"") + server_frame(1, b"late")))
    assert received == [CloseReceived(None, "")]
    assert one_by_one(client.receive(server_frame(1, b"later"))) == []

    client.close(1000, "bye")
    assert one_by_one(server.receive(client.data_to_send())) == [CloseReceived(1000, "bye")]
    assert one_by_one(server.receive(b"more")) == []


def test_messages_and_close_after_our_close_are_received() -> None:
    client, server = open_pair()
    server.send("before")
    client.send("last")
    client.close(4000, "bye")

    received = one_by_one(server.receive(client.data_to_send()))
    server.close(1000, "")

    assert received == ["last", CloseReceived(4000, "bye")]
    received = one_by_one(client.receive(server.data_to_send()))
    assert received == ["before", CloseReceived(1000, "")]


def test_ping_after_our_close_is_not_answered() -> None:
    client, _ = open_pair()
    client.close(4000, "bye")
    client.data_to_send()

    assert one_by_one(client.receive(server_frame(9, b"ping"))) == []

    assert client.data_to_send() == b""


def test_close_before_upgrade_or_after_close_sends_no_frame() -> None:
    early = client_frames()
    early.data_to_send()
    early.close(1000, "")
    assert early.data_to_send() == b""
    client, _ = open_pair()
    client.close(1000, "")
    client.data_to_send()

    client.close(1000, "")

    assert client.data_to_send() == b""


@given(st.lists(st.one_of(st.text(max_size=50), st.binary(max_size=50))), st.integers(1, 30))
def test_message_boundaries_do_not_depend_on_chunk_size(
    messages: list[str | bytes], size: int
) -> None:
    client, server = open_pair()
    for message in messages:
        server.send(message)
    data = server.data_to_send()

    received: list[Any] = []
    for at in range(0, len(data), size):
        received += one_by_one(client.receive(data[at : at + size]))

    assert received == messages


def test_unframed_messages_and_first_close_are_buffered_in_order() -> None:
    unframed = ExternalWebSocket()
    assert unframed.close_to_send() is None
    unframed.send("a")
    unframed.send(b"bc")
    unframed.close(4000, "first")
    unframed.close(1000, "second")

    assert unframed.buffered_bytes == 3
    assert unframed.messages_to_send() == ["a", b"bc"]
    assert unframed.messages_to_send() == []
    assert unframed.close_to_send() == (4000, "first")
    assert unframed.close_to_send() is None
