"""One consumer of a group, while the group reads the logs of one generation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import anyio

from gateway_fleet._coordinator import Coordinator
from gateway_fleet._feed_shard import FeedShard
from gateway_fleet._runtime import Notifier
from gateway_fleet.store import FeedStore, StoreError
from gateway_proto import __version__
from gateway_proto.fleet import (
    FeedEvent,
    GroupPlace,
    LogHead,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
    Stage,
)

__all__ = ["FeedGroup"]


class FeedGroup:
    """The shards of a generation that this consumer owns within its group.

    `bot` is the store of the bot, `changed` is notified when there are new events.
    """

    def __init__(
        self,
        name: str,
        group: str,
        place: GroupPlace,
        bot: FeedStore,
        changed: Notifier,
        options: tuple[float, float, bool],
    ) -> None:
        self.place: GroupPlace = place
        self.is_over: bool = False
        """Whether the fleet has left the generation: logs that are read to their ends are done."""
        ttl, interval, self._from_start = options
        self._logs = bot.scoped(place.generation.id)
        self._group = self._logs.scoped(f"group:{group}")
        self._name = name
        now = anyio.current_time()
        count = place.generation.count
        self._membership = Membership(
            name, count, ttl=ttl, interval=interval, version=__version__, now=now
        )
        self._coordinator = Coordinator(
            self._membership, name, self._group, self._on_event, lambda: None
        )
        self._shards: dict[int, FeedShard] = {}
        self._order: list[FeedShard] = []
        self._taken: FeedShard | None = None
        self._changed = changed
        self._tasks: Any = None
        self._is_ended = False

    @property
    def owned(self) -> Mapping[int, LogHead]:
        """Claims of the shards that this consumer owns, by shard id."""
        return {shard_id: shard.claim for shard_id, shard in self._shards.items()}

    @property
    def stages(self) -> dict[int, Stage]:
        """Stages of all shards, as the consumers of the group report them."""
        return self._membership.stages

    def next_event(self) -> tuple[int, FeedEvent] | None:
        """Take the next event of a shard, in turn."""
        for index, shard in enumerate(self._order):
            if (event := shard.next_event()) is not None:
                # The others come first next time.
                self._order = [*self._order[index + 1 :], *self._order[: index + 1]]
                self._taken = shard
                return shard.shard_id, event
        return None

    async def handled(self) -> None:
        """Acknowledge the last event; wait until the store has it."""
        shard = self._taken
        if shard is not None and not shard.is_over:
            await shard.acknowledge()
        # Not before: then the shard could be given away without the acknowledgement.
        self._taken = None
        self._changed.notify()

    def report(self) -> None:
        """Report the shards whose cutover was handled."""
        for shard in self._shards.values():
            if shard.is_cut:
                now = anyio.current_time()
                self._membership.reached(shard.shard_id, Stage.LEFT, now=now)
        self._coordinator.changed()

    async def run(self) -> None:
        """Take part in the group until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._coordinator.run)
            self._tasks.start_soon(self._logs.listen, self._on_append)

    async def drain(self) -> None:
        """Give all shards to other consumers, after the last event was handled."""
        self._membership.drain(now=anyio.current_time())
        self._coordinator.changed()
        while not self._membership.has_left and not self._is_ended:
            await self._coordinator.answered.wait()

    def end(self) -> None:
        """End `drain`: the consumer no longer runs."""
        self._is_ended = True
        self._coordinator.answered.notify()

    async def leave(self, *, forget: bool = False) -> None:
        """Give the shards up, so that others need not wait for the end of the lease.

        With `forget` remove the member, too: the group reads another generation.
        """
        for shard in self._shards.values():
            shard.end()
            now = anyio.current_time()
            self._membership.released(shard.shard_id, shard.claim.id, now=now)
        try:
            await self._coordinator.leave()
        finally:
            self.end()
        if forget:
            with contextlib.suppress(StoreError):
                await self._group.heartbeat(self._name, b"")

    def _on_append(self, shard_id: int) -> None:
        if (shard := self._shards.get(shard_id)) is not None:
            shard.look()

    def _on_event(self, event: MembershipEvent) -> None:
        match event:
            case ShardAcquired():
                self._tasks.start_soon(self._own, event.shard, event.head)
            case ReleaseRequested():
                self._tasks.start_soon(self._release, event.shard, event.claim)
            case ShardLost() if self._has(event.shard, event.claim):
                self._shards[event.shard].end()

    def _owns(self, shard_id: int, claim: str) -> bool:
        head = self._membership.owned.get(shard_id)
        return head is not None and head.id == claim

    def _has(self, shard_id: int, claim: str) -> bool:
        shard = self._shards.get(shard_id)
        return shard is not None and shard.claim.id == claim

    async def _own(self, shard_id: int, claim: LogHead) -> None:
        while shard_id in self._shards:  # the previous claim is about to end
            await self._changed.wait()
        if not self._owns(shard_id, claim.id):
            return
        shard = FeedShard(
            shard_id,
            claim,
            logs=self._logs,
            group=self._group,
            failures=self._coordinator.failures,
            from_start=self._from_start,
            entered=self.place.entered,
            is_ended=lambda: self.is_over,
            on_events=self._changed.notify,
        )
        self._shards[shard_id] = shard
        self._order.append(shard)
        self._changed.notify()
        await shard.run()
        if shard.is_fenced:
            self._membership.fenced(shard_id, claim.id, now=anyio.current_time())
            self._coordinator.changed()
        shard.end()
        self._coordinator.failures.forget(shard_id)
        del self._shards[shard_id]
        self._order.remove(shard)
        self._changed.notify()

    async def _release(self, shard_id: int, claim: str) -> None:
        """Give a shard away, after its last event was handled."""
        while not self._has(shard_id, claim):
            if not self._owns(shard_id, claim):
                return
            await self._changed.wait()
        shard = self._shards[shard_id]
        while shard is self._taken and not shard.is_over:
            await self._changed.wait()
        shard.end()
        now = anyio.current_time()
        self._membership.released(shard.shard_id, shard.claim.id, now=now)
        self._coordinator.changed()
