"""bytes of a transport → frames of both roles: whole or in pieces, cut by hand or by wsproto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wsproto.utilities import generate_accept_token

from gateway_proto._layers.frames import Broken, ClientFrames, Frames, Requested, ServerFrames
from tests.fuzzing.pieces import pieces
from tests.messages import one_by_one

__all__ = ["frames"]

_LIMIT = 1000
_MOST_SENT = 100_000
_FILLING = b"\0" * (_LIMIT + 10)
"""Makes every frame whole that was begun."""


def frames(data: bytes) -> None:
    """The first byte says who reads, and from where on; the rest is what came, in pieces."""
    # A connection keeps none from its frames: no bytes are no end.
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
    """Both readers find the same, though the other reads otherwise, or all at once."""
    found = _received(one, chunks)
    expected = _received(other, [b"".join(chunks)] if whole and chunks else chunks)
    # wsproto looks into a head, or a text, that has not come whole yet; cut by hand, all is looked
    # at later.
    if _is_broken(expected) and not _is_broken(found):
        found += _received(one, [_FILLING])
    elif _is_broken(found) and not _is_broken(expected):
        expected += _received(other, [_FILLING])
    # What is wrong and too large as well is told for either.
    if _is_broken(expected) and found[-1:] == [Broken(1009, "")]:
        found[-1] = expected[-1]
    assert found == expected, (found, expected)


def _is_broken(found: list[Any]) -> bool:
    return isinstance(found[-1], Broken) if found else False


def _received(reader: Any, chunks: list[bytes]) -> list[Any]:
    """What comes of the chunks, up to an end."""
    found: list[Any] = []
    for chunk in chunks:
        for item in one_by_one(_and_behind(reader, chunk)):
            # Where in a text an error is depends on how much of it was looked at.
            found.append(Broken(item.code, "") if isinstance(item, Broken) else item)
            if isinstance(item, Broken):
                return found
        assert reader.waiting <= _MOST_SENT, "what is answered is bounded"
        assert len(reader._parts) <= _LIMIT * 4, "what is kept is bounded"
    return found


def _and_behind(reader: Any, chunk: bytes) -> Iterator[Any]:
    for item in reader.receive(chunk):
        yield item
        if isinstance(item, Requested) and item.upgrade:
            yield from reader.accept()


def _handshaking() -> ClientFrames:
    """One whose request went out; the key of it is always the same."""
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
    frames._cutter.off = not cuts
    return frames


def _accepted() -> ServerFrames:
    frames = ServerFrames(limit=_LIMIT)
    one_by_one(frames.receive(REQUEST))
    one_by_one(frames.accept())
    return frames
