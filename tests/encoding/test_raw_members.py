"""Members of an undecoded `d`: found beside anything, and other values are not made."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto.encoding import raw_members as module
from gateway_proto.encoding.raw_members import raw_members, scalar
from gateway_proto.errors import DataError

NAMES = ("a", "b")
DEEP = b"[" * 5000 + b"]" * 5000

INVALID_BESIDE_VALID = {
    "valid": b"[1]",
    "lone surrogate": rb'"\ud800"',
    "NaN": b"NaN",
    "invalid UTF-8": b'"\xff"',
    "control character": b'"\t"',
    "deep nesting": DEEP,
    "large number": b"1" * 5000,
    "brackets in text and NaN": rb'{"x":"]}\"\\","y":NaN}',
}


@pytest.mark.parametrize("value", INVALID_BESIDE_VALID.values(), ids=INVALID_BESIDE_VALID)
def test_member_beside_an_undecodable_value_is_found(value: bytes) -> None:
    for d in (
        b'{"x":%s,"a":"t"}' % value,
        b' { "a" : "t" , "x" : %s } ' % value,
        rb'{"x":%s,"\u0061":"t"}' % value,
        b'{"a":1,"x":%s,"a":"t"}' % value,
    ):
        assert scalar(raw_members(d, NAMES)["a"]) == "t"


@pytest.mark.parametrize(
    "d",
    [b"", b"null", b"[1]", b'"a"', b'{"a":1', b'{"a":1}x', b'NaN{"a":1}', b'{"a":NaN', b'{"a":1]'],
)
def test_members_of_anything_but_an_object_raise(d: bytes) -> None:
    with pytest.raises(DataError):
        raw_members(d, NAMES)


def test_undecodable_object_over_the_limit_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    d = b'{"x":NaN,"a":1}'
    assert raw_members(d, NAMES) == {"a": b"1"}

    monkeypatch.setattr(module, "_MAX_LENIENT", len(d) - 1)

    with pytest.raises(DataError, match="malformed"):
        raw_members(d, NAMES)


def test_containers_are_returned_undecoded() -> None:
    found = raw_members(b'{"b":{"c":[1]},"a":[NaN]}', NAMES)

    assert found == {"b": b'{"c":[1]}', "a": b"[NaN]"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        (b"", None),
        (b"null", None),
        (b" [1]", None),
        (b"{}", None),
        (b'"\xff"', None),
        (b"1" * 5000, None),
        (b"true", True),
        (b" 1.5 ", 1.5),
        (rb'"\ud800"', "\ud800"),
        (b"\x83j", None),
        (b"\x83l\0\0\0\1a\1j", None),
        (b"\x83s\x03nil", None),
        (b"\x83s\x04true", True),
        (b"\x83a\x05", 5),
        (b"\x83m\0\0\0\1x", "x"),
        (b"\x83m\0\0\0\2x", None),
    ],
)
def test_scalar_is_decoded_and_anything_else_is_none(raw: bytes | None, expected: Any) -> None:
    assert scalar(raw) == expected


def test_members_of_an_etf_map_are_terms() -> None:
    nan = b"F\x7f\xf8" + bytes(6)
    d = b"\x83t\0\0\0\2m\0\0\0\1x" + nan + b"m\0\0\0\1aa\5"

    assert raw_members(d, NAMES) == {"a": b"\x83a\5"}
    with pytest.raises(DataError, match="truncated"):
        raw_members(d[:-1], NAMES)
