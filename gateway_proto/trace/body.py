"""Redaction of an HTTP answer whose body lasts to the end of its connection.

A secret may be split by the chunks of a body. The chunks keep their sizes, so that a replay reads
the same answer from the same reads; only their content changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway_proto.trace.redactor import Redactor

__all__ = ["clean_answer"]

_CHUNKED = re.compile(rb"^transfer-encoding:[^\r\n]*chunked", re.IGNORECASE | re.MULTILINE)
_ENCODED = re.compile(rb"^content-encoding:(?! *identity)", re.IGNORECASE | re.MULTILINE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[^\r\n]*\r?\n")


def clean_answer(data: bytes, secrets: Redactor) -> bytes:
    """Return head and body, or the beginning of them, without secrets and as long as before."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return _padded(secrets.redact_tail(data), data)
    clean = _padded(secrets.redact_tail(head), head) + end
    spans = list(_chunks(body)) if _CHUNKED.search(head) else [(0, len(body))]
    content = b"".join(body[start:stop] for start, stop in spans)
    if _ENCODED.search(head):
        # A secret can be decompressed from it, also from a part of it.
        inside = b"x" * len(content)
    else:
        inside = _padded(secrets.redact_tail(content), content)
    # Sizes and line ends of the chunks, and what follows the last one, are a text of their own.
    starts, stops = [start for start, _ in spans], [stop for _, stop in spans]
    gaps = list(zip([0, *stops], [*starts, len(body)], strict=True))
    between = b"".join(body[start:stop] for start, stop in gaps)
    outside = _padded(secrets.redact_tail(between), between)
    for (gap, start), (_, stop) in zip(gaps, [*spans, (0, gaps[-1][1])], strict=True):
        clean += outside[: start - gap] + inside[: stop - start]
        outside, inside = outside[start - gap :], inside[stop - start :]
    return clean


def _padded(clean: bytes, original: bytes) -> bytes:
    # An escaped secret is longer than its placeholder; JSON may end in blanks.
    return clean.ljust(len(original))


def _chunks(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the content of each chunk is (RFC 9112, 7.1); the last may be cut off."""
    at = 0
    while (line := _CHUNK.match(body, at)) is not None:
        start = line.end()
        at = min(start + int(line.group(1), 16), len(body))
        if at == start:
            return
        yield start, at
        at += 2 if body[at : at + 2] == b"\r\n" else 1
