"""Payload texts → WebSocket messages of the server role, compressed.

Source: <https://docs.discord.com/developers/events/gateway#encoding-and-compression>.
"""

from __future__ import annotations

import zlib
from typing import Protocol

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.versions import Compression
from gateway_proto.wire.compression import zstd

__all__ = ["Compressor", "make_compressor"]


class Compressor(Protocol):
    """Compressor: texts → messages."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """Return the message of a text. `large` marks texts worth compressing separately."""
        ...


def _uncompressed(text: bytes) -> str | bytes:
    return text if text.startswith(ETF_VERSION) else text.decode()


class NoCompressor:
    """No compression: JSON as text messages, ETF as binary messages."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """Return the message of a text."""
        return _uncompressed(text)


class PayloadCompressor:
    """Compressor of large texts as one zlib stream each. Others stay uncompressed."""

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """Return the message of a text."""
        return zlib.compress(text) if large else _uncompressed(text)


class ZlibStreamCompressor:
    """Compressor with one zlib stream per connection, flushed after each text."""

    def __init__(self) -> None:
        self._context = zlib.compressobj()

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """Return the message of a text."""
        return self._context.compress(text) + self._context.flush(zlib.Z_SYNC_FLUSH)


class ZstdStreamCompressor:
    """Compressor with one zstd frame per connection, flushed after each text and never ended."""

    def __init__(self) -> None:
        self._context = zstd().ZstdCompressor()
        self._flush = self._context.FLUSH_BLOCK

    def send(self, text: bytes, *, large: bool) -> str | bytes:
        """Return the message of a text."""
        data: bytes = self._context.compress(text, mode=self._flush)
        return data


def make_compressor(compression: Compression) -> Compressor:
    """Return a new compressor for a connection."""
    match compression:
        case Compression.ZLIB_STREAM:
            return ZlibStreamCompressor()
        case Compression.ZSTD_STREAM:
            return ZstdStreamCompressor()
        case Compression.PAYLOAD:
            return PayloadCompressor()
        case _:
            return NoCompressor()
