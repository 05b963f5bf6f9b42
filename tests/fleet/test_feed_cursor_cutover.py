"""Feed cursor: the change to another number of shards."""

from __future__ import annotations

from gateway_proto.fleet import (
    Cutover,
    FeedCursor,
    LogHead,
    LogRecord,
    RecordsDropped,
    ReferenceStore,
)
from tests.fleet.cursor_worker import KEY, Worker, append, claim, record

CUT = LogRecord("cut", "owner", cutover=True)
MARK = LogRecord("mark", "owner", entered=True)


def test_cutover_is_the_last_event_of_a_log(store: ReferenceStore) -> None:
    append(store, record("r1", 1), CUT, LogRecord("c", "b", claim=True), record("r2", 2), CUT)
    worker = Worker(store)

    assert worker.handle() == ["s:1", Cutover()]
    assert worker.cursor.is_cut and not worker.cursor.needs_records


def test_log_is_cut_once_the_cutover_was_handled(store: ReferenceStore) -> None:
    append(store, record("r1", 1), CUT)
    worker = Worker(store)

    worker.take()
    assert not worker.cursor.is_cut, "not handled"
    worker.cursor.handled()
    assert not worker.cursor.is_cut, "not written"
    worker.write()
    assert worker.cursor.is_cut
    assert Worker(store, 2).cursor.is_cut, "the next owner knows"


def test_unhandled_cutover_comes_again(store: ReferenceStore) -> None:
    append(store, record("r1", 1), CUT)
    Worker(store).take()

    assert Worker(store, 2).handle() == ["s:1", Cutover()]


def test_log_without_its_cutover_is_finished(store: ReferenceStore) -> None:
    append(store, record("r1", 1, 2))
    worker = Worker(store)
    worker.read()
    worker.cursor.finish()
    assert worker.handle() == ["s:1", "s:2"], "it has events"

    worker.cursor.finish()

    assert worker.handle() == [Cutover()]
    assert worker.cursor.is_cut
    worker.cursor.finish()
    assert worker.handle() == []


def test_entered_log_is_complete_from_its_mark(store: ReferenceStore) -> None:
    append(store, LogRecord("c", "a", claim=True), MARK, record("r1", 1), MARK, record("r2", 2))

    assert Worker(store, entered=True).handle() == ["s:1", "s:2"]


def test_entered_log_may_lose_what_is_before_its_mark() -> None:
    store = ReferenceStore(max_records=2)
    append(store, *(LogRecord(f"c{n}", "a", claim=True) for n in range(5)), MARK, record("r1", 1))

    assert Worker(store, entered=True).handle() == ["s:1"]


def test_entered_log_that_lost_its_mark_is_reported() -> None:
    store = ReferenceStore(max_records=2)
    append(store, MARK, record("r1", 1), LogRecord("c", "a", claim=True), record("r2", 2))

    assert Worker(store, entered=True).handle() == [RecordsDropped(0, 4), "s:2"]


def test_next_owner_of_an_entered_log_reports_no_loss(store: ReferenceStore) -> None:
    append(store, MARK, record("r1", 1))
    worker = Worker(store, entered=True)
    next_owner = FeedCursor(claim(2))
    next_owner.begin(*store.compare_and_set(KEY, None, 0), start=LogHead(), entered=True)
    assert worker.handle() == ["s:1"]
    append(store, record("r2", 2))

    worker.cursor = next_owner
    worker.write()  # the first write is refused, and shows what was handled meanwhile

    assert worker.handle() == ["s:2"]
