"""WebSocket messages → payload texts: decompression with a bound on decompressed data.

`compressors.py` has the other direction, for the server role: clients do not compress.
Source: <https://docs.discord.com/developers/events/gateway#encoding-and-compression>.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any, Protocol

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.versions import Compression

__all__ = [
    "DecompressionError",
    "Decompressor",
    "NoDecompressor",
    "has_zstd",
    "make_decompressor",
    "zstd",
]

# RFC 1951, section 3.2.4: an empty stored block, which ends the data of Z_SYNC_FLUSH.
# https://docs.discord.com/developers/events/gateway#transport-compression
_FLUSHED = b"\x00\x00\xff\xff"
_TEXT_STARTS = b"{[ \t\r\n" + ETF_VERSION
# RFC 1951, section 3.2.3: as the first byte of a block both set BFINAL, the last block of a stream.
# Gateway streams do not end, so such a message cannot be compressed data.
_PLAIN_IN_STREAM = (b"{", ETF_VERSION)
_MAX_PARTS = 16
"""Maximum number of WebSocket messages joined into one payload. Compressed data ends in the flush
marker by accident once in 2**32 messages."""
_MAX_ZSTD_FRAMES = 16
"""Maximum number of zstd frames in one message. Each needs a new context."""
# RFC 8878, section 3.1.1.1.2, recommends that decoders support windows of at least 8 MiB.
_ZSTD_WINDOW_LOG = 23
"""Logarithm of the largest window that is accepted, 8 MiB."""


@functools.cache
def zstd() -> Any:
    """Return the zstd module, imported on first use, or None if it is not available."""
    try:
        from compression import zstd as module  # Python 3.14 and later
    except ImportError:
        try:
            from backports import zstd as module
        except ImportError:  # the extra `zstd` is not installed
            return None
    return module


def has_zstd() -> bool:
    """Whether zstd is available: Python 3.14, or the extra `zstd`."""
    return zstd() is not None


class DecompressionError(Exception):
    """Invalid or too large compressed data. Its context cannot be used again."""


class Decompressor(Protocol):
    """Decompressor: messages → texts."""

    def receive(self, message: str | bytes) -> str | bytes | None:
        """Return the text of a message, or None until it is complete.

        Raises `DecompressionError`.
        """
        ...

    def push_back(self, text: str | bytes) -> bool:
        """Push back a text that is incomplete. Return False if the context does not support it."""
        ...


class NoDecompressor:
    """No decompression. A client does not compress its messages."""

    __slots__ = ()

    def receive(self, message: str | bytes) -> str | bytes | None:
        """Return the message as it is."""
        return message

    def push_back(self, text: str | bytes) -> bool:
        """Return False: each message is one text."""
        return False


class PayloadDecompressor:
    """Decompressor of messages that are JSON, ETF or one complete zlib stream (RFC 1950)."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def receive(self, message: str | bytes) -> str | bytes | None:
        """Return the text of a message."""
        # Some clients and servers send JSON only in binary messages.
        if isinstance(message, str) or message[:1] in _TEXT_STARTS:
            return message
        context = zlib.decompressobj()
        text = _decompress(context, message, self._limit)
        if not context.eof:
            raise DecompressionError("truncated zlib stream in a message")
        return text

    def push_back(self, text: str | bytes) -> bool:
        """Return False: each message is one text."""
        return False


class ZlibStreamDecompressor:
    """Decompressor with one zlib stream per connection. A text may take several messages."""

    __slots__ = ("_context", "_flushed", "_limit", "_parts", "_text")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._context = zlib.decompressobj()
        self._text = bytearray()
        self._flushed = True  # the next message begins a block
        self._parts = 0

    def receive(self, message: str | bytes) -> str | bytes | None:
        """Return the text that ends with this message, or None."""
        # Accept uncompressed JSON on a compressed connection.
        if isinstance(message, str):
            return message
        if self._flushed:  # no part of a text waits
            if message.startswith(_PLAIN_IN_STREAM):
                return message
            self._parts = 0
            # As `_decompress` does, without its call: 4.95 us a message in the benchmark, not 5.14.
            context, limit = self._context, self._limit
            try:
                text = context.decompress(message, limit + 1)
            except zlib.error as error:
                raise DecompressionError(f"invalid zlib data: {error}") from None
            if len(text) > limit or context.eof:
                _check(context, len(text), limit)
            if message.endswith(_FLUSHED):
                return text  # the common case: a message is one text
            self._flushed = False
            self._text += text
            return None
        self._text += _decompress(self._context, message, self._limit, len(self._text))
        if not message.endswith(_FLUSHED):
            return None
        self._flushed = True
        text = bytes(self._text)
        self._text.clear()
        return text

    def push_back(self, text: str | bytes) -> bool:
        """Join the text with the next message. The flush marker at its end was accidental."""
        assert isinstance(text, bytes)  # decompressed data is bytes
        self._parts += 1
        if self._parts > _MAX_PARTS:
            return False
        self._text += text
        self._flushed = False
        return True


class ZstdStreamDecompressor:
    """Decompressor with one zstd context per connection. Each message is one text.

    Discord's gateway never ends its zstd frame. Other servers end a frame with each message, after
    which a new context starts.
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
        """Return the text of a message."""
        # Accept uncompressed JSON on a compressed connection.
        if isinstance(message, str) or message.startswith(_PLAIN_IN_STREAM):
            return message
        # As `_part` does, without its call: 0.1 to 0.2 of 2.8 us less a message in the benchmark.
        context, limit = self._context, self._limit
        try:
            text: bytes = context.decompress(message, limit + 1)
        except self._zstd.ZstdError as error:
            raise DecompressionError(f"invalid zstd data: {error}") from None
        if len(text) > limit or context.eof:
            text = self._with_further_frames(text)
        return text or None

    def _with_further_frames(self, text: bytes) -> bytes:
        """Add the frames of a message whose first frame has ended, or is too large."""
        self._check(text, self._limit)
        frames = 1
        while self._context.eof:
            rest: bytes = self._context.unused_data
            self._context = self._new()
            if not rest:
                break
            frames += 1
            if frames > _MAX_ZSTD_FRAMES:
                raise DecompressionError(
                    f"message has too many zstd frames: expected at most {_MAX_ZSTD_FRAMES}"
                )
            text += self._part(rest, self._limit - len(text))
        return text

    def _part(self, data: bytes, limit: int) -> bytes:
        try:
            # One byte more than allowed distinguishes too much data from exactly the limit.
            part: bytes = self._context.decompress(data, limit + 1)
        except self._zstd.ZstdError as error:
            raise DecompressionError(f"invalid zstd data: {error}") from None
        self._check(part, limit)
        return part

    def _check(self, part: bytes, limit: int) -> None:
        if len(part) > limit:
            raise DecompressionError(
                f"decompressed message too large: expected at most {self._limit} bytes"
            )

    def push_back(self, text: str | bytes) -> bool:
        """Return False: each message is one text."""
        return False


def _decompress(context: zlib._Decompress, data: bytes, limit: int, before: int = 0) -> bytes:
    """Decompress data of a text of which `before` bytes are already decompressed."""
    try:
        # One byte more than allowed distinguishes too much data from exactly the limit. zlib would
        # treat a limit of zero as no limit.
        text = context.decompress(data, limit - before + 1)
    except zlib.error as error:
        raise DecompressionError(f"invalid zlib data: {error}") from None
    _check(context, before + len(text), limit)
    return text


def _check(context: zlib._Decompress, size: int, limit: int) -> None:
    """Raise `DecompressionError` for a text of this size, or for data after the stream."""
    if size > limit:
        raise DecompressionError(f"decompressed message too large: expected at most {limit} bytes")
    if context.unused_data:
        raise DecompressionError("data after the end of the zlib stream")


def make_decompressor(compression: Compression, *, limit: int) -> Decompressor:
    """Return a new decompressor for a connection. `limit` is the maximum bytes of one text."""
    match compression:
        case Compression.ZLIB_STREAM:
            return ZlibStreamDecompressor(limit)
        case Compression.ZSTD_STREAM:
            return ZstdStreamDecompressor(limit)
        case _:
            return PayloadDecompressor(limit)
