"""what frames hold → messages one by one: texts as `str`, binary ones as `bytes`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway_proto._layers.frames import Messages

__all__ = ["one_by_one"]


def one_by_one(items: Iterable[Any]) -> list[Any]:
    """The items, with each run of messages taken apart."""
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
