"""Fuzz target: bytes, parsed as frames of both roles by the fast parser and by wsproto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wsproto.utilities import generate_accept_token

from gateway_proto.wire.fast_frames import ProtocolViolation
from gateway_proto.wire.frame_events import CloseReceived, HttpRequest
from gateway_proto.wire.frames import ClientFrames, Frames
from gateway_proto.wire.server_frames import ServerFrames
from tests.fuzzing.chunks import pieces
from tests.messages import one_by_one

__all__ = ["frames"]

_LIMIT = 1000
_MOST_SENT = 100_000
_FILLING = b"\0" * (_LIMIT + 10)
"""Makes every frame whole that was begun."""


def frames(data: bytes) -> None:
    """Select reader and start by the first byte; the rest is the received data, in chunks."""
    # A connection never passes empty data to its frames: an empty read is not EOF.
    kind, chunks = data[:1], [chunk for chunk in pieces(data[1:]) if chunk]
    match (kind or b"\0")[0] % 4:
        case 0:
            _same(_open(cuts=True), _open(cuts=False), chunks)
        case 1:
            _same(_handshaking(), _handshaking(), chunks, whole=True)
        case 2:
            _same(ServerFrames(limit=_LIMIT), ServerFrames(limit=_LIMIT), chunks, whole=True)
        case _:
            _same(_accepted(), _accepted(), chunks, whole=True)


def _same(one: Any, other: Any, chunks: list[bytes], *, whole: bool = False) -> None:
    """Check that both readers agree, with other chunk sizes or all at once."""
    found = _received(one, chunks)
    expected = _received(other, [b"".join(chunks)] if whole and chunks else chunks)
    # wsproto checks headers and texts that are still incomplete; the fast parser checks them when
    # they are complete.
    if _is_broken(expected) and not _is_broken(found):
        found += _received(one, [_FILLING])
    elif _is_broken(found) and not _is_broken(expected):
        expected += _received(other, [_FILLING])
    # Data that is both invalid and too large is reported as either.
    if _is_broken(expected) and found[-1:] == [ProtocolViolation(1009, "")]:
        found[-1] = expected[-1]
    if expected[-1:] == [ProtocolViolation(1007, "")] and found != expected:
        # The fast parser returns a text that is not UTF-8 when it is complete; a close or another
        # violation between its fragments comes before it.
        before, rest = expected[:-1], found[len(expected) - 1 :]
        assert found[: len(before)] == before, (found, expected)
        ends = isinstance(rest[0], CloseReceived | ProtocolViolation) if rest else True
        assert ends or _is_not_utf_8(rest[0]), (found, expected)
        return
    assert found == expected, (found, expected)


def _is_not_utf_8(item: Any) -> bool:
    return isinstance(item, str) and any("\udc80" <= letter <= "\udcff" for letter in item)


def _is_broken(found: list[Any]) -> bool:
    return isinstance(found[-1], ProtocolViolation) if found else False


def _received(reader: Any, chunks: list[bytes]) -> list[Any]:
    """Return the results of the chunks, up to an end."""
    found: list[Any] = []
    for chunk in chunks:
        for item in one_by_one(_with_rest(reader, chunk)):
            # The reported position of an error depends on the chunk sizes.
            found.append(
                ProtocolViolation(item.code, "") if isinstance(item, ProtocolViolation) else item
            )
            if isinstance(item, ProtocolViolation):
                return found
        assert reader.buffered_bytes <= _MOST_SENT, "output is bounded"
        assert len(reader._parts) <= _LIMIT * 4, "buffered data is bounded"
    return found


def _with_rest(reader: Any, chunk: bytes) -> Iterator[Any]:
    for item in reader.receive(chunk):
        yield item
        if isinstance(item, HttpRequest) and item.upgrade:
            yield from reader.accept()


def _handshaking() -> ClientFrames:
    """Return frames of a client that sent its request, with a constant key."""
    frames = ClientFrames(host="h", target="/", user_agent="u", limit=_LIMIT)
    handshake = frames._handshake
    assert handshake is not None
    handshake._nonce = KEY
    return frames


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + generate_accept_token(KEY) + b"\r\n\r\n"
)
REQUEST = (
    b"GET /?v=10&encoding=json HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
)


def _open(*, cuts: bool) -> Frames:
    frames = _handshaking()
    assert len(one_by_one(frames.receive(ACCEPTED))) == 1
    frames._parser.delegating = not cuts
    return frames


def _accepted() -> ServerFrames:
    frames = ServerFrames(limit=_LIMIT)
    one_by_one(frames.receive(REQUEST))
    one_by_one(frames.accept())
    return frames
