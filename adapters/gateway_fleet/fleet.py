"""Shards over several processes: `Fleet` and `open_fleet`."""

from __future__ import annotations

import contextlib
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

import anyio

from gateway_dialing import check_proxy
from gateway_fleet._arguments import check_member, check_store, check_times
from gateway_fleet._bots import register_bot
from gateway_fleet._generation import agree, read_generation
from gateway_fleet._iteration import FleetIteration, PublishingIteration
from gateway_fleet._keeper import Keeper
from gateway_fleet._member import Member
from gateway_fleet._runtime import leave_within, member_name, running_adapter
from gateway_fleet.memory import MemoryStore
from gateway_fleet.store import Store
from gateway_proto import Config, Event, LocalProtocolError
from gateway_proto._checks import BOOL
from gateway_proto.config import check_is_config
from gateway_proto.driver.arguments import check_opening
from gateway_proto.fleet import Cutover, Generation, GenerationRole, LogHead
from gateway_proto.fleet.member_record import SHARD_COUNT
from gateway_proto.session import token_fingerprint
from gateway_proto.shards import ShardManager

__all__ = ["Fleet", "open_fleet"]

_LEAVE_SECONDS = 10.0


class Fleet:
    """The shards of a bot that this process owns. Iterate over it for (shard id, event).

    Shards come and go. An event counts as handled when the next is asked for; its shard is resumed
    after it, here or in another process. The shard id of the lookup's events is None. The iteration
    ends after `drain`, and raises `GaveUpError` if a shard of this process gave up.

    After (None, `Cutover`) the shards are those of another number of shards, see `reshard`.
    """

    def __init__(self, keeper: Keeper, *, publish: bool) -> None:
        self._keeper = keeper
        self._publish = publish
        self._iteration: weakref.ref[FleetIteration] | None = None  # it ends with its loop

    def __aiter__(self) -> AsyncIterator[tuple[int | None, Event | Cutover]]:
        """Start an iteration; raises `LocalProtocolError` while another task iterates."""
        iteration = (PublishingIteration if self._publish else FleetIteration)(self._keeper)
        self._iteration = weakref.ref(iteration)
        return iteration

    @property
    def _member(self) -> Member:
        return self._keeper.handed_out

    @property
    def member(self) -> str:
        """Name of this process in the fleet."""
        return self._member.name

    @property
    def count(self) -> int:
        """Number of shards of all processes."""
        return self._member.generation.count

    @property
    def store(self) -> Store:
        """Store with the logs of this fleet: `records(shard_id, after)` reads one."""
        return self._member.store

    @property
    def owned(self) -> Mapping[int, LogHead]:
        """Claims of the shards that this process owns, by shard id."""
        return self._member.owners.claims

    @property
    def gateways(self) -> Mapping[int, Any]:
        """Gateways of the shards that are here, by shard id."""
        gateways: Mapping[int, Any] = self._member.shards.gateways
        return gateways

    def of_guild(self, guild_id: str | int) -> Any:
        """Return the gateway that receives a guild's events.

        Raises `LocalProtocolError` if its shard is in another process, or not here yet.
        """
        return self._member.shards.of_guild(guild_id)

    def metrics(self) -> str:
        """Return counts since the start, and the status of the owned shards, as OpenMetrics text.

        The content type of the text is `FleetMetrics.content_type`.
        """
        return self._member.metrics()

    def handled(self) -> None:
        """Count the last event as handled, before the next is asked for.

        Call it before a `break`: else the next process that gets the shard handles the event again.
        With `publish` an event counts as handled once it is in the log, and this does nothing.
        """
        iteration = None if self._iteration is None else self._iteration()
        if iteration is not None:
            iteration.handled()

    async def drain(self) -> None:
        """Give all shards to other processes; the iteration then ends.

        A shard is given away after its queued events were handled: continue to iterate. If no other
        process is there, the shards are closed so that the next one resumes them. Without an answer
        of the store it waits. Once it is cancelled, as by a time limit, leave the block of
        `open_fleet`: others get the shards `ttl` seconds later.
        """
        await self._keeper.drain()


@contextlib.asynccontextmanager
async def open_fleet(
    config: Config,
    store: Store | None = None,
    *,
    count: int | None = None,
    member: str | None = None,
    ttl: float = 10.0,
    interval: float = 2.0,
    publish: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    proxy: Any = True,
    connect: Any = None,
    queue_limit: int = 1000,
    recorder: Any = None,
    raise_on_give_up: bool = True,
) -> AsyncIterator[Fleet]:
    """Run shards of one bot, together with all processes that use the same store and token.

    Without a store the fleet is this process. `count` is the number of shards of all processes, by
    default that of the processes that are there, or of the lookup. Another one than before begins
    after `ttl` seconds without a live process. `member` must differ between processes. A process
    whose heartbeats, one in `interval` seconds, are missing for `ttl` seconds loses its shards to
    the others. With `publish`, events go to the logs of the store, too, and reading pauses while
    the store does not answer; else only the sessions go there. The other arguments are as in
    `open_shards`.

    Raises `StoreError` if the store does not answer, and `LocalProtocolError` if other processes
    run another number of shards.
    """
    check_is_config(config)
    if store is not None:
        check_store(store)
    check_times(ttl, interval)
    check_member(member)
    if count is not None:
        SHARD_COUNT.named("count", count)
    BOOL.named("publish", publish)
    check_opening(
        config, None, ssl_context, proxy, connect, queue_limit, recorder, raise_on_give_up
    )
    check_proxy(proxy, connect, config)
    ShardManager(config, count=1, ids=())  # raises for a config that shards cannot have
    if config.wait_for_identify_slot:
        raise LocalProtocolError(
            "invalid Config.wait_for_identify_slot True: the fleet grants the slots"
        )
    adapter = running_adapter()
    options: dict[str, Any] = {
        "ssl_context": ssl_context,
        "proxy": proxy,
        "connect": connect,
    }
    async with MemoryStore() if store is None else store as entered:
        fingerprint = token_fingerprint(config.token)
        await register_bot(entered, fingerprint)
        bot = entered.scoped(fingerprint)
        is_given = count is not None
        if count is None:
            known, _ = await read_generation(bot)
            count = known.count if known else await _looked_up(adapter, config, options)
        generations = await agree(bot, count, ttl=ttl, is_given=is_given)
        name = member_name() if member is None else member

        @contextlib.asynccontextmanager
        async def opened(generation: Generation, role: GenerationRole) -> AsyncIterator[Member]:
            running = Member(
                config,
                name=name,
                generation=generation,
                bot=bot,
                ttl=ttl,
                interval=interval,
                publish=publish,
                role=role,
            )
            async with adapter.open_shards(
                config,
                count=generation.count,
                ids=(),
                before_dial=running.owners.lease.before_dial,
                identify_queue=running.slots,
                queue_limit=queue_limit,
                recorder=recorder,
                raise_on_give_up=raise_on_give_up,
                **options,
            ) as running.shards:
                async with _in_background(running.run, running.leave):
                    yield running
                running.raise_error()

        role = GenerationRole.of_present(generations)
        async with opened(generations.present, role) as present:
            keeper = Keeper(bot, generations, present, opened, interval)
            async with _in_background(keeper.run):
                yield Fleet(keeper, publish=publish)
            keeper.raise_error()


async def _looked_up(adapter: Any, config: Config, options: dict[str, Any]) -> int:
    """Return the number of shards that the lookup recommends."""
    async with adapter.open_shards(config, ids=(), **options) as shards:
        count: int = (await shards.planned()).count
        return count


@contextlib.asynccontextmanager
async def _in_background(
    run: Callable[[], Coroutine[Any, Any, None]],
    leave: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[None]:
    error: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        try:
            yield
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as caught:
            # Raised again outside of the group, which would wrap it.
            error = caught
        finally:
            if leave is not None:
                failure = await leave_within(_LEAVE_SECONDS, leave)
                error = error or failure
            group.cancel_scope.cancel()
    if error is not None:
        raise error
