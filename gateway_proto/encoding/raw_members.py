"""Undecoded `d` → the few members that change the protocol state, at a bounded cost.

Decoding a whole `d` takes up to 45 bytes of memory for each of its bytes, and a message of 60 KB
can decompress to 64 MiB. So other members are skipped, and of these only scalars are decoded.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.encoding.raw_value import DECODE_ERRORS, decode_raw
from gateway_proto.errors import DataError

__all__ = ["raw_members", "scalar"]

_MAX_LENIENT = 4 * 2**20
"""Maximum bytes of a JSON text that msgspec rejects and that is scanned: 0.2 s per megabyte."""
_TOKEN = rb'"[^"]*+"|[][{},:]'
_SPACE = b" \t\r\n"


def raw_members(d: bytes | msgspec.Raw, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the undecoded members with these names of an object. Raises `DataError`.

    Other members may be anything: invalid UTF-8, lone surrogates, NaN, any nesting.
    """
    raw = bytes(d)
    if raw[:1] == ETF_VERSION:
        return _members_of_term(raw, names)
    type_ = _type_of(names)
    try:
        values = msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError as error:
        why = str(error)  # it is not an object
    except DECODE_ERRORS as error:
        if len(raw) <= _MAX_LENIENT and (found := _scanned(raw, names)) is not None:
            return found
        why = str(error)
    else:
        found = {name: bytes(getattr(values, name)) for name in names}
        return {name: value for name, value in found.items() if value}
    raise DataError(why)


def scalar(raw: bytes | None) -> str | int | float | bool | None:
    """Return the value of an undecoded text, number or boolean; None for anything else."""
    if not raw:
        return None
    if raw[:1] == ETF_VERSION:
        from gateway_proto.encoding.etf import CONTAINERS

        is_container = raw[1] in CONTAINERS
    else:
        is_container = raw.lstrip(_SPACE)[:1] in (b"[", b"{")
    if is_container:
        return None
    try:
        value = decode_raw(raw, Any)
    except DataError:
        return None
    return value if isinstance(value, str | int | float) else None


@functools.cache
def _type_of(names: tuple[str, ...]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Members", [(name, msgspec.Raw, msgspec.Raw()) for name in names])


def _members_of_term(raw: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    # Imported on first use, as few programs need it.
    from gateway_proto.encoding.etf import EtfError
    from gateway_proto.encoding.etf_envelope import envelope

    try:
        found = envelope(raw)
    except EtfError as error:
        why = str(error)
    else:
        return {name: found[name] for name in names if name in found}
    raise DataError(why)


def _scanned(raw: bytes, names: tuple[str, ...]) -> dict[str, bytes] | None:
    """Return the members of an object of brackets and strings, whatever else is in them."""
    # Without escapes, each quote begins or ends a string. The length stays the same.
    plain = raw.replace(rb"\\", b"__").replace(rb"\"", b"__")
    found: dict[str, bytes] = {}
    depth = begin = 0
    key = name = None
    for token in re.finditer(_TOKEN, plain):
        at = token.start()
        kind = plain[at : at + 1]
        if depth == 0 and (kind != b"{" or plain[:at].strip(_SPACE)):
            return None
        if kind in (b"[", b"{"):
            depth += 1
        elif depth > 1:
            depth -= kind in (b"]", b"}")
        elif kind == b'"':
            key = raw[at : token.end()]
        elif kind == b":":
            name, begin = scalar(key), token.end()
        elif kind in (b",", b"}"):
            if name in names:
                found[str(name)] = raw[begin:at].strip(_SPACE)
            name = None
            if kind == b"}":
                return None if plain[token.end() :].strip(_SPACE) else found
    return None
