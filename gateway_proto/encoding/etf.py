"""External Term Format ↔ the values that JSON can represent, with bounds.

erlpack, Discord's own library, encodes terms. It is not used to decode: it accepts truncated terms,
decompresses terms without a bound, overflows the stack on deep nesting, rejects old floats, and
takes 0.3 to 0.8 us for each small term, no less than the decoder below.

The envelope needs only the end of each term. A loop in Python takes 0.25 us for each term, and a
message can have 64 million. So one compiled pattern skips runs of small terms, at 20 to 100 MB/s,
and the number of terms that remain for the loop is limited.

Source: <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from typing import Any

import msgspec

__all__ = ["VERSION", "EtfError", "available", "envelope", "pack", "plain", "unpack"]

VERSION = b"\x83"
"""First byte of a term. Neither JSON nor a zlib stream (RFC 1950, section 2.2) begins with it."""
_MAX_DEPTH = 256
"""Maximum nesting of lists and maps in a value. erlpack encodes no deeper ones."""
_MAX_STEPS = 4_000_000
"""Maximum terms of a message that are skipped one by one, which takes about a second."""
_MAX_VALUES = 4_000_000
"""Maximum terms of a value. An empty list takes one byte in a term and 56 bytes of memory."""
_MAX_MEMBERS = 1000
"""Maximum members of an envelope. Usually there are four."""
_MAX_INTEGER_BYTES = 1700
"""Maximum bytes of an integer. Python converts ints of up to 4300 decimal digits to str."""

# https://www.erlang.org/doc/apps/erts/erl_ext_dist.html
_SMALL_INTEGER, _INTEGER, _FLOAT, _OLD_FLOAT = b"abFc"
_ATOMS = {b"d"[0]: 2, b"v"[0]: 2, b"s"[0]: 1, b"w"[0]: 1}
_STRING, _BINARY = b"km"
_NIL, _LIST, _MAP = b"jlt"
_TUPLES = {b"h"[0]: 1, b"i"[0]: 4}
_BIGS = {b"n"[0]: 1, b"o"[0]: 4}
_FIXED = {_SMALL_INTEGER: 1, _INTEGER: 4, _FLOAT: 8, _OLD_FLOAT: 31, _NIL: 0}
"""Size of the value in bytes, by tag."""
_COUNTED = {
    **{tag: (width, 0) for tag, width in _ATOMS.items()},
    _STRING: (2, 0),
    _BINARY: (4, 0),
    **{tag: (width, 1) for tag, width in _BIGS.items()},
    b"M"[0]: (4, 1),
}
"""Sizes in bytes of the length before the value, and of the part that it does not count, by tag.

The last tag is a bit string, which JSON cannot represent.
"""
_CONTAINERS = {**_TUPLES, _LIST: 4, _MAP: 4}
_WORDS = {"nil": None, "null": None, "undefined": None, "true": True, "false": False}
_KEY_WORDS = {None: "nil", True: "true", False: "false"}

_LIKE_NOT_FINITE = re.compile(rb"F[\x7f\xff][\xf0-\xff]")
"""A float that JSON cannot represent, or, rarely, a part of another term."""
_FEW, _SOME = 4, 16
"""Minimum and maximum number of leaves that one match skips."""
_MANY, _VERY_MANY = 32, 1024
"""Numbers of small terms that one match skips."""


_TRUNCATED = "truncated term"


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


# ----- ends of terms -----


def _sized(longest: int, more: int = 0) -> bytes:
    """Return a pattern of a length in one byte, that number of bytes, and `more` bytes."""
    sizes = (re.escape(bytes([size])) + b".{%d}" % (size + more) for size in range(longest + 1))
    return b"(?:%s)" % b"|".join(sizes)


def _leaf(longest: int) -> bytes:
    """Return a pattern of a number, a text of up to `longest` bytes, or an empty container."""
    kinds = (
        rb"m\0\0\0" + _sized(longest),
        rb"a.|j|b.{4}|F.{8}|h\0|t\0{4}|l\0{4}j",
        *(prefix + _sized(9) for prefix in (rb"s", rb"w", rb"[dv]\0")),
        rb"n" + _sized(8, 1),
        rb"k\0" + _sized(8),
    )
    return b"|".join(kinds)


@functools.cache
def _run(count: int) -> re.Pattern[bytes]:
    """Return the pattern of `count` small terms: leaves, and containers of up to four of them."""
    leaf = _leaf(19)
    small = [leaf]
    for inner in range(1, 5):
        size = re.escape(bytes([inner]))
        small.append(rb"t\0\0\0%s(?:%s){%d}+" % (size, leaf, 2 * inner))
        small.append(rb"l\0\0\0%s(?:%s){%d}+j" % (size, leaf, inner))
        small.append(rb"h%s(?:%s){%d}+" % (size, leaf, inner))
    return re.compile(rb"(?:%s){%d}+" % (b"|".join(small), count), re.DOTALL)


@functools.cache
def _up_to(count: int) -> re.Pattern[bytes]:
    """Return the pattern of up to `count` leaves; `lastindex` of a match is their number."""
    leaf, pattern = _leaf(40), b""
    for _ in range(count):
        pattern = rb"(?:(?:%s)()%s)?+" % (leaf, pattern)
    return re.compile(pattern, re.DOTALL)


class _Walk:
    """Search for the ends of terms in one message, with one limit of steps for all."""

    __slots__ = ("_data", "_steps")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._steps = 0

    def end(self, at: int) -> int:
        """Return the end of the term that begins at `at`. Raises `EtfError`."""
        try:
            at = self._end(at)
        except IndexError:
            at = len(self._data) + 1
        if at > len(self._data):
            raise EtfError(_TRUNCATED, truncated=True)
        return at

    def _end(self, at: int) -> int:
        data, size = self._data, len(self._data)
        outer: list[int] = []  # number of terms that follow, for each open container
        left = 1
        while True:
            while left:
                self._steps += 1
                if self._steps > _MAX_STEPS:
                    raise EtfError(f"too many terms: expected at most {_MAX_STEPS}")
                tag = data[at]
                if left >= _FEW and tag not in _CONTAINERS:
                    match = _up_to(left if left < _SOME else _SOME).match(data, at)
                    skipped = match.lastindex  # type: ignore[union-attr]  # it matches anything
                    if skipped is not None:
                        at = match.end()  # type: ignore[union-attr]
                        left -= skipped
                        if skipped == _SOME and left > _MANY:
                            at, left = self._skip_run(at, left)
                        continue
                left -= 1
                at += 1
                counted = _COUNTED.get(tag)
                if counted is not None:
                    width, more = counted
                    end = at + width
                    at = end + int.from_bytes(data[at:end], "big") + more
                elif tag in _FIXED:
                    at += _FIXED[tag]
                elif tag in _CONTAINERS:
                    end = at + _CONTAINERS[tag]
                    count = int.from_bytes(data[at:end], "big")
                    at = end
                    outer.append(left)
                    left = count * 2 if tag == _MAP else count
                    if tag == _LIST:
                        left += 1  # its tail
                    if left > _MANY:
                        at, left = self._skip_run(at, left)
                else:
                    raise EtfError(f"unsupported term type {tag}")
                if at > size:
                    return at
            if not outer:
                return at
            left = outer.pop()

    def _skip_run(self, at: int, left: int) -> tuple[int, int]:
        """Skip many small terms. Return the offset and the number of terms that follow."""
        for count in (_VERY_MANY, _MANY):
            pattern = _run(count)
            while left > count and (match := pattern.match(self._data, at)) is not None:
                at = match.end()
                left -= count
        return at, left


_NAMES = {
    prefix + bytes([len(name)]) + name.encode(): name
    for prefix in (b"m\0\0\0", b"d\0", b"s", b"w")
    for name in ("op", "d", "s", "t")
}
"""Keys by their terms."""


def envelope(data: bytes) -> dict[str, bytes]:
    """Return the values of the outermost map of a message, each as a term. Raises `EtfError`."""
    if data[1:2] not in (b"", bytes([_MAP])):
        raise EtfError("term is not a map")
    if len(data) < 6:
        raise EtfError(_TRUNCATED, truncated=True)
    count, at = int.from_bytes(data[2:6], "big"), 6
    if count > _MAX_MEMBERS:
        raise EtfError(f"too many members: expected at most {_MAX_MEMBERS}")
    walk = _Walk(data)
    values: dict[str, bytes] = {}
    for _ in range(count):
        middle = walk.end(at)
        end = walk.end(middle)
        name = _NAMES.get(data[at:middle])
        if name is None:
            key = _Reader(data, at).value(_MAX_DEPTH)
            name = _key_text(key) if type(key) in _KEYS else ""  # not a key in JSON
        values[name] = VERSION + data[middle:end]
        at = end
    if at != len(data):
        raise EtfError("data after the end of the term")
    return values


# ----- values of terms -----


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


def _write(plain: Any) -> bytes:
    try:
        return bytes(_erlpack().pack(plain))
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
