"""External Term Format ↔ values: what JSON has, in Erlang's bytes, bounded.

erlpack, the protocol owner's own, writes and builds the terms. It trusts what it reads: it takes
terms that are cut off for whole, inflates terms without a bound, and overflows the stack where they
are nested deeply. So every term is walked over before it is given to it.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import msgspec

__all__ = ["VERSION", "EtfError", "available", "envelope", "pack", "unpack"]

VERSION = b"\x83"
"""The first byte of a term; neither JSON nor a zlib stream begins with it."""
_DEEPEST = 256
"""Of nested lists and maps; erlpack writes no more than that either."""

_SMALL_INTEGER, _INTEGER, _FLOAT = b"a"[0], b"b"[0], b"F"[0]
_ATOMS = {b"d"[0]: 2, b"v"[0]: 2, b"s"[0]: 1, b"w"[0]: 1}
_STRING, _BINARY = b"k"[0], b"m"[0]
_NIL, _LIST, _MAP = b"j"[0], b"l"[0], b"t"[0]
_SMALL_TUPLE, _BIG = b"h"[0], b"n"[0]

_FIXED = {_SMALL_INTEGER: 1, _INTEGER: 4, _FLOAT: 8, _NIL: 0}
"""Tag → bytes of the value."""
_COUNTED = {**_ATOMS, _STRING: 2, _BINARY: 4}
"""Tag → bytes of the length that comes before the value."""
_NOT_FINITE = (b"\x7f", b"\xff")
"""First bytes of the floats that JSON has not, where the second is 0xf0 or more."""
_LIKE_NOT_FINITE = re.compile(rb"F[\x7f\xff][\xf0-\xff]")
"""Such a float, or, rarely, a part of something else: whoever finds it looks again."""
_KEYS = frozenset({*_ATOMS, _BINARY, _SMALL_INTEGER, _INTEGER})


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


def _end(data: bytes, at: int) -> int:
    """Where the term that begins at `at` ends. Raises `EtfError`."""
    # Of each open list or map: how many terms it still has, and whether every second is a key.
    stack: list[list[int]] = []
    size = len(data)
    while True:
        if at >= size:
            raise EtfError("it is cut off", truncated=True)
        tag = data[at]
        at += 1
        if stack and stack[-1][1] and stack[-1][0] % 2 == 0 and tag not in _KEYS:
            raise EtfError(f"a map has a key of type {tag}")
        length = _COUNTED.get(tag)
        if length is not None:
            at += length + int.from_bytes(data[at : at + length], "big")
        elif tag in _FIXED:
            if (
                tag == _FLOAT
                and data[at : at + 1] in _NOT_FINITE
                and data[at + 1 : at + 2] >= b"\xf0"
            ):
                raise EtfError("a float is not finite")
            at += _FIXED[tag]
        elif tag == _BIG:
            digits = int.from_bytes(data[at : at + 1])
            negative = data[at + 1 : at + 2] > b"\0"
            at += 2
            # The sign of one below zero is one of its bits: so it is written, so it is read.
            if digits > 8 or (
                negative and int.from_bytes(data[at : at + digits], "little") > 2**63
            ):
                raise EtfError("an integer has more than 64 bits")
            at += digits
        elif tag in (_LIST, _MAP, _SMALL_TUPLE):
            width = 1 if tag == _SMALL_TUPLE else 4
            count = int.from_bytes(data[at : at + width], "big")
            at += width
            if len(stack) >= _DEEPEST:
                raise EtfError(f"it is nested more than {_DEEPEST} deep")
            # Behind the last of a list stands its tail, which is nil.
            stack.append([count * 2 if tag == _MAP else count + (tag == _LIST), tag == _MAP])
            if stack[-1][0]:
                continue
            stack.pop()
        else:
            raise EtfError(f"it has a term of type {tag}")
        if at > size:
            raise EtfError("it is cut off", truncated=True)
        while stack:
            stack[-1][0] -= 1
            if stack[-1][0]:
                break
            stack.pop()
        if not stack:
            return at


def envelope(data: bytes) -> dict[str, bytes]:
    """The values of a message's outermost map, each still a term. Raises `EtfError`."""
    if data[1:2] not in (b"", bytes([_MAP])):
        raise EtfError("it is no map")
    if len(data) < 6:
        raise EtfError("it is cut off", truncated=True)
    count, at = int.from_bytes(data[2:6], "big"), 6
    values: dict[str, bytes] = {}
    for _ in range(count):
        middle = _end(data, at)
        if data[at] not in _KEYS:
            raise EtfError(f"a map has a key of type {data[at]}")
        end = _end(data, middle)
        values[_text(_build(data[at:middle]))] = VERSION + data[middle:end]
        at = end
    if at != len(data):
        raise EtfError("there is more behind its end")
    return values


def unpack(data: bytes) -> Any:
    """The value of a term: text as `str`, maps with keys of text. Raises `EtfError`."""
    if _end(data, 1) != len(data):
        raise EtfError("there is more behind its end")
    return _plain(_build(data[1:]))


def _build(term: bytes) -> Any:
    if not available():
        raise EtfError("it is in ETF: install gateway-proto[etf] to read it")
    try:
        return _erlpack().unpack(VERSION + term)
    except Exception as error:  # of many classes, for bytes that are no text and the like
        raise EtfError(str(error)) from None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode(errors="replace")
        case dict():
            return {_text(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case str():
            # An atom that is neither nil, true nor false; some write null.
            return None if value == "null" else str(value)
        case _:
            return value


def pack(value: Any) -> bytes:
    """The term of a value; keys become text, since the gateway takes no others.

    An integer beyond 64 bits becomes text, as ids do; a float that is not finite becomes nil, as it
    is null in JSON. Raises TypeError or ValueError for what JSON has not either, or is nested too
    deeply.
    """
    plain = msgspec.to_builtins(value, str_keys=True)
    try:
        term = _write(plain)
    except OverflowError:
        return _write(_narrow(plain))
    return term if _LIKE_NOT_FINITE.search(term) is None else _write(_narrow(plain))


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
