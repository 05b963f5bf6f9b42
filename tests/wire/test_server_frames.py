"""Fast paths of the server: a plain upgrade and a whole message, equal to h11 and wsproto."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_proto.wire import server_frames
from gateway_proto.wire.fast_frames import MessageBatch, ProtocolViolation, apply_mask
from gateway_proto.wire.frame_events import HttpRequest, Upgraded
from gateway_proto.wire.server_frames import ServerFrames
from gateway_proto.wire.upgrade_requests import MAX_HEADERS, plain_upgrade
from tests.messages import one_by_one
from tests.wire.support import LIMIT, UPGRADE

_MASK = b"\x01\x80\x7f\x20"


def _frame(first: int, payload: bytes, *, head: int = 0) -> bytes:
    """Return a frame of a client; `head` is 4 or 8 for a length in a longer form than needed."""
    size = len(payload)
    head = head or (0 if size < 126 else 4 if size < 65536 else 8)
    length = {
        0: bytes([0x80 | size & 0x7F]),
        4: struct.pack("!BH", 0xFE, size & 0xFFFF),
        8: struct.pack("!BQ", 0xFF, size),
    }[head]
    return bytes([first]) + length + _MASK + apply_mask(payload, _MASK)


_INNER = apply_mask(_frame(0x81, b"x"), _MASK)
"""A payload that is a frame, once it is masked."""


class _General(ServerFrames):
    """Frames that wsproto parses."""

    def _whole_message(self, data: bytes) -> MessageBatch | None:
        return None


def _open(type_: type[ServerFrames] = ServerFrames) -> ServerFrames:
    server = type_(limit=LIMIT)
    one_by_one(server.receive(UPGRADE))
    assert one_by_one(server.accept()) == [Upgraded()]
    server.data_to_send()
    return server


def _received(server: ServerFrames, reads: list[bytes]) -> tuple[list[Any], bytes]:
    """Return what is received up to the end, and what is sent."""
    received: list[Any] = []
    for read in reads:
        for item in one_by_one(server.receive(read)):
            received.append(item)
            if isinstance(item, ProtocolViolation):
                return received, server.data_to_send()
    return received, server.data_to_send()


# ----- a read that is one message -----


def test_server_makes_no_wsproto_connection_for_whole_messages() -> None:
    """A connection that idles takes 1.7 KB less without it."""
    server = _open()

    received = one_by_one([*server.receive(_frame(0x81, b"a")), *server.receive(_frame(0x81, b""))])

    assert received == ["a", ""]
    assert server._ws is None
    assert one_by_one(server.receive(_frame(0x82, b"b"))) == [b"b"]
    assert server._ws is not None
    assert one_by_one(server.receive(_frame(0x81, b"c" * LIMIT))) == ["c" * LIMIT]


@pytest.mark.parametrize(
    "reads",
    [
        [_frame(0x81, b"\xff")],
        [_frame(0x81, b"x", head=4)],
        [_frame(0x81, b"x", head=8)],
        [_frame(0x81, b"x" * (LIMIT + 1))],
        [b"\x81\x01x"],
        [_frame(0x81, b"x") + _frame(0x81, b"y")],
        [_frame(0x81, b"x" * 200)[:3], _frame(0x81, b"x" * 200)[3:]],
        [_frame(0x01, b""), _frame(0x81, b"x")],
        [_frame(0x01, b"y"), _frame(0x81, b"x"), _frame(0x80, b"z")],
        [_frame(0x01, b"y"), _frame(0x80, b"z"), _frame(0x81, b"x")],
        [_frame(0x82, _INNER)[:6], _frame(0x82, _INNER)[6:]],
        [b"\x82", b"\x81\x80\x00\x00\x00x"],
        [_frame(0x88, b""), _frame(0x81, b"x")],
        [_frame(0x88, b"\x03\xe8\xff"), _frame(0x81, b"x")],
        [_frame(0x91, b"x"), _frame(0x81, b"x")],
    ],
)
def test_unusual_read_is_parsed_as_wsproto_parses_it(reads: list[bytes]) -> None:
    assert _received(_open(), reads) == _received(_open(_General), reads)


_FIRST = st.sampled_from([0x81, 0x81, 0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1])
_PAYLOAD = st.one_of(
    st.text(max_size=9).map(str.encode),
    st.binary(max_size=5),
    st.sampled_from([b"x" * size for size in (125, 126, 127, LIMIT, LIMIT + 1)]),
)
_FRAMES = st.lists(st.builds(_frame, _FIRST, _PAYLOAD), max_size=8)


@given(_FRAMES, st.lists(st.integers(1, 40), max_size=3))
@settings(deadline=None, max_examples=100)
def test_reads_are_parsed_as_wsproto_parses_them(frames: list[bytes], cuts: list[int]) -> None:
    reads = []
    for frame in frames:
        cut = cuts.pop() if cuts else len(frame)
        reads += [part for part in (frame[:cut], frame[cut:]) if part]

    assert _received(_open(), reads) == _received(_open(_General), reads)


# ----- a plain upgrade -----


def _answers(request: bytes, *, plain: bool, status: int | None) -> tuple[Any, bytes]:
    """Return what is received of a request, and the upgrade or a response of this status."""
    server = ServerFrames(limit=LIMIT)
    with pytest.MonkeyPatch.context() as patch:
        if not plain:
            patch.setattr(server_frames, "plain_upgrade", lambda _: None)
        received = one_by_one(server.receive(request))
    if received and isinstance(received[0], HttpRequest):
        if status is None and received[0].upgrade:
            received += one_by_one(server.accept())
        else:
            server.respond(status or 200, b"text/plain", b"no")
    return received, server.data_to_send()


_NAMES = st.sampled_from(
    [
        *("Host", "Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Expect"),
        *("Content-Length", "Transfer-Encoding", "Cookie", "X~", "x y", "", "UPGRADE"),
    ]
)
_VALUES = st.one_of(
    st.sampled_from(
        ["h", "xn--a", "Upgrade, x", "websocket", "13", "0", "100-continue", "chunked"]
    ),
    st.text(st.characters(max_codepoint=255), max_size=4),
    st.just("AAAAAAAAAAAAAAAAAAAAAA=="),
)
_SPACES = st.sampled_from([" ", "", "  ", "\t"])
_LINES = st.builds(
    lambda name, space, value, end: f"{name}:{space}{value}{end}\r\n".encode("latin-1"),
    _NAMES, _SPACES, _VALUES, st.sampled_from(["", "", " ", "\t"]),
)  # fmt: skip
_FIRST_LINES = st.sampled_from(
    [b"GET /x HTTP/1.1\r\n"] * 4
    + [
        b"GET /x HTTP/1.0\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"GET /\xe9 HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
    ]
    + [b"\r\nGET /x HTTP/1.1\r\n", b"GET /x HTTP/1.1\n"]
)
_ADDED = [
    (b"GET /x HTTP/1.1\r\n", [line])
    for line in (b"Expect: 100-continue\r\n", b"Transfer-Encoding: chunked\r\n", b"A: b \r\n")
]
_AFTER = st.sampled_from([b"", _frame(0x81, b"eager"), b"\r\n", b"x"])


@given(
    _FIRST_LINES,
    st.lists(_LINES, max_size=2),
    st.sampled_from(UPGRADE.splitlines(keepends=True)),
    _AFTER,
    st.sampled_from([None, 400, 204, 503]),
)
@example(*_ADDED[0], b"", b"", None)
@example(*_ADDED[1], b"", b"", None)
@example(*_ADDED[2], b"", b"", None)
@settings(deadline=None, max_examples=150)
def test_upgrades_are_answered_as_h11_and_wsproto_answer_them(
    first: bytes, lines: list[bytes], left_out: bytes, after: bytes, status: int | None
) -> None:
    usual = [line for line in UPGRADE.splitlines(keepends=True)[1:-1] if line != left_out]
    request = b"".join([first, *lines, *usual, b"\r\n", after])

    fast, slow = (_answers(request, plain=plain, status=status) for plain in (True, False))

    assert fast == slow


def test_plain_upgrade_needs_no_h11() -> None:
    server = ServerFrames(limit=LIMIT)

    one_by_one(server.receive(UPGRADE))
    assert one_by_one(server.accept()) == [Upgraded()]

    assert server._http is None


@pytest.mark.parametrize(("count", "is_plain"), [(MAX_HEADERS - 5, True), (MAX_HEADERS, False)])
def test_upgrade_with_too_many_headers_is_not_plain(count: int, is_plain: bool) -> None:
    fields = b"".join(b"X-%d: y\r\n" % number for number in range(count))

    found = plain_upgrade(UPGRADE.removesuffix(b"\r\n") + fields + b"\r\n")

    assert (found is not None) is is_plain
