"""A second decoder of ETF, written for simplicity: the reference of `gateway_proto.encoding.etf`.

It decodes all terms of a container by one loop, and converts keys afterwards. Only the limits and
the error are shared with the decoder that it is compared with.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from gateway_proto.encoding.etf import EtfError

__all__ = ["unpack"]

_MAX_DEPTH = 256
_MAX_VALUES = 4_000_000
_MAX_INTEGER_BYTES = 1700

_SMALL_INTEGER, _INTEGER, _FLOAT, _OLD_FLOAT = b"abFc"
_ATOMS = {b"d"[0]: 2, b"v"[0]: 2, b"s"[0]: 1, b"w"[0]: 1}
_STRING, _BINARY = b"km"
_NIL, _LIST, _MAP = b"jlt"
_TUPLES = {b"h"[0]: 1, b"i"[0]: 4}
_BIGS = {b"n"[0]: 1, b"o"[0]: 4}
_CONTAINERS = {**_TUPLES, _LIST: 4, _MAP: 4}
_WORDS = {"nil": None, "null": None, "undefined": None, "true": True, "false": False}
_KEY_WORDS = {None: "nil", True: "true", False: "false"}
_TRUNCATED = "truncated term"


class _Reader:
    """Decoder of the terms of one message."""

    __slots__ = ("_at", "_count", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._count = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def value(self, depth: int = 0) -> Any:
        """Return the value of the next term. Raises `EtfError`."""
        try:
            (value,) = self._values(1, depth)
        except (IndexError, struct.error):
            raise EtfError(_TRUNCATED, truncated=True) from None
        if self._at > len(self._data):
            raise EtfError(_TRUNCATED, truncated=True)
        return value

    def _values(self, count: int, depth: int) -> list[Any]:
        """Return the values of the next `count` terms."""
        self._count += count
        if self._count > _MAX_VALUES:
            raise EtfError(f"too many terms: expected at most {_MAX_VALUES}")
        if depth > _MAX_DEPTH:
            raise EtfError(f"too deeply nested: expected at most {_MAX_DEPTH} levels")
        data, at = self._data, self._at
        values: list[Any] = []
        for _ in range(count):
            tag = data[at]
            at += 1
            if tag == _BINARY:
                begin = at + 4
                at = begin + int.from_bytes(data[at:begin], "big")
                # `value` checks for truncated data at the end; a short slice is harmless.
                value: Any = data[begin:at].decode(errors="replace")
            elif tag == _SMALL_INTEGER:
                value = data[at]
                at += 1
            elif tag in _ATOMS:
                begin = at + _ATOMS[tag]
                at = begin + int.from_bytes(data[at:begin], "big")
                name = data[begin:at].decode(errors="replace")
                value = _WORDS.get(name, name)
            elif tag == _INTEGER:
                value = int.from_bytes(data[at : at + 4], "big", signed=True)
                at += 4
            elif tag in _BIGS:
                begin = at + _BIGS[tag] + 1
                digits = int.from_bytes(data[at : begin - 1], "big")
                if digits > _MAX_INTEGER_BYTES:
                    raise EtfError(
                        f"integer too large: expected at most {_MAX_INTEGER_BYTES} bytes"
                    )
                at = begin + digits
                value = int.from_bytes(data[begin:at], "little")
                if data[begin - 1]:
                    value = -value
            elif tag == _NIL:
                value = []
            elif tag == _FLOAT:
                (value,) = _double(data, at)
                at += 8
                if not math.isfinite(value):
                    raise EtfError("float is not finite")
            elif tag == _STRING:
                begin = at + 2
                at = begin + int.from_bytes(data[at:begin], "big")
                value = list(data[begin:at])
            else:
                self._at = at
                value = self._unusual(tag, depth + 1)
                at = self._at
            values.append(value)
        self._at = at
        return values

    def _unusual(self, tag: int, depth: int) -> Any:
        """Return the value of a container or of an old float."""
        data, at = self._data, self._at
        if tag in _CONTAINERS:
            begin = at + _CONTAINERS[tag]
            count = int.from_bytes(data[at:begin], "big")
            if count > len(data) - at:  # each takes at least one byte
                raise EtfError(_TRUNCATED, truncated=True)
            self._at = begin
            if tag == _MAP:
                values = self._values(2 * count, depth)
                return dict(zip(map(_key, values[::2]), values[1::2], strict=True))
            values = self._values(count, depth)
            if tag == _LIST:
                if data[self._at] != _NIL:
                    raise EtfError("improper list: expected an empty tail")
                self._at += 1
            return values
        if tag == _OLD_FLOAT:
            self._at = at + 31
            try:
                value = float(data[at : at + 31].partition(b"\0")[0])
            except ValueError:
                raise EtfError("float is not a number") from None
            if not math.isfinite(value):
                raise EtfError("float is not finite")
            return value
        raise EtfError(f"unsupported term type {tag}")


_double = struct.Struct(">d").unpack_from
_KEYS = (str, int, bool, type(None))


def _key(value: Any) -> str:
    if type(value) not in _KEYS:
        raise EtfError(f"map key of type {type(value).__name__}: expected text, an int or an atom")
    return _key_text(value)


def _key_text(value: Any) -> str:
    if type(value) is str:
        return value
    return str(value) if type(value) is int else _KEY_WORDS[value]


def unpack(data: bytes) -> Any:
    """Return the value of a term: text as str, maps with str keys. Raises `EtfError`."""
    reader = _Reader(data, 1)
    value = reader.value()
    if not reader.is_at_end:
        raise EtfError("data after the end of the term")
    return value
