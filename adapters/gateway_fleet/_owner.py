"""Owner of one shard: its gateway, its ledger, and the appends to its log."""

from __future__ import annotations

from typing import Any

import anyio

from gateway_fleet._runtime import Notifier
from gateway_fleet._shard_report import ShardReport
from gateway_fleet.store import Store, StoreError
from gateway_proto import Dispatch, Event, State
from gateway_proto.fleet import Ledger, LogHead, Preparation, ShardStatus, Stage
from gateway_proto.fleet.generation_steps import stage_of

__all__ = ["ShardOwner"]

_RETRY_SECONDS = (0.05, 0.2, 1.0)
"""Delays before an append without an answer is sent again."""
_LOOK_SECONDS = 5.0
"""Maximum time between two looks whether the last record of an idle shard is too old."""
_RESUME_SECONDS = 10.0


class ShardOwner:
    """A shard while this process owns it, from its claim until it is released or lost.

    With `keep_events` events are logged as they are taken; else the session alone is logged, about
    once in `seconds`, as of the events that were handled.
    """

    def __init__(
        self,
        shard_id: int,
        member: str,
        claim: LogHead,
        store: Store,
        report: ShardReport,
        *,
        keep_events: bool,
    ) -> None:
        self.shard_id = shard_id
        self.claim = claim
        self._member = member
        self.ledger: Ledger = Ledger(member, claim, keep_events=keep_events)
        self.gateway: Any = None
        self._report = report
        self.may_identify: bool = True
        """Whether the shard may get an identify slot: it is not about to be closed."""
        self.is_leaving: bool = False
        """Whether the last events are logged without a delay."""
        self.is_closing = False
        """Whether the shard is closed for good: the cutover follows."""
        self.is_over: bool = False
        """Whether the shard was released or lost: its remaining events are dropped."""
        self.room: Notifier = Notifier()
        """Notified when the ledger may have room, or is clear."""
        self.stage: Stage | None = None
        """Progress of the shard in the change to another number of shards."""
        self.preparation: Preparation = Preparation()
        self._store = store
        self._seconds = 0.0 if keep_events else 1.0
        self._changed = Notifier()
        self._is_idle = False
        self._appended_at = anyio.current_time()

    def status(self, now: float) -> ShardStatus:
        """Return the status of the shard, for operators."""
        return self._report.status(self.gateway, pending=self.ledger.pending_bytes, now=now)

    def add(self, event: Event) -> None:
        """Add an event that was handled to the ledger, which keeps the session alone."""
        if self.is_closing and not isinstance(event, Dispatch):
            return  # the session was ended on purpose
        if not self.is_over:
            self.ledger.add(event)
            if isinstance(event, Dispatch):
                self._report.received(event)
            self._wake()

    def taken(self, events: list[Event]) -> list[Event]:
        """Return those of the events that `add_all` adds.

        They are one or more plain dispatches, or another event alone.
        """
        first = events[0]
        self._report.taken(first)
        is_end = self.is_closing and not isinstance(first, Dispatch)
        return [] if is_end else events  # the session was ended on purpose

    async def add_all(self, left: list[Event]) -> None:
        """Move events from a list to the ledger, and wait while that has no room.

        If it is cancelled, call it again before others are added: else the log lacks the rest.
        """
        while not self.is_over:
            del left[: self.ledger.add_all(left)]
            self._wake()
            if not left and self.ledger.has_room:
                return
            await self.room.wait()

    def _wake(self) -> None:
        if self._is_idle:
            self._is_idle = False  # once, not for each event before `run` continues
            self._changed.notify()

    def drop(self, event: Event) -> None:
        """Add an event of a generation that is being prepared: nobody gets it."""
        self.preparation.add(event, now=anyio.current_time())
        if not self.is_over:
            self.ledger.add(event)
            self._report.taken(event)
            self._changed.notify()

    def enter(self, *, keep_events: bool) -> None:
        """Log that events are kept from now on."""
        self._seconds = 0.0 if keep_events else 1.0
        self.ledger.enter(keep_events=keep_events)
        self._changed.notify()

    def cut_over(self) -> None:
        """Log the cutover as the last record."""
        self.is_leaving = True
        self.ledger.cut_over()
        self._changed.notify()

    def hurry(self) -> None:
        """Append what is left without a delay."""
        self.is_leaving = True
        self._changed.notify()

    def end(self) -> None:
        """Append nothing more."""
        self.is_over = True
        self._changed.notify()
        self.room.notify()

    async def has_head(self) -> bool:
        """Whether the last record of the log is an own one, or `StoreError`.

        The process may have been stopped, or the engine may have lost the end of the log.
        """
        head = await self._store.head(self.shard_id)
        return head.by == self._member and head.position >= self.ledger.head.position

    async def until_settled(self) -> None:
        """Wait for the answer to Identify, as `Config.ready_timeout` allows, or to Resume.

        Events of a lost READY would be lost. The next owner can resume again, so that the answer to
        Resume is waited for 10 seconds at most.
        """
        end = anyio.current_time() + _RESUME_SECONDS
        while not self.is_over and (
            self.gateway.state is State.IDENTIFYING
            or (self.gateway.state is State.RESUMING and anyio.current_time() < end)
        ):
            await anyio.sleep(0.02)

    async def until_clear(self) -> None:
        """Wait until everything that was added is in the log, or the shard is lost."""
        self.hurry()
        while not self.is_over and not self.ledger.is_clear:
            await self.room.wait()

    async def run(self) -> bool:
        """Append until the end; return whether another member has claimed the shard."""
        failures = 0
        while not self.is_over:
            if self.ledger.next_append() is None:
                self._is_idle = True
                await self._idle()
                self._is_idle = False
                continue
            try:
                if not await self._append():
                    self.end()
                    return True
                failures = 0
            except StoreError as error:
                self._report.append_failed(error)
                await anyio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1
                continue
            self.room.notify()
            if self._seconds and not self.is_leaving:
                await self._delay()
        return False

    async def _idle(self) -> None:
        """Wait for something to append, or until the last record must be followed by another."""
        keep = self._store.keep_seconds
        if keep is None:
            await self._changed.wait()
            return
        left = self._appended_at + keep - anyio.current_time()
        await self._changed.wait(min(max(left, 0.0), _LOOK_SECONDS))
        if self._appended_at + keep <= anyio.current_time():
            self.ledger.touch()

    async def flush(self) -> None:
        """Append what is left, after `run` was cancelled; give up if the store is away."""
        for seconds in (*_RETRY_SECONDS, 0.0):
            try:
                while not self.is_over and self.ledger.next_append() is not None:
                    await self._append()
                return
            except StoreError:  # also of a connection on which a request was cancelled
                await anyio.sleep(seconds)

    async def _append(self) -> bool:
        """Append what is next; return whether the shard is still owned."""
        pair = self.ledger.next_append()
        assert pair is not None
        began = self._appended_at = anyio.current_time()
        position = await self._store.append(self.shard_id, *pair)
        is_owned = True
        if position is None:
            is_owned = self.ledger.refused(await self._store.head(self.shard_id))
        else:
            self.ledger.appended(position)
        record = pair[1]
        if self.ledger.head.id == record.id:  # also if only the answer was lost
            self._report.appended(record, max(0.0, anyio.current_time() - began))
            self.stage = stage_of(record) or self.stage
        return is_owned

    async def _delay(self) -> None:
        end = anyio.current_time() + self._seconds
        while self._seconds and not self.is_leaving and not self.is_over:
            left = end - anyio.current_time()
            if left <= 0:
                return
            await self._changed.wait(left)
