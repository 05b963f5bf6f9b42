"""Value of the store → what a member wrote, of bounded size."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gateway_fleet.store import StoreError

__all__ = ["decode_stored"]

T = TypeVar("T")
_MAX_SIZE = 2 * 2**20
"""Maximum bytes of a value, which others can write, too."""


def decode_stored(value: bytes, type_: type[T], what: str) -> T:
    """Decode the JSON of a value; raises `StoreError` if it is invalid or too large."""
    if len(value) > _MAX_SIZE:
        why = f"{len(value)} bytes, expected at most {_MAX_SIZE}"
    else:
        try:
            return msgspec.json.decode(value, type=type_)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            why = str(error)
    raise StoreError(f"{what} in the engine are invalid: {why}")
