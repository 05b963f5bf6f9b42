"""messages ↔ text: compression, one context a connection, bounded.

An inflater takes WebSocket messages and gives texts; a deflater goes the other way.
"""

from __future__ import annotations

import zlib
from typing import Protocol

from gateway_proto.dialects import Compression

__all__ = ["Deflater", "InflateError", "Inflater", "deflater", "inflater"]

_FLUSHED = b"\x00\x00\xff\xff"
_TEXT_STARTS = b"{[ \t\r\n"


class InflateError(Exception):
    """The compressed data is broken or too large; its context cannot be used again."""


class Inflater(Protocol):
    """messages → texts."""

    def receive(self, message: str | bytes) -> str | bytes | None:
        """The text of a message; None where more messages are needed. Raises `InflateError`."""
        ...


class Deflater(Protocol):
    """texts → messages."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text; `large` marks what is worth compressing by itself."""
        ...


class PayloadInflater:
    """A binary message is plain JSON or one complete zlib stream of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def receive(self, message: str | bytes) -> str | bytes | None:
        """The text of a message."""
        # JSON comes in binary messages too, from clients and servers that use no other.
        if isinstance(message, str) or message[:1] in _TEXT_STARTS:
            return message
        context = zlib.decompressobj()
        text = _inflate(context, message, self._limit)
        if not context.eof:
            raise InflateError("the zlib stream of a message ends too early")
        return text


class StreamInflater:
    """One zlib stream a connection; a text may be cut over several messages."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._context = zlib.decompressobj()
        self._text = bytearray()

    def receive(self, message: str | bytes) -> str | bytes | None:
        """The text that ends with this message."""
        # A plain text on a compressed connection is no error.
        if isinstance(message, str):
            return message
        self._text += _inflate(self._context, message, self._limit - len(self._text))
        if not message.endswith(_FLUSHED):
            return None
        text = bytes(self._text)
        self._text.clear()
        return text


def _inflate(context: zlib._Decompress, data: bytes, limit: int) -> bytes:
    try:
        # One byte more than allowed tells a bomb from a text of just the limit; a limit of zero
        # would mean none to zlib.
        text = context.decompress(data, limit + 1)
    except zlib.error as error:
        raise InflateError(f"broken zlib data: {error}") from None
    if len(text) > limit:
        raise InflateError(f"a message inflates to more than {limit} bytes")
    if context.eof and context.unused_data:
        raise InflateError("there is data after the end of the zlib stream")
    return text


class PlainDeflater:
    """Everything as text."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text."""
        return text.decode()


class PayloadDeflater:
    """Large texts as one zlib stream each, the others plain."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text."""
        return zlib.compress(text) if large else text.decode()


class StreamDeflater:
    """One zlib stream a connection, flushed after each text."""

    def __init__(self) -> None:
        self._context = zlib.compressobj()

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text."""
        return self._context.compress(text) + self._context.flush(zlib.Z_SYNC_FLUSH)


def inflater(compression: Compression, *, limit: int) -> Inflater:
    """A new context for a connection; `limit` bounds the bytes of one text."""
    if compression is Compression.ZLIB_STREAM:
        return StreamInflater(limit)
    return PayloadInflater(limit)


def deflater(compression: Compression) -> Deflater:
    """A new context for a connection."""
    match compression:
        case Compression.ZLIB_STREAM:
            return StreamDeflater()
        case Compression.PAYLOAD:
            return PayloadDeflater()
        case _:
            return PlainDeflater()
