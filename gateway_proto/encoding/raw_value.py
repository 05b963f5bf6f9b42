"""Undecoded `d`, JSON text or an ETF term ↔ values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from gateway_proto.encoding import ENCODE_ERRORS, ETF_VERSION, json_text
from gateway_proto.errors import DataError, LocalProtocolError

__all__ = [
    "DECODE_ERRORS",
    "check_term",
    "check_value_of_caller",
    "decode_json",
    "decode_leniently",
    "decode_raw",
    "decode_raw_strictly",
    "encode_etf",
    "encode_json",
    "json_to_etf",
    "value_of_caller",
]

T = TypeVar("T")
DECODE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)
"""Exceptions that msgspec raises for text that is not JSON, or not of the expected type."""


decode_json: Callable[[bytes | msgspec.Raw], Any] = msgspec.json.Decoder().decode
"""Decode valid JSON. Raises one of `DECODE_ERRORS` for anything else."""


_skip_json = msgspec.json.Decoder(msgspec.Raw).decode


def decode_raw(d: bytes | msgspec.Raw, type_: type[T]) -> T:
    """Decode `d` into a type, as leniently as Python's json module. Raises `DataError`.

    RFC 8259, sections 6 and 8.2, allows numbers of any size and lone surrogates, and JavaScript
    servers send them. NaN, Infinity and control characters inside strings are accepted, too.
    """
    try:
        return msgspec.json.decode(d, type=type_)  # decodes a Raw without a copy
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Decode after the handler: inside it, the error would be kept alive by a reference cycle.
        strict = error
    raw = bytes(d)
    if raw[:1] == ETF_VERSION:  # JSON never begins with this byte
        return _from_term(raw, type_)
    # The error of msgspec about a value of another type names its location.
    is_mismatch = isinstance(strict, msgspec.ValidationError)
    return _converted(_loads(raw, strict), type_, str(strict) if is_mismatch else None)


def decode_leniently(d: bytes | msgspec.Raw) -> Any:
    """Decode `d` that is not valid JSON: an ETF term, or what Python's json module accepts.

    Raises `DataError`.
    """
    raw = bytes(d)
    return _from_term(raw, Any) if raw[:1] == ETF_VERSION else decode_raw(d, Any)


def decode_raw_strictly(d: bytes | msgspec.Raw, type_: type[T]) -> T:
    """Decode `d` into a type, if it can be encoded again. Raises `DataError`."""
    raw = bytes(d)
    if raw[:1] == ETF_VERSION:
        return _from_term(raw, type_)
    try:
        return msgspec.json.decode(raw, type=type_)
    except UnicodeDecodeError as error:
        why = f"invalid UTF-8: {error}"
    except msgspec.DecodeError as error:
        why = str(error)
    except RecursionError:
        why = _TOO_DEEP
    raise DataError(why)


_TOO_DEEP = "nested too deeply"
# Compiled on first use, and kept by `re`.
_SURROGATE = r"[\ud800-\udfff]"


def _loads(raw: bytes, strict: Exception) -> Any:
    import json  # on first use: it takes a twentieth of the import time of this package

    try:
        # "surrogatepass" accepts surrogates that were encoded individually, as json.loads does.
        return json.loads(raw.decode("utf-8", "surrogatepass"), strict=False)
    except UnicodeDecodeError as error:
        why = f"invalid UTF-8: {error}"
    except RecursionError:
        why = _TOO_DEEP
    except json.JSONDecodeError:
        why = str(strict)
    except ValueError as error:  # an int of more digits than Python converts
        why = str(error)
    raise DataError(why)


def _from_term(raw: bytes, type_: type[T]) -> T:
    # Imported on first use, as few programs need it.
    from gateway_proto.encoding.etf import EtfError, unpack

    value: Any
    try:
        value = unpack(raw)
    except EtfError as error:
        why = str(error)
    else:
        return value if type_ is Any else _converted(value, type_)
    raise DataError(why)


def _converted(value: Any, type_: type[T], why_not: str | None = None) -> T:
    try:
        try:
            return msgspec.convert(value, type_)
        except UnicodeEncodeError:
            # msgspec encodes text as UTF-8 to compare keys and to convert text to another type.
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
            return re.sub(_SURROGATE, "\ufffd", value)
        case dict():
            return {
                _without_surrogates(key): _without_surrogates(inner) for key, inner in value.items()
            }
        case list():
            return [_without_surrogates(inner) for inner in value]
        case _:
            return value


def encode_json(value: Any) -> bytes:
    """Encode a value of the caller as JSON. Raises `LocalProtocolError`."""
    try:
        return json_text(value)
    except ENCODE_ERRORS as error:
        raise LocalProtocolError(f"value cannot be encoded as JSON: {error}") from None


def json_to_etf(raw: bytes) -> bytes:
    """Convert JSON text to an ETF term. Raises `LocalProtocolError`."""
    return encode_etf(value_of_caller(raw))


def encode_etf(value: Any) -> bytes:
    """Encode a value of the caller as an ETF term. Raises `LocalProtocolError`."""
    from gateway_proto.encoding.etf import pack

    try:
        return pack(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"value cannot be encoded as ETF: {error}") from None


def check_term(raw: bytes) -> None:
    """Raise `LocalProtocolError` if data that a server sends later cannot be encoded as ETF.

    A payload nests it in a few more lists and maps. Checks nothing without the extra `etf`.
    """
    from gateway_proto.encoding.etf import available

    value = value_of_caller(raw)
    if available():
        encode_etf([[[[value]]]])


def check_value_of_caller(raw: bytes) -> None:
    """Check an undecoded `d` of the caller as `value_of_caller` does, without its value.

    Skipping JSON takes 0.7 µs per kilobyte, and decoding it 3.4 µs.
    """
    try:
        _skip_json(raw)
        if not raw.isascii():
            raw.decode()  # skipping does not decode text
    except DECODE_ERRORS:
        value_of_caller(raw)  # it accepts more


def value_of_caller(raw: bytes) -> Any:
    """Decode an undecoded `d` of the caller. Raises `LocalProtocolError` if it is invalid."""
    try:
        return decode_raw(raw, Any)
    except DataError as error:
        why = str(error)
    raise LocalProtocolError(f"invalid `d`: {why}")
