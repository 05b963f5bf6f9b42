"""Shards on trio: `Shards` and `open_shards`."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from gateway_dialing import ProxySetting, opening
from gateway_proto import Config, Dial, Event, Session
from gateway_proto.driver.arguments import check_before_dial, check_opening
from gateway_proto.driver.shards import BaseShards
from gateway_proto.shards import SlotQueue
from gateway_trio._dialing import Connect, Dialer
from gateway_trio._gateway import EVENTS_PER_CHECKPOINT, Gateway
from gateway_trio._notifier import Notifier
from gateway_trio._runtime_config import with_runtime_defaults
from gateway_trio._tasks import in_background

if TYPE_CHECKING:
    from gateway_proto.trace import Recorder

__all__ = ["Shards", "open_shards"]


class Shards(BaseShards[Gateway]):
    """Many gateways of one bot. Iterate over it for (shard id, event).

    The shard id of the lookup's events is None. If one shard gives up, the others continue. The
    iteration ends when all shards have given up, or were stopped or removed. If it began with
    `ids=()`, an iteration without shards waits for `add`, until `stop` is called.
    """

    _gateway_class = Gateway

    def __init__(self, config: Config, **options: Any) -> None:
        self._nursery: trio.Nursery | None = None
        self._ended: dict[Gateway, trio.Event] = {}
        self._until_checkpoint = 0
        super().__init__(config, **options)

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close all shards and stop dialing; the sessions stay resumable if they are kept."""

        async def stop_lookup(lookup: Gateway) -> None:
            await lookup.stop(keep_session=keep_session)

        async def stop_shard(shard_id: int) -> None:
            await self._stop_shard(shard_id, keep_session=keep_session)

        self._begin_stop(keep_session=keep_session)
        async with trio.open_nursery() as nursery:
            for shard_id in self._gateways:
                nursery.start_soon(stop_shard, shard_id)
            if self._lookup is not None:
                nursery.start_soon(stop_lookup, self._lookup)

    async def _leave(self) -> None:
        """Stop the shards that are not stopped."""
        self._is_closed = True
        async with trio.open_nursery() as nursery:
            for gateway in self._all():
                nursery.start_soon(gateway._leave)

    async def _run(self) -> None:
        async with trio.open_nursery() as self._nursery:
            await super()._run()

    def _take_queued(self) -> tuple[int | None, Event] | None:
        if not self._until_checkpoint:
            return None
        self._until_checkpoint -= 1
        return super()._take_queued()

    async def _wait_for_event(self) -> tuple[int | None, Event]:
        if not self._until_checkpoint:
            await trio.lowlevel.checkpoint()
            self._until_checkpoint = EVENTS_PER_CHECKPOINT
        return await super()._wait_for_event()

    def _start(self, gateway: Gateway) -> None:
        assert self._nursery is not None
        ended = self._ended[gateway] = trio.Event()

        async def run() -> None:
            try:
                await gateway._run()
            finally:
                ended.set()

        self._nursery.start_soon(run)

    async def _until_ended(self, gateway: Gateway) -> None:
        await self._ended[gateway].wait()

    async def _wait_for_slots(self, at: float | None) -> None:
        with trio.move_on_at(math.inf if at is None else at):
            await self._slots.wait()

    def _make_notifier(self) -> Notifier:
        return Notifier()

    def _make_lock(self) -> trio.Lock:
        return trio.Lock()

    def _now(self) -> float:
        return trio.current_time()

    def _task(self) -> object:
        return trio.lowlevel.current_task()


@opening
async def open_shards(
    config: Config,
    *,
    count: int | None = None,
    ids: Iterable[int] | None = None,
    sessions: Mapping[int, Session] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: ProxySetting = True,
    connect: Connect | None = None,
    before_dial: Callable[[int | None, Dial], Awaitable[None]] | None = None,
    identify_queue: SlotQueue | None = None,
    queue_limit: int = 1000,
    recorder: Recorder | None = None,
    raise_on_give_up: bool = True,
) -> AsyncIterator[Shards]:
    """Look up the number of shards, and keep all of them (or `ids`) connected.

    `ssl_context`, `proxy` and `connect` are as in `open_gateway`, for all shards and the lookup.
    `queue_limit` is per shard; a `recorder` records all shards. The lookup runs in the background,
    and the iteration returns its events, too. A failed lookup is retried indefinitely unless
    `Config.dial_attempts` is set. `shards.planned()` waits for its answer. With `ids=()` all shards
    are added later. `before_dial` is awaited with the shard id before each dial, which follows its
    return. Identify slots come from `identify_queue`, which may be shared with other processes.
    With `Config.wait_for_identify_slot` the caller grants them:
    `shards.gateways[shard_id].grant_identify()`.

    After all shards have ended, the iteration raises `GaveUpError` if a shard or the lookup gave
    up, unless `raise_on_give_up` is False. It raises `LocalProtocolError` if the lookup's answer
    does not fit `count` and `ids`, and an exception of a callback of any shard. Without an
    iteration, leaving raises these two.
    """
    check_opening(
        config, None, ssl_context, proxy, connect, queue_limit, recorder, raise_on_give_up
    )
    check_before_dial(before_dial)
    config = with_runtime_defaults(config)
    shards = Shards(
        config,
        count=count,
        ids=ids,
        sessions=sessions,
        dialer=Dialer(config, ssl_context=ssl_context, proxy=proxy, connect=connect),
        queue_limit=queue_limit,
        recorder=recorder,
        raise_on_give_up=raise_on_give_up,
        before_dial=before_dial,
        identify_queue=identify_queue,
    )
    async with in_background(shards._run, shards._leave):
        if shards._lookup is None:
            await shards.planned()
        yield shards
    shards._raise_unseen_error()
