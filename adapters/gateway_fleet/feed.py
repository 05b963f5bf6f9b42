"""Consumers of the logs of a fleet: `Feed` and `open_feed`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio

from gateway_fleet._bots import check_bot, wait_for_fleet
from gateway_fleet._coordinator import Coordinator
from gateway_fleet._feed_shard import FeedShard
from gateway_fleet._runtime import Notifier, alone, member_name
from gateway_fleet.store import FeedStore
from gateway_proto import LocalProtocolError, __version__
from gateway_proto.driver.event_queue import log_error
from gateway_proto.fleet import (
    FeedEvent,
    Generation,
    LogHead,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
)

__all__ = ["Feed", "open_feed"]

_GROUP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LEAVE_SECONDS = 10.0


class Feed:
    """Events of the shards that this consumer owns within its group, out of the logs of a fleet.

    Iterate over it for (shard id, event). An event is acknowledged when the next is asked for, or
    by `handled`. Events of one shard come in order; one that was not acknowledged comes again, here
    or to another consumer of the group. `LoggedDispatch.id` tells repeats.
    """

    def __init__(
        self, name: str, generation: Generation, logs: FeedStore, group: FeedStore, options: Any
    ) -> None:
        ttl, interval, self._from_start = options
        self._name = name
        self._generation = generation
        self._logs = logs
        self._group = group
        now = anyio.current_time()
        self._membership = Membership(
            name, generation.count, ttl=ttl, interval=interval, version=__version__, now=now
        )
        self._coordinator = Coordinator(self._membership, name, group, self._on_event, lambda: None)
        self._shards: dict[int, FeedShard] = {}
        self._order: list[FeedShard] = []
        self._taken: FeedShard | None = None
        self._changed = Notifier()
        self._is_over = False
        self._error: Exception | None = None
        self._tasks: Any = None

    @property
    def member(self) -> str:
        """Name of this consumer in its group."""
        return self._name

    @property
    def count(self) -> int:
        """Number of shards of the fleet."""
        return self._generation.count

    @property
    def owned(self) -> Mapping[int, LogHead]:
        """Claims of the shards that this consumer owns, by shard id."""
        return {shard_id: shard.claim for shard_id, shard in self._shards.items()}

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> tuple[int, FeedEvent]:
        await self.handled()
        while True:
            for index, shard in enumerate(self._order):
                if (event := shard.next_event()) is not None:
                    # The others come first next time.
                    self._order = [*self._order[index + 1 :], *self._order[: index + 1]]
                    self._taken = shard
                    return shard.shard_id, event
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._is_over:
                raise StopAsyncIteration
            await self._changed.wait()

    async def handled(self) -> None:
        """Acknowledge the last event; wait until the store has it."""
        shard = self._taken
        if shard is not None and not shard.is_over:
            await shard.acknowledge()
        # Not before: then the shard could be given away without the acknowledgement.
        self._taken = None
        self._changed.notify()

    async def drain(self) -> None:
        """Give all shards to other consumers; the iteration then ends.

        It waits until the last event is handled: call it from another task, or after `handled`.
        """
        self._membership.drain(now=anyio.current_time())
        self._coordinator.changed()
        while not self._membership.has_left:
            await self._coordinator.answered.wait()
        self._is_over = True
        self._changed.notify()

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._coordinator.run)
                self._tasks.start_soon(self._logs.listen, self._on_append)
        except ExceptionGroup as group:
            self._error = alone(group)
            log_error(self._error)
            self._changed.notify()

    async def _leave(self) -> None:
        """Give the shards up, so that others need not wait for the end of the lease."""
        for shard in self._shards.values():
            shard.end()
            now = anyio.current_time()
            self._membership.released(shard.shard_id, shard.claim.id, now=now)
        await self._coordinator.leave()

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
            from_start=self._from_start,
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


@contextlib.asynccontextmanager
async def open_feed(
    store: FeedStore,
    *,
    group: str,
    bot: str | None = None,
    from_start: bool = False,
    member: str | None = None,
    ttl: float = 10.0,
    interval: float = 2.0,
) -> AsyncIterator[Feed]:
    """Consume the events that a fleet publishes, together with all consumers of the same group.

    Each shard belongs to one consumer of a group, so its events are handled in order; groups are
    independent. `bot` is the fingerprint of the token, see `gateway_proto.session`; it is needed
    only if the store has several bots. A new group begins with the next events, or with
    `from_start` with the oldest that the store keeps. `ttl` and `interval` are as in `open_fleet`.

    Waits for the fleet to begin. Raises `StoreError` if the store does not answer, and
    `LocalProtocolError` for invalid arguments.
    """
    if not isinstance(group, str) or _GROUP.fullmatch(group) is None:
        raise LocalProtocolError(
            f"invalid group {group!r:.80}: expected 1 to 64 letters, digits, hyphens or underscores"
        )
    check_bot(bot)
    if not hasattr(store, "listen"):
        raise LocalProtocolError(
            f"invalid store {store!r:.80}: expected a FeedStore, such as RedisStore(url)"
        )
    async with store as entered:
        bot_store, generation = await wait_for_fleet(entered, bot)
        logs = bot_store.scoped(generation.id)
        options = ttl, interval, from_start
        name = member or member_name()
        feed = Feed(name, generation, logs, logs.scoped(f"group:{group}"), options)
        error: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed._run)
            try:
                yield feed
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as caught:
                # Raised again outside of the group, which would wrap it.
                error = caught
            finally:
                tasks.cancel_scope.cancel()
                with anyio.move_on_after(_LEAVE_SECONDS, shield=True):
                    await feed._leave()
        if error is not None:
            raise error
