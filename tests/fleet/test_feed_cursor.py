"""Feed cursor: a group handles each event of a log, also if consumers die."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import DataError, LocalProtocolError
from gateway_proto.fleet import (
    FeedCursor,
    LoggedDispatch,
    LogHead,
    LogRecord,
    ReferenceStore,
)
from tests.fleet.cursor_worker import KEY, Worker, append, claim, record

# ----- one consumer -----


def test_new_group_begins_after_its_start(store: ReferenceStore) -> None:
    append(store, record("r1", 1))
    worker = Worker(store, start=store.head(0))
    append(store, record("r2", 2))

    assert worker.handle() == ["s:2"]


def test_new_group_without_a_start_reads_all_that_is_kept() -> None:
    store = ReferenceStore(max_records=2)
    append(store, record("r1", 1), record("r2", 2), record("r3", 3))

    assert Worker(store).handle() == ["s:2", "s:3"]


def test_events_come_in_order_over_records(store: ReferenceStore) -> None:
    worker = Worker(store)
    append(store, record("r1", 1, 2), LogRecord("c", "b", claim=True), record("r2", 3))

    assert worker.handle() == ["s:1", "s:2", "s:3"]
    assert worker.cursor.needs_records
    assert worker.cursor.position == 3


def test_unhandled_event_alone_comes_again_to_the_next_worker(
    store: ReferenceStore,
) -> None:
    append(store, record("r1", 1, 2, 3))
    killed = Worker(store)
    assert killed.handle(1) == ["s:1"]
    taken = killed.cursor.next_event()
    assert isinstance(taken, LoggedDispatch)
    assert taken.id == "s:2"

    assert Worker(store, 2).handle() == ["s:2", "s:3"]


def test_events_are_unhandled_until_the_cursor_is_told(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2))
    worker = Worker(store)
    worker.take()
    assert worker.cursor.next_write() is None
    assert not worker.cursor.is_handled

    worker.cursor.handled()

    assert worker.cursor.is_handled
    worker.write()
    assert Worker(store, 2).handle() == []


def test_record_without_events_is_handled_by_itself(store: ReferenceStore) -> None:
    store = ReferenceStore(max_records=1)
    worker = Worker(store, start=LogHead(0))
    append(store, record("r1", 1))
    assert worker.handle() == ["s:1"]
    append(store, LogRecord("c1", "b", claim=True))
    assert worker.handle() == []
    worker.write()
    append(store, record("r2", 2))

    assert Worker(store, 2).handle() == ["s:2"], "without RecordsDropped"


def test_record_without_events_does_not_acknowledge_those_before(store: ReferenceStore) -> None:
    append(store, record("r1", 1), LogRecord("c", "b", claim=True))
    worker = Worker(store)

    assert len(worker.take()) == 1

    assert worker.cursor.next_write() is None
    assert Worker(store, 2).handle() == ["s:1"]


def test_record_that_was_added_is_ignored(store: ReferenceStore) -> None:
    append(store, record("r1", 1))
    worker = Worker(store)
    worker.read()

    assert worker.cursor.add(1, record("r1", 1))

    assert worker.handle() == ["s:1"]


# ----- the value in the store -----


def test_worker_that_lost_the_shard_is_fenced_by_its_write(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2))
    old = Worker(store)
    new = Worker(store, 2)
    old.read()
    assert old.cursor.next_event() is not None

    old.cursor.handled()
    old.write()

    assert old.cursor.is_fenced
    assert not old.cursor.is_active
    assert old.cursor.next_event() is None
    assert old.cursor.next_write() is None
    assert new.handle() == ["s:1", "s:2"]


def test_worker_with_an_older_claim_is_fenced_from_its_begin(store: ReferenceStore) -> None:
    Worker(store, 2)

    late = Worker(store, 1)

    assert late.cursor.is_fenced
    assert late.cursor.next_write() is None


def test_write_between_read_and_takeover_is_adopted(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2))
    old = Worker(store)
    cursor = FeedCursor(claim(2))
    cursor.begin(*store.compare_and_set(KEY, None, 0), start=LogHead())
    assert old.handle(1) == ["s:1"]

    new = Worker.__new__(Worker)
    new.store, new.cursor = store, cursor
    new.write()

    assert cursor.is_active
    assert new.handle() == ["s:2"]
    old.cursor.next_event()
    old.cursor.handled()
    old.write()
    assert old.cursor.is_fenced


def test_write_without_an_answer_is_sent_again_as_it_was(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2))
    worker = Worker(store)
    worker.read()
    worker.cursor.next_event()
    worker.cursor.handled()
    write = worker.cursor.next_write()
    assert write is not None
    store.compare_and_set(KEY, *write)  # the answer is lost
    worker.cursor.next_event()
    worker.cursor.handled()

    assert worker.cursor.next_write() == write
    worker.cursor.written(*store.compare_and_set(KEY, *write))

    assert worker.cursor.is_active
    assert worker.cursor.next_write() is not None, "the second event"
    worker.write()
    assert Worker(store, 2).handle() == []


def test_value_that_the_store_lost_is_written_again(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2))
    worker = Worker(store)
    worker.handle(1)
    worker.store = ReferenceStore()

    worker.cursor.next_event()
    worker.cursor.handled()
    worker.write()

    assert worker.cursor.is_active
    append(worker.store, record("r1", 1, 2))
    assert Worker(worker.store, 2).handle() == []


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"epoch":"1","place":{}}', b"\xff"])
def test_invalid_value_is_rejected(value: bytes) -> None:
    cursor = FeedCursor(claim(1))

    with pytest.raises(DataError, match="not the cursor of a group"):
        cursor.begin(value, 1, start=LogHead())


def test_invalid_calls_are_rejected(store: ReferenceStore) -> None:
    with pytest.raises(LocalProtocolError, match="invalid claim"):
        FeedCursor(LogHead())
    cursor = FeedCursor(claim(1))
    assert cursor.next_write() is None
    with pytest.raises(LocalProtocolError, match="no write is in flight"):
        cursor.written(None, 0)
    with pytest.raises(LocalProtocolError, match="not active"):
        cursor.add(1, record("r1", 1))
    with pytest.raises(LocalProtocolError, match="start"):
        cursor.begin(None, 0, start=None)  # type: ignore[arg-type]


# ----- all of it -----


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 3)),
        st.tuples(st.just("handle"), st.integers(1, 4)),
        st.tuples(st.sampled_from(["kill", "restart", "take"]), st.just(0)),
    ),
    max_size=40,
)


@given(_STEPS)
def test_each_event_is_handled_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    store = ReferenceStore()
    worker = Worker(store)
    sent = epoch = 0
    done: list[object] = []
    for step, count in steps:
        if step == "append":
            numbers = range(sent + 1, sent + count + 1)
            append(store, record(f"r{sent}/{store.head(0).position}", *numbers))
            sent += count
        elif step == "handle":
            done += worker.handle(count)
        elif step == "take":
            worker.read()
            if (event := worker.cursor.next_event()) is not None:
                # Taken and handled, but the cursor is written later.
                assert isinstance(event, LoggedDispatch)
                worker.cursor.handled()
                worker.write()
                done.append(event.id)
        elif step == "restart":
            worker.cursor.restart()
        else:
            epoch += 1
            worker = Worker(store, epoch + 1)
    done += worker.handle()

    assert done == [f"s:{number}" for number in range(1, sent + 1)]
