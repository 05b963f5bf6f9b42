"""Ledger: bounds in bytes."""

from __future__ import annotations

import tracemalloc

import pytest

from gateway_proto import (
    LocalProtocolError,
    Resumed,
)
from gateway_proto.fleet import MAX_RECORD_SIZE, LogRecord
from gateway_proto.wire.payload import decode_dispatch
from tests.fleet.ledger_calls import appended, dispatch, ledger, next_record, ready, session


def test_pending_bytes_are_those_not_acknowledged() -> None:
    owner = ledger(ready("s"), dispatch(2, data=bytes(1000)), limit=530)

    assert owner.pending_bytes == next_record(owner).size() + 1000 + 28
    assert not owner.has_room
    owner.appended(5)
    assert owner.pending_bytes == 1000 + 28
    assert owner.has_room
    next_record(owner)
    owner.appended(6)
    assert owner.pending_bytes == 0
    assert owner.has_room


def test_ledger_with_twice_its_limit_has_no_room() -> None:
    size = ledger(ready("s")).pending_bytes

    assert not ledger(ready("s"), limit=size // 2).has_room
    assert ledger(ready("s"), limit=size // 2 + 1).has_room


def test_record_has_at_most_limit_bytes_or_one_event() -> None:
    sizes = [300, 300, 300, 5000, 10, 900]
    events = [dispatch(2 + number, data=bytes(size)) for number, size in enumerate(sizes)]
    owner = ledger(ready("s"), *events, limit=1000)

    records = appended(owner)

    assert [event for record in records for event in record.events][1:] == [
        ("N", event.sequence, event.raw) for event in events
    ]
    assert all(record.size() <= 1000 or len(record.events) == 1 for record in records)
    assert [record.session for record in records] == [
        session("s", record.events.sequences[-1]) for record in records
    ]


def test_record_has_at_most_65536_events() -> None:
    small = [dispatch(number, data=b"") for number in range(2, 2**16 + 3)]
    owner = ledger(ready("s"), *small, limit=10**7)

    records = appended(owner)

    assert [len(record.events) for record in records] == [2**16, 2]
    assert [record.session for record in records] == [
        session("s", 2**16),
        session("s", 2**16 + 2),
    ]


def test_resumed_after_a_full_record_begins_another() -> None:
    owner = ledger(ready("s"), dispatch(2, data=bytes(990)), Resumed("RESUMED", 3), limit=1000)

    records = appended(owner)

    assert [record.session for record in records] == [session("s", n) for n in (1, 2, 3)]


def test_full_record_is_not_compressed_and_is_below_1_mib() -> None:
    owner = ledger(ready("s"))
    number = 1
    while owner.has_room:
        number += 1
        owner.add(dispatch(number, data=bytes(1000)))

    record = next_record(owner)

    data = record.to_bytes()
    # READY counts as 46 bytes, and each of the others as 1028.
    assert len(record.events) == 1 + (980_000 - 46) // 1028
    assert 950_000 < len(data) < 980_000
    assert data.endswith(record.events.data)


def test_events_that_were_read_already_are_accepted() -> None:
    owner = ledger(ready("s"), limit=1)

    for number in range(16):
        owner.add(dispatch(2 + number, data=bytes(10**6)))

    assert not owner.has_room
    with pytest.raises(LocalProtocolError) as caught:
        owner.add(dispatch(18, data=bytes(10**6)))
    assert str(caught.value) == (
        "the ledger has 16000494 bytes of events: read no more without has_room"
    )
    assert next_record(owner).events.names[0] == "READY"


def test_event_larger_than_a_record_is_rejected() -> None:
    owner = ledger(ready("s"))
    before = owner.pending_bytes

    with pytest.raises(LocalProtocolError) as caught:
        owner.add(dispatch(2, "GUILD_CREATE", bytes(MAX_RECORD_SIZE)))

    assert str(caught.value) == (
        "GUILD_CREATE has 16777288 bytes: a record of a log has at most 16711680, "
        "set Config.message_limit"
    )
    assert owner.pending_bytes == before
    assert next_record(owner).session == session("s", 1)


def test_largest_event_fits_into_a_record() -> None:
    owner = ledger(ready("s"), dispatch(2, "N", bytes(MAX_RECORD_SIZE - 64 * 2**10 - 28)))

    _, record = appended(owner)

    assert LogRecord.from_bytes(record.to_bytes()) == record


@pytest.mark.parametrize("at_once", [True, False])
def test_ledger_keeps_no_more_of_a_message_than_its_data(at_once: bool) -> None:
    owner = ledger(ready("s"))
    messages = (
        b'{"op":0,"t":"N","s":%d,"d":1,"unknown":"%s"}' % (number, b"x" * 100_000)
        for number in range(2, 102)
    )

    tracemalloc.start()
    try:
        for message in messages:
            event = decode_dispatch(message)
            if at_once:
                assert owner.add_all([event]) == 1
            else:
                owner.add(event)
        del message, event
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(next_record(owner).events) == 101
    assert kept < 100_000
