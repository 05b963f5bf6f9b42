"""Envelopes around an undecodable `d`: hostile ones, and their limits."""

from __future__ import annotations

import tracemalloc

import pytest

from gateway_proto.wire import envelope
from gateway_proto.wire.payload import decode_payload

BEGIN = b'{"op":0,"t":"A","s":2,"d":NaN'
SIZE = 4096
HOSTILE = {
    "spaces": b" " * SIZE,
    "members without an end": b',"a":1' * (SIZE // 6),
    "members and text": b',"a":1' * (SIZE // 6) + b"x",
    "spaces and a brace": b" " * SIZE + b"}x",
    "backslashes": b"\\" * SIZE,
    "quotes": b'"' * SIZE,
}


@pytest.mark.parametrize("end", HOSTILE.values(), ids=HOSTILE)
def test_text_that_does_not_end_as_an_object_has_no_members(end: bytes) -> None:
    assert envelope.members(BEGIN + end) is None


def test_data_ends_before_the_last_brace() -> None:
    end = b", " * (SIZE // 2)

    members = envelope.members(BEGIN + end + b"}")

    assert members == {"op": b"0", "t": b'"A"', "s": b"2", "d": (b"NaN" + end).rstrip()}


@pytest.mark.parametrize("text", [BEGIN[:-8], b'{"s":NaN'], ids=["before d", "without d"])
def test_members_of_the_envelope_are_limited(text: bytes) -> None:
    most = envelope._MAX_MEMBERS - 3
    end = b',"d":NaN}' if b"op" in text else b"}"

    assert envelope.members(text + b',"x":1' * most + end) is not None
    assert envelope.members(text + b',"x":1' * (most + 4) + end) is None


def test_text_above_the_limit_is_judged_without_its_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = {
        b'{"op":0,"t":"A","s":2,"d":[[],[]': True,  # incomplete
        b'{"op":0,"t":"A","s":2,"d":[NaN,[]': True,
        b'{"op":0,"t":"A","s":2,"d":[[NaN}': False,  # complete, with an invalid `d`
        b'{"op":0,"d":[[NaN,"t":"A","s":2}': False,
        b'{"op":0,"d":[[1},"t":"A","s":2}': False,
        b'{"op":0,"d":%s,"t":"A","s":2}' % (b"[" * 200_000): False,
        b'{"op":0,"t":"A","s":2,"d":' + b"[" * 200_000: True,
        b'{"op":0,"d":{},"t":"A","s":2}': False,
        b'"only text"': True,
    }
    for text, is_beginning in texts.items():
        assert envelope.is_beginning(text) is is_beginning

    monkeypatch.setattr(envelope, "_MAX_PARSED", 10)

    for text, is_beginning in texts.items():
        assert envelope.is_beginning(text) is is_beginning


@pytest.mark.parametrize("end", [b"[],", b'{"a":', b'"",', b'"a":1,'])
def test_truncated_large_text_takes_a_few_times_its_memory(
    monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(envelope, "_MAX_PARSED", 100_000)
    text = BEGIN[:-3] + b"[" + end * (2**20 // len(end))

    tracemalloc.start()
    envelope.is_beginning(text)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 6 * len(text)  # with a slice of 64 KiB


@pytest.mark.parametrize("more", [b"[1]", b"{}", b'{"d":[NaN],"t":"B"}', b'["\\"}"]'])
@pytest.mark.parametrize("d", [b"NaN", rb'"\ud800"', b'"\t"', b"[" * 5000 + b"]" * 5000, b"{}"])
def test_list_or_object_beside_an_undecodable_d_is_skipped(more: bytes, d: bytes) -> None:
    for text in (
        b'{"x":%s,"op":0,"t":"A","s":2,"d":%s}' % (more, d),
        b'{"d":%s,"t":"A","s":2,"x":%s,"op":0}' % (d, more),
    ):
        payload = decode_payload(text)

        assert (payload.opcode, payload.t, payload.sequence, payload.raw) == (0, "A", 2, d)


def test_sequence_that_is_a_list_is_ignored() -> None:
    payload = decode_payload(b'{"op":0,"t":"A","s":[2],"d":1}')

    assert (payload.opcode, payload.t, payload.sequence, payload.raw) == (0, "A", None, b"1")
