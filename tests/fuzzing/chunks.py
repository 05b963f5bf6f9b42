"""Split fuzzer input into chunks, each after its length in two bytes, and join chunks."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["joined", "pieces"]


def pieces(data: bytes) -> list[bytes]:
    """Return the chunks, at least one; the last may be incomplete."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found or [b""]


def joined(found: Iterable[bytes]) -> bytes:
    """Return the bytes that `pieces` splits again; lengths are limited to two bytes."""
    return b"".join(len(piece[:65535]).to_bytes(2, "big") + piece[:65535] for piece in found)
