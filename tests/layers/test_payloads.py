"""text ↔ payloads: the envelope is decoded, `d` stays raw, and what is no payload is an error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto._layers.payloads import PayloadError, decode, encode, encode_dispatch


def test_a_payload_is_op_d_s_t_with_d_left_raw() -> None:
    payload = decode('{"op":0,"d":{"a": [1, 2]},"s":3,"t":"X"}')

    assert (payload.op, payload.raw, payload.sequence, payload.t) == (0, b'{"a": [1, 2]}', 3, "X")


def test_missing_and_unknown_keys_are_got_along_with() -> None:
    """Rule 78."""
    payload = decode(b'{"op":11,"extra":true}')

    assert (payload.op, payload.raw, payload.sequence, payload.t) == (11, b"null", None, None)
    assert decode('{"message":"oh"}').message == "oh"


def test_op_and_s_may_be_floats_and_integers_may_be_large() -> None:
    """Rule 77."""
    payload = decode('{"op":10.0,"s":5.0,"d":99999999999999999999}')

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
        '{"op":1,"d":tru}',
        '{"op":1}x',
        b'{"op":0,"d":"\xff"}',
        b"\xff",
        '{"op":0,"d":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_what_is_no_payload_is_an_error_that_says_so(text: str | bytes) -> None:
    with pytest.raises(PayloadError, match="this message is"):
        decode(text)


def test_only_a_dispatch_is_written_with_s_and_t() -> None:
    assert json.loads(encode(1, None)) == {"op": 1, "d": None}
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


@given(_JSON, st.integers(0, 2**40), st.text())
def test_what_is_written_is_read(d: object, s: int, t: str) -> None:
    payload = decode(encode_dispatch(json.dumps(d).encode(), s, t))

    assert (payload.op, json.loads(payload.raw), payload.sequence, payload.t) == (0, d, s, t)
