"""raw `d` ↔ values: a JSON text or an ETF term, decoded once somebody asks for it."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

from gateway_proto._layers import etf
from gateway_proto.errors import DataError, LocalProtocolError

__all__ = [
    "check_term",
    "converted",
    "from_raw",
    "from_raw_strictly",
    "to_json",
    "to_term",
    "value_of_caller",
    "value_to_term",
]

T = TypeVar("T")


def from_raw(d: bytes | msgspec.Raw, type_: type[T]) -> T:
    """Decode `d` into a type. Read what Python's json module reads, too. Raise `DataError`.

    RFC 8259 allows lone surrogates and numbers of any size, and JavaScript servers send them.
    NaN, Infinity and control characters inside strings are read, too.
    """
    try:
        return msgspec.json.decode(d, type=type_)  # a Raw without a copy
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Not decoded inside of the handler: the error would be kept in a cycle.
        strict = error
    raw = bytes(d)
    if raw[:1] == etf.VERSION:  # no JSON text begins with it
        return _from_term(raw, type_)
    # What msgspec itself says about a value of another type names the place better.
    is_mismatch = isinstance(strict, msgspec.ValidationError)
    return _converted(_loads(raw, strict), type_, str(strict) if is_mismatch else None)


def from_raw_strictly(d: bytes | msgspec.Raw, type_: type[T]) -> T:
    """Decode `d` into a type, if it can be written again. Raise `DataError`."""
    raw = bytes(d)
    if raw[:1] == etf.VERSION:
        return _from_term(raw, type_)
    try:
        return msgspec.json.decode(raw, type=type_)
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8: {error}"
    except msgspec.DecodeError as error:
        why = str(error)
    except RecursionError:
        why = _TOO_DEEP
    raise DataError(why)


_TOO_DEEP = "it is nested too deeply"
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _loads(raw: bytes, strict: Exception) -> Any:
    try:
        # "surrogatepass" reads surrogates that were encoded one by one, as json.loads does.
        return json.loads(raw.decode("utf-8", "surrogatepass"), strict=False)
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8: {error}"
    except RecursionError:
        why = _TOO_DEEP
    except json.JSONDecodeError:
        why = str(strict)
    except ValueError as error:  # an integer of more digits than Python converts
        why = str(error)
    raise DataError(why)


def _from_term(raw: bytes, type_: type[T]) -> T:
    try:
        value = etf.unpack(raw)
    except etf.EtfError as error:
        why = str(error)
    else:
        return _converted(value, type_)
    raise DataError(why)


def converted(value: Any, type_: type[T]) -> T:
    """Convert a decoded value to a type. Raise `DataError`."""
    return _converted(value, type_)


def _converted(value: Any, type_: type[T], why_not: str | None = None) -> T:
    try:
        try:
            return msgspec.convert(value, type_)
        except UnicodeEncodeError:
            # msgspec writes text in UTF-8 to compare a key, or to read text as another type.
            return msgspec.convert(_without_surrogates(value), type_)
    except msgspec.ValidationError as error:
        why = why_not or str(error)
    except RecursionError:
        why = _TOO_DEEP
    raise DataError(why)


def _without_surrogates(value: Any) -> Any:
    """Replace each lone surrogate with U+FFFD."""
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case dict():
            return {
                _without_surrogates(key): _without_surrogates(inner) for key, inner in value.items()
            }
        case list():
            return [_without_surrogates(inner) for inner in value]
        case _:
            return value


def to_json(value: Any) -> bytes:
    """The JSON text of a value of the caller's; raises `LocalProtocolError` where it has none."""
    try:
        return msgspec.json.encode(value, enc_hook=etf.plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LocalProtocolError(f"this cannot be written as JSON: {error}") from None


def to_term(raw: bytes) -> bytes:
    """The term of a JSON text; raises `LocalProtocolError` where it has none."""
    return value_to_term(value_of_caller(raw))


def value_to_term(value: Any) -> bytes:
    """The term of a value of the caller's; raises `LocalProtocolError` where it has none."""
    try:
        return etf.pack(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"this cannot be written as ETF: {error}") from None


def check_term(raw: bytes) -> None:
    """Raise `LocalProtocolError` if data that a server sends later cannot be written as ETF.

    A payload nests it in a few more lists and maps. Without the extra `etf` nothing is checked.
    """
    value = value_of_caller(raw)
    if etf.available():
        value_to_term([[[[value]]]])


def value_of_caller(raw: bytes) -> Any:
    """Decode a raw `d` of the caller's. Raise `LocalProtocolError` if it cannot be read."""
    try:
        return from_raw(raw, Any)
    except DataError as error:
        why = str(error)
    raise LocalProtocolError(f"this `d` cannot be read: {why}")
