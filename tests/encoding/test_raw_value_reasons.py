"""Undecoded values: reasons of errors, lone surrogates and values of subclasses."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from gateway_proto import DataError, LocalProtocolError
from gateway_proto.encoding.raw_value import (
    check_value_of_caller,
    decode_raw,
    decode_raw_strictly,
    encode_json,
    value_of_caller,
)


class _Counted(msgspec.Struct):
    count: int
    names: list[str] | None = None


class _Text(str):
    __slots__ = ()


class _Number(int):
    pass


class _Fraction(float):
    pass


@pytest.mark.parametrize(
    ("raw", "type_", "expected_text"),
    [
        # The keys of JSON may be ints here, and those of the json module's dict may not.
        (b'{"5":"x"}', dict[int, int], r"^Expected `int`, got `str` - at `\$\[\.\.\.\]`$"),
        (b'{"a":NaN,"b":"x"}', dict[str, float], r"^Expected `float`, got `str` - at "),
        (b'{"a":1}', list[int], r"^Expected `array`, got `object`$"),
    ],
)
def test_value_of_another_type_is_named_with_its_place(
    raw: bytes, type_: Any, expected_text: str
) -> None:
    with pytest.raises(DataError, match=expected_text):
        decode_raw(raw, type_)


@pytest.mark.parametrize(
    ("raw", "expected_text"),
    [
        (b'"\xff"', r"^invalid UTF-8: .*0xff"),
        (b"[" * 100_000, r"^nested too deeply$"),
        (b"tru", r"^Input data was truncated$"),
    ],
)
def test_command_that_is_not_json_raises_its_reason(raw: bytes, expected_text: str) -> None:
    with pytest.raises(DataError, match=expected_text):
        decode_raw_strictly(raw, object)


def test_lone_surrogates_are_replaced_to_compare_text() -> None:
    raw = rb'{"\ud83d":{"a":[true,"x"]},"count":5,"names":["\ud83d\ud83d",""]}'

    assert decode_raw(raw, _Counted) == _Counted(5, ["\ufffd\ufffd", ""])
    assert decode_raw(rb'["\ud83d"]', list[Literal["\ufffd"]]) == ["\ufffd"]


@pytest.mark.parametrize("check", [check_value_of_caller, value_of_caller])
@pytest.mark.parametrize(
    ("raw", "expected_text"),
    [
        (b'{"a":"\xff"}', r"^invalid `d`: invalid UTF-8: .*0xff"),
        (b"tru", r"^invalid `d`: Input data was truncated$"),
        (b"[" * 100_000, r"^invalid `d`: nested too deeply$"),
    ],
)
def test_invalid_d_of_the_caller_raises_its_reason(
    check: Any, raw: bytes, expected_text: str
) -> None:
    with pytest.raises(LocalProtocolError, match=expected_text):
        check(raw)


def test_instances_of_subclasses_are_encoded_as_plain_values() -> None:
    assert encode_json([_Text("a"), _Number(5), _Fraction(1.5)]) == b'["a",5,1.5]'
    with pytest.raises(
        LocalProtocolError,
        match=r"^value cannot be encoded as JSON: Encoding objects of type object is unsupported$",
    ):
        encode_json(object())
