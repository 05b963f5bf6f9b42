"""Fuzz target: compressed messages, compared with the compression libraries."""

from __future__ import annotations

import zlib

from gateway_proto import Compression
from gateway_proto._layers.inflate import InflateError, has_zstd, inflater
from tests.fuzzing.pieces import pieces

__all__ = ["KINDS", "inflate"]

KINDS = (Compression.PAYLOAD, Compression.ZLIB_STREAM, Compression.ZSTD_STREAM)
_LIMIT = 20_000


def inflate(data: bytes) -> None:
    """Select the compression by the first byte; the rest is messages."""
    kind = KINDS[(data[:1] or b"\0")[0] % 3]
    if kind is Compression.ZSTD_STREAM and not has_zstd():
        return
    reader, plain = inflater(kind, limit=_LIMIT), zlib.decompressobj()
    is_plain = kind is Compression.ZLIB_STREAM
    texts = expected = b""
    for message in pieces(data[1:]):
        is_plain = is_plain and message[:1] not in (b"{", b"\x83")
        try:
            text = reader.receive(message)
        except InflateError:
            return
        if text is not None:
            texts += text.encode() if isinstance(text, str) else text
            assert len(text) <= max(_LIMIT, len(message))
            # One error of the JSON decoder means that more data is needed.
            if text[:1] == b"[" and isinstance(text, bytes) and reader.hold(text):
                texts = texts[: -len(text)]
        if is_plain:
            expected += plain.decompress(message)
            assert expected.startswith(texts), "the texts equal the content of the stream, in order"
