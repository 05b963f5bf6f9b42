"""External Term Format ↔ the values that JSON can represent, with bounds.

erlpack, Discord's own library, encodes terms. It is not used to decode: it accepts truncated terms,
decompresses terms without a bound, overflows the stack on deep nesting, rejects old floats, and
takes longer than the decoder below, which is written in Python.

Source: <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_proto.encoding import plain

__all__ = ["EtfError", "available", "key_at", "pack", "unpack"]

MAX_DEPTH = 256
"""Maximum nesting of lists and maps in a value. erlpack encodes no deeper ones."""
_MAX_VALUES = 4_000_000
"""Maximum terms of a value. An empty list takes one byte in a term and 56 bytes of memory."""
_MAX_INTEGER_BYTES = 1700
"""Maximum bytes of an integer. Python converts ints of up to 4300 decimal digits to str."""
_MAX_KNOWN_KEYS = 2000
_MAX_KNOWN_KEY = 40
"""Maximum number and bytes of the keys that are kept. The documentation has about 700 names."""

# https://www.erlang.org/doc/apps/erts/erl_ext_dist.html
SMALL_INTEGER, INTEGER, FLOAT, OLD_FLOAT = b"abFc"
ATOMS = {b"d"[0]: 2, b"v"[0]: 2, b"s"[0]: 1, b"w"[0]: 1}
"""Size in bytes of the length, by tag."""
SMALL_ATOM, STRING, BINARY = b"skm"
NIL, LIST, MAP = b"jlt"
TUPLES = {b"h"[0]: 1, b"i"[0]: 4}
BIGS = {b"n"[0]: 1, b"o"[0]: 4}
CONTAINERS = {**TUPLES, LIST: 4, MAP: 4}
_WORDS = {"nil": None, "null": None, "undefined": None, "true": True, "false": False}
_KEY_WORDS = {None: "nil", True: "true", False: "false"}
_SHORT_WORDS = {
    tag + bytes([len(word)]) + word.encode(): value
    for tag in (b"s", b"w")
    for word, value in _WORDS.items()
}
"""Values of the atoms that servers write for them, by term."""

_LIKE_NOT_FINITE = re.compile(rb"F[\x7f\xff][\xf0-\xff]")
"""A float that JSON cannot represent, or, rarely, a part of another term."""

TRUNCATED = "truncated term"


class EtfError(Exception):
    """Bytes that are not a term that JSON can represent. `truncated`: they begin like one."""

    def __init__(self, why: str, *, truncated: bool = False) -> None:
        super().__init__(why)
        self.truncated: bool = truncated


@functools.cache
def _erlpack() -> Any:
    """Return the module, imported on first use, or None if it is not installed."""
    try:
        import erlpack
    except ImportError:  # the extra `etf` is not installed
        return None
    return erlpack


def available() -> bool:
    """Whether the extra `etf` is installed."""
    return _erlpack() is not None


# ----- reading -----

# A name of the module: its lookup in `int` takes longer than the call.
_number: Callable[..., int] = int.from_bytes
_double = struct.Struct(">d").unpack_from
_known_keys: dict[bytes, str] = {}
"""Text of the keys of maps, by term. Servers repeat them in every event."""


class _Reader:
    """Decoder of the terms of one message."""

    __slots__ = ("_at", "_count", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._count = 1

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def value(self, depth: int = 0) -> Any:
        """Return the value of the next term. Raises `EtfError`."""
        try:
            value = self._value(self._at, depth)
        except (IndexError, struct.error):
            raise EtfError(TRUNCATED, truncated=True) from None
        # A slice beyond the end is short, without an error.
        if self._at > len(self._data):
            raise EtfError(TRUNCATED, truncated=True)
        return value

    def _value(self, at: int, depth: int) -> Any:
        """Return the value of the term at `at`, and set `_at` to its end."""
        data = self._data
        tag = data[at]
        at += 1
        value: Any
        if tag in CONTAINERS:
            begin = at + CONTAINERS[tag]
            count = _number(data[at:begin], "big")
            if tag == MAP:
                return self._map(begin, count, depth + 1)
            return self._list(begin, count, depth + 1, has_tail=tag == LIST)
        if tag == BINARY:
            begin = at + 4
            at = begin + _number(data[at:begin], "big")
            value = data[begin:at].decode("utf-8", "replace")
        elif tag == SMALL_INTEGER:
            value = data[at]
            at += 1
        elif tag in ATOMS:
            begin = at + ATOMS[tag]
            at = begin + _number(data[at:begin], "big")
            name = data[begin:at].decode("utf-8", "replace")
            value = _WORDS.get(name, name)
        elif tag == INTEGER:
            value = _number(data[at : at + 4], "big", signed=True)
            at += 4
        elif tag in BIGS:
            begin = at + BIGS[tag] + 1
            digits = _number(data[at : begin - 1], "big")
            if digits > _MAX_INTEGER_BYTES:
                raise EtfError(f"integer too large: expected at most {_MAX_INTEGER_BYTES} bytes")
            at = begin + digits
            value = _number(data[begin:at], "little")
            if data[begin - 1]:
                value = -value
        elif tag == NIL:
            value = []
        elif tag == FLOAT:
            (value,) = _double(data, at)
            at += 8
            if not math.isfinite(value):
                raise EtfError("float is not finite")
        elif tag == STRING:
            begin = at + 2
            at = begin + _number(data[at:begin], "big")
            value = list(data[begin:at])
        elif tag == OLD_FLOAT:
            value = _old_float(data[at : at + 31])
            at += 31
        else:
            raise EtfError(f"unsupported term type {tag}")
        self._at = at
        return value

    def _map(self, at: int, count: int, depth: int) -> dict[str, Any]:
        self._check(at, 2 * count, depth)
        data, known, words = self._data, _known_keys, _SHORT_WORDS
        values: dict[str, Any] = {}
        value: Any
        # The usual keys and values are decoded here, without calls: this takes half of the time.
        for _ in range(count):
            key = None
            if data[at] == BINARY:
                end = at + 5 + data[at + 4]
                key = known.get(data[at:end])
            if key is None:
                key = self._key(at, depth)
                end = self._at
            tag = data[end]
            if tag == BINARY:
                begin = end + 5
                at = begin + _number(data[end + 1 : begin], "big")
                value = data[begin:at].decode("utf-8", "replace")
            elif tag == SMALL_ATOM:
                at = end + 2 + data[end + 1]
                value = words.get(data[end:at], words)
                if value is words:
                    value = self._value(end, depth)
            elif tag == SMALL_INTEGER:
                value = data[end + 1]
                at = end + 2
            elif tag == NIL:
                value = []
                at = end + 1
            elif tag == MAP:
                begin = end + 5
                value = self._map(begin, _number(data[end + 1 : begin], "big"), depth + 1)
                at = self._at
            else:
                value = self._value(end, depth)
                at = self._at
            values[key] = value
        self._at = at
        return values

    def _key(self, at: int, depth: int) -> str:
        """Return the key at `at`, and keep it if it is a short text."""
        value = self._value(at, depth)
        if type(value) not in _KEYS:
            what = type(value).__name__
            raise EtfError(f"map key of type {what}: expected text, an int or an atom")
        key = _key_text(value)
        term = self._data[at : self._at]
        if (
            term[0] == BINARY
            and self._at - at == len(term) <= _MAX_KNOWN_KEY
            and len(_known_keys) < _MAX_KNOWN_KEYS
        ):
            _known_keys[term] = key
        return key

    def _list(self, at: int, count: int, depth: int, *, has_tail: bool) -> list[Any]:
        self._check(at, count, depth)
        self._at = at
        values = [self._value(self._at, depth) for _ in range(count)]
        if has_tail:
            if self._data[self._at] != NIL:
                raise EtfError("improper list: expected an empty tail")
            self._at += 1
        return values

    def _check(self, at: int, count: int, depth: int) -> None:
        """Raise `EtfError` for a container that is too large or too deeply nested."""
        if count > len(self._data) - at:  # each takes at least one byte
            raise EtfError(TRUNCATED, truncated=True)
        self._count += count
        if self._count > _MAX_VALUES:
            raise EtfError(f"too many terms: expected at most {_MAX_VALUES}")
        if depth > MAX_DEPTH:
            raise EtfError(f"too deeply nested: expected at most {MAX_DEPTH} levels")


def _old_float(text: bytes) -> float:
    try:
        value = float(text.partition(b"\0")[0])
    except ValueError:
        raise EtfError("float is not a number") from None
    if not math.isfinite(value):
        raise EtfError("float is not finite")
    return value


_KEYS = (str, int, bool, type(None))


def _key_text(value: Any) -> str:
    if type(value) is str:
        return value
    return str(value) if type(value) is int else _KEY_WORDS[value]


def key_at(data: bytes, at: int) -> str:
    """Return the text of the key at `at`, or "" if JSON has no such key. Raises `EtfError`."""
    key = _Reader(data, at).value(MAX_DEPTH)
    return _key_text(key) if type(key) in _KEYS else ""


def unpack(data: bytes) -> Any:
    """Return the value of a term: text as str, maps with str keys. Raises `EtfError`."""
    reader = _Reader(data, 1)
    value = reader.value()
    if not reader.is_at_end:
        raise EtfError("data after the end of the term")
    return value


# ----- writing -----


def pack(value: Any) -> bytes:
    """Return the term of a value. Keys become text, since the gateway accepts no others.

    An int beyond 64 bits becomes text, as ids do. A float that is not finite becomes nil, as it is
    null in JSON. Raises TypeError or ValueError for a value that JSON cannot represent, or that is
    too deeply nested.

    <https://docs.discord.com/developers/events/gateway#encoding-and-compression>
    """
    builtins = msgspec.to_builtins(value, str_keys=True, enc_hook=plain)
    try:
        term = _write(builtins)
    except OverflowError:
        return _write(_narrow(builtins))
    return term if _LIKE_NOT_FINITE.search(term) is None else _write(_narrow(builtins))


def _write(value: Any) -> bytes:
    try:
        return bytes(_erlpack().pack(value))
    except OverflowError:
        raise
    except Exception as error:  # erlpack does not export its error class
        raise ValueError(str(error)) from None


def _narrow(value: Any) -> Any:
    match value:
        case dict():
            return {key: _narrow(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_narrow(inner) for inner in value]
        case int() if not -(2**63) <= value < 2**64:
            return str(value)
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
