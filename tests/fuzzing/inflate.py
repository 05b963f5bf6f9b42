"""Fuzz target: compressed messages, compared with the compression libraries."""

from __future__ import annotations

import zlib

from gateway_proto import Compression
from gateway_proto.wire.compression import DecompressionError, has_zstd, make_decompressor
from tests.fuzzing.chunks import pieces

__all__ = ["COMPRESSIONS", "inflate"]

COMPRESSIONS = (Compression.PAYLOAD, Compression.ZLIB_STREAM, Compression.ZSTD_STREAM)
_LIMIT = 20_000


def inflate(data: bytes) -> None:
    """Select the compression by the first byte; the rest is messages."""
    kind = COMPRESSIONS[(data[:1] or b"\0")[0] % 3]
    if kind is Compression.ZSTD_STREAM and not has_zstd():
        return
    reader, plain = make_decompressor(kind, limit=_LIMIT), zlib.decompressobj()
    is_plain = kind is Compression.ZLIB_STREAM
    texts = expected = b""
    for message in pieces(data[1:]):
        is_plain = is_plain and message[:1] not in (b"{", b"\x83")
        try:
            text = reader.receive(message)
        except DecompressionError:
            return
        if text is not None:
            texts += text.encode() if isinstance(text, str) else text
            assert len(text) <= max(_LIMIT, len(message))
            # One error of the JSON decoder means that more data is needed.
            if text[:1] == b"[" and isinstance(text, bytes) and reader.push_back(text):
                texts = texts[: -len(text)]
        if is_plain:
            expected += plain.decompress(message)
            assert expected.startswith(texts), "the texts equal the content of the stream, in order"
