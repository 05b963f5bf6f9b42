"""A consumer with a feed cursor on a reference store, and the records that it reads."""

from __future__ import annotations

import msgspec

from gateway_proto import Session
from gateway_proto.fleet import (
    FeedCursor,
    FeedEvent,
    LoggedDispatch,
    LoggedEvents,
    LogHead,
    LogRecord,
    ReferenceStore,
)

KEY = "group"


def claim(position: int) -> LogHead:
    return LogHead(position, f"claim {position}", "worker")


def record(id_: str, *sequences: int, session: str = "s") -> LogRecord:
    events = LoggedEvents.of(*(("N", number, b"%d" % number) for number in sequences))
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
