"""ETF: truncated values, and values at the bounds of the decoder."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from gateway_proto.encoding import etf, etf_envelope, raw_value
from gateway_proto.encoding.etf import EtfError
from gateway_proto.encoding.etf_envelope import envelope

pytest.importorskip("erlpack")

_LIST = b"l\x00\x00\x00\x01"
_MAP = b"t\x00\x00\x00\x01a\x01"


def test_value_truncated_at_any_byte_is_reported_as_truncated() -> None:
    term = etf.pack([1, 2.5, "text", -1, 2**40, None, {"a": [], "b": {"a": "c"}}])
    etf.unpack(term)  # the keys are known now

    for length in range(1, len(term)):
        with pytest.raises(EtfError, match=r"^truncated term$") as caught:
            etf.unpack(term[:length])
        assert caught.value.truncated is True, length


def test_terms_up_to_the_limit_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf, "_MAX_VALUES", 21)

    assert etf.unpack(etf.pack([None] * 20)) == [None] * 20
    assert len(etf.unpack(etf.pack({str(number): 0 for number in range(10)}))) == 10
    with pytest.raises(EtfError, match="too many terms: expected at most 21"):
        etf.unpack(etf.pack([None] * 21))
    with pytest.raises(EtfError, match="too many terms: expected at most 21"):
        etf.unpack(etf.pack({str(number): 0 for number in range(11)}))


def test_largest_integer_is_accepted() -> None:
    value = int.from_bytes(b"\x01" * 1700, "little")

    assert etf.unpack(b"\x83o\x00\x00\x06\xa4\x00" + b"\x01" * 1700) == value


def test_text_of_16_mib_is_decoded_at_any_position() -> None:
    text = b"m" + struct.pack(">I", 2**24 + 1) + b"x" * (2**24 + 1)

    values = etf.unpack(b"\x83t\x00\x00\x00\x02a\x01" + text + b"a\x02h\x01" + text)

    assert [len(values["1"]), len(values["2"][0])] == [2**24 + 1, 2**24 + 1]


def test_old_float_takes_31_bytes() -> None:
    assert etf.unpack(b"\x83h\x02c" + b"1.5".ljust(31, b"0") + b"a\x01") == [1.5, 1]


def test_lists_and_maps_in_each_other_count_as_levels() -> None:
    pair = _LIST + _MAP

    assert etf.unpack(b"\x83" + pair * 128 + b"a\x05" + b"j" * 128)
    with pytest.raises(EtfError, match="too deeply nested"):
        etf.unpack(b"\x83" + pair * 128 + b"h\x01a\x05" + b"j" * 128)


def test_maps_nested_up_to_256_levels_are_accepted() -> None:
    assert etf.unpack(b"\x83" + _MAP * 256 + b"a\x05")
    with pytest.raises(EtfError, match="too deeply nested"):
        etf.unpack(b"\x83" + _MAP * 257 + b"a\x05")


@pytest.mark.parametrize(
    "term", [b"l\x00\x00\x00\x03P", b"h\x02P", _MAP + b"t\x01\x00\x00\x00", b"t\x00\x00\x00\x02jP"]
)
def test_container_with_more_elements_than_bytes_is_truncated(term: bytes) -> None:
    with pytest.raises(EtfError, match=r"^truncated term$") as caught:
        etf.unpack(b"\x83" + term)

    assert caught.value.truncated is True


@pytest.mark.parametrize("key", [b"h\x01a\x01", _LIST + b"a\x01j", _MAP + b"j"])
def test_container_as_key_of_an_envelope_is_rejected(key: bytes) -> None:
    with pytest.raises(EtfError, match="too deeply nested"):
        envelope(b"\x83t\x00\x00\x00\x01" + key + b"a\x02")


def test_invalid_utf_8_in_a_map_is_replaced() -> None:
    assert etf.unpack(b"\x83" + _MAP + b"m\x00\x00\x00\x02x\xff") == {"1": "x\ufffd"}


_SMALL_TERMS = [
    *(b"j", b"a\x05", b"b" + bytes(4), b"F" + bytes(8)),
    *(b"h\x00", b"t" + bytes(4), b"l" + bytes(4) + b"j"),
    *(b"m\x00\x00\x00" + bytes([size]) + b"x" * size for size in range(20)),
    *(
        tag + bytes([size]) + b"x" * size
        for tag in (b"s", b"w", b"d\x00", b"v\x00")
        for size in range(10)
    ),
    *(b"n" + bytes([size, 0]) + b"\x01" * size for size in range(9)),
    *(b"k\x00" + bytes([size]) + b"\x01" * size for size in range(9)),
]


def test_run_of_each_small_term_is_skipped_in_few_steps() -> None:
    for term in _SMALL_TERMS:
        data = b"\x83l" + struct.pack(">I", 1100) + term * 1100 + b"j"
        walk = etf_envelope._Walk(data)

        assert walk.end(1) == len(data), term
        assert walk._steps < 40, term


def test_few_small_terms_are_skipped_in_one_step() -> None:
    texts = [b"m\x00\x00\x00" + bytes([size]) + b"x" * size for size in range(20, 41)]
    for term in _SMALL_TERMS[:4] + texts:
        data = b"\x83h\x0f" + term * 15
        walk = etf_envelope._Walk(data)

        assert walk.end(1) == len(data), term
        assert walk._steps == 2, term


def test_runs_of_longer_texts_and_of_small_terms_are_skipped() -> None:
    terms = (b"m\x00\x00\x00\x1e" + b"x" * 30) * 4000 + b"a\x01" * 4000
    walk = etf_envelope._Walk(b"\x83l" + struct.pack(">I", 8000) + terms + b"j")

    assert walk.end(1) == len(terms) + 7
    assert walk._steps < 4000 / 16 + 40


def test_terms_up_to_the_limit_of_steps_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf_envelope, "_MAX_STEPS", 10)

    assert etf_envelope._Walk(b"\x83" + b"h\x01" * 9 + b"j").end(1) == 20
    with pytest.raises(EtfError, match=r"^too many terms: expected at most 10$"):
        etf_envelope._Walk(b"\x83" + b"h\x01" * 10 + b"j").end(1)


# ----- the fast paths of common terms -----


def _forbidden(*_: object) -> Any:
    raise AssertionError


def test_usual_values_of_a_map_are_decoded_without_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    general = etf._Reader._value
    value = {"a": "text", "b": 5, "c": None, "d": True, "e": [], "f": {"a": 1}}
    etf.unpack(etf.pack(value))  # the keys are known now

    def counted(reader: Any, at: int, depth: int) -> Any:
        calls.append(at)
        return general(reader, at, depth)

    monkeypatch.setattr(etf._Reader, "_value", counted)

    assert etf.unpack(etf.pack(value)) == value
    assert calls == [1]


def test_usual_keys_of_an_envelope_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf_envelope, "key_at", _forbidden)

    assert list(envelope(etf.pack({"op": 1, "d": None, "s": 2, "t": "X"}))) == ["op", "d", "s", "t"]


def test_finite_floats_are_encoded_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf, "_narrow", _forbidden)

    assert etf.unpack(etf.pack([1.5, -2.0])) == [1.5, -2.0]


def test_etf_term_is_not_decoded_as_json_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_value, "decode_raw", _forbidden)

    assert raw_value.decode_leniently(etf.pack({"a": 1})) == {"a": 1}
