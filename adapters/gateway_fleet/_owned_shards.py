"""Shards that a member owns: each has an owner from its claim until it is released or lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import anyio

from gateway_fleet._coordinator import Coordinator
from gateway_fleet._crossing import Crossing
from gateway_fleet._lease import Lease
from gateway_fleet._owner import ShardOwner
from gateway_fleet._presences import Presences
from gateway_fleet._runtime import Notifier
from gateway_fleet._shard_report import ShardReport
from gateway_fleet.store import Store
from gateway_proto import LocalProtocolError
from gateway_proto.fleet import (
    FleetMetrics,
    GenerationRole,
    LogHead,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
)

__all__ = ["OwnedShards"]

_POLL_SECONDS = 0.01


class OwnedShards:
    """Owners of the shards that a membership acquires, and what these share.

    It opens and closes the shards of the adapter, as the events of the membership say.
    """

    def __init__(
        self,
        membership: Membership,
        member: str,
        store: Store,
        role: GenerationRole,
        *,
        publish: bool,
        interval: float,
    ) -> None:
        self.by_id: dict[int, ShardOwner] = {}
        """Owners by shard id, until their last events are handled or dropped."""
        self.coordinator: Coordinator = Coordinator(
            membership, member, store, self._on_event, self._report
        )
        self.crossing: Crossing = Crossing(
            role, self.by_id, membership, self._end_session, publish=publish
        )
        self.lease: Lease = Lease(self.coordinator, interval)
        self.presences: Presences = Presences(store, self.coordinator.failures)
        self._membership = membership
        self._member = member
        self._store = store
        self._metrics = FleetMetrics()
        self._changed = Notifier()
        self._group: Any = None
        self._shards: Any = None

    @property
    def claims(self) -> Mapping[int, LogHead]:
        """Claims of the shards that are owned."""
        return {shard_id: owner.claim for shard_id, owner in self.by_id.items()}

    def get(self, shard_id: int) -> ShardOwner | None:
        """Return the owner of a shard, unless it was released or lost."""
        owner = self.by_id.get(shard_id)
        return None if owner is None or owner.is_over else owner

    def sender(self, shard_id: int) -> ShardOwner | None:
        """Return the owner of a shard that may send commands."""
        owner = self.get(shard_id)
        return owner if owner is not None and self._owns(shard_id, owner.claim.id) else None

    def metrics(self, *, identifies_left: int | None) -> str:
        """Return counts since the start, and the status of the owned shards."""
        now = anyio.current_time()
        statuses = {shard_id: owner.status(now) for shard_id, owner in self._running()}
        return self._metrics.text(statuses, identifies_left=identifies_left)

    async def may_identify(self, shard_id: int) -> bool:
        """Whether a shard is still owned: else another member may have its session already.

        One that is about to be closed may not, since its READY would be lost.
        """
        owner = self.get(shard_id)
        if owner is None or not owner.may_identify:
            return False
        if not (has_head := await owner.has_head()):
            owner.end()
            self._membership.fenced(shard_id, owner.claim.id, now=anyio.current_time())
            self.coordinator.changed()
        return has_head and owner.may_identify

    async def run(self, shards: Any) -> None:
        """Own shards, of those of the adapter, until cancelled."""
        self._shards = shards
        async with anyio.create_task_group() as self._group:
            await self.coordinator.run()

    async def leave(self) -> None:
        """Log what is left of all shards, which are closed, and leave the members.

        `run` has ended, since a cancellation of the caller ends it, too.
        """
        async with anyio.create_task_group() as group:
            for owner in self.by_id.values():
                group.start_soon(owner.flush)
        for owner in self.by_id.values():
            self._end(owner)
        if self._group is not None:
            await self.coordinator.leave()

    # ----- inside -----

    def _on_event(self, event: MembershipEvent) -> None:
        match event:
            case ShardAcquired():
                self._group.start_soon(self._own, event.shard, event.head)
            case ReleaseRequested():
                self._group.start_soon(self._release, event.shard, event.claim)
            case ShardLost():
                self._metrics.fenced()
                owner = self.by_id.get(event.shard)
                if owner is not None and owner.claim.id == event.claim:
                    owner.end()

    async def _own(self, shard_id: int, claim: LogHead) -> None:
        """Run a shard from its claim until it is released or lost."""
        previous = self.coordinator.previous.pop(shard_id, "")
        why, reason = self._reason(previous)
        self._metrics.acquired(why)
        while shard_id in self.by_id:  # the previous claim is about to end
            await self._changed.wait()
        await self.crossing.until_phase_is_known(claim.session)
        if not self._owns(shard_id, claim.id) or shard_id in self.by_id:
            return
        ready_at = None if claim.session is None else self._membership.session_start(shard_id)
        report = ShardReport(
            shard_id,
            self._metrics,
            self.coordinator.failures,
            reason=reason,
            ready_at=ready_at,
        )
        owner = self.by_id[shard_id] = ShardOwner(
            shard_id,
            self._member,
            claim,
            self._store,
            report,
            keep_events=self.crossing.keeps_events,
        )
        self._changed.notify()
        self.crossing.begin(owner)
        if self.crossing.role.dials(claim.session):
            self.lease.claimed(shard_id, self.coordinator.claimed_at[shard_id])
            await self._shards.add(shard_id, session=claim.session)
            owner.gateway = self._shards.gateways[shard_id]
            self._group.start_soon(self.presences.keep, owner)
            if self.crossing.role is GenerationRole.LEAVING:
                self._group.start_soon(self.crossing.leave_shard, owner)
        if await owner.run():
            self._membership.fenced(shard_id, claim.id, now=anyio.current_time())
            self.coordinator.changed()
        self.presences.forget(shard_id)
        self.coordinator.failures.forget(shard_id)
        await self._remove(shard_id)
        self.crossing.discard(owner)
        while owner.gateway is not None and owner.gateway.unhandled_events:  # they are dropped
            await anyio.sleep(_POLL_SECONDS)
        del self.by_id[shard_id]
        self._changed.notify()

    def _reason(self, previous: str) -> tuple[str, str]:
        """Return why a shard was acquired, in a word and with the member that had it."""
        if not previous:
            return "start", "first claim"
        if previous in self._membership.members:
            return "move", f"moved from {previous}"[:64]
        return "takeover", f"taken over from {previous}"[:64]

    async def _remove(self, shard_id: int, *, keep_session: bool = True) -> None:
        with contextlib.suppress(LocalProtocolError):  # another task has removed it
            await self._shards.remove(shard_id, keep_session=keep_session)

    async def _end_session(self, shard_id: int) -> None:
        await self._remove(shard_id, keep_session=False)

    async def _release(self, shard_id: int, claim: str) -> None:
        """Close a shard, log what is left, and report that another member may claim it."""
        while (owner := self.by_id.get(shard_id)) is None or owner.claim.id != claim:
            if not self._owns(shard_id, claim):
                return
            await self._changed.wait()
        while owner.gateway is None and self.crossing.role is not GenerationRole.LEAVING:
            await anyio.sleep(_POLL_SECONDS)  # it was claimed just now
        if owner.gateway is not None:
            owner.may_identify = False  # before `until_settled` looks whether it has identified
            await owner.until_settled()
            await self._remove(shard_id)
            # The events that were received are handled, or logged, before another resumes.
            await self.crossing.until_handled(owner)
        await owner.until_clear()
        self._end(owner)

    def _owns(self, shard_id: int, claim: str) -> bool:
        head = self._membership.owned.get(shard_id)
        return head is not None and head.id == claim

    def _end(self, owner: ShardOwner) -> None:
        """End the claim of a shard that was closed."""
        owner.end()
        self._membership.released(owner.shard_id, owner.claim.id, now=anyio.current_time())
        self.coordinator.changed()

    def _report(self) -> None:
        """Report the status of each shard, for operators."""
        now = anyio.current_time()
        for shard_id, owner in self._running():
            self._membership.report(shard_id, owner.status(now))

    def _running(self) -> Iterator[tuple[int, ShardOwner]]:
        for shard_id, owner in self.by_id.items():
            if owner.gateway is not None and not owner.is_over:
                yield shard_id, owner
