"""Shards on asyncio: `Shards` and `open_shards`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from gateway_asyncio._dialing import Connect, Dialer
from gateway_asyncio._gateway import Gateway
from gateway_asyncio._leaving import leave
from gateway_asyncio._notifier import Notifier
from gateway_asyncio._runtime_config import with_runtime_defaults
from gateway_dialing import ProxySetting, opening
from gateway_proto import Config, Dial, Session
from gateway_proto.driver.arguments import check_before_dial, check_opening
from gateway_proto.driver.shards import BaseShards
from gateway_proto.shards import SlotQueue

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

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close all shards and stop dialing; the sessions stay resumable if they are kept."""
        self._begin_stop(keep_session=keep_session)
        stops = [self._stop_shard(n, keep_session=keep_session) for n in self._gateways]
        if self._lookup is not None:
            stops.append(self._lookup.stop(keep_session=keep_session))
        await asyncio.gather(*stops)

    async def _leave(self, *, linger: bool) -> None:
        """Stop, unless that has happened; end the tasks and the transports."""
        self._is_closed = True
        await leave(self._all(), linger=linger)

    def _start(self, gateway: Gateway) -> None:
        gateway._start()

    async def _until_ended(self, gateway: Gateway) -> None:
        await gateway._until_ended()

    async def _wait_for_slots(self, at: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(at):
                await self._slots.wait()

    def _make_notifier(self) -> Notifier:
        return Notifier()

    def _make_lock(self) -> asyncio.Lock:
        return asyncio.Lock()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _task(self) -> object:
        return asyncio.current_task()


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
    task = asyncio.create_task(shards._run())
    linger = True
    try:
        if shards._lookup is None:
            await shards.planned()
        yield shards
    except (asyncio.CancelledError, GeneratorExit):
        linger = False
        raise
    finally:
        task.cancel()
        try:
            await asyncio.wait([task])
        finally:
            await shards._leave(linger=linger)
    shards._raise_unseen_error()
