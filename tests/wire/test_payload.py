"""Payloads: the envelope is decoded, `d` stays raw, and invalid data raises an error."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import DataError, Dispatch, Encoding, LocalProtocolError
from gateway_proto.encoding.raw_value import decode_raw, decode_raw_strictly, json_to_etf
from gateway_proto.wire import payload
from gateway_proto.wire.payload import (
    Payload,
    PayloadError,
    decode_message,
    decode_payload,
    encode_payload,
)
from gateway_proto.wire.payload_encoding import encode_dispatch

POISONED = (
    '{"t":"X","s":12,"op":0,"d":{"a\\\\":"cut \\ud83d \\u00e4","b":[true,-1.5e3,"x"],"c":NaN}}'
)


def test_payload_has_op_sequence_name_and_raw_data() -> None:
    payload = decode_payload('{"op":0,"d":{"a": [1, 2]},"s":3,"t":"X"}')

    assert (payload.op, payload.raw, payload.sequence, payload.t) == (0, b'{"a": [1, 2]}', 3, "X")


def test_missing_and_unknown_keys_are_accepted() -> None:
    """Rule 78."""
    payload = decode_payload(b'{"op":11,"extra":true}')

    assert (payload.op, payload.raw, payload.sequence, payload.t) == (11, b"null", None, None)
    assert decode_payload('{"message":"oh"}').error_text == "oh"


def test_op_and_sequence_may_be_floats_and_integers_may_be_large() -> None:
    """Rule 77."""
    payload = decode_payload('{"op":10.0,"s":5.0,"d":99999999999999999999}')

    assert payload.op == 10
    assert payload.sequence == 5
    assert payload.raw == b"99999999999999999999"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"op":1',
        '{"op":true}',
        '{"op":"1"}',
        '{"op":0,"t":5}',
        '{"op":1}x',
        b'{"op":0,"t":"\xff"}',
        '{"op":0,"t":"\ud800"}',
        '{"op":0,"t":"\\ud800","d":NaN}',
        '{"op":true,"d":NaN}',
        '{"op":0,"extra":[,"d":NaN}',
        '{"op":0,"d":NaN',
        b"\xff",
    ],
)
def test_invalid_payload_raises_payload_error(text: str | bytes) -> None:
    with pytest.raises(PayloadError, match="message is not a payload"):
        decode_payload(text)


def test_invalid_utf_8_in_d_raises_on_access() -> None:
    dispatch = decode_message(b'{"op":0,"t":"X","s":1,"d":"\xff"}')

    assert isinstance(dispatch, Dispatch)
    assert dispatch.raw == b'"\xff"'
    with pytest.raises(DataError, match="invalid UTF-8"):
        _ = dispatch.data
    with pytest.raises(DataError, match="invalid UTF-8"):
        dispatch.decode(str)


@pytest.mark.parametrize(
    "text",
    [
        '{"t":"X","s":1,"op":0,"d":[1]}',
        b'{"op":0.0,"d":[1],"s":1.0,"t":"X","more":2}',
    ],
)
def test_dispatch_is_decoded_to_an_equal_event(text: str | bytes) -> None:
    assert decode_message(text) == Dispatch.of("X", [1], 1)


def test_common_dispatch_needs_no_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: object) -> Any:
        raise AssertionError

    monkeypatch.setattr(payload, "decode_payload", forbidden)
    etf = b"\x83t\0\0\0\4m\0\0\0\1djm\0\0\0\2opa\0m\0\0\0\1sa\1m\0\0\0\1tm\0\0\0\1X"

    for text in ('{"t":"X","s":1,"op":0,"d":[]}', etf):
        dispatch = decode_message(text)

        assert isinstance(dispatch, Dispatch)
        assert (dispatch.name, dispatch.sequence, dispatch.data) == ("X", 1, [])


def test_dispatch_may_lack_all_fields_except_op() -> None:
    assert decode_message('{"op":0}') == Dispatch.of("", None)
    assert decode_message('{"op":0,"t":null,"s":-1,"d":null}') == Dispatch.of("", None)


def test_payload_without_op_0_is_not_a_dispatch() -> None:
    assert isinstance(decode_message('{"t":"X","s":1,"d":{}}'), Payload)
    assert isinstance(decode_message('{"op":11,"t":"X","s":1,"d":{}}'), Payload)


def test_raw_d_is_forwarded_unchanged() -> None:
    text = encode_dispatch(b'{"a" : 1e2}', 7, "X")

    assert text == b'{"t":"X","s":7,"op":0,"d":{"a" : 1e2}}'


def test_equal_dispatches_have_equal_hashes() -> None:
    dispatch = Dispatch.of("X", [1], 1)
    others = [Dispatch.of("Y", [1], 1), Dispatch.of("X", [2], 1), Dispatch.of("X", [1], 2)]

    assert hash(decode_message('{"op":0,"t":"X","s":1,"d":[1]}')) == hash(dispatch)
    assert dispatch not in others
    assert len({hash(dispatch), *map(hash, others)}) > 1


def test_only_dispatches_are_encoded_with_s_and_t() -> None:
    assert json.loads(encode_payload(1, None)) == {"op": 1, "d": None}
    assert json.loads(encode_dispatch(b"{}", 7, "X")) == {
        "op": 0,
        "d": {},
        "s": 7,
        "t": "X",
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(_JSON, st.integers(0, 2**40), st.text())
def test_json_dispatch_round_trip(d: object, s: int, t: str) -> None:
    payload = decode_payload(encode_dispatch(json.dumps(d).encode(), s, t))

    assert (payload.op, json.loads(payload.raw), payload.sequence, payload.t) == (0, d, s, t)


# ----- ETF -----


@pytest.fixture
def _erlpack() -> None:
    pytest.importorskip("erlpack")


@pytest.mark.usefixtures("_erlpack")
def test_etf_payload_keeps_d_as_etf() -> None:
    text = encode_dispatch(b'{"id":"5","n":[1,null]}', 3, "X", Encoding.ETF)

    payload = decode_payload(text)

    assert text.startswith(b"\x83")
    assert (payload.op, payload.sequence, payload.t) == (0, 3, "X")
    assert payload.raw.startswith(b"\x83")
    assert decode_raw(payload.raw, dict[str, object]) == {"id": "5", "n": [1, None]}


@pytest.mark.usefixtures("_erlpack")
@pytest.mark.parametrize("written", list(Encoding))
@pytest.mark.parametrize("sent", list(Encoding))
def test_dispatch_is_forwarded_in_either_encoding(written: Encoding, sent: Encoding) -> None:
    raw = decode_payload(encode_dispatch(b'{"a":[1,"x",null]}', 1, "X", written)).raw

    payload = decode_payload(encode_dispatch(raw, 2, "Y", sent))

    assert (payload.op, payload.sequence, payload.t) == (0, 2, "Y")
    assert decode_raw(payload.raw, dict[str, object]) == {"a": [1, "x", None]}
    assert payload.raw.startswith(b"\x83") == (sent is Encoding.ETF)


@pytest.mark.usefixtures("_erlpack")
def test_etf_payload_may_lack_d_or_have_an_error_message() -> None:
    """Rule 78."""
    erlpack = pytest.importorskip("erlpack")

    payload = decode_payload(erlpack.pack({"op": 11}))
    assert (payload.op, payload.raw, payload.sequence, payload.t) == (11, b"null", None, None)
    assert decode_payload(erlpack.pack({"message": "oh"})).error_text == "oh"


@pytest.mark.usefixtures("_erlpack")
@pytest.mark.parametrize(
    ("term", "truncated"),
    [
        (b"\x83", True),
        (b"\x83t\x00\x00", True),
        (b"\x83a\x01", False),
        (b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x02opm\x00\x00\x00\x01x", False),
        (b"\x83t\x00\x00\x00\x01m\x00\x00\x00\x02opP", False),
    ],
)
def test_term_that_is_not_a_payload_raises_payload_error(term: bytes, truncated: bool) -> None:
    with pytest.raises(PayloadError, match="not a payload") as caught:
        decode_payload(term)

    assert caught.value.truncated is truncated


@pytest.mark.usefixtures("_erlpack")
def test_etf_d_without_json_form_raises_on_access() -> None:
    with pytest.raises(DataError, match="float is not finite"):
        decode_raw(b"\x83F\x7f\xf0" + bytes(6), object)


@pytest.mark.usefixtures("_erlpack")
def test_invalid_etf_d_raises_its_reason() -> None:
    with pytest.raises(DataError, match=r"^truncated term$"):
        decode_raw(b"\x83", object)


@pytest.mark.usefixtures("_erlpack")
def test_value_without_etf_form_raises_local_error() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]

    for value in (object(), deep, [2**64, deep]):
        with pytest.raises(LocalProtocolError, match="cannot be encoded as ETF"):
            encode_payload(60, value, Encoding.ETF)


@pytest.mark.parametrize(
    ("text", "truncated"), [('{"op":1', True), ("", True), ('{"op":1]', False), ("{]", False)]
)
def test_truncated_payload_is_distinguished_from_invalid_one(text: str, truncated: bool) -> None:
    """Rule 69."""
    with pytest.raises(PayloadError) as caught:
        decode_payload(text)

    assert caught.value.truncated is truncated


@pytest.mark.parametrize("size", range(len(POISONED)))
def test_every_prefix_of_an_invalid_payload_is_truncated(size: int) -> None:
    """Rule 69: a part of a payload is kept even if the payload is invalid."""
    with pytest.raises(PayloadError) as caught:
        decode_payload(POISONED[:size])

    assert caught.value.truncated


@pytest.mark.parametrize(
    "text",
    [
        '{"t":[' + "[" * 100_000 + "]" * 100_000 + "]}",
        '{"t":5,"d":"\\ud83d"}',
        '{"t":5,"d":' + "9" * 5000 + "}",
        '{"t":5,"d":"a"b"}',
        '{"t":5,"d":{"a":1]',
    ],
)
def test_complete_text_is_not_a_truncated_payload(text: str) -> None:
    with pytest.raises(PayloadError, match=r"^message is not a payload: ") as caught:
        decode_payload(text)

    assert caught.value.truncated is False


def test_too_deeply_nested_prefix_is_a_truncated_payload() -> None:
    with pytest.raises(
        PayloadError, match=r"^message is not a payload: nested too deeply"
    ) as caught:
        decode_payload('{"op":0,"d":' + "[" * 100_000)

    assert caught.value.truncated
    with pytest.raises(PayloadError) as caught:
        decode_payload('{"op":0,"d":[' + "9" * 5000 + ",")
    assert caught.value.truncated


# ----- a `d` that the decoder rejects -----

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "d",
    [
        '"\\ud83d"',
        '{"a":"cut \\ud83d","op":9,"s":3}',
        '"a\tb\x00"',
        "NaN",
        '[-Infinity,{"op":1}]',
        "1e999",
        "9" * 5000,
        "tru",
        '"\\x"',
        '"a"b"',
        "{'a': 1}",
        "[1,2}",
        "",
        DEEP,
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        '{"op":0,"t":"X","s":3,"d":@}',
        '{"d":@,"op":0,"s":3,"t":"X"}',
        ' { "t" : "X" , "x" : "\\"}" , "d" : @ , "s" : 3.0 , "op" : 0 } ',
    ],
)
def test_payload_is_valid_if_its_envelope_is(d: str, form: str) -> None:
    text = form.replace("@", d)

    for message in (text, text.encode()):
        dispatch = decode_message(message)

        assert isinstance(dispatch, Dispatch)
        assert (dispatch.name, dispatch.sequence) == ("X", 3)
        assert dispatch.raw == d.encode()


@pytest.mark.parametrize(
    ("s", "sequence"), [("1e999", None), ("9" * 5000, None), ('"7"', None), ("-1", None), ("7", 7)]
)
def test_absurd_sequence_is_ignored_and_the_rest_is_kept(s: str, sequence: int | None) -> None:
    payload = decode_payload('{"op":0,"t":"X","s":' + s + ',"d":NaN}')

    assert (payload.op, payload.t, payload.sequence) == (0, "X", sequence)
    assert decode_payload('{"op":0,"t":"X","s":' + s + "}").sequence == sequence


def test_payload_with_an_undecodable_d_may_lack_other_fields() -> None:
    """Rule 78."""
    payload = decode_payload('{"d":NaN}')

    assert (payload.op, payload.sequence, payload.t, payload.error_text) == (None,) * 4
    assert payload.raw == b"NaN"
    assert decode_payload('{"message":"oh","d":NaN}').error_text == "oh"
    assert decode_payload('{"op":0,"d":NaN}').sequence is None


@pytest.mark.parametrize(
    ("d", "value"),
    [
        (rb'"cut \ud83d"', "cut \ud83d"),
        (b'"\xed\xa0\xbd"', "\ud83d"),
        (b"[Infinity,1e999]", [math.inf, math.inf]),
        (b'{"a\t":"b\0"}', {"a\t": "b\0"}),
        (b"18446744073709551616", 2**64),
    ],
)
def test_data_equals_the_result_of_the_json_module(d: bytes, value: Any) -> None:
    dispatch = Dispatch("X", 1, msgspec.Raw(d))

    assert dispatch.data == value
    assert dispatch.decode(type(value)) == value


@pytest.mark.parametrize(
    ("d", "why"),
    [
        (b'"\xff"', "invalid UTF-8"),
        (b"", "truncated"),
        (b"tru", "invalid character|truncated"),
        (b"9" * 5000, "limit"),
        (DEEP.encode(), "nested too deeply"),
    ],
)
def test_undecodable_data_raises_for_its_event_only(d: bytes, why: str) -> None:
    dispatch = Dispatch("X", 1, msgspec.Raw(d))

    with pytest.raises(DataError, match=why):
        _ = dispatch.data
    with pytest.raises(DataError):
        dispatch.decode(list[int])
    assert issubclass(DataError, ValueError)


def test_data_of_another_type_raises_with_its_path() -> None:
    with pytest.raises(DataError, match=r"^Expected `int`, got `str` - at "):
        Dispatch.of("X", {"a": "b"}).decode(dict[str, int])


@pytest.mark.parametrize("d", [b'"\xff"', rb'"\ud83d"', b"NaN", DEEP.encode()])
def test_commands_are_decoded_strictly(d: bytes) -> None:
    """The server role encodes received commands again for replays, logs and traces."""
    with pytest.raises(DataError):
        decode_raw_strictly(d, object)


@pytest.mark.usefixtures("_erlpack")
def test_raw_d_without_etf_form_raises_local_error() -> None:
    for raw in (b'"\xff"', rb'"\ud83d"', b"tru"):
        with pytest.raises(LocalProtocolError):
            encode_dispatch(raw, 1, "X", Encoding.ETF)
        with pytest.raises(LocalProtocolError):
            json_to_etf(raw)
    assert decode_raw_strictly(json_to_etf(b'{"a":1}'), object) == {"a": 1}


@pytest.mark.parametrize(
    "unit", ['"\\ud83d",', r"\"", "[1]", '"', "\\", ',"a":1', '{"', "[{"], ids=repr
)
def test_envelope_of_a_large_text_is_found_in_linear_time(unit: str) -> None:
    """A quadratic scan of 300 KB would take minutes."""
    text = '{"op":0,"t":"X","s":3,"d":[' + unit * (300_000 // len(unit))

    for end in ("", "]}", ',"x":5}', '"}'):
        with contextlib.suppress(PayloadError):
            decode_payload(text + end)


@pytest.mark.parametrize("s", [-1, 2**63, 1e300])
def test_sequence_out_of_range_is_ignored(s: float) -> None:
    assert decode_payload(json.dumps({"op": 0, "s": s})).sequence is None
