"""Records of a log, as bytes that a store keeps: equal after a round trip, bounded, checked."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import DataError, Encoding, LocalProtocolError, Session
from gateway_proto.fleet import (
    MAX_RECORD_SIZE,
    LoggedEvent,
    LoggedEvents,
    LogHead,
    LogRecord,
    claim_record,
)

SESSION = Session(id="s", sequence=7, resume_url="wss://r", shard=(0, 2), version=10)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
SESSIONS = st.none() | st.builds(
    Session,
    id=TEXT,
    sequence=st.integers(0, 2**63 - 1),
    resume_url=st.none() | TEXT,
    shard=st.none() | st.just((3, 4)),
    version=st.integers(3, 10),
    encoding=st.sampled_from(Encoding),
)
EVENTS = st.tuples(TEXT, st.integers(0, 2**63 - 1), st.binary(max_size=100))
RECORDS = st.builds(
    LogRecord,
    id=TEXT,
    by=TEXT,
    session=SESSIONS,
    events=st.lists(EVENTS, max_size=5).map(lambda events: LoggedEvents.of(*events)),
    claim=st.booleans(),
    session_lost=st.booleans(),
    cutover=st.booleans(),
    entered=st.booleans(),
)


def of(*events: LoggedEvent) -> LogRecord:
    """Return a record of events."""
    return LogRecord("i", "b", events=LoggedEvents.of(*events))


def of_size(size: int) -> LogRecord:
    """Return a record of `size` bytes before its compression."""
    small = of(("N", 1, bytes(2**16)))
    return of(("N", 1, bytes(2**16 + size - len(small.to_bytes()))))


# ----- round trips -----


@given(RECORDS)
def test_record_equals_its_decoded_bytes(record: LogRecord) -> None:
    assert LogRecord.from_bytes(record.to_bytes()) == record


@given(st.builds(LogHead, st.integers(0, 2**53 - 1), TEXT, TEXT, SESSIONS))
def test_head_equals_its_decoded_bytes(head: LogHead) -> None:
    assert LogHead.from_bytes(head.to_bytes()) == head


def test_data_of_events_is_kept_byte_for_byte() -> None:
    raw = b'{"b":\xff 1e999}', b"\x83etf"  # invalid JSON, and an ETF term
    record = LogRecord("i", "b", SESSION, LoggedEvents.of(*(("N", 1, data) for data in raw)))

    decoded = LogRecord.from_bytes(record.to_bytes())

    assert tuple(data for _, _, data in decoded.events) == raw


def test_unknown_fields_of_later_versions_are_ignored() -> None:
    assert LogRecord.from_bytes(packed(later=[1])) == LogRecord("i", "b")


def test_events_are_equal_however_their_data_is_divided() -> None:
    columns = ("N", "N"), (1, 2), (1, 2)
    whole, divided = (LoggedEvents(*columns, parts) for parts in ((b"abc",), (b"ab", b"c")))

    assert whole == divided
    assert not whole != divided  # noqa: SIM202
    assert hash(whole) == hash(divided)
    assert [*whole] == [*divided] == [("N", 1, b"a"), ("N", 2, b"bc")]
    assert whole != LoggedEvents(*columns, (b"abx",))
    assert whole != [*whole]


# ----- heads and claims -----


def test_head_of_a_record_has_its_session() -> None:
    record = LogRecord("i", "b", SESSION, LoggedEvents.of(("N", 7, b"1")))

    assert record.head(5) == LogHead(5, "i", "b", SESSION)


def test_claim_keeps_the_session_and_has_no_events() -> None:
    claim = claim_record("new", "c", LogHead(5, "i", "old", SESSION))

    assert claim == LogRecord("c", "new", SESSION, claim=True, after="i")


# ----- sizes -----


@given(RECORDS)
def test_size_of_the_events_is_at_least_the_encoded_one(record: LogRecord) -> None:
    events = record.events
    columns = msgspec.msgpack.encode((events.names, events.sequences, events.sizes))
    headers_of_columns = 1 + 3 * 5

    assert record.size() + headers_of_columns >= len(columns) + len(events.data)


def test_data_of_events_is_not_copied_into_the_parts_of_a_record() -> None:
    data = bytes(1000), bytes(2000)

    _, *parts = of(("N", 1, data[0]), ("N", 2, data[1])).to_parts()

    assert [id(part) for part in parts] == [*map(id, data)]


def test_record_has_at_most_65_parts() -> None:
    events = [("N", number, b"%d" % number) for number in range(65)]

    assert len(of(*events[:64]).to_parts()) == 65
    assert of(*events).to_parts()[1:] == [b"".join(data for _, _, data in events)]


def test_only_large_records_are_compressed() -> None:
    small, large = of_size(10**6), of_size(10**6 + 1)

    assert len(small.to_bytes()) == 10**6
    assert len(large.to_bytes()) < 10_000
    assert len(large.to_parts()) == 1
    assert LogRecord.from_bytes(large.to_bytes()) == large


def test_record_of_the_maximum_size_is_allowed() -> None:
    record = of_size(MAX_RECORD_SIZE)

    assert LogRecord.from_bytes(record.to_bytes()) == record


def test_record_that_grows_by_compression_is_not_encoded() -> None:
    noise = random.Random(0).randbytes(MAX_RECORD_SIZE - 2**10)

    with pytest.raises(LocalProtocolError, match="expected at most 16777216"):
        of(("N", 1, noise)).to_bytes()


def test_larger_record_is_not_encoded() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        of_size(MAX_RECORD_SIZE + 1).to_bytes()

    assert str(caught.value) == "LogRecord has 16777217 bytes: expected at most 16777216"


def test_record_has_at_most_65536_events() -> None:
    full = of(*[("N", 1, b"")] * 2**16)
    larger = of(*full.events, ("N", 1, b""))

    assert LogRecord.from_bytes(full.to_bytes()) == full
    with pytest.raises(LocalProtocolError) as caught:
        larger.to_bytes()
    assert str(caught.value) == "LogRecord.events has 65537 members: expected at most 65536"


# ----- hostile bytes -----


def test_many_small_events_are_rejected_before_they_are_decoded() -> None:
    count = 3_000_000
    head = packed(events=None)[4:].replace(b"\xc0", b"\x94\xdd%s" % count.to_bytes(4, "big"))
    head += b"\xa5NAMES" * (count - 500_000)
    data = zlib.compress(len(head).to_bytes(4, "big") + head)
    assert len(data) < 30_000

    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="Expected `array` of length <= 65536"):
            LogRecord.from_bytes(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 40 * 2**20


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_data_error_or_are_a_record(data: bytes) -> None:
    for decode in (LogRecord.from_bytes, LogHead.from_bytes):
        try:
            decoded = decode(data)
        except DataError:
            continue
        assert isinstance(decoded, LogRecord | LogHead)


@given(RECORDS, st.data())
def test_changed_bytes_raise_data_error_or_are_a_record(record: LogRecord, data: Any) -> None:
    changed = bytearray(record.to_bytes())
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))

    try:
        decoded = LogRecord.from_bytes(bytes(changed))
    except DataError:
        return
    assert LogRecord.from_bytes(decoded.to_bytes()) == decoded


def packed(data: bytes = b"", **fields: Any) -> bytes:
    """Return a record with these fields in its head, and data of events."""
    return headed(msgspec.msgpack.encode({"id": "i", "by": "b"} | fields)) + data


def headed(head: bytes) -> bytes:
    return len(head).to_bytes(4, "big") + head


@pytest.mark.parametrize(
    ("data", "error_text"),
    [
        (b"", "it is truncated"),
        (bytes(3), "it is truncated"),
        (bytes(4), "Input data was truncated"),
        (packed()[:-1], "its head is truncated"),
        (packed(id=""), "invalid LogRecord.id '': expected a str of 1 to 256 characters"),
        (packed(id="i" * 257), "invalid LogRecord.id"),
        (packed(by=1), "Expected `str`, got `int` - at `$.by`"),
        (packed(events=[["N"], [-1], [0]]), "invalid sequence -1 in LogRecord.events"),
        (packed(events=[["N"], [2**63], [0]]), "invalid sequence 9223372036854775808"),
        (packed(events=[["N"], [1], [-1]]), "invalid size -1 in LogRecord.events"),
        (packed(b"1", events=[["N"], [1], [2]]), "has 1 bytes of data: expected 2, the sum"),
        (packed(events=[["N", "N"], [1], [0]]), "has 2 names, 1 sequences and 1 sizes"),
        (packed(events=[["N"], [1], []]), "has 1 names, 1 sequences and 0 sizes"),
        (packed(events=[["N"], ["1"], [0]]), "Expected `int`, got `str`"),
        (packed(b"1"), "has 1 bytes of data: expected 0"),
        (packed(events=[["N"], [1], [1], [b"1"]]), "its head has data of events"),
        (packed(session={"id": "", "sequence": 1, "version": 10}), "invalid Session.id ''"),
        (packed(session={"id": "s", "sequence": -1, "version": 10}), "Session.sequence -1"),
        (headed(b"\x91" * 100_000), "Expected `object`, got `array`"),
        (headed(b"\x81\xa5later" + b"\x91" * 100_000), "recursion"),
        (headed(b"\xdf\xff\xff\xff\xff"), "truncated"),
        (bytes(MAX_RECORD_SIZE + 1), "it has 16777217 bytes: expected at most 16777216"),
        (zlib.compress(bytes(MAX_RECORD_SIZE + 1)), "it decompresses to more than 16777216 bytes"),
        (zlib.compress(packed())[:-1], "its zlib data is truncated"),
        (zlib.compress(packed()) + b"\x00", "followed by other data"),
        (b"\x78\x01\xff", "invalid block type"),
    ],
)
def test_invalid_record_raises_data_error(data: bytes, error_text: str) -> None:
    with pytest.raises(DataError) as caught:
        LogRecord.from_bytes(data)

    assert str(caught.value).startswith("data is not a record of a log: ")
    assert error_text in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b'{"position": -1}',
        b'{"position": 9007199254740992}',
        b'{"position": 1.5}',
        b'{"id": "\\ud800"}',
        b'{"by": "' + b"b" * 257 + b'"}',
        b'{"session": {"id": ""}}',
        b'{"session": {"id": "s", "sequence": 1, "version": -1}}',
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_invalid_head_raises_data_error(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^data is not a head of a log: "):
        LogHead.from_bytes(data)


@pytest.mark.parametrize(
    ("record", "error_text"),
    [
        (LogRecord("", "b"), "invalid LogRecord.id ''"),
        (LogRecord("i", "b" * 257), "invalid LogRecord.by"),
        (LogRecord("i", "b", events=LoggedEvents(("\ud800",), (1,), (0,))), "LogRecord.events"),
        (
            LogRecord("i", "b", events=LoggedEvents(("N",), (2**63,), (0,))),
            "invalid sequence 92233",
        ),
        (LogRecord("i", "b", events=LoggedEvents(("N",), (-1,), (0,))), "invalid sequence -1"),
        (LogRecord("i", "b", events=LoggedEvents(("N",), ("1",), (0,))), "LogRecord.events"),  # type: ignore[arg-type]
        (LogRecord("i", "b", events=LoggedEvents(("N",), (1,), (-1,))), "invalid size -1"),
        (LogRecord("i", "b", claim=1), "invalid LogRecord.claim 1"),  # type: ignore[arg-type]
        (LogRecord("i", "b", events=(("N", 1, b""),)), "expected LoggedEvents"),  # type: ignore[arg-type]
        (LogRecord("i", "b", events=LoggedEvents(("N",), (1,), (2,), (b"1",))), "has 1 bytes"),
        (LogRecord("i", "b", events=LoggedEvents(("N",), (1,), (1,), ("1",))), "a tuple of bytes"),  # type: ignore[arg-type]
        (LogRecord("i", "b", "s"), "invalid LogRecord.session 's'"),  # type: ignore[arg-type]
    ],
)
def test_invalid_record_is_not_encoded(record: LogRecord, error_text: str) -> None:
    with pytest.raises(LocalProtocolError, match=error_text):
        record.to_bytes()


@pytest.mark.parametrize(
    "event",
    [
        ("\ud800", 1, b""),
        ("N", -1, b""),
        ("N", 2**63, b""),
        ("N", True, b""),
        ("N", 1.0, b""),
        ("N", 1, "1"),
        ("N", 1),
        ["N", 1, b""],
    ],
)
def test_invalid_event_is_rejected(event: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"^invalid event "):
        LoggedEvents.of(("N", 1, b""), event)


@pytest.mark.parametrize("decode", [LogRecord.from_bytes, LogHead.from_bytes])
def test_other_values_than_bytes_are_not_decoded(decode: Any) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        decode("text")

    assert str(caught.value) == "invalid data 'text': expected bytes"
