"""ETF: the decoder compared with a simple one, and dispatches with the general envelope."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus import dispatches
from gateway_proto.encoding import etf, etf_envelope
from gateway_proto.encoding.etf import EtfError
from gateway_proto.events import Dispatch
from gateway_proto.wire.payload import PayloadError, decode_etf_dispatch, decode_message
from tests.encoding import reference_etf

erlpack = pytest.importorskip("erlpack")


def _outcome(unpack: Any, term: bytes) -> object:
    try:
        return repr(unpack(term))
    except EtfError:
        return EtfError


def _mutated(term: bytes, random_: random.Random) -> bytes:
    data = bytearray(term)
    for _ in range(random_.randint(1, 3)):
        if len(data) < 2:
            break
        at = random_.randrange(1, len(data))
        match random_.randrange(4):
            case 0:
                data[at] = random_.choice(b"abFcdvswkmjlthinoM\0\1\5\xff")
            case 1:
                del data[at : at + random_.randint(1, 8)]
            case 2:
                begin = random_.randrange(1, len(data))
                data[at:at] = data[begin : begin + random_.randint(1, 40)]
            case _:
                del data[at:]
    return bytes(data)


def _corpus(count: int) -> Iterator[tuple[str, Any, bytes]]:
    for name, d in dispatches(count):
        yield name, json.loads(json.dumps(d)), etf.pack(d)


def test_corpus_is_decoded_as_by_the_reference() -> None:
    for _, d, term in _corpus(100):
        assert etf.unpack(term) == reference_etf.unpack(term) == d


def test_mutated_terms_are_decoded_as_by_the_reference() -> None:
    random_ = random.Random(1)
    outcomes = set()

    for _, _, term in _corpus(40):
        for _ in range(20):
            mutated = _mutated(term[:4000], random_)
            outcome = _outcome(etf.unpack, mutated)
            assert outcome == _outcome(reference_etf.unpack, mutated), mutated
            outcomes.add(EtfError if outcome is EtfError else str)

    assert outcomes == {str, EtfError}


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_arbitrary_bytes_are_decoded_as_by_the_reference(data: bytes) -> None:
    for term in (b"\x83" + data, b"\x83t\0\0\0\2m\0\0\0\1a" + data):
        assert _outcome(etf.unpack, term) == _outcome(reference_etf.unpack, term)


_KEY_TAGS = [b"m\0\0\0", b"d\0", b"s", b"w"]
_SEQUENCES = [
    (b"a\x05", 5),
    (b"b" + struct.pack(">i", 70_000), 70_000),
    (b"b" + struct.pack(">i", 2**31 - 1), 2**31 - 1),
    (b"s\x03nil", None),
    (b"w\x03nil", None),
    (b"d\0\x03nil", None),
]


def _dispatch(tag: bytes, d: bytes, sequence: bytes = b"a\x05", name: bytes = b"READY") -> bytes:
    parts = (b"\x83t\0\0\0\4", tag, b"\1d", d, tag, b"\2opa\0", tag, b"\1s", sequence)
    return b"".join((*parts, tag, b"\1tm\0\0\0", bytes([len(name)]), name))


@pytest.mark.parametrize("tag", _KEY_TAGS)
@pytest.mark.parametrize(("sequence", "number"), _SEQUENCES)
def test_etf_dispatch_with_d_first_equals_its_envelope(
    tag: bytes, sequence: bytes, number: int | None
) -> None:
    for name, d, term in _corpus(3):
        text = _dispatch(tag, term[1:], sequence, name.encode())

        dispatch = decode_etf_dispatch(text)

        assert dispatch == decode_message(text) == Dispatch(name, number, dispatch._d)
        assert dispatch.raw == etf_envelope.envelope(text)["d"] == term
        assert dispatch.data == d


@pytest.mark.parametrize(
    "members",
    [
        {"t": "READY", "s": 1, "op": 0, "d": {}},
        {"d": {}, "s": 1, "op": 0, "t": "READY"},
        {"d": {}, "op": 0, "s": -1, "t": "READY"},
        {"d": {}, "op": 0, "s": 2**40, "t": "READY"},
        {"d": {}, "op": 0, "s": 1, "t": "ready"},
        {"d": {}, "op": 0, "s": 1, "t": "R" * 65},
        {"d": {}, "op": 0, "s": 1, "t": ""},
        {"d": {}, "op": 0, "s": 1, "t": None},
        {"d": {}, "op": 1, "s": None, "t": None},
        {"d": {}, "op": 0, "s": 1, "t": "READY", "x": 1},
        {"d": {}, "op": 0, "s": 1},
        {"a": {}, "op": 0, "s": 1, "t": "READY"},
    ],
)
def test_other_etf_messages_take_the_general_path(members: dict[str, Any]) -> None:
    text = erlpack.pack(members)

    assert decode_etf_dispatch(text) is None
    decoded = decode_message(text)
    if members["op"] == 0:
        assert isinstance(decoded, Dispatch)
        assert decoded.raw == etf_envelope.envelope(text).get("d", b"null")


def test_d_that_imitates_the_end_of_a_dispatch_is_kept_whole() -> None:
    end = b"m\0\0\0\2opa\0m\0\0\0\1sa\5m\0\0\0\1tm\0\0\0"
    for size in range(120):
        d = etf.pack({"content": (end + bytes([size])).decode(), "op": 0, "s": 1, "t": "A"})
        text = _dispatch(b"m\0\0\0", d[1:])

        dispatch = decode_etf_dispatch(text)

        assert dispatch is not None
        assert dispatch.raw == etf_envelope.envelope(text)["d"] == d


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_truncated_etf_dispatch_is_reported_as_truncated(data: st.DataObject) -> None:
    term = etf.pack([{"id": "1", "flags": 0, "roles": ["2", None, True], "nested": {"a": 1.5}}] * 5)
    text = _dispatch(b"m\0\0\0", term[1:])

    with pytest.raises(PayloadError) as caught:
        decode_message(text[: data.draw(st.integers(1, len(text) - 1))])

    assert caught.value.truncated


def test_text_is_not_an_etf_dispatch() -> None:
    assert decode_etf_dispatch("{}") is None


def test_smallest_d_of_an_etf_dispatch_takes_the_fast_path() -> None:
    decoded = decode_etf_dispatch(_dispatch(b"m\0\0\0", b"j"))

    assert decoded is not None
    assert (decoded.name, decoded.sequence, decoded.raw) == ("READY", 5, b"\x83j")


@pytest.mark.parametrize("d", [b"", b"j" * 2, b"P\0", b"m\0\0\0\5"])
def test_wrong_d_of_an_etf_dispatch_fails_only_its_own_event(d: bytes) -> None:
    text = _dispatch(b"m\0\0\0", d)

    decoded = decode_etf_dispatch(text)

    if d:
        assert decoded is not None
        assert decoded.sequence == 5
        with pytest.raises(EtfError):
            etf.unpack(decoded.raw)
    else:
        assert decoded is None


def test_hostile_d_costs_nothing_until_it_is_read() -> None:
    count = 1_000_000
    d = b"l" + struct.pack(">I", count) + b"j" * count + b"j"
    text = _dispatch(b"m\0\0\0", d)

    tracemalloc.start()
    dispatch = decode_message(text)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(dispatch, Dispatch)
    assert dispatch.sequence == 5
    assert most < 3 * len(text)


def test_keys_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf, "_MAX_KNOWN_KEYS", 0)
    monkeypatch.setattr(etf, "_known_keys", {})
    value = {"a": 1, "b" * 100: 2}

    assert etf.unpack(etf.pack(value)) == value
    assert etf._known_keys == {}
    monkeypatch.setattr(etf, "_MAX_KNOWN_KEYS", 10)
    assert etf.unpack(etf.pack(value)) == value
    assert list(etf._known_keys.values()) == ["a"]
    assert etf.unpack(etf.pack(value)) == value


def test_kept_key_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    term = etf.pack({"guild_id": 1})
    monkeypatch.setattr(etf, "_known_keys", {b"m\0\0\0\x08guild_id": "kept"})

    assert etf.unpack(term) == {"kept": 1}


def test_keys_of_up_to_35_bytes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf, "_known_keys", {})

    etf.unpack(etf.pack({"a" * 35: 1, "b" * 36: 2}))

    assert list(etf._known_keys.values()) == ["a" * 35]
