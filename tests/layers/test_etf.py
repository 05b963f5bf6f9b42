"""ETF ↔ values: what erlpack writes is read, what JSON has not is refused, and nothing hangs."""

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
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto._layers import etf
from gateway_proto._layers.etf import EtfError

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
def test_what_is_written_is_read(value: Any) -> None:
    assert etf.unpack(etf.pack(value)) == value


@given(_VALUES)
def test_a_walk_over_what_erlpack_writes_ends_where_it_ends(value: Any) -> None:
    envelope = {"op": 0, "d": value}

    values = etf.envelope(erlpack.pack(envelope))

    assert {name: etf.unpack(term) for name, term in values.items()} == envelope


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_give_a_value_or_the_error(data: bytes) -> None:
    for read in (etf.unpack, etf.envelope):
        with contextlib.suppress(EtfError):
            read(b"\x83" + data)


@given(_VALUES, st.data())
def test_a_term_that_is_cut_off_is_told_from_a_broken_one(value: Any, data: st.DataObject) -> None:
    """Rule 69: a message that looks whole may be a part of one."""
    term = etf.pack({"op": 0, "d": value})
    cut = data.draw(st.integers(1, len(term) - 1))

    with pytest.raises(EtfError) as caught:
        etf.envelope(term[:cut])

    assert caught.value.truncated


def test_a_term_may_be_cut_off_anywhere() -> None:
    term = etf.pack({"op": 0, "d": [1, 2.5, "text", -1, 2**40, None, {"a": []}]})

    for cut in range(1, len(term)):
        with pytest.raises(EtfError) as caught:
            etf.envelope(term[:cut])
        assert caught.value.truncated, cut


def test_keys_and_words_may_be_atoms_or_text_and_nil_true_and_false_are_what_they_say() -> None:
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
def test_every_integer_of_64_bits_is_read_as_it_was_written(value: int) -> None:
    assert etf.unpack(erlpack.pack(value)) == value
    assert etf.unpack(etf.pack(value)) == value


def test_what_other_writers_use_is_read_too() -> None:
    assert etf.unpack(b"\x83h\x02a\x01a\x02") == [1, 2], "a tuple"
    assert etf.unpack(b"\x83k\x00\x02\x01\x02") == [1, 2], "a list of small integers"
    assert etf.unpack(b"\x83t\x00\x00\x00\x01a\x05a\x06") == {"5": 6}, "a number as a key"
    assert etf.unpack(b"\x83m\x00\x00\x00\x01\xff") == "\N{REPLACEMENT CHARACTER}", "no text"
    assert etf.unpack(b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x01\xffj") == {
        "\N{REPLACEMENT CHARACTER}": []
    }, "no text as a key"


def test_keys_are_written_as_text_whatever_they_were() -> None:
    """Rule 76: atoms as keys cost 4002."""
    assert etf.pack({5: 1}) == etf.pack({"5": 1})
    assert b"m\x00\x00\x00\x02op" in etf.pack({"op": 1})


def test_an_integer_beyond_64_bits_is_written_as_text_and_no_other() -> None:
    assert etf.unpack(etf.pack({"a": [2**64, -(2**63) - 1, (5, -1000, 1000), None]})) == {
        "a": [str(2**64), str(-(2**63) - 1), [5, -1000, 1000], None]
    }
    assert etf.unpack(etf.pack([2**64, 2**64 - 1, -(2**63)])) == [str(2**64), 2**64 - 1, -(2**63)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_not_finite_is_written_as_nil_as_it_is_null_in_json(value: float) -> None:
    """No Erlang reads such a float."""
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
    ("value", "says"),
    [
        (object(), "Encoding objects of type object is unsupported"),
        ({(1, 2): 3}, "Only dicts with str-like or number-like keys are supported"),
        ("\ud800", "'utf-8' codec can't encode character '\\ud800' in position 0"),
        (_nested(300), "Exceeded recursion limit"),
        ([2**64, "\ud800"], "'utf-8' codec can't encode character '\\ud800' in position 0"),
        ([math.nan, "\ud800"], "'utf-8' codec can't encode character '\\ud800' in position 0"),
    ],
)
def test_what_json_has_not_is_not_written(value: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(says)):
        etf.pack(value)


_LIST = b"l\x00\x00\x00\x01"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x83" + _LIST * 100_000 + b"j" * 100_001, "it is nested more than 256 deep"),
        (b"\x83h\x01" * 1 + b"h\x01" * 1000 + b"a\x01", "it is nested more than 256 deep"),
        (b"\x83P\x00\x00\x00\x05" + zlib.compress(b"a\x01"), "it has a term of type 80"),
        (b"\x83a\x01a", "there is more behind its end"),
        (b"\x83o\x00\x00\x00\x09\x00" + b"\x01" * 9, "it has a term of type 111"),
        (b"\x83n\x09\x00" + b"\x01" * 9, "an integer has more than 64 bits"),
        (b"\x83n\x08\x01\x01" + b"\x00" * 6 + b"\x80", "an integer has more than 64 bits"),
        (b"\x83t\x00\x00\x00\x01" + _LIST + b"a\x01ja\x02", "a map has a key of type 108"),
        (b"\x83F" + struct.pack(">d", math.inf), "a float is not finite"),
        (b"\x83F" + struct.pack(">d", -math.inf), "a float is not finite"),
        (b"\x83F" + struct.pack(">d", math.nan), "a float is not finite"),
    ],
)
def test_what_is_no_term_of_json_is_an_error_that_says_so(data: bytes, says: str) -> None:
    """Rules 74 and 75: erlpack alone would overflow the stack, inflate a bomb, or cut silently."""
    with pytest.raises(EtfError) as caught:
        etf.unpack(data)

    assert (str(caught.value), caught.value.truncated) == (says, False)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x83w\x01\xff", "codec"),
        (b"\x83l\x00\x00\x00\x01a\x01a\x02", "non empty tails"),
    ],
)
def test_what_erlpack_refuses_is_an_error_in_its_words(data: bytes, says: str) -> None:
    with pytest.raises(EtfError, match=says) as caught:
        etf.unpack(data)

    assert not caught.value.truncated


def test_terms_may_be_nested_256_deep_and_no_deeper() -> None:
    def nested(depth: int) -> bytes:
        return _LIST * depth + b"a\x01" + b"j" * depth

    envelope = b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x01d"

    assert etf.envelope(envelope + nested(256)) == {"d": b"\x83" + nested(256)}
    with pytest.raises(EtfError, match="nested more than 256 deep"):
        etf.envelope(envelope + nested(257))


@pytest.mark.parametrize("value", [sys.float_info.max, -sys.float_info.max])
def test_the_largest_floats_are_finite(value: float) -> None:
    assert etf.unpack(etf.pack(value)) == value


@pytest.mark.parametrize(
    ("data", "says", "truncated"),
    [
        (b"\x83a\x01", "it is no map", False),
        (b"\x83t\x00\x00\x00\x00x", "there is more behind its end", False),
        (b"\x83t\x00\x00\x00\x01ja\x01", "a map has a key of type 106", False),
        (b"\x83", "it is cut off", True),
        (b"\x83t\x00\x00\x00", "it is cut off", True),
        (b"\x83t\x00\x00\x00\x01", "it is cut off", True),
        (b"\x83t\x01\x00\x00\x00", "it is cut off", True),
        (b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x02o", "it is cut off", True),
    ],
)
def test_what_is_no_envelope_is_an_error_that_says_so(
    data: bytes, says: str, truncated: bool
) -> None:
    with pytest.raises(EtfError) as caught:
        etf.envelope(data)

    assert (str(caught.value), caught.value.truncated) == (says, truncated)


def test_an_envelope_may_be_empty() -> None:
    assert etf.envelope(b"\x83t\x00\x00\x00\x00") == {}


def test_lists_and_maps_may_be_empty_and_large() -> None:
    value = {"a": [], "b": {}, "c": list(range(10_000)), "d": [[], {}, [[]]], "e": 1.5}

    assert etf.unpack(etf.pack(value)) == value
    assert etf.unpack(b"\x83l\x00\x00\x00\x00j") == []


def test_without_erlpack_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    term = etf.pack(1)
    monkeypatch.setattr(etf, "_erlpack", lambda: None)

    assert not etf.available()
    with pytest.raises(EtfError) as caught:
        etf.unpack(term)
    assert str(caught.value) == "it is in ETF: install gateway-proto[etf] to read it"


def test_where_erlpack_is_not_installed_the_module_is_there_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "erlpack", None)

    module = runpy.run_path(etf.__file__)

    assert not module["available"]()
