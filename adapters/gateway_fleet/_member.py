"""Member of a fleet: the shards of this process come and go as its membership says."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import anyio

from gateway_fleet._command_service import CommandService, gateway_settings
from gateway_fleet._coordinator import Coordinator
from gateway_fleet._crossing import Crossing, Role
from gateway_fleet._drains import until_asked
from gateway_fleet._lease import Lease
from gateway_fleet._owner import ShardOwner
from gateway_fleet._runtime import Notifier, alone
from gateway_fleet._shard_report import ShardReport
from gateway_fleet._slots import SharedSlots, identify_slots
from gateway_fleet.store import Store, StoreError
from gateway_proto import Config, GaveUpError, LocalProtocolError, __version__
from gateway_proto.driver.event_queue import log_error
from gateway_proto.fleet import (
    FleetMetrics,
    Generation,
    LogHead,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
)

__all__ = ["Member"]

_POLL_SECONDS = 0.01


class Member:
    """Membership, slots and owners of one process, driven against a store."""

    def __init__(
        self,
        config: Config,
        *,
        name: str,
        generation: Generation,
        bot: Store,
        ttl: float,
        interval: float,
        publish: bool,
        role: Role = Role.PRESENT,
    ) -> None:
        self.name: str = name
        self.generation: Generation = generation
        self.slots: SharedSlots = SharedSlots(bot, self._may_identify)
        self._config = config
        self.store: Store = bot.scoped(generation.id)
        """Store with the logs of this fleet."""
        settings = gateway_settings(config, self.store, publish=publish)
        self._commands = CommandService(name, bot, self.store, settings, self._own_here)
        now = anyio.current_time()
        membership = Membership(
            name,
            generation.count,
            ttl=ttl,
            interval=interval,
            version=__version__,
            gateway=settings,
            now=now,
        )
        self._membership = membership
        self._coordinator = Coordinator(membership, name, self.store, self._on_event, self._report)
        self._metrics = FleetMetrics()
        self.owners: dict[int, ShardOwner] = {}
        """Owners by shard id."""
        self.lease: Lease = Lease(self._coordinator, interval)
        self.crossing: Crossing = Crossing(
            role, self.owners, membership, self._end_session, publish=publish
        )
        self._group: Any = None
        self._scope: anyio.CancelScope | None = None
        self._finished: anyio.Event | None = None
        self.shards: Any = None
        """Shards of this process, of the adapter."""
        self._changed = Notifier()
        self._is_draining = False
        self._has_left = False
        self.ask_to_drain: Callable[[], Awaitable[None]] = self.drain
        """Called when the store has a request to drain."""
        self._error: Exception | None = None

    # ----- of the iteration -----

    @property
    def owned(self) -> Mapping[int, LogHead]:
        """Claims of the shards that are owned."""
        return {shard_id: owner.claim for shard_id, owner in self.owners.items()}

    def owner(self, shard_id: int) -> ShardOwner | None:
        """Return the owner of a shard, unless it was released or lost."""
        owner = self.owners.get(shard_id)
        return None if owner is None or owner.is_over else owner

    def metrics(self) -> str:
        """Return counts since the start, and the status of the owned shards."""
        now = anyio.current_time()
        statuses = {shard_id: owner.status(now) for shard_id, owner in self._running_owners()}
        return self._metrics.text(statuses, identifies_left=self.slots.left)

    def raise_error(self) -> None:
        """Raise the exception that ended the member, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    # ----- of the context manager -----

    async def run(self) -> None:
        """Take part in the fleet until cancelled."""
        self._finished = anyio.Event()
        try:
            with anyio.CancelScope() as self._scope:
                await self._run()
        except Exception as error:
            await self.fail(error)
        finally:
            self._finished.set()
            self._coordinator.answered.notify()

    async def fail(self, error: Exception) -> None:
        """End the iteration with an exception."""
        self._error = error = alone(error)
        log_error(error)
        await self.shards.stop()

    async def _run(self) -> None:
        try:
            plan = await self.shards.planned()
        except (GaveUpError, LocalProtocolError):
            return  # the iteration raises it
        name = f"{self.name}.{self.generation.id}"  # the slots are those of all generations
        self.slots.begin(identify_slots(name, self._config, plan))
        async with anyio.create_task_group() as self._group:
            self._group.start_soon(self._drain_if_asked)
            self._group.start_soon(self._coordinator.run)
            self._group.start_soon(self.slots.run)
            self._group.start_soon(self._commands.run)

    async def drain(self) -> None:
        """Give all shards away; then the iteration ends."""
        if not self._is_draining:
            self._is_draining = True
            self._membership.drain(now=anyio.current_time())
            self._coordinator.changed()
        while not self._membership.has_left and not self._is_over:
            await self._coordinator.answered.wait()
        await self.shards.stop()

    async def _drain_if_asked(self) -> None:
        await until_asked(self.store, self.name, self._coordinator.answered)
        await self.ask_to_drain()

    @property
    def _is_over(self) -> bool:
        return self._finished is not None and self._finished.is_set()

    async def retire(self) -> None:
        """Close all shards for good, and remove the member: the generation is over."""
        if not self._has_left:
            await self.shards.stop(keep_session=False)
            await self.leave()
            with contextlib.suppress(StoreError):
                await self.store.heartbeat(self.name, b"")

    def changed(self) -> None:
        """Send a heartbeat if the membership wants one."""
        self._coordinator.changed()

    async def leave(self) -> None:
        """Close all shards, store their sessions, and leave the members."""
        if self._finished is None or self._has_left:
            return  # it was cancelled before it began
        self._has_left = True
        if self._scope is not None:
            self._scope.cancel()
        await self._finished.wait()
        await self.shards.stop()
        # The tasks of the owners have ended, since a cancellation of the caller ends them, too.
        async with anyio.create_task_group() as group:
            for owner in self.owners.values():
                group.start_soon(owner.flush)
        for owner in self.owners.values():
            owner.end()
            claim = owner.claim.id
            self._membership.released(owner.shard_id, claim, now=anyio.current_time())
        if self._group is not None:
            await self._coordinator.leave()

    # ----- inside -----

    async def _may_identify(self, shard_id: int) -> bool:
        """Whether a shard is still owned: else another member may have its session already."""
        owner = self.owners.get(shard_id)
        if owner is None or owner.is_over:
            return False
        if not (has_head := await owner.has_head()):
            owner.end()
            self._membership.fenced(shard_id, owner.claim.id, now=anyio.current_time())
            self._coordinator.changed()
        return has_head

    def _on_event(self, event: MembershipEvent) -> None:
        match event:
            case ShardAcquired():
                self._group.start_soon(self._own, event.shard, event.head)
            case ReleaseRequested():
                self._group.start_soon(self._release, event.shard, event.claim)
            case ShardLost():
                self._metrics.fenced()
                owner = self.owners.get(event.shard)
                if owner is not None and owner.claim.id == event.claim:
                    owner.end()

    async def _own(self, shard_id: int, claim: LogHead) -> None:
        """Run a shard from its claim until it is released or lost."""
        previous = self._coordinator.previous.pop(shard_id, "")
        why, reason = self._reason(previous)
        self._metrics.acquired(why)
        while shard_id in self.owners:  # the previous claim is about to end
            await self._changed.wait()
        if not self._owns(shard_id, claim.id):
            return
        ready_at = None if claim.session is None else self._membership.session_start(shard_id)
        report = ShardReport(shard_id, self._metrics, reason=reason, ready_at=ready_at)
        owner = self.owners[shard_id] = ShardOwner(
            shard_id,
            self.name,
            claim,
            self.store,
            report,
            keep_events=self.crossing.keeps_events,
        )
        self._changed.notify()
        self.crossing.begin(owner)
        if self.crossing.role is not Role.LEAVING or claim.session is not None:
            self.lease.claimed(shard_id)
            await self.shards.add(shard_id, session=claim.session)
            owner.gateway = self.shards.gateways[shard_id]
            self._group.start_soon(self._commands.presences.keep, owner)
            if self.crossing.role is Role.LEAVING:
                self._group.start_soon(self.crossing.leave_shard, owner)
        if await owner.run():
            self._membership.fenced(shard_id, claim.id, now=anyio.current_time())
            self._coordinator.changed()
        self._commands.presences.forget(shard_id)
        await self._remove(shard_id)
        await self.crossing.discard(owner)
        while owner.gateway is not None and owner.gateway.unhandled_events:  # they are dropped
            await anyio.sleep(_POLL_SECONDS)
        del self.owners[shard_id]
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
            await self.shards.remove(shard_id, keep_session=keep_session)

    async def _end_session(self, shard_id: int) -> None:
        await self._remove(shard_id, keep_session=False)

    async def _release(self, shard_id: int, claim: str) -> None:
        """Close a shard, log what is left, and report that another member may claim it."""
        while (owner := self.owners.get(shard_id)) is None or owner.claim.id != claim:
            if not self._owns(shard_id, claim):
                return
            await self._changed.wait()
        while owner.gateway is None and self.crossing.role is not Role.LEAVING:
            await anyio.sleep(_POLL_SECONDS)  # it was claimed just now
        if owner.gateway is not None:
            await owner.until_settled()
            await self._remove(shard_id)
            # The events that were received are handled, or logged, before another resumes.
            await self.crossing.until_handled(owner)
        await owner.until_clear()
        self._end(owner)

    def _own_here(self, shard_id: int) -> ShardOwner | None:
        """Return the owner of a shard that may send commands."""
        owner = self.owners.get(shard_id)
        if owner is None or owner.is_over or not self._owns(shard_id, owner.claim.id):
            return None
        return owner

    def _owns(self, shard_id: int, claim: str) -> bool:
        head = self._membership.owned.get(shard_id)
        return head is not None and head.id == claim

    def _end(self, owner: ShardOwner) -> None:
        """End the claim of a shard that was closed."""
        owner.end()
        self._membership.released(owner.shard_id, owner.claim.id, now=anyio.current_time())
        self._coordinator.changed()

    def _report(self) -> None:
        """Report the status of each shard, for operators."""
        now = anyio.current_time()
        for shard_id, owner in self._running_owners():
            self._membership.report(shard_id, owner.status(now))

    def _running_owners(self) -> Iterator[tuple[int, ShardOwner]]:
        for shard_id, owner in self.owners.items():
            if owner.gateway is not None and not owner.is_over:
                yield shard_id, owner
