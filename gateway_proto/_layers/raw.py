"""raw `d` ↔ values: a JSON text or an ETF term, decoded once somebody asks for it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway_proto._layers import etf
from gateway_proto.errors import LocalProtocolError

__all__ = ["from_raw", "to_json", "to_term", "value_to_term"]

T = TypeVar("T")


def from_raw(raw: bytes, type_: type[T]) -> T:
    """`d` as a type; raises `msgspec.DecodeError`, or RecursionError."""
    if raw[:1] != etf.VERSION:
        return msgspec.json.decode(raw, type=type_)
    try:
        value = etf.unpack(raw)
    except etf.EtfError as error:
        raise msgspec.DecodeError(str(error)) from None
    return msgspec.convert(value, type_)


def to_json(value: Any) -> bytes:
    """The JSON text of a value of the caller's; raises `LocalProtocolError` where it has none."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"this cannot be written as JSON: {error}") from None


def to_term(raw: bytes) -> bytes:
    """The term of a JSON text; raises `LocalProtocolError` where it has none."""
    return value_to_term(from_raw(raw, Any))


def value_to_term(value: Any) -> bytes:
    """The term of a value of the caller's; raises `LocalProtocolError` where it has none."""
    try:
        return etf.pack(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"this cannot be written as ETF: {error}") from None
