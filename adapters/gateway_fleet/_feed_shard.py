"""One shard of a feed: its cursor, driven against the store."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import anyio

from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet.store import Store, StoreError
from gateway_proto import DataError
from gateway_proto.fleet import FeedCursor, FeedEvent, LogHead

__all__ = ["FeedShard", "cursor_key"]

T = TypeVar("T")
_RETRY_SECONDS = 0.2
_POLL_SECONDS = 1.0
"""Time between two looks at the log, as notifications of appends may be missed."""
_READ_AHEAD = 2**20
"""Bytes of events from which a read stops, if one record is complete."""


def cursor_key(shard_id: int) -> str:
    """Return the key of the value with the cursor of a shard, of one group."""
    return f"cursor:{shard_id}"


class FeedShard:
    """A shard while this consumer owns it within its group.

    `logs` has the log, `group` the cursor. `is_ended` returns whether nothing more will be logged.
    `on_events` is called when there are new events.
    """

    def __init__(
        self,
        shard_id: int,
        claim: LogHead,
        *,
        logs: Store,
        group: Store,
        failures: StoreFailures,
        from_start: bool,
        entered: bool,
        is_ended: Callable[[], bool],
        on_events: Callable[[], None],
    ) -> None:
        self.shard_id = shard_id
        self.claim = claim
        self.is_over = False
        """Whether the shard was given away or lost: its events are dropped."""
        self._cursor = FeedCursor(claim)
        self._logs = logs
        self._group = group
        self._failures = failures
        self._key = cursor_key(shard_id)
        self._from_start = from_start or entered
        self._entered = entered
        self._is_ended = is_ended
        self._on_events = on_events
        self._changed = Notifier()
        self._is_writing = False

    @property
    def is_fenced(self) -> bool:
        """Whether another consumer of the group has taken the shard over."""
        return self._cursor.is_fenced

    @property
    def is_cut(self) -> bool:
        """Whether the cutover was handled: the group is done with the shard."""
        return self._cursor.is_cut and not self.is_over

    @property
    def is_handled(self) -> bool:
        """Whether each event that was taken was handled."""
        return self._cursor.is_handled

    def next_event(self) -> FeedEvent | None:
        """Take the next event, if one was read."""
        if self.is_over:
            return None
        event = self._cursor.next_event()
        if self._cursor.needs_records:
            self._changed.notify()
        return event

    def look(self) -> None:
        """Read the log: a record was appended."""
        self._changed.notify()

    def end(self) -> None:
        """Read nothing more, and drop the events that were read."""
        self.is_over = True
        self._changed.notify()

    async def acknowledge(self) -> None:
        """Store that the events that were taken were handled; wait for the store."""
        self._cursor.handled()
        await self._write()

    async def run(self) -> None:
        """Read the log until the shard is given away or lost."""
        await self._begin()
        while not self.is_over and not self.is_fenced:
            is_ended = self._is_ended()  # before the read, which then finds all that was logged
            was_empty = self._cursor.needs_records
            if was_empty and await self._read() and is_ended and await self._is_complete():
                self._cursor.finish()
            if was_empty and not self._cursor.needs_records:
                self._on_events()
                continue
            await self._write()  # records without events
            if not self.is_over:
                await self._changed.wait(_POLL_SECONDS)

    async def _begin(self) -> None:
        value, revision = await self._asked(
            lambda: self._group.compare_and_set(self._key, None, 0)
        ) or (None, 0)
        start = None
        if value is None and not self._from_start:
            start = await self._asked(lambda: self._logs.head(self.shard_id))
        if not self.is_over:
            with _store_errors(self.shard_id):
                self._cursor.begin(value, revision, start=start or LogHead(), entered=self._entered)
            await self._write()

    async def _write(self) -> None:
        """Write the cursor if it has changed."""
        while self._is_writing:  # another task does
            await self._changed.wait()
        self._is_writing = True
        try:
            while (write := self._cursor.next_write()) is not None and not self.is_over:
                value, revision = write
                answer = await self._asked(
                    lambda: self._group.compare_and_set(self._key, value, revision)  # noqa: B023
                )
                if answer is not None:
                    with _store_errors(self.shard_id):
                        self._cursor.written(*answer)
        finally:
            self._is_writing = False
            self._changed.notify()

    async def _read(self) -> bool:
        """Read records; return whether all were read that were there."""
        cursor, size = self._cursor, 0
        try:
            records = self._logs.records(self.shard_id, cursor.position)
            async with contextlib.aclosing(records):
                async for position, record in records:
                    if self.is_over or not cursor.is_active:
                        return False
                    size += record.size()
                    if not cursor.add(position, record) or size > _READ_AHEAD:
                        return False
        except StoreError as error:
            self._failures.request(self.shard_id, "read", error)
            await anyio.sleep(_RETRY_SECONDS)
            # The engine may have lost the end of the log, or another consumer may have the shard.
            if cursor.is_active:
                cursor.restart()
                await self._write()
            return False
        self._failures.request(self.shard_id, "read", None)
        return True

    async def _is_complete(self) -> bool:
        """Whether the log has no more than was read, also if a replica of the engine is behind."""
        head = await self._asked(lambda: self._logs.head(self.shard_id))
        if head is None or head.position <= self._cursor.position:
            return True
        with contextlib.suppress(StoreError):
            async with contextlib.aclosing(self._logs.records(self.shard_id, 0)) as records:
                return await anext(records, None) is None  # all were dropped, and the head is kept
        return False

    async def _asked(self, request: Callable[[], Awaitable[T]]) -> T | None:
        """Return the answer of the store, which is asked until it answers; None at the end."""
        while not self.is_over:
            try:
                answer = await request()
            except StoreError as error:
                self._failures.request(self.shard_id, "cursor", error)
            else:
                self._failures.request(self.shard_id, "cursor", None)
                return answer
            await anyio.sleep(_RETRY_SECONDS)
        return None


@contextlib.contextmanager
def _store_errors(shard_id: int) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise StoreError(f"shard {shard_id}: {error}") from None
