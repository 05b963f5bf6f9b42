"""Single messages of frames, and unmasked frames of a client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway_proto.wire.fast_frames import MessageBatch

__all__ = ["one_by_one", "unmasked"]


def one_by_one(items: Iterable[Any]) -> list[Any]:
    """Return the items with batches split: texts as `str`, binary messages as `bytes`.

    Bytes of a text that are not UTF-8 are lone surrogates.
    """
    taken: list[Any] = []
    for item in items:
        if not isinstance(item, MessageBatch):
            taken.append(item)
            continue
        for message in item.data:
            is_bytes = isinstance(message, bytes)
            is_text = item.is_text and is_bytes
            taken.append(message.decode("utf-8", "surrogateescape") if is_text else message)
            assert item.is_text or is_bytes
    return taken


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """Return opcode and unmasked payload of each small frame of a client."""
    frames = []
    while data:
        end = 6 + (data[1] & 0x7F)
        mask = data[2:6] * 32
        frames.append((data[0], bytes(a ^ b for a, b in zip(data[6:end], mask, strict=False))))
        data = data[end:]
    return frames
