"""Feed cursor: how far a group of consumers has handled the log of one shard.

The cursor is one value of the store, written by compare-and-set. It has the position of the claim
by which its writer took the shard over within the group, so a consumer that lost the shard cannot
write it: the revision has changed. Writers are fenced as owners of shards are.
"""

from __future__ import annotations

from collections import deque

import msgspec

from gateway_proto._checks import BOOL, rejected
from gateway_proto.errors import LocalProtocolError
from gateway_proto.fleet.feed_events import (
    Cutover,
    FeedEvent,
    LogRewound,
    RecordsDropped,
    feed_events,
)
from gateway_proto.fleet.records import HEAD, LogHead, LogRecord, check_head, decoded_value

__all__ = ["FeedCursor"]

_RECENT = 16
"""Number of records that are remembered, to find out how far a log was rewound."""


class _Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Events that were handled: whole records, and events of the record after them."""

    recent: tuple[tuple[int, str], ...] = ()
    """Positions and ids of the last records."""
    record: str = ""
    """Id of the record of which `count` events were handled."""
    count: int = 0
    cut: bool = False
    """Whether the cutover was handled: the group is done with the log."""


class _Cursor(msgspec.Struct, frozen=True):
    """The value in the store."""

    epoch: int
    """Position of the claim of its writer."""
    place: _Place


class FeedCursor:
    """Cursor of the consumer that owns a shard within its group.

    `claim` is the own claim in the log of the group. First pass what the store has to `begin`. Then
    write what `next_write` returns, whenever it returns something, and report the answer to
    `written`. Once `is_active`, add records and take events. An event is delivered again, here or
    to the next owner, until `handled` was called and the cursor was written.
    """

    def __init__(self, claim: LogHead) -> None:
        HEAD.named("claim", claim)
        check_head(claim)
        if not claim.position:
            raise rejected("claim", claim, "a head with a position")
        self._epoch = claim.position
        self._acknowledged = self._delivered = _Place()
        self._revision = 0
        self._has_begun = False
        self._is_active = False
        self._is_fenced = False
        self._is_changed = False
        self._in_flight: bytes | None = None
        self._is_checking = False
        self._is_entering = False  # the record that begins the log was not read yet
        self._position = 0
        self._last_id = ""  # of the record at that position; empty if it is to be read again
        self._misplaced = 0, ""  # position and id of the last record that follows another
        self._notice: FeedEvent | None = None  # for the next record
        self._records: deque[tuple[int, LogRecord, FeedEvent | None]] = deque()
        self._events: deque[tuple[FeedEvent, _Place]] = deque()

    @property
    def is_active(self) -> bool:
        """Whether the cursor was written: before that, another consumer may still write it."""
        return self._is_active and not self._is_fenced

    @property
    def is_fenced(self) -> bool:
        """Whether another consumer of the group has taken the shard over."""
        return self._is_fenced

    @property
    def position(self) -> int:
        """Read the records that follow this position."""
        return self._position

    @property
    def needs_records(self) -> bool:
        """Whether no event is left, and the cutover was not reached."""
        return not self._records and not self._events and not self._delivered.cut

    @property
    def is_handled(self) -> bool:
        """Whether each event that was taken was handled."""
        return self._acknowledged == self._delivered

    @property
    def is_cut(self) -> bool:
        """Whether the cutover was handled, and the store has that."""
        return self.is_active and self._acknowledged.cut and not self._is_changed

    # ----- the value in the store -----

    def begin(
        self, value: bytes | None, revision: int, *, start: LogHead, entered: bool = False
    ) -> None:
        """Begin with the value of the store and its revision; without one, after `start`.

        `entered` is that of `GroupPlace`: the group needs the whole log. Raises `DataError` if the
        value is not that of a cursor.
        """
        HEAD.named("start", start)
        BOOL.named("entered", entered)
        self._adopt(value, revision)
        self._is_entering = entered and not self._delivered.recent
        if value is None and start.position:
            self._acknowledged = self._delivered = _Place(((start.position, start.id),))
            self.restart()
        self._has_begun = self._is_changed = True

    def next_write(self) -> tuple[bytes, int] | None:
        """Return a value and the revision that it replaces; None if there is nothing to write.

        Returns the same until `written` is called: without an answer write it again.
        """
        if self._in_flight is None:
            if not self._has_begun or self._is_fenced or not self._is_changed:
                return None
            self._in_flight = self._value()
        return self._in_flight, self._revision

    def written(self, value: bytes | None, revision: int) -> None:
        """Report value and revision of the store after a write, whether it was done or not.

        Raises `LocalProtocolError` if no write is in flight, and `DataError` if the value is not
        that of a cursor.
        """
        written, self._in_flight = self._in_flight, None
        if written is None:
            raise LocalProtocolError("no write is in flight: call next_write first")
        if value == written:
            self._revision = revision
            self._is_active, self._is_changed = True, self._value() != written
        else:
            self._adopt(value, revision)

    def _adopt(self, value: bytes | None, revision: int) -> None:
        """Take what another write left: of the previous owner, of the next one, or an own one."""
        cursor = (
            _Cursor(0, _Place())
            if value is None
            else decoded_value(value, _Cursor, "the cursor of a group")
        )
        self._revision = revision
        if cursor.epoch > self._epoch:
            self._is_fenced = True
            self._records.clear()
            self._events.clear()
        elif not self._is_active:
            self._acknowledged = self._delivered = cursor.place
            self._is_entering = self._is_entering and not cursor.place.recent
            self.restart()

    def _value(self) -> bytes:
        return msgspec.json.encode(_Cursor(self._epoch, self._acknowledged))

    # ----- records and events -----

    def restart(self) -> None:
        """Read again and compare what was read, since the engine may have lost the end of the log.

        Call it after the engine did not answer. Events that were taken do not come again. The
        cursor is to be written again, which shows whether another consumer has the shard.
        """
        self._is_changed = self._has_begun
        waiting = [*(event for event, _ in self._events), *(item[2] for item in self._records)]
        self._notice = next((e for e in waiting if isinstance(e, LogRewound)), self._notice)
        self._records.clear()
        self._events.clear()
        recent = self._delivered.recent
        self._is_checking = bool(recent)
        self._last_id = ""
        self._position = recent[0][0] - 1 if recent else 0

    def add(self, position: int, record: LogRecord) -> bool:
        """Add a record. Return False if the reading begins again, after `position`."""
        if not self.is_active:
            raise LocalProtocolError("the cursor is not active: write it before records are added")
        if position <= self._position:
            return True
        if self._is_checking and not self._check(position, record):
            return self._position != 0
        if self._is_replaced(position, record):
            if self._misplaced != (position, record.id):
                # No request failed meanwhile: another engine took over between two reads.
                self._misplaced = position, record.id
                self.restart()
                return False
            # It still follows another record than it names: an engine that compares positions alone
            # took it after it had lost, and then replaced, the record that it names.
            self._notice = self._notice or RecordsDropped(self._position, position)
        if self._notice is None and self._delivered.recent and position != self._position + 1:
            self._notice = RecordsDropped(self._position, position)
        if self._is_entering and (record.entered or record.events):
            self._is_entering = False
            if not record.entered:  # which is before all events
                self._notice = RecordsDropped(0, position)
        self._records.append((position, record, self._notice))
        self._position, self._last_id, self._notice = position, record.id, None
        return True

    def _is_replaced(self, position: int, record: LogRecord) -> bool:
        """Whether the last record that was read is no longer in the log."""
        is_next = position == self._position + 1
        return is_next and bool(self._last_id and record.after) and record.after != self._last_id

    def _check(self, position: int, record: LogRecord) -> bool:
        """Compare a record with those that were read; return whether it is a new one."""
        recent = self._delivered.recent
        if (position, record.id) in recent:
            self._position, self._last_id = position, record.id
            self._is_checking = position != recent[-1][0]
            return False
        self._is_checking, self._last_id = False, ""
        if position > recent[-1][0]:
            self._position = recent[-1][0]
            return True
        kept = tuple(pair for pair in recent if pair[0] <= self._position)
        self._delivered = _Place(kept)
        if kept:
            self._notice = LogRewound(self._position)
        else:
            # It is not known how far the log was rewound: read all that is kept.
            self._notice, self._position = LogRewound(0), 0
        return bool(kept) or position == 1

    def next_event(self) -> FeedEvent | None:
        """Take the next event; None if the records that were added have no more."""
        while not self._events:
            if not self._records:
                return None
            self._open(*self._records.popleft())
        event, self._delivered = self._events.popleft()
        return event

    def finish(self) -> None:
        """Report that the log ends here: another generation is the present one.

        Call it if `needs_records` and the log has no more: the next event is a `Cutover`, even if
        the record that says so was lost.
        """
        if self.needs_records:
            self._events.append((Cutover(), msgspec.structs.replace(self._delivered, cut=True)))

    def handled(self) -> None:
        """Acknowledge the events that were taken; write the cursor before more are handled."""
        if self._acknowledged != self._delivered:
            self._acknowledged = self._delivered
            self._is_changed = True

    def _open(self, position: int, record: LogRecord, notice: FeedEvent | None) -> None:
        """Queue the events of a record, or acknowledge a record without events."""
        before = self._delivered
        if before.cut:
            return
        done = _Place((*before.recent, (position, record.id))[-_RECENT:], cut=record.cutover)
        events = list(feed_events(record))
        skipped = before.count if before.record == record.id else 0
        if notice is None and before.count and not skipped:
            # The engine has lost a record of which some events were handled: they may come again.
            notice = LogRewound(before.recent[-1][0] if before.recent else 0)
        if notice is not None:
            self._events.append((notice, _Place(before.recent) if events else done))
        for number, event in enumerate(events[skipped:], skipped + 1):
            is_last = number == len(events)
            place = done if is_last else _Place(before.recent, record.id, number)
            self._events.append((event, place))
        if not self._events:
            is_handled = self.is_handled
            self._delivered = done
            if is_handled:
                self.handled()
