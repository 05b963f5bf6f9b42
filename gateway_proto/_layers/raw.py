"""raw `d` ↔ values: a JSON text or an ETF term, decoded once somebody asks for it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway_proto._layers import etf
from gateway_proto.errors import LocalProtocolError

__all__ = ["from_raw", "to_json", "to_term", "value_of", "value_to_term"]

T = TypeVar("T")
_decode = msgspec.json.Decoder().decode


def value_of(d: msgspec.Raw) -> Any:
    """`d` as a value of whatever type; raises `msgspec.DecodeError`, or RecursionError."""
    try:
        return _decode(d)  # without a copy
    except (msgspec.DecodeError, UnicodeDecodeError):
        return from_raw(bytes(d), Any)


def from_raw(raw: bytes, type_: type[T]) -> T:
    """`d` as a type; raises `msgspec.DecodeError`, or RecursionError."""
    if raw[:1] != etf.VERSION:
        try:
            return msgspec.json.decode(raw, type=type_)
        except UnicodeDecodeError as error:
            raise msgspec.DecodeError(f"it is not UTF-8: {error}") from None
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
