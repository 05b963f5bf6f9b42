"""Feed cursor: records that the engine dropped or lost."""

from __future__ import annotations

import msgspec

from gateway_proto.fleet import (
    LoggedDispatch,
    LogRecord,
    LogRewound,
    RecordsDropped,
    ReferenceStore,
)
from tests.fleet.cursor_worker import Worker, append, record


def test_dropped_records_are_reported() -> None:
    store = ReferenceStore(max_records=2)
    worker = Worker(store)
    append(store, record("r1", 1))
    worker.handle()
    append(store, *(record(f"r{n}", n) for n in range(2, 6)))

    assert worker.handle() == [RecordsDropped(after=1, first=4), "s:4", "s:5"]
    assert Worker(store, 2).handle() == []


def test_dropped_records_are_reported_to_the_next_worker() -> None:
    store = ReferenceStore(max_records=2)
    append(store, record("r1", 1))
    Worker(store).handle()
    append(store, *(record(f"r{n}", n) for n in range(2, 6)))

    assert Worker(store, 2).handle() == [RecordsDropped(after=1, first=4), "s:4", "s:5"]


def test_records_that_were_read_are_not_read_again(store: ReferenceStore) -> None:
    append(store, *(record(f"r{n}", n) for n in range(1, 30)))
    worker = Worker(store)
    worker.handle()

    worker.cursor.restart()

    assert worker.cursor.position == 13, "the last 16 are compared"
    assert worker.handle() == []
    assert worker.cursor.position == 29
    append(store, record("r30", 30))
    assert worker.handle() == ["s:30"]


def test_restart_shows_whether_the_shard_was_lost(store: ReferenceStore) -> None:
    append(store, record("r1", 1))
    old, other = Worker(store), Worker(ReferenceStore())
    Worker(store, 2)

    for worker in (old, other):
        worker.cursor.restart()
        worker.write()

    assert old.cursor.is_fenced
    assert other.cursor.is_active


def test_restart_in_a_record_continues_in_it(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2, 3))
    worker = Worker(store)
    worker.read()
    assert isinstance(worker.cursor.next_event(), LoggedDispatch)

    worker.cursor.restart()

    assert worker.handle() == ["s:2", "s:3"]


def test_replaced_records_are_reported_and_read(store: ReferenceStore) -> None:
    append(store, *(record(f"r{n}", n) for n in range(1, 6)))
    worker = Worker(store)
    worker.handle()
    store.rewind(0, 3)
    worker.cursor.restart()
    assert worker.handle() == [], "nothing has replaced them"
    append(store, LogRecord("c", "b", claim=True), record("n4", 4), record("n5", 5))

    assert worker.handle() == [LogRewound(after=3), "s:4", "s:5"]
    worker.write()
    assert Worker(store, 2).handle() == []


def test_records_replaced_between_two_reads_are_noticed(store: ReferenceStore) -> None:
    append(store, *(record(f"r{n}", n) for n in range(1, 6)))
    worker = Worker(store)
    worker.handle()
    store.rewind(0, 3)
    append(store, *(record(f"n{n}", n) for n in range(4, 8)))

    assert worker.handle() == [LogRewound(after=3), "s:4", "s:5", "s:6", "s:7"]


def test_records_replaced_before_they_were_taken_are_dropped(store: ReferenceStore) -> None:
    append(store, record("r1", 1), record("r2", 2), record("r3", 3))
    worker = Worker(store)
    assert worker.handle(1) == ["s:1"], "the others are read"
    store.rewind(0, 2)
    append(store, record("n3", 3), record("n4", 4))

    assert worker.handle() == ["s:2", "s:3", "s:4"], "none was handled, so nothing is reported"


def test_record_that_names_none_before_it_is_not_compared(store: ReferenceStore) -> None:
    append(store, record("r1", 1))
    worker = Worker(store)
    assert worker.handle() == ["s:1"]
    assert store.append(0, store.head(0), record("r2", 2)) == 2

    assert worker.handle() == ["s:2"]


def test_log_that_was_rewound_far_is_read_from_its_oldest_record(store: ReferenceStore) -> None:
    append(store, *(record(f"r{n}", n) for n in range(1, 31)))
    worker = Worker(store)
    worker.handle()
    store.rewind(0, 2)
    append(store, *(record(f"n{n}", n) for n in range(3, 33)))
    worker.cursor.restart()

    done = worker.handle()

    assert done[0] == LogRewound(after=0)
    assert done[1:] == [f"s:{n}" for n in range(1, 33)]


def test_log_replaced_from_its_first_record_is_reported(store: ReferenceStore) -> None:
    append(store, record("r1", 1), record("r2", 2))
    worker = Worker(store)
    worker.handle()
    store.rewind(0, 0)
    append(store, record("n1", 1))
    worker.cursor.restart()

    assert worker.handle() == [LogRewound(after=0), "s:1"]


def test_report_of_a_rewind_survives_a_restart(store: ReferenceStore) -> None:
    append(store, record("r1", 1), record("r2", 2))
    worker = Worker(store)
    worker.handle()
    store.rewind(0, 1)
    append(store, LogRecord("c", "b", claim=True), record("n2", 2))
    worker.cursor.restart()
    worker.read()
    worker.cursor.restart()
    worker.read()
    assert worker.cursor.next_event() == LogRewound(after=1)
    worker.cursor.handled()
    append(store, record("n3", 3))

    assert worker.handle() == ["s:2", "s:3"]


def test_report_of_a_rewind_survives_a_restart_of_the_reading(
    store: ReferenceStore,
) -> None:
    append(store, *(record(f"r{n}", n) for n in range(1, 20)))
    worker = Worker(store)
    worker.handle()
    store.rewind(0, 1)
    append(store, *(record(f"n{n}", n) for n in range(2, 6)))
    worker.cursor.restart()
    assert not worker.cursor.add(4, record("n4", 4))

    worker.cursor.restart()

    assert worker.handle() == [LogRewound(after=0), "s:1", "s:2", "s:3", "s:4", "s:5"]


def test_loss_of_a_record_that_was_handled_in_part_is_reported(store: ReferenceStore) -> None:
    append(store, record("r1", 1), record("r2", 2, 3, 4))
    assert Worker(store).handle(2) == ["s:1", "s:2"]
    store.rewind(0, 1)
    append(store, record("n2", 2), record("n3", 3, 4))

    assert Worker(store, 2).handle() == [LogRewound(after=1), "s:2", "s:3", "s:4"]
    assert Worker(store, 3).handle() == []


def test_loss_of_the_first_record_handled_in_part_is_reported(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2))
    worker = Worker(store)
    assert worker.handle(1) == ["s:1"]
    store.rewind(0, 0)
    append(store, LogRecord("c", "b", claim=True), record("n2", 1, 2))
    worker.cursor.restart()

    assert worker.handle() == [LogRewound(after=0), "s:1", "s:2"]


def breached() -> ReferenceStore:
    """Return a store that lost a record, and took the next one of its owner after another."""
    store = ReferenceStore()
    append(store, record("a1", 1), record("a2", 2))
    store.rewind(0, 1)
    append(store, LogRecord("b1", "other", claim=True))
    misplaced = msgspec.structs.replace(record("a3", 3), after="a2")
    assert store.append(0, store.head(0), misplaced) == 3
    append(store, record("a4", 4))
    return store


def test_record_that_follows_another_than_it_names_is_reported() -> None:
    store = breached()
    worker = Worker(store)

    assert worker.handle() == ["s:1", RecordsDropped(after=2, first=3), "s:3", "s:4"]
    assert Worker(store, 2).handle() == []


def test_misplaced_record_is_reported_again_after_a_restart() -> None:
    worker = Worker(breached())
    worker.read()

    worker.cursor.restart()

    assert worker.handle() == ["s:1", RecordsDropped(after=2, first=3), "s:3", "s:4"]


def test_misplaced_record_is_reported_to_the_next_worker() -> None:
    store = breached()
    assert Worker(store).handle(1) == ["s:1"]

    assert Worker(store, 2).handle() == [RecordsDropped(after=2, first=3), "s:3", "s:4"]
