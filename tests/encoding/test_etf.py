"""ETF: round trips, output of erlpack, terms without JSON form, invalid and hostile data."""

from __future__ import annotations

import contextlib
import math
import re
import runpy
import struct
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto.encoding import etf, etf_envelope
from gateway_proto.encoding.etf import EtfError
from gateway_proto.encoding.etf_envelope import envelope

erlpack = pytest.importorskip("erlpack")

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_etf_round_trip_preserves_the_value(value: Any) -> None:
    assert etf.unpack(etf.pack(value)) == value


@given(_VALUES)
def test_envelope_of_erlpack_output_has_the_right_values(value: Any) -> None:
    payload = {"op": 0, "d": value}

    values = envelope(erlpack.pack(payload))

    assert {name: etf.unpack(term) for name, term in values.items()} == payload


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_a_value_or_etf_error(data: bytes) -> None:
    for read in (etf.unpack, envelope):
        with contextlib.suppress(EtfError):
            read(b"\x83" + data)


@given(_VALUES, st.data())
def test_truncated_random_term_is_reported_as_truncated(value: Any, data: st.DataObject) -> None:
    """Rule 69: a message that looks complete may be a part of a payload."""
    term = etf.pack({"op": 0, "d": value})
    length = data.draw(st.integers(1, len(term) - 1))

    with pytest.raises(EtfError) as caught:
        envelope(term[:length])

    assert caught.value.truncated


def test_term_truncated_at_any_byte_is_reported_as_truncated() -> None:
    term = etf.pack({"op": 0, "d": [1, 2.5, "text", -1, 2**40, None, {"a": []}]})

    for length in range(1, len(term)):
        with pytest.raises(EtfError) as caught:
            envelope(term[:length])
        assert caught.value.truncated, length


def test_atoms_and_text_are_equal_as_keys_and_words() -> None:
    """Rule 76."""
    atoms = erlpack.pack(
        {
            erlpack.Atom("op"): 0,
            "t": erlpack.Atom("READY"),
            erlpack.Atom("d"): [None, True, False, erlpack.Atom("null")],
        }
    )

    assert etf.unpack(atoms) == {"op": 0, "t": "READY", "d": [None, True, False, None]}


def test_snowflakes_may_be_integers_or_text() -> None:
    """Rule 76."""
    assert etf.unpack(erlpack.pack([80351110224678912, "80351110224678912"])) == [
        80351110224678912,
        "80351110224678912",
    ]


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, -(2**63), -(2**63) + 1, -(2**31) - 1])
def test_integers_of_64_bits_round_trip(value: int) -> None:
    assert etf.unpack(erlpack.pack(value)) == value
    assert etf.unpack(etf.pack(value)) == value


def test_terms_that_only_other_encoders_write_are_decoded() -> None:
    assert etf.unpack(b"\x83h\x02a\x01a\x02") == [1, 2], "tuple"
    assert etf.unpack(b"\x83k\x00\x02\x01\x02") == [1, 2], "list of small integers"
    assert etf.unpack(b"\x83t\x00\x00\x00\x01a\x05a\x06") == {"5": 6}, "number as key"
    assert etf.unpack(b"\x83m\x00\x00\x00\x01\xff") == "\N{REPLACEMENT CHARACTER}", "invalid UTF-8"
    assert etf.unpack(b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x01\xffj") == {
        "\N{REPLACEMENT CHARACTER}": []
    }, "invalid UTF-8 as key"


def test_map_keys_are_encoded_as_text() -> None:
    """Rule 76: the gateway closes with 4002 if keys are atoms."""
    assert etf.pack({5: 1}) == etf.pack({"5": 1})
    assert b"m\x00\x00\x00\x02op" in etf.pack({"op": 1})


def test_only_integers_beyond_64_bits_are_encoded_as_text() -> None:
    assert etf.unpack(etf.pack({"a": [2**64, -(2**63) - 1, (5, -1000, 1000), None]})) == {
        "a": [str(2**64), str(-(2**63) - 1), [5, -1000, 1000], None]
    }
    assert etf.unpack(etf.pack([2**64, 2**64 - 1, -(2**63)])) == [str(2**64), 2**64 - 1, -(2**63)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_float_is_encoded_as_nil(value: float) -> None:
    """Erlang cannot read such a float."""
    looks_like_one = "F\x7f\N{GRINNING FACE}"

    assert etf.pack(value) == etf.pack(None)
    assert etf.unpack(etf.pack({"a": [value, 1.5, looks_like_one]})) == {
        "a": [None, 1.5, looks_like_one]
    }


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected_text"),
    [
        (object(), "Encoding objects of type object is unsupported"),
        ({(1, 2): 3}, "Only dicts with str-like or number-like keys are supported"),
        ("\ud800", "'utf-8' codec can't encode character '\\ud800' in position 0"),
        (_nested(300), "Exceeded recursion limit"),
        ([2**64, "\ud800"], "'utf-8' codec can't encode character '\\ud800' in position 0"),
        ([math.nan, "\ud800"], "'utf-8' codec can't encode character '\\ud800' in position 0"),
    ],
)
def test_value_without_json_form_is_not_encoded(value: Any, expected_text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(expected_text)):
        etf.pack(value)


_LIST = b"l\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("data", "expected_text"),
    [
        (
            b"\x83" + _LIST * 100_000 + b"j" * 100_001,
            "too deeply nested: expected at most 256 levels",
        ),
        (
            b"\x83h\x01" * 1 + b"h\x01" * 1000 + b"a\x01",
            "too deeply nested: expected at most 256 levels",
        ),
        (b"\x83P\x00\x00\x00\x05" + zlib.compress(b"a\x01"), "unsupported term type 80"),
        (b"\x83a\x01a", "data after the end of the term"),
        (
            b"\x83o\x00\x00\x06\xa5\x00" + b"\x01" * 1701,
            "integer too large: expected at most 1700 bytes",
        ),
        (
            b"\x83t\x00\x00\x00\x01" + _LIST + b"a\x01ja\x02",
            "map key of type list: expected text, an int or an atom",
        ),
        (
            b"\x83t\x00\x00\x00\x01F" + bytes(8) + b"a\x02",
            "map key of type float: expected text, an int or an atom",
        ),
        (b"\x83l\x00\x00\x00\x01a\x01a\x02", "improper list: expected an empty tail"),
        (b"\x83M\x00\x00\x00\x01\x01\x80", "unsupported term type 77"),
        (b"\x83cnan" + bytes(28), "float is not finite"),
        (b"\x83cx" + bytes(30), "float is not a number"),
        (b"\x83F" + struct.pack(">d", math.inf), "float is not finite"),
        (b"\x83F" + struct.pack(">d", -math.inf), "float is not finite"),
        (b"\x83F" + struct.pack(">d", math.nan), "float is not finite"),
    ],
)
def test_term_without_json_form_raises_its_reason(data: bytes, expected_text: str) -> None:
    """Rules 74 and 75: erlpack alone overflows the stack, decompresses a bomb or truncates."""
    with pytest.raises(EtfError) as caught:
        etf.unpack(data)

    assert (str(caught.value), caught.value.truncated) == (expected_text, False)


_OF_THIS_MESSAGE = b"\x83t\x00\x00\x00\x02m\x00\x00\x00\x01d"
"""The beginning of an envelope, to its `d`."""


@pytest.mark.parametrize(
    ("term", "value"),
    [
        (b"w\x01\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"d\x00\x09undefined", None),
        (b"v\x00\x05false", False),
        (b"n\x09\x00" + b"\x01" * 9, int.from_bytes(b"\x01" * 9)),
        (b"n\x08\x01\x01" + b"\x00" * 6 + b"\x80", -(2**63) - 1),
        (b"n\x00\x00", 0),
        (b"o\x00\x00\x00\x09\x01" + b"\x00" * 8 + b"\x01", -(2**64)),
        (b"c1.50000000000000000000e+00" + bytes(5), 1.5),
        (b"i\x00\x00\x00\x02a\x01k\x00\x02\x05\x06", [1, [5, 6]]),
        (b"h\x00", []),
        (b"k\x00\x00", []),
        (
            b"t\x00\x00\x00\x03s\x03nila\x01s\x04truea\x02b\xff\xff\xff\xffa\x03",
            {"nil": 1, "true": 2, "-1": 3},
        ),
    ],
)
def test_term_with_json_form_is_decoded_at_any_position(term: bytes, value: Any) -> None:
    list_of_it = b"l\x00\x00\x00\x28" + term * 40 + b"j"
    map_of_it = b"t\x00\x00\x00\x02a\x01" + term + b"m\x00\x00\x00\x01k" + term

    assert etf.unpack(b"\x83" + term) == value
    for outer, expected in ((list_of_it, [value] * 40), (map_of_it, {"1": value, "k": value})):
        values = envelope(_OF_THIS_MESSAGE + outer + b"s\x01sa\x05")
        assert etf.unpack(values["d"]) == expected
        assert etf.unpack(values["s"]) == 5


@pytest.mark.parametrize(
    "term",
    [
        b"F" + struct.pack(">d", math.inf),
        b"M\x00\x00\x00\x01\x01\x80",
        b"l\x00\x00\x00\x01a\x01a\x02",
        b"t\x00\x00\x00\x01jj",
        b"h\x01" * 1000 + b"j",
        b"o\x00\x01\x00\x00\x00" + bytes(65536),
    ],
)
def test_term_without_json_form_fails_only_its_own_event(term: bytes) -> None:
    values = envelope(_OF_THIS_MESSAGE + term + b"s\x01sa\x05")

    assert values["d"] == b"\x83" + term
    assert etf.unpack(values["s"]) == 5
    with pytest.raises(EtfError):
        etf.unpack(values["d"])


_SIZES = (0, 1, 10, 19, 20, 40, 41, 200)
_LEAVES = st.sampled_from(
    [
        b"j",
        b"a\x05",
        b"b\x00\x00\x00\x05",
        b"F" + struct.pack(">d", 2.5),
        b"n\x02\x01\x05\x06",
        b"n\x00\x00",
        b"s\x03nil",
        b"d\x00\x04true",
        b"w\x0cabcdefghijkl",
        b"k\x00\x03abc",
        b"k\x00\x00",
        b"h\x00",
        b"t\x00\x00\x00\x00",
        b"l\x00\x00\x00\x00j",
        *(
            b"m\x00\x00\x00" + bytes([size]) + b"m" * size
            for size in (0, 1, 10, 19, 20, 40, 41, 200)
        ),
        b"c2.5" + bytes(28),
        b"k\x01\x00" + b"j" * 256,
        b"o\x00\x00\x00\x01\x00\x05",
    ]
)


def _container(terms: list[bytes]) -> bytes:
    count = len(terms)
    match count % 4:
        case 0:
            return b"l" + struct.pack(">I", count) + b"".join(terms) + b"j"
        case 1 if count < 256:
            return b"h" + bytes([count]) + b"".join(terms)
        case 2:
            keys = (b"b" + struct.pack(">I", number) for number in range(count))
            return b"t" + struct.pack(">I", count) + b"".join(map(bytes.__add__, keys, terms))
        case _:
            return b"i" + struct.pack(">I", count) + b"".join(terms)


def _repeated(term: bytes, count: int) -> bytes:
    return _container([term] * min(count, 50_000 // len(term)))


_TERMS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20).map(_container),
        st.tuples(inner, st.integers(0, 1500)).map(lambda pair: _repeated(*pair)),
    ),
    max_leaves=8,
)


@given(_TERMS)
@settings(deadline=None, max_examples=50)
def test_run_of_equal_terms_is_skipped_to_its_end(term: bytes) -> None:
    values = envelope(_OF_THIS_MESSAGE + term + b"s\x01sa\x05")

    assert values == {"d": b"\x83" + term, "s": b"\x83a\x05"}
    with contextlib.suppress(EtfError):
        etf.unpack(b"\x83" + term)
    reader = etf._Reader(term, 0)
    with contextlib.suppress(EtfError):
        reader.value()
        assert reader.is_at_end


@pytest.mark.parametrize("one", [b"j", b"a\x01", b"m\x00\x00\x00\x02id", b"h\x01j", b"s\x03nil"])
def test_long_list_of_small_terms_is_skipped_in_few_steps(one: bytes) -> None:
    count = 200_000
    data = b"\x83l" + struct.pack(">I", count) + one * count + b"j"
    walk = etf_envelope._Walk(data)

    assert walk.end(1) == len(data)
    assert walk._steps < 100


def test_large_list_of_longer_texts_is_skipped_to_its_end() -> None:
    texts = [b"m\x00\x00\x00\x1e" + b"x" * 30] * 60 + [b"a\x01"] * 60
    data = b"\x83l" + struct.pack(">I", len(texts)) + b"".join(texts) + b"j"
    walk = etf_envelope._Walk(data)

    assert walk.end(1) == len(data)
    assert walk._steps < 20


def test_nested_terms_over_the_limit_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf_envelope, "_MAX_STEPS", 1000)
    monkeypatch.setattr(etf, "_MAX_VALUES", 1000)
    nested = b"h\x01" * 1500 + b"j"

    with pytest.raises(EtfError, match="too many terms: expected at most 1000"):
        envelope(_OF_THIS_MESSAGE + nested + b"s\x01sa\x05")
    with pytest.raises(EtfError, match="too many terms: expected at most 1000"):
        etf.unpack(b"\x83l\x00\x00\x04\x00" + b"j" * 1025)


@pytest.mark.parametrize("tag", [b"l", b"t", b"i"])
def test_element_count_beyond_the_data_allocates_no_memory(tag: bytes) -> None:
    with pytest.raises(EtfError) as caught:
        etf.unpack(b"\x83" + tag + b"\xff\xff\xff\xff" + b"j" * 100)

    assert caught.value.truncated


def test_terms_nested_up_to_256_levels_are_accepted() -> None:
    def nested(depth: int) -> bytes:
        return _LIST * depth + b"a\x01" + b"j" * depth

    head = b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x01d"

    assert envelope(head + nested(256)) == {"d": b"\x83" + nested(256)}
    assert etf.unpack(b"\x83" + nested(256))
    with pytest.raises(EtfError, match="too deeply nested"):
        etf.unpack(b"\x83" + nested(257))


@pytest.mark.parametrize("value", [sys.float_info.max, -sys.float_info.max])
def test_largest_floats_are_finite(value: float) -> None:
    assert etf.unpack(etf.pack(value)) == value


@pytest.mark.parametrize(
    ("data", "expected_text", "truncated"),
    [
        (b"\x83a\x01", "term is not a map", False),
        (b"\x83t\x00\x00\x00\x00x", "data after the end of the term", False),
        (b"\x83t\x00\x00\x00\x01P\x01", "unsupported term type 80", False),
        (b"\x83", "truncated term", True),
        (b"\x83t\x00\x00\x00", "truncated term", True),
        (b"\x83t\x00\x00\x00\x01", "truncated term", True),
        (b"\x83t\x01\x00\x00\x00", "too many members: expected at most 1000", False),
        (b"\x83t\x00\x00\x03\xe8", "truncated term", True),
        (b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x02o", "truncated term", True),
    ],
)
def test_invalid_envelope_raises_its_reason(
    data: bytes, expected_text: str, truncated: bool
) -> None:
    with pytest.raises(EtfError) as caught:
        envelope(data)

    assert (str(caught.value), caught.value.truncated) == (expected_text, truncated)


def test_envelope_may_be_empty() -> None:
    assert envelope(b"\x83t\x00\x00\x00\x00") == {}


def test_lists_and_maps_may_be_empty_or_large() -> None:
    value = {"a": [], "b": {}, "c": list(range(10_000)), "d": [[], {}, [[]]], "e": 1.5}

    assert etf.unpack(etf.pack(value)) == value
    assert etf.unpack(b"\x83l\x00\x00\x00\x00j") == []


def test_terms_are_decoded_without_erlpack(monkeypatch: pytest.MonkeyPatch) -> None:
    term = etf.pack([1, "a"])
    monkeypatch.setattr(etf, "_erlpack", lambda: None)

    assert not etf.available()
    assert etf.unpack(term) == [1, "a"]


def test_envelope_key_without_json_form_is_skipped() -> None:
    pairs = b"ja\x01" + b"a\x05a\x02" + b"m\x00\x00\x00\x02opa\x00"

    values = envelope(b"\x83t\x00\x00\x00\x03" + pairs)

    assert values == {"": b"\x83a\x01", "5": b"\x83a\x02", "op": b"\x83a\x00"}


def test_etf_module_can_be_imported_without_erlpack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "erlpack", None)

    module = runpy.run_path(etf.__file__)

    assert not module["available"]()


def test_text_shorter_than_its_length_is_reported_as_truncated() -> None:
    with pytest.raises(etf.EtfError, match=r"^truncated term$") as raised:
        etf.unpack(b"\x83m\x00\x00\x00\x05ab")

    assert raised.value.truncated
