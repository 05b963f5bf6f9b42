"""Encodings of values: External Term Format, and values that are still undecoded."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["ENCODE_ERRORS", "ETF_VERSION", "json_text", "plain"]

ETF_VERSION = b"\x83"
"""First byte of a term. Neither JSON nor a zlib stream (RFC 1950, section 2.2) begins with it."""
ENCODE_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)
"""Exceptions of `json_text` for a value that JSON cannot represent."""


def json_text(value: Any) -> bytes:
    """Encode a value as JSON. Raises one of `ENCODE_ERRORS`."""
    return msgspec.json.encode(value, enc_hook=plain)


def plain(value: Any) -> Any:
    """Return the plain text or number of a subclass instance, which msgspec does not encode."""
    match value:
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
