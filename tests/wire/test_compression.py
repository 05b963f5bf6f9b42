"""Compression: round trips, split payloads, invalid data and size limits."""

from __future__ import annotations

import random
import runpy
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import Compression
from gateway_proto.wire import compression
from gateway_proto.wire.compression import DecompressionError, make_decompressor
from gateway_proto.wire.compressors import make_compressor

zstd = compression.zstd()
LIMIT = 10_000
TEXT = b'{"op":0,"d":{"text":"' + b"hello " * 50 + b'"}}'
SUFFIX = b"\x00\x00\xff\xff"
TOO_LARGE = r"^decompressed message too large: expected at most 10000 bytes$"
BEHIND = "data after the end of the zlib stream"


@contextmanager
def _memory_below(most: int) -> Iterator[None]:
    """Check that the peak memory of the block stays below `most` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", list(Compression))
def test_plain_text_passes_through_every_decompressor(compression: Compression) -> None:
    """Rule 73: plain text on a compressed connection is accepted."""
    assert make_decompressor(compression, limit=LIMIT).receive("{}") == "{}"


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.PAYLOAD])
def test_json_in_binary_message_bypasses_decompression(compression: Compression) -> None:
    """Rule 80: some servers send JSON in binary frames."""
    context = make_decompressor(compression, limit=LIMIT)

    assert context.receive(b'{"op":11}') == b'{"op":11}'
    assert context.receive(b' {"op":11}') == b' {"op":11}'
    assert context.receive(b"") == b""


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_payload_compression_accepts_zlib_of_any_level(level: int) -> None:
    """Rule 72: the second byte of the zlib header may have any value."""
    context = make_decompressor(Compression.PAYLOAD, limit=LIMIT)

    for _ in range(3):
        assert context.receive(zlib.compress(TEXT, level)) == TEXT


def test_compression_stream_keeps_one_context() -> None:
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    sender = make_compressor(Compression.ZLIB_STREAM)

    sizes = []
    for _ in range(3):
        message = sender.send(TEXT, large=False)
        sizes.append(len(message))
        assert context.receive(message) == TEXT

    assert sizes[1] < sizes[0]


def test_compressed_payload_may_be_split_before_its_suffix() -> None:
    """Rule 69."""
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    message = make_compressor(Compression.ZLIB_STREAM).send(TEXT, large=False)
    assert isinstance(message, bytes)

    assert context.receive(message[:5]) is None
    assert context.receive(message[5:-2]) is None
    assert context.receive(message[-2:]) is None or message[-2:].endswith(SUFFIX)


def test_compressed_payload_is_complete_with_its_suffix() -> None:
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    message = make_compressor(Compression.ZLIB_STREAM).send(TEXT, large=False)
    assert isinstance(message, bytes)

    assert context.receive(message[:-4]) is None
    assert context.receive(message[-4:]) == TEXT


@pytest.mark.parametrize(
    ("compression", "message", "expected_text"),
    [
        (Compression.PAYLOAD, b"\x78\x9cgarbage", r"^invalid zlib data: .* invalid block type$"),
        (Compression.PAYLOAD, b"\x00\x01", r"^invalid zlib data: .* incorrect header check$"),
        (Compression.PAYLOAD, zlib.compress(TEXT)[:-5], "^truncated zlib stream in a message"),
        (Compression.PAYLOAD, zlib.compress(TEXT) + b"x", f"^{BEHIND}$"),
        (Compression.ZLIB_STREAM, b"garbage" + SUFFIX, r"^invalid zlib data: .* header check$"),
        (Compression.ZLIB_STREAM, zlib.compress(TEXT) + b"x" + SUFFIX, f"^{BEHIND}$"),
    ],
)
def test_invalid_compressed_data_raises_its_reason(
    compression: Compression, message: bytes, expected_text: str
) -> None:
    with pytest.raises(DecompressionError, match=expected_text):
        make_decompressor(compression, limit=LIMIT).receive(message)


def test_data_after_the_end_of_a_compression_stream_is_an_error() -> None:
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    assert context.receive(zlib.compress(TEXT)) is None

    with pytest.raises(DecompressionError, match="after the end"):
        context.receive(b"more")


def test_compression_stream_that_ends_in_a_message_is_an_error() -> None:
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)

    with pytest.raises(DecompressionError, match="after the end"):
        context.receive(zlib.compress(TEXT) + b"\x00\x00\xff\xff")


@pytest.mark.parametrize("compression", [Compression.PAYLOAD, Compression.ZLIB_STREAM])
def test_decompression_bomb_is_rejected_without_decompression(compression: Compression) -> None:
    """Rule 74."""
    bomb = zlib.compressobj()
    data = bomb.compress(b"x" * 10**8) + bomb.flush(zlib.Z_SYNC_FLUSH)

    with _memory_below(100 * LIMIT), pytest.raises(DecompressionError, match=TOO_LARGE):
        make_decompressor(compression, limit=LIMIT).receive(data)


def test_decompression_bomb_in_small_messages_is_rejected() -> None:
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    bomb = zlib.compressobj(0)

    parts = [
        bomb.compress(b"x" * 500) + bomb.flush(zlib.Z_SYNC_FLUSH) for _ in range(LIMIT // 500 + 1)
    ]
    for part in parts[:-1]:
        assert context.receive(part[:-1]) is None
        assert context.receive(part[-1:]) is None

    with pytest.raises(DecompressionError, match=TOO_LARGE):
        context.receive(parts[-1])


def test_decompression_bomb_after_partial_payload_is_rejected() -> None:
    context = make_decompressor(Compression.ZLIB_STREAM, limit=10**6)
    sender = zlib.compressobj()
    first = sender.compress(b"x" * (10**6 - 1)) + sender.flush(zlib.Z_SYNC_FLUSH)
    bomb = sender.compress(b"x" * 10**7) + sender.flush(zlib.Z_SYNC_FLUSH)
    assert context.receive(first[:-1]) is None

    with _memory_below(500_000), pytest.raises(DecompressionError, match="at most 1000000 bytes"):
        context.receive(first[-1:] + bomb)


def test_compressed_payload_at_the_limit_may_be_split() -> None:
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    message = make_compressor(Compression.ZLIB_STREAM).send(
        random.Random(1).randbytes(LIMIT), large=True
    )
    assert isinstance(message, bytes)

    received = [context.receive(message[at : at + 999]) for at in range(0, len(message), 999)]

    assert received == [*[None] * (len(received) - 1), random.Random(1).randbytes(LIMIT)]


@pytest.mark.parametrize(
    "compression", [Compression.PAYLOAD, Compression.ZLIB_STREAM, Compression.ZSTD_STREAM]
)
def test_compressed_payload_up_to_the_limit_is_accepted(compression: Compression) -> None:
    text = b"x" * LIMIT
    message = make_compressor(compression).send(text, large=True)

    assert make_decompressor(compression, limit=LIMIT).receive(message) == text
    with pytest.raises(
        DecompressionError, match=r"^decompressed message too large: expected at most 9999 bytes$"
    ):
        make_decompressor(compression, limit=LIMIT - 1).receive(message)


def test_payload_compression_is_used_for_large_payloads_only() -> None:
    sender = make_compressor(Compression.PAYLOAD)

    assert sender.send(b"{}", large=False) == "{}"
    assert sender.send(b"{}", large=True) == zlib.compress(b"{}")
    assert make_compressor(Compression.NONE).send(b"{}", large=True) == "{}"


@given(st.lists(st.text(min_size=1)), st.sampled_from(list(Compression)), st.booleans())
def test_compression_round_trip(texts: list[str], compression: Compression, large: bool) -> None:
    sender, context = make_compressor(compression), make_decompressor(compression, limit=10**6)

    for text in texts:
        received = context.receive(sender.send(text.encode(), large=large))
        assert received in (text, text.encode())


# ----- zstd -----


def _zstd_stream() -> Any:
    return zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 20})


def test_zstd_compression_stream_is_one_endless_frame() -> None:
    """Rule 70."""
    context = make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT)
    sender = _zstd_stream()

    for _ in range(3):
        message = sender.compress(TEXT, zstd.ZstdCompressor.FLUSH_BLOCK)
        assert context.receive(message) == TEXT


def test_zstd_compression_may_end_a_frame_with_each_message() -> None:
    context = make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT)

    for _ in range(3):
        assert context.receive(zstd.compress(TEXT)) == TEXT
    assert context.receive(zstd.compress(b"{") + zstd.compress(b"}")) == b"{}"


def test_zstd_compressed_message_may_end_within_its_second_frame() -> None:
    context = make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT)
    sender = _zstd_stream()
    block = zstd.ZstdCompressor.FLUSH_BLOCK

    first = context.receive(zstd.compress(b"{") + sender.compress(b"}", block))

    assert first == b"{}"
    assert context.receive(sender.compress(TEXT, block)) == TEXT


def test_zstd_decompression_returns_output_over_one_block() -> None:
    """Rule 70: until the input is consumed and the output is flushed."""
    text = b"x" * 3_000_000
    context = make_decompressor(Compression.ZSTD_STREAM, limit=len(text))
    message = make_compressor(Compression.ZSTD_STREAM).send(text, large=True)

    assert context.receive(message) == text


def test_zstd_compressed_message_without_text_returns_none() -> None:
    assert make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT).receive(b"") is None


def test_invalid_zstd_compressed_data_is_an_error() -> None:
    """Rule 75."""
    with pytest.raises(
        DecompressionError, match=r"^invalid zstd data: .*Unknown frame descriptor$"
    ):
        make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT).receive(b"garbage")


def test_invalid_second_frame_of_zstd_compression_is_an_error() -> None:
    with pytest.raises(DecompressionError, match=r"^invalid zstd data: "):
        make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT).receive(
            zstd.compress(TEXT) + b"garbage"
        )


def test_zstd_decompression_bomb_is_rejected() -> None:
    """Rule 74."""
    data = zstd.compress(b"x" * 10**8)

    with _memory_below(100 * LIMIT), pytest.raises(DecompressionError, match=TOO_LARGE):
        make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT).receive(data)


def test_zstd_compression_limit_counts_all_frames_of_a_message() -> None:
    context = make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT)
    whole, rest = zstd.compress(b"x" * (LIMIT - 1)), zstd.compress(b"y")

    assert context.receive(whole + rest) == b"x" * (LIMIT - 1) + b"y"
    with pytest.raises(DecompressionError, match=TOO_LARGE):
        context.receive(whole + rest + rest)


def test_zstd_compression_window_over_8_mib_is_rejected() -> None:
    """Rule 74: the window is memory too."""
    sender = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 24})
    message = sender.compress(TEXT, zstd.ZstdCompressor.FLUSH_BLOCK)

    with pytest.raises(DecompressionError, match="invalid zstd data"):
        make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT).receive(message)


# ----- streams -----


@pytest.mark.parametrize("compression", [Compression.ZLIB_STREAM, Compression.ZSTD_STREAM])
@pytest.mark.parametrize("plain", [b'{"op":11}', b"\x83t\x00\x00\x00\x00"])
def test_uncompressed_payload_in_compression_stream_is_kept(
    compression: Compression, plain: bytes
) -> None:
    """Rules 73 and 80: in binary messages too; the stream continues."""
    context, sender = make_decompressor(compression, limit=LIMIT), make_compressor(compression)
    assert context.receive(plain) == plain
    assert context.receive(sender.send(TEXT, large=False)) == TEXT

    assert context.receive(plain) == plain

    assert context.receive(sender.send(TEXT, large=False)) == TEXT


def test_partial_compressed_payload_continues_in_next_message() -> None:
    """Rule 69."""
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    sender = zlib.compressobj()
    first = sender.compress(TEXT[:100]) + sender.flush(zlib.Z_SYNC_FLUSH)
    second = sender.compress(TEXT[100:]) + sender.flush(zlib.Z_SYNC_FLUSH)

    part = context.receive(first)
    assert part == TEXT[:100]
    assert context.push_back(TEXT[:100])

    assert context.receive(second) == TEXT


def test_data_after_partial_payload_is_treated_as_compressed() -> None:
    """Rule 69: a stored block contains the bytes of the text itself."""
    context = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT)
    sender = zlib.compressobj(0)
    data = sender.compress(b"[\0\0\xff\xff{}]") + sender.flush(zlib.Z_SYNC_FLUSH)
    first, second = data[: data.index(b"{")], data[data.index(b"{") :]

    part = context.receive(first)
    assert part == b"[" + SUFFIX
    assert context.push_back(part)

    assert context.receive(second) == b"[" + SUFFIX + b"{}]"


@pytest.mark.parametrize(
    "compression", [Compression.NONE, Compression.PAYLOAD, Compression.ZSTD_STREAM]
)
def test_separately_compressed_messages_are_not_pushed_back(compression: Compression) -> None:
    assert not make_decompressor(compression, limit=LIMIT).push_back(b"{")


def test_etf_is_a_binary_message_without_stream_compression() -> None:
    assert make_compressor(Compression.NONE).send(b"\x83a\x01", large=True) == b"\x83a\x01"
    assert make_compressor(Compression.PAYLOAD).send(b"\x83a\x01", large=False) == b"\x83a\x01"


def test_compression_module_can_be_imported_without_zstd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert compression.has_zstd()
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)

    module = runpy.run_path(compression.__file__)

    assert not module["has_zstd"]()


def test_compressed_message_with_too_many_frames_is_an_error() -> None:
    """Each frame needs a new context: one megabyte of frames took seconds."""
    context = make_decompressor(Compression.ZSTD_STREAM, limit=LIMIT)
    assert context.receive(zstd.compress(b"x") * 16) == b"x" * 16

    with pytest.raises(
        DecompressionError, match=r"^message has too many zstd frames: expected at most 16$"
    ):
        context.receive(zstd.compress(b"") * 17)


def test_compressed_payload_can_be_pushed_back_a_limited_time() -> None:
    """Each part is parsed from the start, which is quadratic without a limit."""
    context, sender = make_decompressor(Compression.ZLIB_STREAM, limit=LIMIT), zlib.compressobj()

    def part() -> bytes:
        return sender.compress(b"x") + sender.flush(zlib.Z_SYNC_FLUSH)

    for _ in range(2):
        held = []
        text = context.receive(part())
        while context.push_back(text or b""):
            held.append(text)
            text = context.receive(part())
        assert held[-1] == b"x" * 16


@pytest.mark.parametrize("message", [b"\xff\xfe", b"", b"x\x9c", zlib.compress(TEXT), "{}"])
def test_messages_of_a_client_are_not_decompressed(message: str | bytes) -> None:
    """A client does not compress, so data that looks compressed is not a payload."""
    context = compression.NoDecompressor()

    assert context.receive(message) == message
    assert not context.push_back(message)
