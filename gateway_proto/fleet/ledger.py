"""Ledger: events of one shard → appends to its log.

One append is in flight; it carries everything that was added before it began. Events that are added
meanwhile wait for the next one. The cost per event is that of a list, and a slow engine gets larger
records instead of more of them.

Each append names the record that it follows, so the engine refuses it once another member has
claimed the shard, however late it arrives. An append without an answer is sent again as it was. If
its first copy had arrived, the engine refuses the second one, and the head shows the own record.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from typing import Any, cast

import msgspec

from gateway_proto._checks import BOOL, integer, rejected
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Dispatch, Event, Ready
from gateway_proto.fleet.records import (
    HEAD,
    MAX_EVENTS,
    MAX_NAME_LENGTH,
    MAX_POSITION,
    MAX_RECORD_SIZE,
    MAX_SEQUENCE,
    NAME,
    LoggedEvents,
    LogHead,
    LogRecord,
    check_head,
    events_size,
)
from gateway_proto.session import Session, session_after

__all__ = ["Ledger"]

_MAX_EVENT_SIZE = MAX_RECORD_SIZE - 64 * 2**10
"""Maximum bytes of an event; the remainder of a record is for its session."""
_LIMIT = integer(1, _MAX_EVENT_SIZE)
_MAX_ID_LENGTH = MAX_NAME_LENGTH - 16
"""Maximum length of the id of a claim, which begins the ids of the owner's records."""
_POSITION = integer(1, MAX_POSITION)


_MAX_BYTES = 980_000
"""Maximum bytes of the events of a record, by default.

Each append takes 0.25 to 0.4 ms of CPU time in the client of an engine, whatever its size. A
record of this size is not compressed, and is below the usual limit for a message, 1 MiB.
"""
_ONLY_DISPATCHES = {Dispatch}
_AT_ONCE = 256
"""Number of events among which one that needs `add` costs the others the fast path. Their data is
one part of a record: the work of an engine grows with the parts."""


class _Batch:
    """Events of one session, which become one record."""

    __slots__ = (
        "cutover",
        "data",
        "entered",
        "names",
        "sequences",
        "session",
        "session_lost",
        "size",
        "sizes",
    )

    def __init__(self, session: Session | None, *, session_lost: bool = False) -> None:
        self.session = session
        self.session_lost = session_lost
        self.cutover = False
        self.entered = False
        self.names: list[str] = []
        self.sequences: list[int] = []
        self.sizes: list[int] = []
        # Copies: the data of an event refers to its whole message, which may be much larger.
        self.data: list[bytes] = []
        self.size = 0

    def add(
        self, names: Iterable[str], sequences: Iterable[int], sizes: Iterable[int], data: bytes
    ) -> None:
        self.names += names
        self.sequences += sequences
        self.sizes += sizes
        self.data.append(data)

    def events(self) -> LoggedEvents:
        columns = tuple(self.names), tuple(self.sequences), tuple(self.sizes)
        return LoggedEvents(*columns, tuple(self.data))


class Ledger:
    """Log of one shard, as its owner writes it. `head` is the own claim.

    Add all events of the shard in order. With `keep_events=False` the log has sessions alone: add
    the events that were handled. A record has at most `limit` bytes of events, or one larger event,
    and at most 65,536 events. Raises `LocalProtocolError` for invalid arguments, and for a head of
    another member.
    """

    def __init__(
        self, member: str, head: LogHead, *, keep_events: bool = True, limit: int = _MAX_BYTES
    ) -> None:
        NAME.named("member", member)
        HEAD.named("head", head)
        check_head(head)
        if head.by != member or not 0 < len(head.id) <= _MAX_ID_LENGTH:
            raise rejected("head", head, f"a claim of the member {member!r}")
        BOOL.named("keep_events", keep_events)
        _LIMIT.named("limit", limit)
        self._member = member
        self._head = head
        self._claim = head.id
        self._keep_events = keep_events
        self._limit = limit
        # While one record is in flight, the next one collects.
        self._most = 2 * limit
        self._batches: deque[_Batch] = deque([_Batch(head.session)])
        self._sequence: int | None = None  # newer than that of the last batch's session
        self._in_flight: LogRecord | None = None
        self._in_flight_size = 0
        self._appends = 0
        self._is_forced = False
        self._pending = 0
        self._is_fenced = False
        self._is_over = False

    @property
    def head(self) -> LogHead:
        """Head of the log as of the last acknowledged append."""
        return self._head

    @property
    def session(self) -> Session | None:
        """Session as of the last acknowledged append: a resume of the next owner begins here."""
        return self._head.session

    @property
    def has_room(self) -> bool:
        """Whether fewer than 2 `limit` bytes of events are not acknowledged: else stop reading."""
        return self._pending < self._most

    @property
    def is_clear(self) -> bool:
        """Whether everything that was added is acknowledged; also of a fenced ledger."""
        return self._in_flight is None and not self._is_due()

    @property
    def is_fenced(self) -> bool:
        """Whether another member has claimed the shard. Close the connection, and drop the shard.

        A fenced ledger is empty, ignores events and appends nothing.
        """
        return self._is_fenced

    @property
    def pending_bytes(self) -> int:
        """Bytes of the events that are not acknowledged."""
        return self._pending

    def add(self, event: Event) -> None:
        """Add an event, which the log gets if it is a dispatch or changes the session.

        Raises `LocalProtocolError` for a dispatch that no record can hold, and for 16 MiB of events
        above 2 `limit`: add events that were already read, and read no more without `has_room`.
        """
        if self._is_over:
            return
        batch = self._batches[-1]
        # This path is for nearly all events. It keeps only the number: a new session takes 1 µs.
        if type(event) is Dispatch and batch.session is not None:
            self._keep(event, batch)
            if event.sequence is not None:
                self._sequence = event.sequence
            return
        before = self._latest()
        after = session_after(before, event)
        if isinstance(event, Ready):
            # A record has events of one session, whose id and a sequence identify an event.
            self._keep(event, _Batch(after, session_lost=before is not None))
        elif isinstance(event, Dispatch):  # RESUMED, or without a session
            self._keep(event, batch)
            self._batches[-1].session, self._sequence = after, None
        elif before is not None and after is None:
            self._begin(_Batch(None, session_lost=True))

    def add_all(self, events: Sequence[Event]) -> int:
        """Add events until one has no room; return how many were added.

        It is `add` for each, and takes 0.5 µs per event instead of 1.5 µs (CPython 3.13) for
        dispatches of one session.
        """
        added = 0
        while added < len(events) and self.has_room:
            some = events[added : added + _AT_ONCE]
            at_once = self._add_at_once(some)
            if at_once:
                added += at_once
                continue
            # Without room for the first one, `add` begins a batch, which has room for the others.
            for event in some if at_once is None else some[:1]:
                if self._pending >= self._most:
                    break
                self.add(event)
                added += 1
        return added

    def touch(self) -> None:
        """Append a record even without news, before the retention of the engine drops the last."""
        self._is_forced = not self._is_over

    def enter(self, *, keep_events: bool = True) -> None:
        """Keep events from now on, after a record that says so (`LogRecord.entered`).

        Until then a ledger of the next generation has `keep_events=False`, see `Generations`.
        """
        BOOL.named("keep_events", keep_events)
        if not self._is_over:
            self._keep_events = keep_events
            batch = _Batch(self._latest())
            batch.entered = True
            self._begin(batch)

    def cut_over(self) -> None:
        """End the log with a record that says so (`LogRecord.cutover`), and has no session.

        Events that are added later are ignored. Close the connection: the session is over.
        """
        if not self._is_over:
            self._is_over = True
            batch = _Batch(None)
            batch.cutover = True
            self._begin(batch)

    def next_append(self) -> tuple[LogHead, LogRecord] | None:
        """Return a head and the record to append after it; None if there is nothing to append.

        Returns the same until `appended` or `refused` is called: without an answer send it again.
        """
        if self._in_flight is None:
            if not self._is_due():
                return None
            batch = self._batches[0]
            session = self._latest() if len(self._batches) == 1 else batch.session
            self._appends += 1
            self._in_flight = LogRecord(
                f"{self._claim}+{self._appends:x}",
                self._member,
                session,
                batch.events(),
                session_lost=batch.session_lost,
                cutover=batch.cutover,
                entered=batch.entered,
                after=self._head.id,
            )
            self._in_flight_size = batch.size
            self._is_forced = False
            self._batches.popleft()
            if not self._batches:
                self._batches.append(_Batch(session))
                self._sequence = None
        return self._head, self._in_flight

    def appended(self, position: int) -> None:
        """Report the position of the record of `next_append`: it is in the log.

        Raises `LocalProtocolError` if none is in flight, and for a position that does not follow.
        """
        record = self._expected()
        _POSITION.named("position", position)
        if position <= self._head.position:
            raise rejected("position", position, f"an int above {self._head.position}")
        self._acknowledge(record, position)

    def refused(self, head: LogHead) -> bool:
        """Report that the engine refused the record of `next_append`, with the head of the log.

        Returns whether the shard is still owned: the record is in the log and its answer was lost,
        or nothing was appended meanwhile. False means that the ledger is now fenced.
        """
        record = self._expected()
        HEAD.named("head", head)
        check_head(head)
        if head.id == record.id and head.position > self._head.position:
            self._acknowledge(record, head.position)
            return True
        if (head.position, head.id) == (self._head.position, self._head.id):
            return True
        self._is_fenced = self._is_over = True
        self._is_forced, self._in_flight = False, None
        self._batches = deque([_Batch(self._head.session)])
        self._sequence = None
        self._pending = 0
        return False

    def _is_due(self) -> bool:
        """Whether the first batch has something that the log lacks."""
        batch = self._batches[0]
        if batch.names or batch.session_lost or self._is_forced:
            return True
        if batch.cutover or batch.entered:
            return True
        # While an append is in flight, the log is about to get its session.
        known = self._head if self._in_flight is None else self._in_flight
        return self._latest() != known.session

    def _latest(self) -> Session | None:
        """Return the session as of the last event."""
        session = self._batches[-1].session
        if session is not None and self._sequence is not None:
            return msgspec.structs.replace(session, sequence=self._sequence)
        return session

    def _begin(self, batch: _Batch) -> None:
        """Begin a batch, in place of the last one if that has nothing that the log lacks."""
        last = self._batches[-1]
        last.session = self._latest()
        if not last.names:
            batch.session_lost = batch.session_lost or last.session_lost
            batch.entered = batch.entered or last.entered
            self._batches.pop()
        self._batches.append(batch)
        self._sequence = None

    def _keep(self, event: Dispatch, batch: _Batch) -> None:
        """Add a dispatch to the last batch, or to one that begins with it."""
        sequence = event.sequence or 0
        if not 0 <= sequence <= MAX_SEQUENCE:
            raise rejected("event.sequence", sequence, f"an int from 0 to {MAX_SEQUENCE}")
        if self._keep_events:
            name = event.name if event.name.isascii() else _without_surrogates(event.name)
            data = event.raw
            size = events_size(1, len(name), len(data))
            if size > _MAX_EVENT_SIZE:
                raise LocalProtocolError(
                    f"{name[:80]} has {size} bytes: a record of a log has at most "
                    f"{_MAX_EVENT_SIZE}, set Config.message_limit"
                )
            if self._pending + size > self._most + MAX_RECORD_SIZE:
                raise LocalProtocolError(
                    f"the ledger has {self._pending} bytes of events: read no more without has_room"
                )
        if batch is not self._batches[-1]:
            self._begin(batch)
        if self._keep_events:
            if batch.names and (batch.size + size > self._limit or len(batch.names) == MAX_EVENTS):
                batch = _Batch(self._latest())
                self._begin(batch)
            batch.add([name], [sequence], [len(data)], data)
            batch.size += size
            self._pending += size

    def _add_at_once(self, events: Sequence[Event]) -> int | None:
        """Add events to the last batch as far as it has room, unless one needs `add`.

        Returns how many were added; None if one needs `add`. It runs a few lines of Python for each
        event, and no function.
        """
        batch = self._batches[-1]
        if (
            {*map(type, events)} != _ONLY_DISPATCHES
            or batch.session is None
            or not self._keep_events
            or self._is_over
        ):
            return None
        dispatches = cast("Sequence[Dispatch]", events)
        names = [event.name for event in dispatches]
        sequences: Any = [event.sequence for event in dispatches]
        data: Any = [event._d for event in dispatches]  # `event.raw` would be a copy
        sizes = [*map(len, data)]
        text = "".join(names)
        size = events_size(len(names), len(text), sum(sizes))
        room = min(self._limit - batch.size, self._most - self._pending)
        if size > room:
            each = map(events_size, repeat(1), map(len, names), sizes)
            fitting = bisect_right([*accumulate(each)], room)
            del names[fitting:], sequences[fitting:], sizes[fitting:], data[fitting:]
            text = "".join(names)
            size = events_size(len(names), len(text), sum(sizes))
        if not names or len(batch.names) + len(names) > MAX_EVENTS:
            return 0
        if not text.isascii() or not _are_numbers(sequences):
            return None
        batch.add(names, sequences, sizes, b"".join(data))
        batch.size += size
        self._pending += size
        self._sequence = sequences[-1]
        return len(names)

    def _expected(self) -> LogRecord:
        if self._in_flight is None:
            raise LocalProtocolError("no append is in flight: call next_append first")
        return self._in_flight

    def _acknowledge(self, record: LogRecord, position: int) -> None:
        self._head = record.head(position)
        self._pending -= self._in_flight_size
        self._in_flight = None


def _are_numbers(sequences: Sequence[Any]) -> bool:
    """Whether no event of a record lacks its sequence, and each is in range."""
    try:
        return bool(0 <= min(sequences) <= max(sequences) <= MAX_SEQUENCE)
    except TypeError:  # faster than a search for None, which compares each with it
        return False


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
