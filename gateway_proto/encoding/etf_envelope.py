"""The envelope of an ETF message: op, s, t and the undecoded term of `d`.

The envelope needs only the end of each term. A loop in Python takes 0.25 us for each term, and a
message can have 64 million. So one compiled pattern skips runs of small terms, at 20 to 100 MB/s,
and the number of terms that remain for the loop is limited.

Source: <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>.
"""

from __future__ import annotations

import functools
import re

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.encoding.etf import (
    ATOMS,
    BIGS,
    BINARY,
    CONTAINERS,
    FLOAT,
    INTEGER,
    LIST,
    MAP,
    NIL,
    OLD_FLOAT,
    SMALL_INTEGER,
    STRING,
    TRUNCATED,
    EtfError,
    key_at,
)

__all__ = ["dispatch_members", "envelope"]

_MAX_STEPS = 4_000_000
"""Maximum terms of a message that are skipped one by one, which takes about a second."""
_MAX_MEMBERS = 1000
"""Maximum members of an envelope. Usually there are four."""
_MAX_NAME = 64
_MAX_AFTER = 128
"""Maximum bytes of the name of a dispatch, and of the members after `d`, on the fast path."""

_FIXED = {SMALL_INTEGER: 1, INTEGER: 4, FLOAT: 8, OLD_FLOAT: 31, NIL: 0}
"""Size of the value in bytes, by tag."""
_COUNTED = {
    **{tag: (width, 0) for tag, width in ATOMS.items()},
    STRING: (2, 0),
    BINARY: (4, 0),
    **{tag: (width, 1) for tag, width in BIGS.items()},
    b"M"[0]: (4, 1),
}
"""Sizes in bytes of the length before the value, and of the part that it does not count, by tag.

The last tag is a bit string, which JSON cannot represent.
"""

_FEW, _SOME = 4, 16
"""Minimum and maximum number of leaves that one match skips."""
_MANY, _VERY_MANY = 32, 1024
"""Numbers of small terms that one match skips."""


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
    # `|(?!)` ends a group that repeats possessively: CPython before 3.11.5 continues behind a part
    # of a repetition that does not match. <https://github.com/python/cpython/issues/106052>
    leaf, pattern = _leaf(40), b""
    for _ in range(count):
        pattern = rb"(?:(?:%s)()%s|(?!))?+" % (leaf, pattern)
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
            raise EtfError(TRUNCATED, truncated=True)
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
                if left >= _FEW and tag not in CONTAINERS:
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
                elif tag in CONTAINERS:
                    end = at + CONTAINERS[tag]
                    count = int.from_bytes(data[at:end], "big")
                    at = end
                    outer.append(left)
                    left = count * 2 if tag == MAP else count
                    if tag == LIST:
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
    if data[1:2] not in (b"", bytes([MAP])):
        raise EtfError("term is not a map")
    if len(data) < 6:
        raise EtfError(TRUNCATED, truncated=True)
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
            name = key_at(data, at)
        values[name] = ETF_VERSION + data[middle:end]
        at = end
    if at != len(data):
        raise EtfError("data after the end of the term")
    return values


# ----- dispatches -----

_MAP_OF_FOUR = b"\x83t\x00\x00\x00\x04"
_BEFORE_D = {_MAP_OF_FOUR + tag + b"\x01d": len(tag) for tag in (b"m\0\0\0", b"d\0", b"s", b"w")}
"""Bytes before the length of a key, by the beginning of a message whose first key is `d`."""
_OPCODE = b"\x02opa\x00"


@functools.cache
def _after_d() -> re.Pattern[bytes]:
    """Return the pattern of the members of a dispatch after `d`."""
    sizes = range(1, _MAX_NAME + 1)
    name = b"|".join(rb"%s[0-9A-Z_]{%d}" % (re.escape(bytes([size])), size) for size in sizes)
    tag, nil = rb"(?:m\0\0\0|d\0|[sw])", rb"[sw]\x03nil|d\0\x03nil"
    return re.compile(
        rb"%s\x02opa\0%s\x01s(a.|b[\0-\x7f].{3}|%s)%s\x01tm\0\0\0(%s)\Z"
        % (tag, tag, nil, tag, name),
        re.DOTALL,
    )


def dispatch_members(data: bytes) -> tuple[str, int | None, bytes] | None:
    """Return the name, the sequence and the term of `d` of a dispatch, if its `d` is first.

    Erlang orders the keys of a small map: d, op, s, t. So the members after `d` show where it ends,
    at a tenth of the cost of `envelope`. `d` is not looked at: as with JSON, an error in it is
    found when it is read. None means that `envelope` must decide.
    """
    for head in _BEFORE_D:
        if data.startswith(head):
            break
    else:
        return None
    size = _BEFORE_D[head]
    # The last one is the key: a name and an integer cannot contain these bytes.
    at = data.rfind(_OPCODE, max(len(head) + 1 + size, len(data) - _MAX_AFTER))
    after = _after_d().match(data, at - size) if at > 0 else None
    if after is None:
        return None
    sequence, name = after.groups()
    number = None
    if sequence[0] == SMALL_INTEGER:
        number = sequence[1]
    elif sequence[0] == INTEGER:
        number = int.from_bytes(sequence[1:], "big")
    return name[1:].decode(), number, ETF_VERSION + data[len(head) : at - size]
