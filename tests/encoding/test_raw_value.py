"""Undecoded values: lenient, strict and typed decoding, and values that cannot be encoded."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.encoding import etf, raw_value
from gateway_proto.errors import DataError

DEEP = b"[" * 100_000 + b"]" * 100_000
needs_erlpack = pytest.mark.skipif(not etf.available(), reason="needs erlpack")


class Message(msgspec.Struct):
    """A type of a caller."""

    content: str
    number: int = 0


# ----- decoding -----


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (b"-Infinity", -math.inf),
        (b'"a\nb"', "a\nb"),
        (b'"\\ud800"', "\ud800"),
        (b'"\xed\xa0\x80"', "\ud800"),  # a surrogate in UTF-8, which RFC 3629, 3, forbids
        (b"1" * 400, int("1" * 400)),
    ],
)
def test_text_is_decoded_as_leniently_as_by_json(raw: bytes, value: Any) -> None:
    assert raw_value.decode_raw(raw, Any) == value
    assert raw_value.decode_raw(msgspec.Raw(raw), Any) == value
    assert raw_value.decode_leniently(raw) == value


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "truncated"),
        (b'{"a"', "truncated"),
        (b'"\xff"', "invalid UTF-8"),
        (b"1" * 5000, "4300 digits"),
        (DEEP, "nested too deeply"),
    ],
)
def test_invalid_text_raises_data_error(raw: bytes, error: str) -> None:
    with pytest.raises(DataError, match=error):
        raw_value.decode_raw(raw, Any)


@pytest.mark.parametrize("raw", [b"", b'"\xff"', DEEP, b"NaN", b'"a\nb"', b'"\xed\xa0\x80"'])
def test_strict_decoding_rejects_what_json_cannot_encode(raw: bytes) -> None:
    with pytest.raises(DataError):
        raw_value.decode_raw_strictly(raw, Any)


def test_value_is_decoded_into_the_type_of_the_caller() -> None:
    raw = b'{"content": "hi", "number": 3, "other": {}}'

    for decode in (raw_value.decode_raw, raw_value.decode_raw_strictly):
        assert decode(raw, Message) == Message("hi", 3)


def test_value_of_another_type_raises_with_its_place() -> None:
    for raw in (b'{"content": 5}', b'{"content": 5, "other": "\\ud800"}'):
        with pytest.raises(DataError, match=r"Expected `str`, got `int` - at `\$\.content`"):
            raw_value.decode_raw(raw, Message)


def test_lone_surrogates_are_replaced_in_typed_text() -> None:
    raw = b'{"content": "a\\ud800", "\\udfff": [1, {"b": "\\udc00"}]}'

    assert raw_value.decode_raw(raw, Message).content == "a\ufffd"


@needs_erlpack
def test_term_is_decoded_like_text() -> None:
    term = etf.pack({"content": "hi", "number": 3})

    for decode in (raw_value.decode_raw, raw_value.decode_raw_strictly):
        assert decode(term, Any) == {"content": "hi", "number": 3}
        assert decode(term, Message) == Message("hi", 3)
    assert raw_value.decode_leniently(term) == {"content": "hi", "number": 3}


@needs_erlpack
def test_invalid_term_raises_data_error() -> None:
    term = etf.pack({"content": 5})

    for decode in (raw_value.decode_raw, raw_value.decode_raw_strictly):
        with pytest.raises(DataError, match="truncated"):
            decode(term[:-1], Any)
        with pytest.raises(DataError, match="Expected `str`, got `int`"):
            decode(term, Message)


# ----- values of the caller -----


class Word(str):
    """A subclass that msgspec does not encode by itself."""


def test_instances_of_subclasses_are_encoded_as_their_values() -> None:
    assert raw_value.encode_json({"a": Word("b"), "c": type("Number", (int,), {})(3)}) == (
        b'{"a":"b","c":3}'
    )


@pytest.mark.parametrize("value", [object(), "\ud800", {(1, 2): 3}])
def test_value_without_json_raises_the_callers_error(value: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"^value cannot be encoded as JSON: "):
        raw_value.encode_json(value)


@needs_erlpack
@pytest.mark.parametrize("value", [object(), "\ud800", {"a": 2**20000}])
def test_value_without_term_raises_the_callers_error(value: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"^value cannot be encoded as ETF: "):
        raw_value.encode_etf(value)


@needs_erlpack
def test_json_text_becomes_an_equal_term() -> None:
    assert etf.unpack(raw_value.json_to_etf(b'{"a": [1.5, null, "\xc3\xa9"]}')) == {
        "a": [1.5, None, "\xe9"]
    }


@pytest.mark.parametrize("raw", [b"", b'{"a"', b'"\xff"', DEEP])
def test_invalid_text_of_the_caller_raises_its_error(raw: bytes) -> None:
    for check in (
        raw_value.check_value_of_caller,
        raw_value.value_of_caller,
        raw_value.check_term,
        raw_value.json_to_etf,
    ):
        with pytest.raises(LocalProtocolError, match=r"^invalid `d`: "):
            check(raw)


@pytest.mark.parametrize("raw", [b'{"a": 1}', b"NaN", b'"\xc3\xa9"', b'"\xed\xa0\x80"'])
def test_check_accepts_the_text_that_is_decoded(raw: bytes) -> None:
    raw_value.check_value_of_caller(raw)

    raw_value.value_of_caller(raw)
    raw_value.check_term(b"[1]")
