"""Coordinator of a member: heartbeats and claims, for the shards that it owns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import anyio

from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet.store import Store, StoreError
from gateway_proto.fleet import (
    ClaimShard,
    LogHead,
    Membership,
    MembershipEvent,
    NotifyMember,
    WriteMember,
    claim_record,
    mailbox_of,
)
from gateway_proto.fleet.notices import NOTICE_SECONDS, notice

__all__ = ["Coordinator"]

_CLAIM_ATTEMPTS = 3
_IDLE_SECONDS = 1.0
"""Maximum time between two looks at the membership."""


class Coordinator:
    """Runs a `Membership` against a store, and hands its events to `on_event`.

    `report` is called before a heartbeat.
    """

    def __init__(
        self,
        membership: Membership,
        member: str,
        store: Store,
        on_event: Callable[[MembershipEvent], None],
        report: Callable[[], None],
    ) -> None:
        self.membership = membership
        self.previous: dict[int, str] = {}
        """Member that appended to the log of a shard before the last claim, by shard id."""
        self.claimed_at: dict[int, float] = {}
        """Time when the last claim was sent, by shard id."""
        self.answered: Notifier = Notifier()
        """Notified after each heartbeat that was answered."""
        self.failures: StoreFailures = StoreFailures()
        """Requests to the store that fail, of this coordinator and of the shards that it owns."""
        self._member = member
        self._store = store
        self._on_event = on_event
        self._report = report
        self._changed = Notifier()
        self._notices: dict[bytes, str] = {}
        self._notice_count = 0

    def look(self) -> None:
        """Read the members table: another member has news."""
        self.membership.notified(now=anyio.current_time())
        self.changed()

    def changed(self) -> None:
        """Send requests and hand over events: the membership was changed."""
        self._changed.notify()

    async def run(self) -> None:
        """Send the requests of the membership until cancelled."""
        membership = self.membership
        async with anyio.create_task_group() as group:
            while True:
                now = anyio.current_time()
                at = membership.next_timer()
                if at is not None and at <= now:
                    self._report()
                    membership.handle_timer(now=now)
                for request in membership.store_requests():
                    group.start_soon(self._answer, request)
                for event in membership.events():
                    self._on_event(event)
                at = membership.next_timer()
                left = _IDLE_SECONDS if at is None else at - anyio.current_time()
                await self._changed.wait(min(max(left, 0.0), _IDLE_SECONDS))

    async def leave(self) -> None:
        """Tell the other members that all shards are given away; give up if the store is away.

        All shards that are owned are released: nothing uses them.
        """
        membership = self.membership
        now = anyio.current_time()
        for shard_id, head in list(membership.owned.items()):  # claims that nobody took up
            membership.released(shard_id, head.id, now=now)
        membership.drain(now=now)
        while not membership.has_left:
            at = membership.next_timer()
            await anyio.sleep(0.0 if at is None else max(0.0, at - anyio.current_time()))
            membership.handle_timer(now=anyio.current_time())
            for request in membership.store_requests():
                await self._answer(request)
            if membership.lease_until < anyio.current_time():
                return
        for request in membership.store_requests():
            await self._answer(request)
        for message, member in list(self._notices.items()):  # on which `run` was cancelled
            await self._post(message, member)

    async def until_allowed(self, shard_id: int, since: float) -> None:
        """Wait until a heartbeat that was sent after `since` is answered, and a shard is owned.

        One that the answer shows to be lost is closed: wait until then.
        """
        membership = self.membership
        while not (membership.may_dial(since=since) and shard_id in membership.owned):
            self.membership.hurry(now=anyio.current_time())
            self.changed()
            await self.answered.wait()

    async def _answer(self, request: Any) -> None:
        match request:
            case WriteMember():
                await self._heartbeat(request)
            case NotifyMember():
                await self._notify(request.member)
                return
            case _:
                await self._claim(request)
        self.changed()

    async def _heartbeat(self, request: WriteMember) -> None:
        table = None
        try:
            table = await self._store.heartbeat(request.member, request.value)
            self.failures.heartbeat(None)
        except StoreError as error:
            self.failures.heartbeat(error)
        finally:  # also if it is cancelled
            self.membership.heartbeat_done(table, now=anyio.current_time())
        if table is not None:
            self.answered.notify()

    async def _notify(self, member: str) -> None:
        self._notice_count += 1
        message = notice(self._member, self._notice_count)
        self._notices[message] = member
        await self._post(message, member)

    async def _post(self, message: bytes, member: str) -> None:
        store: Any = self._store
        with contextlib.suppress(StoreError):
            await store.post(mailbox_of(member), message, NOTICE_SECONDS)
        self._notices.pop(message, None)

    async def _claim(self, request: ClaimShard) -> None:
        head = None
        try:
            head = await self._claimed(request)
            self.failures.request(request.shard, "claim", None)
        except StoreError as error:
            self.failures.request(request.shard, "claim", error)
        finally:
            self.membership.claim_done(request, head, now=anyio.current_time())

    async def _claimed(self, request: ClaimShard) -> LogHead | None:
        """Append the claim; return its head, or None if other records were first."""
        owner: str | None = None
        for _ in range(_CLAIM_ATTEMPTS):
            head = await self._store.head(request.shard)
            if head.id == request.id:
                return head
            if owner not in (None, head.by):
                return None  # another member claimed the shard meanwhile
            owner = head.by
            record = claim_record(self._member, request.id, head)
            self.claimed_at[request.shard] = anyio.current_time()
            position = await self._store.append(request.shard, head, record)
            if position is not None:
                self.previous[request.shard] = head.by
                return record.head(position)
        return None
