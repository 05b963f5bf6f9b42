"""messages ↔ text: compression, one context a connection, bounded.

An inflater takes WebSocket messages and gives texts; a deflater goes the other way.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any, Protocol

from gateway_proto._layers import etf
from gateway_proto.dialects import Compression

__all__ = [
    "Deflater",
    "InflateError",
    "Inflater",
    "PlainInflater",
    "deflater",
    "has_zstd",
    "inflater",
    "zstd",
]

_FLUSHED = b"\x00\x00\xff\xff"
_TEXT_STARTS = b"{[ \t\r\n" + etf.VERSION
# As the first byte of a block both would make it the last of its stream, and streams do not end.
_PLAIN_IN_STREAM = (b"{", etf.VERSION)
_MOST_PARTS = 16
"""Messages of one text that each ended as a whole one does: by chance, one in four thousand million
does. Each is parsed as far as it goes."""
_MOST_FRAMES = 16
"""Zstd frames in one message; each is a new context."""
_ZSTD_WINDOW_LOG = 23
"""Of the largest window that is taken: 8 MiB."""


@functools.cache
def zstd() -> Any:
    """The module, imported by those who use it alone; None where it is not to be had."""
    try:
        from compression import zstd as module  # Python 3.14 and later
    except ImportError:
        try:
            from backports import zstd as module
        except ImportError:  # the extra `zstd` is not installed
            return None
    return module


def has_zstd() -> bool:
    """Whether zstd is to be had: Python 3.14, or the extra `zstd`."""
    return zstd() is not None


class InflateError(Exception):
    """The compressed data is broken or too large; its context cannot be used again."""


class Inflater(Protocol):
    """messages → texts."""

    def receive(self, message: str | bytes) -> str | bytes | None:
        """The text of a message; None where more messages are needed. Raises `InflateError`."""
        ...

    def hold(self, text: str | bytes) -> bool:
        """Put back a text that was only the beginning of one; False where that cannot be."""
        ...


class Deflater(Protocol):
    """texts → messages."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text; `large` marks what is worth compressing by itself."""
        ...


class PlainInflater:
    """Messages of a client: they are never compressed."""

    __slots__ = ()

    def receive(self, message: str | bytes) -> str | bytes | None:
        """Return the message as it is."""
        return message

    def hold(self, text: str | bytes) -> bool:
        """Return False: each message is a text."""
        return False


class PayloadInflater:
    """A binary message is plain JSON, a term, or one complete zlib stream of its own."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def receive(self, message: str | bytes) -> str | bytes | None:
        """The text of a message."""
        # JSON comes in binary messages too, from clients and servers that use no other.
        if isinstance(message, str) or message[:1] in _TEXT_STARTS:
            return message
        context = zlib.decompressobj()
        text = _inflate(context, message, self._limit, 0)
        if not context.eof:
            raise InflateError("the zlib stream of a message ends too early")
        return text

    def hold(self, text: str | bytes) -> bool:
        """False: each message is a text."""
        return False


class StreamInflater:
    """One zlib stream a connection; a text may be cut over several messages."""

    __slots__ = ("_context", "_flushed", "_limit", "_parts", "_text")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._context = zlib.decompressobj()
        self._text = bytearray()
        self._flushed = True  # the next message begins a block
        self._parts = 0

    def receive(self, message: str | bytes) -> str | bytes | None:
        """The text that ends with this message."""
        # Plain JSON on a compressed connection is no error.
        if isinstance(message, str) or (self._flushed and message.startswith(_PLAIN_IN_STREAM)):
            return message
        self._flushed = message.endswith(_FLUSHED)
        part = _inflate(self._context, message, self._limit, len(self._text))
        if not self._text:
            self._parts = 0
            if self._flushed:
                return part  # as nearly always: a message is a text
        self._text += part
        if not self._flushed:
            return None
        text = bytes(self._text)
        self._text.clear()
        return text

    def hold(self, text: str | bytes) -> bool:
        """True: the end of the message was the end of the text by chance alone."""
        assert isinstance(text, bytes)  # what was inflated
        self._parts += 1
        if self._parts > _MOST_PARTS:
            return False
        self._text += text
        self._flushed = False
        return True


class ZstdInflater:
    """One zstd context a connection; each message is one text.

    The gateway never ends its frame. Other servers end one with each message: a new one begins.
    """

    __slots__ = ("_context", "_limit", "_zstd")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._zstd = zstd()
        self._context = self._new()

    def _new(self) -> Any:
        limits = {self._zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        return self._zstd.ZstdDecompressor(options=limits)

    def receive(self, message: str | bytes) -> str | bytes | None:
        """The text of a message."""
        # Plain JSON on a compressed connection is no error.
        if isinstance(message, str) or message.startswith(_PLAIN_IN_STREAM):
            return message
        text = self._part(message, self._limit)
        frames = 1
        while self._context.eof:
            rest: bytes = self._context.unused_data
            self._context = self._new()
            if not rest:
                break
            frames += 1
            if frames > _MOST_FRAMES:
                raise InflateError(f"a message has more than {_MOST_FRAMES} zstd frames")
            text += self._part(rest, self._limit - len(text))
        return text or None

    def _part(self, data: bytes, limit: int) -> bytes:
        try:
            # One byte more than allowed tells a bomb from a text of just the limit.
            part: bytes = self._context.decompress(data, limit + 1)
        except self._zstd.ZstdError as error:
            raise InflateError(f"broken zstd data: {error}") from None
        if len(part) > limit:
            raise InflateError(f"a message inflates to more than {self._limit} bytes")
        return part

    def hold(self, text: str | bytes) -> bool:
        """False: each message is a text."""
        return False


def _inflate(context: zlib._Decompress, data: bytes, limit: int, before: int) -> bytes:
    """What comes of the data, behind the `before` bytes of its text that came already."""
    try:
        # One byte more than allowed tells a bomb from a text of just the limit; a limit of zero
        # would mean none to zlib.
        text = context.decompress(data, limit - before + 1)
    except zlib.error as error:
        raise InflateError(f"broken zlib data: {error}") from None
    if before + len(text) > limit:
        raise InflateError(f"a message inflates to more than {limit} bytes")
    if context.unused_data:
        raise InflateError("there is data after the end of the zlib stream")
    return text


def _uncompressed(text: bytes) -> str | bytes:
    return text if text.startswith(etf.VERSION) else text.decode()


class PlainDeflater:
    """JSON as text, terms as binary messages."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text."""
        return _uncompressed(text)


class PayloadDeflater:
    """Large texts as one zlib stream each, the others plain."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text."""
        return zlib.compress(text) if large else _uncompressed(text)


class StreamDeflater:
    """One zlib stream a connection, flushed after each text."""

    def __init__(self) -> None:
        self._context = zlib.compressobj()

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text."""
        return self._context.compress(text) + self._context.flush(zlib.Z_SYNC_FLUSH)


class ZstdDeflater:
    """One zstd frame a connection, flushed after each text and never ended."""

    def __init__(self) -> None:
        self._context = zstd().ZstdCompressor()
        self._flush = self._context.FLUSH_BLOCK

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """The message of a text."""
        data: bytes = self._context.compress(text, mode=self._flush)
        return data


def inflater(compression: Compression, *, limit: int) -> Inflater:
    """A new context for a connection; `limit` bounds the bytes of one text."""
    match compression:
        case Compression.ZLIB_STREAM:
            return StreamInflater(limit)
        case Compression.ZSTD_STREAM:
            return ZstdInflater(limit)
        case _:
            return PayloadInflater(limit)


def deflater(compression: Compression) -> Deflater:
    """A new context for a connection."""
    match compression:
        case Compression.ZLIB_STREAM:
            return StreamDeflater()
        case Compression.ZSTD_STREAM:
            return ZstdDeflater()
        case Compression.PAYLOAD:
            return PayloadDeflater()
        case _:
            return PlainDeflater()
