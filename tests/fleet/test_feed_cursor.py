"""Feed cursor: a group handles each event of a log, also if consumers die and logs lose records."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import DataError, LocalProtocolError, Session
from gateway_proto.fleet import (
    Cutover,
    FeedCursor,
    FeedEvent,
    LoggedDispatch,
    LogHead,
    LogRecord,
    LogRewound,
    RecordsDropped,
    ReferenceStore,
)

KEY = "group"


def claim(position: int) -> LogHead:
    return LogHead(position, f"claim {position}", "worker")


def record(id_: str, *sequences: int, session: str = "s") -> LogRecord:
    events = tuple(("N", number, b"%d" % number) for number in sequences)
    return LogRecord(id_, "owner", Session(id=session, sequence=9, version=10), events)


class Worker:
    """A consumer of shard 0, with a store."""

    def __init__(
        self,
        store: ReferenceStore,
        epoch: int = 1,
        *,
        start: LogHead | None = None,
        entered: bool = False,
    ) -> None:
        self.store = store
        self.cursor = FeedCursor(claim(epoch))
        value, revision = store.compare_and_set(KEY, None, 0)
        self.cursor.begin(value, revision, start=start or LogHead(), entered=entered)
        self.write()

    def write(self) -> None:
        while (write := self.cursor.next_write()) is not None:
            self.cursor.written(*self.store.compare_and_set(KEY, *write))

    def read(self) -> None:
        """Add the records that are there."""
        is_complete = False
        while not is_complete:
            is_complete = all(
                self.cursor.add(*item) for item in self.store.records(0, self.cursor.position)
            )

    def take(self) -> list[FeedEvent]:
        """Take all events, without handling them."""
        self.read()
        events = []
        while (event := self.cursor.next_event()) is not None:
            events.append(event)
        return events

    def handle(self, count: int = 1000) -> list[object]:
        """Handle events one by one; return the ids of dispatches, and other events."""
        self.read()
        done: list[object] = []
        while len(done) < count and (event := self.cursor.next_event()) is not None:
            done.append(event.id if isinstance(event, LoggedDispatch) else event)
            self.cursor.handled()
            self.write()
        return done


def append(store: ReferenceStore, *records: LogRecord) -> None:
    for item in records:
        head = store.head(0)
        item = msgspec.structs.replace(item, after=head.id)
        assert store.append(0, head, item) is not None


@pytest.fixture
def store() -> ReferenceStore:
    return ReferenceStore()


# ----- the change to another number of shards -----


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


# ----- records that the engine dropped or lost -----


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
