"""Baseline: a bare loop that reads and counts dispatches.

It parses frames, decompresses, and decodes the envelope without `d`; with `full` it decodes
the whole payload. No handshake, no heartbeat, no sequence, no limit, no look at op codes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.encoder import zstd

__all__ = ["Baseline", "decompressor"]


class Envelope(msgspec.Struct):
    """A payload whose `d` is not looked into."""

    op: int
    d: msgspec.Raw
    s: int | None = None
    t: str | None = None


class Whole(msgspec.Struct):
    """A payload whose `d` is decoded."""

    op: int
    d: Any
    s: int | None = None
    t: str | None = None


def decompressor(compression: str) -> Callable[[bytes], bytes] | None:
    """A new context of a connection; None where nothing is compressed."""
    if compression == "zlib-stream":
        return zlib.decompressobj().decompress
    if compression == "zstd-stream":
        decompress: Callable[[bytes], bytes] = zstd.ZstdDecompressor().decompress
        return decompress
    return None


class Baseline:
    """One connection's bytes, read by a bare loop."""

    def __init__(self, compression: str, *, full: bool = False) -> None:
        self._decompress = decompressor(compression)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(
            Whole if full else Envelope
        ).decode
        self._rest = b""

    def feed(self, chunk: bytes) -> int:
        """Number of dispatches that are whole with this chunk."""
        data = self._rest + chunk if self._rest else chunk
        decompress, decode = self._decompress, self._decode
        count, at, size = 0, 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                start = at + 4
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if end > size or start > size:
                break
            message = data[start:end]
            at = end
            payload = decode(message if decompress is None else decompress(message))
            if payload.t is not None:
                count += 1
        self._rest = data[at:]
        return count
