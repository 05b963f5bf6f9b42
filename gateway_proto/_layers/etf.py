"""External Term Format ↔ values: what JSON has, in Erlang's bytes, bounded.

erlpack, the protocol owner's own, writes terms. It does not read them here: it takes truncated
terms for whole ones, inflates terms without a bound, overflows the stack on deep nesting, rejects
old floats, and takes 0.3 to 0.8 us for each small term, no less than the reader below.

The envelope needs to know only where each term ends. A walk in Python takes 0.25 us for each term,
and a message can have 64 million. So runs of small terms are skipped by one compiled pattern, at
20 to 100 MB/s, and the number of terms that remain for the walk is limited.
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
"""The first byte of a term; neither JSON nor a zlib stream begins with it."""
_DEEPEST = 256
"""Nested lists and maps in a value; erlpack writes no deeper ones."""
_MOST_STEPS = 4_000_000
"""Terms of a message that the walk passes one by one: about a second."""
_MOST_VALUES = 4_000_000
"""Terms of a value that is made: an empty list takes one byte of a term, and 56 of memory."""
_MOST_MEMBERS = 1000
"""Members of an envelope, which has four."""
_MOST_DIGITS = 1700
"""Bytes of an integer. Python writes integers of up to 4300 decimal digits as text."""

# https://www.erlang.org/doc/apps/erts/erl_ext_dist.html
_SMALL_INTEGER, _INTEGER, _FLOAT, _OLD_FLOAT = b"abFc"
_ATOMS = {b"d"[0]: 2, b"v"[0]: 2, b"s"[0]: 1, b"w"[0]: 1}
_STRING, _BINARY = b"km"
_NIL, _LIST, _MAP = b"jlt"
_TUPLES = {b"h"[0]: 1, b"i"[0]: 4}
_BIGS = {b"n"[0]: 1, b"o"[0]: 4}
_FIXED = {_SMALL_INTEGER: 1, _INTEGER: 4, _FLOAT: 8, _OLD_FLOAT: 31, _NIL: 0}
"""Tag → bytes of the value."""
_COUNTED = {
    **{tag: (width, 0) for tag, width in _ATOMS.items()},
    _STRING: (2, 0),
    _BINARY: (4, 0),
    **{tag: (width, 1) for tag, width in _BIGS.items()},
    b"M"[0]: (4, 1),
}
"""Tag → bytes of the length that comes before the value, and of what it does not count.

The last is a bit string, which JSON does not have.
"""
_CONTAINERS = {**_TUPLES, _LIST: 4, _MAP: 4}
_WORDS = {"nil": None, "null": None, "undefined": None, "true": True, "false": False}
_KEY_WORDS = {None: "nil", True: "true", False: "false"}

_LIKE_NOT_FINITE = re.compile(rb"F[\x7f\xff][\xf0-\xff]")
"""A float that JSON does not have, or, rarely, a part of something else."""
_FEW, _SOME = 4, 16
"""Leaves that one match skips, at least and at most."""
_MANY, _VERY_MANY = 32, 1024
"""Small terms that one match skips."""


_TRUNCATED = "it is cut off"


class EtfError(Exception):
    """These bytes are no term that JSON could hold too; `truncated`: they are the start of one."""

    def __init__(self, why: str, *, truncated: bool = False) -> None:
        super().__init__(why)
        self.truncated: bool = truncated


@functools.cache
def _erlpack() -> Any:
    """The module, imported by those who use it alone; None where it is not installed."""
    try:
        import erlpack
    except ImportError:  # the extra `etf` is not installed
        return None
    return erlpack


def available() -> bool:
    """Whether the extra `etf` is installed."""
    return _erlpack() is not None


# ----- where terms end -----


def _sized(longest: int, more: int = 0) -> bytes:
    """Return a pattern of a length of one byte and as many bytes, and `more`."""
    sizes = (re.escape(bytes([size])) + b".{%d}" % (size + more) for size in range(longest + 1))
    return b"(?:%s)" % b"|".join(sizes)


def _leaf(longest: int) -> bytes:
    """Return a pattern of a number, a text of at most `longest` bytes, or an empty container."""
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
    """Finds the ends of terms in one message. All of them share the limit of steps."""

    __slots__ = ("_data", "_steps")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._steps = 0

    def end(self, at: int) -> int:
        """Return where the term that begins at `at` ends. Raise `EtfError`."""
        try:
            at = self._end(at)
        except IndexError:
            at = len(self._data) + 1
        if at > len(self._data):
            raise EtfError(_TRUNCATED, truncated=True)
        return at

    def _end(self, at: int) -> int:
        data, size = self._data, len(self._data)
        outer: list[int] = []  # of each open container: how many terms follow
        left = 1
        while True:
            while left:
                self._steps += 1
                if self._steps > _MOST_STEPS:
                    raise EtfError(f"it has more than {_MOST_STEPS} terms")
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
                    raise EtfError(f"it has a term of type {tag}")
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
"""The term of a key → the key."""


def envelope(data: bytes) -> dict[str, bytes]:
    """Return the values of a message's outermost map, each still a term. Raise `EtfError`."""
    if data[1:2] not in (b"", bytes([_MAP])):
        raise EtfError("it is no map")
    if len(data) < 6:
        raise EtfError(_TRUNCATED, truncated=True)
    count, at = int.from_bytes(data[2:6], "big"), 6
    if count > _MOST_MEMBERS:
        raise EtfError(f"it has more than {_MOST_MEMBERS} members")
    walk = _Walk(data)
    values: dict[str, bytes] = {}
    for _ in range(count):
        middle = walk.end(at)
        end = walk.end(middle)
        name = _NAMES.get(data[at:middle])
        if name is None:
            key = _Reader(data, at).value(_DEEPEST)
            name = _key_text(key) if type(key) in _KEYS else ""  # no key in JSON
        values[name] = VERSION + data[middle:end]
        at = end
    if at != len(data):
        raise EtfError("there is more behind its end")
    return values


# ----- what terms are -----


class _Reader:
    """Makes the values of the terms of one message."""

    __slots__ = ("_at", "_count", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._count = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def value(self, depth: int = 0) -> Any:
        """Return the value of the next term. Raise `EtfError`."""
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
        if self._count > _MOST_VALUES:
            raise EtfError(f"it has more than {_MOST_VALUES} terms")
        if depth > _DEEPEST:
            raise EtfError(f"it is nested more than {_DEEPEST} deep")
        data, at = self._data, self._at
        values: list[Any] = []
        for _ in range(count):
            tag = data[at]
            at += 1
            if tag == _BINARY:
                begin = at + 4
                at = begin + int.from_bytes(data[at:begin], "big")
                # Truncated data is found at the end; what a slice lacks does no harm until then.
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
                if digits > _MOST_DIGITS:
                    raise EtfError(f"an integer has more than {_MOST_DIGITS} bytes")
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
                    raise EtfError("a float is not finite")
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
            if count > len(data) - at:  # each takes a byte at least
                raise EtfError(_TRUNCATED, truncated=True)
            self._at = begin
            if tag == _MAP:
                values = self._values(2 * count, depth)
                return dict(zip(map(_key, values[::2]), values[1::2], strict=True))
            values = self._values(count, depth)
            if tag == _LIST:
                if data[self._at] != _NIL:
                    raise EtfError("a list has a tail that is not empty")
                self._at += 1
            return values
        if tag == _OLD_FLOAT:
            self._at = at + 31
            try:
                value = float(data[at : at + 31].partition(b"\0")[0])
            except ValueError:
                raise EtfError("a float is not a number") from None
            if not math.isfinite(value):
                raise EtfError("a float is not finite")
            return value
        raise EtfError(f"it has a term of type {tag}")


_double = struct.Struct(">d").unpack_from
_KEYS = (str, int, bool, type(None))


def _key(value: Any) -> str:
    if type(value) not in _KEYS:
        raise EtfError(f"a map has a key that is a {type(value).__name__}")
    return _key_text(value)


def _key_text(value: Any) -> str:
    if type(value) is str:
        return value
    return str(value) if type(value) is int else _KEY_WORDS[value]


def unpack(data: bytes) -> Any:
    """The value of a term: text as `str`, maps with keys of text. Raises `EtfError`."""
    reader = _Reader(data, 1)
    value = reader.value()
    if not reader.is_at_end:
        raise EtfError("there is more behind its end")
    return value


# ----- writing -----


def pack(value: Any) -> bytes:
    """The term of a value; keys become text, since the gateway takes no others.

    An integer beyond 64 bits becomes text, as ids do; a float that is not finite becomes nil, as it
    is null in JSON. Raises TypeError or ValueError for what JSON has not either, or is nested too
    deeply.
    """
    builtins = msgspec.to_builtins(value, str_keys=True, enc_hook=plain)
    try:
        term = _write(builtins)
    except OverflowError:
        return _write(_narrow(builtins))
    return term if _LIKE_NOT_FINITE.search(term) is None else _write(_narrow(builtins))


def plain(value: Any) -> Any:
    """Return the text or number of an instance of a subclass, which msgspec does not write."""
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
    except Exception as error:  # erlpack's own class is not exported
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
