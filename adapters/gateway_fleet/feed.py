"""Consumers of the logs of a fleet: `Feed` and `open_feed`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping

import anyio

from gateway_fleet._arguments import check_feed_store, check_member, check_times
from gateway_fleet._bots import check_bot, wait_for_fleet
from gateway_fleet._command_sender import CommandSender
from gateway_fleet._feed_group import FeedGroup
from gateway_fleet._feed_place import join_group, until_next_place
from gateway_fleet._forgetting import forget_cursors
from gateway_fleet._runtime import (
    Notifier,
    current_task,
    failure_of,
    leave_within,
    member_name,
)
from gateway_fleet.commands import Commands
from gateway_fleet.store import FeedStore
from gateway_proto import LocalProtocolError
from gateway_proto._checks import BOOL, shown
from gateway_proto.driver.event_queue import log_error
from gateway_proto.driver.iteration import Iterations
from gateway_proto.fleet import FeedEvent, Generation, GroupPlace, LogHead

__all__ = ["Feed", "open_feed"]

_GROUP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LEAVE_SECONDS = 10.0


class Feed(Commands):
    """Events of the shards that this consumer owns within its group, out of the logs of a fleet.

    Iterate over it for (shard id, event). An event is acknowledged when the next is asked for, or
    by `handled`. Events of one shard come in order; one that was not acknowledged comes again, here
    or to another consumer of the group. `LoggedDispatch.id` tells repeats.
    """

    def __init__(
        self,
        name: str,
        group: str,
        place: GroupPlace,
        bot: FeedStore,
        options: tuple[float, float, bool],
    ) -> None:
        super().__init__(CommandSender(bot, place.generation, self._generation))
        self._name = name
        self._group = group
        self._bot = bot
        self._options = options
        self._changed = Notifier()
        self._iterations = Iterations()
        self._consumer = self._make_consumer(place)
        self._is_draining = False
        self._is_over = False
        self._error: Exception | None = None

    @property
    def member(self) -> str:
        """Name of this consumer in its group."""
        return self._name

    @property
    def count(self) -> int:
        """Number of shards of the fleet; another one after their `Cutover`."""
        return self._consumer.place.generation.count

    @property
    def owned(self) -> Mapping[int, LogHead]:
        """Claims of the shards that this consumer owns, by shard id."""
        return self._consumer.owned

    def __aiter__(self) -> AsyncIterator[tuple[int, FeedEvent]]:
        """Start an iteration; raises `LocalProtocolError` while another task iterates."""
        return self._iterations.start(None, current_task(), _take_nothing, self._next)

    async def _next(self) -> tuple[int, FeedEvent]:
        await self.handled()
        while True:
            if (item := self._consumer.next_event()) is not None:
                return item
            if self._error is not None:
                raise self._error
            if self._is_over:
                raise StopAsyncIteration
            await self._changed.wait()

    async def handled(self) -> None:
        """Acknowledge the last event; wait until the store has it."""
        await self._consumer.handled()

    async def drain(self) -> None:
        """Give all shards to other consumers; the iteration then ends.

        It waits until the last event is handled: call it from another task, or after `handled`.
        Without an answer of the store it waits. Once it is cancelled, as by a time limit, leave the
        block of `open_feed`: others get the shards `ttl` seconds later.
        """
        self._is_draining = True
        await self._consumer.drain()
        self._is_over = True
        self._changed.notify()

    async def _generation(self) -> Generation:
        """Return the generation whose events are read: the shard ids of commands are its, too."""
        return self._consumer.place.generation

    def _make_consumer(self, place: GroupPlace) -> FeedGroup:
        return FeedGroup(self._name, self._group, place, self._bot, self._changed, self._options)

    async def _send(self) -> None:
        """Take the answers to commands."""
        await self._sender.run()
        if self._sender.calls.error is not None:
            self._fail(self._sender.calls.error)

    async def _run(self) -> None:
        """Take part in the group, in one generation after the other."""
        try:
            while True:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._consumer.run)
                    here = self._consumer.place.generation
                    tasks.start_soon(forget_cursors, self._bot, self._group, here)
                    place = await self._until_next_place()
                    tasks.cancel_scope.cancel()
                left, self._consumer = self._consumer, self._make_consumer(place)
                self._sender.changed()
                self._changed.notify()
                await left.leave(forget=True)
        except BaseException as error:
            if (failure := failure_of(error)) is None:
                raise
            log_error(failure)
            self._fail(failure)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._changed.notify()
        self._consumer.end()

    async def _until_next_place(self) -> GroupPlace:
        place = await until_next_place(self._bot, self._group, self._consumer, self._options[1])
        if self._is_draining:
            await anyio.sleep_forever()
        return place

    async def _leave(self) -> None:
        self._is_over = True
        self._changed.notify()
        await self._consumer.leave()


def _take_nothing() -> None:
    """Return no event: the previous one is acknowledged before, which needs a wait."""


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

    If the fleet gets another number of shards, the last event of each shard is a `Cutover`. Once
    the group has handled all of them, it gets the events of the new shards.

    Waits for the fleet to begin. Raises `StoreError` if the store does not answer, and
    `LocalProtocolError` for invalid arguments.
    """
    if not isinstance(group, str) or _GROUP.fullmatch(group) is None:
        raise LocalProtocolError(
            f"invalid group {shown(group)}: expected 1 to 64 letters, digits, hyphens or "
            "underscores"
        )
    check_bot(bot)
    check_feed_store(store)
    check_times(ttl, interval)
    check_member(member)
    BOOL.named("from_start", from_start)
    async with store as entered:
        bot_store, generation = await wait_for_fleet(entered, bot)
        place = await join_group(bot_store, group, generation)
        name = member_name() if member is None else member
        feed = Feed(name, group, place, bot_store, (ttl, interval, from_start))
        error: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed._run)
            tasks.start_soon(feed._send)
            try:
                yield feed
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as caught:
                # Raised again outside of the group, which would wrap it.
                error = caught
            finally:
                tasks.cancel_scope.cancel()
                failure = await leave_within(_LEAVE_SECONDS, feed._leave)
                error = error or failure
        if error is not None:
            raise error
