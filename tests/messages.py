"""frames → what they hold: messages one by one, and what a client masked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway_proto._layers.frames import Messages

__all__ = ["one_by_one", "unmasked"]


def one_by_one(items: Iterable[Any]) -> list[Any]:
    """The items, with each run of messages taken apart: texts as `str`, binary ones as `bytes`."""
    taken: list[Any] = []
    for item in items:
        if not isinstance(item, Messages):
            taken.append(item)
            continue
        for message in item.data:
            is_bytes = isinstance(message, bytes)
            taken.append(message.decode() if item.is_text and is_bytes else message)
            assert item.is_text or is_bytes
    return taken


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """The small frames that a client sent; their masks are chance."""
    frames = []
    while data:
        end = 6 + (data[1] & 0x7F)
        mask = data[2:6] * 32
        frames.append((data[0], bytes(a ^ b for a, b in zip(data[6:end], mask, strict=False))))
        data = data[end:]
    return frames
