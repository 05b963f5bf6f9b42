"""bytes of a fuzzer ↔ the pieces of an input: each behind its length, in two bytes."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["joined", "pieces"]


def pieces(data: bytes) -> list[bytes]:
    """The pieces; the last may be cut off, and there is always one."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found or [b""]


def joined(found: Iterable[bytes]) -> bytes:
    """The bytes that `pieces` takes apart again, as far as a length of two bytes goes."""
    return b"".join(len(piece[:65535]).to_bytes(2, "big") + piece[:65535] for piece in found)
