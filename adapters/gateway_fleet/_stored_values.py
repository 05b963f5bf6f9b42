"""Value of the store → what a member wrote, of bounded size."""

from __future__ import annotations

from typing import TypeVar

from gateway_fleet.store import StoreError
from gateway_proto import DataError
from gateway_proto.fleet.records import decoded_value

__all__ = ["decode_stored"]

T = TypeVar("T")


def decode_stored(value: bytes, type_: type[T], what: str) -> T:
    """Decode the JSON of a value; raises `StoreError` if it is invalid or too large."""
    try:
        return decoded_value(value, type_, what)
    except DataError as error:
        why = str(error)
    raise StoreError(f"{what} in the engine are invalid: {why}")
