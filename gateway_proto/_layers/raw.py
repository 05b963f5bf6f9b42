"""raw `d` ↔ values: a JSON text or an ETF term, decoded once somebody asks for it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway_proto._layers import etf
from gateway_proto.errors import LocalProtocolError

__all__ = ["from_raw", "to_json", "to_term", "value_to_term"]

T = TypeVar("T")


def from_raw(d: bytes | msgspec.Raw, type_: type[T]) -> T:
    """`d` as a type; raises `msgspec.DecodeError`, or RecursionError."""
    try:
        return msgspec.json.decode(d, type=type_)  # a Raw without a copy
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8: {error}"
    except msgspec.DecodeError:
        raw = bytes(d)
        if not raw.startswith(etf.VERSION):  # with which no JSON begins
            raise
        try:
            return msgspec.convert(etf.unpack(raw), type_)
        except etf.EtfError as error:
            why = str(error)
    raise msgspec.DecodeError(why)


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
