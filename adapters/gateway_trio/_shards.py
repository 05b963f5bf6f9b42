"""Config → shards' events: many gateways of one bot on trio."""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING

import trio

from gateway_dialing import ProxySetting
from gateway_proto import (
    Client,
    Config,
    Event,
    Fleet,
    GatewayBase,
    GaveUpError,
    Session,
    ShardPlan,
    Turns,
)
from gateway_proto._driving import Iteration
from gateway_proto.gateway import log_error, shards_ended
from gateway_trio._clock import with_clock
from gateway_trio._dialing import Connect, Dialer
from gateway_trio._gateway import Gateway
from gateway_trio._tasks import News, in_background

if TYPE_CHECKING:
    from gateway_proto.trace import Recorder

__all__ = ["Shards", "open_shards"]


class Shards:
    """Many gateways under one roof. Iterate over it for (shard id, event).

    If one shard gives up, the others go on: the events end when all have given up or are stopped.
    """

    def __init__(
        self,
        plan: ShardPlan,
        gateways: dict[int, Gateway],
        news: News,
        turns: Turns,
        *,
        raise_on_give_up: bool = True,
    ) -> None:
        self._raise_on_give_up = raise_on_give_up
        self._news = news
        self._turns = turns
        self._ids: dict[GatewayBase, int] = {gateway: n for n, gateway in gateways.items()}
        self.plan: ShardPlan = plan
        """Which shards there are, and which are here."""
        self.gateways: Mapping[int, Gateway] = gateways
        """By shard id."""

    def __aiter__(self) -> Iteration[tuple[int, Event]]:
        """Start an iteration; raises `LocalProtocolError` while another task iterates."""
        return self._turns.iterations.start(None, trio.lowlevel.current_task(), self._next_event)

    async def _next_event(self) -> tuple[int, Event]:
        await trio.lowlevel.checkpoint()
        self._turns.raise_error()
        while (taken := self._turns.take()) is None:
            end = shards_ended(self.gateways, raise_on_give_up=self._raise_on_give_up)
            if end is not None:
                raise end
            await self._news.wait()
            self._turns.raise_error()
        gateway, event = taken
        return self._ids[gateway], event

    def of_guild(self, guild_id: str | int) -> Gateway:
        """The gateway that gets a guild's events; raises `LocalProtocolError` if elsewhere."""
        return self.gateways[self.plan.shard_of(guild_id)]

    @property
    def sessions(self) -> dict[int, Session]:
        """As of the events handled, by shard id: to store, and to give to `open_shards` again."""
        sessions = {shard_id: gateway.session for shard_id, gateway in self.gateways.items()}
        return {shard_id: session for shard_id, session in sessions.items() if session is not None}

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close all, and dial no more; the sessions stay resumable, or not."""
        async with trio.open_nursery() as nursery:
            for gateway in self.gateways.values():
                nursery.start_soon(_stop, gateway, keep_session)

    async def leave(self) -> None:
        """Stop the shards for which that has not happened."""
        async with trio.open_nursery() as nursery:
            for gateway in self.gateways.values():
                nursery.start_soon(gateway.leave)


async def _stop(gateway: Gateway, keep_session: bool) -> None:
    await gateway.stop(keep_session=keep_session)


@contextlib.asynccontextmanager
async def open_shards(
    config: Config,
    *,
    count: int | None = None,
    ids: Iterable[int] | None = None,
    sessions: Mapping[int, Session] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: ProxySetting = True,
    connect: Connect | None = None,
    queue_limit: int = 1000,
    recorder: Recorder | None = None,
    raise_on_give_up: bool = True,
) -> AsyncIterator[Shards]:
    """Look up how many shards there should be, and keep all (or `ids`) connected.

    `ssl_context`, `proxy` and `connect` are those of `open_gateway`, for all shards and the lookup.
    `queue_limit` is each shard's; a `recorder` records all of them. A lookup that fails
    is tried again, without an end unless `Config.dial_attempts` sets one. Raises `GaveUpError` if
    the lookup gives up, and `LocalProtocolError` if counts do not fit.

    After all shards have ended, the iteration raises `GaveUpError` if one gave up, unless
    `raise_on_give_up` is False. It raises what was raised in a callback of any shard; if nobody
    iterates, leaving raises that.
    """
    config = with_clock(config)
    make_client = Client if recorder is None else recorder.client
    fleet = Fleet(config, count=count, ids=ids, sessions=sessions, make_client=make_client)
    news, turns = News(), Turns()
    dialer = Dialer(config, ssl_context=ssl_context, proxy=proxy, connect=connect)

    def gateway(client: Client, turns: Turns | None = None, n: int | None = None) -> Gateway:
        return Gateway(
            client,
            config,
            dialer=dialer,
            queue_limit=queue_limit,
            news=news,
            turns=turns,
            shard_id=n,
        )

    if fleet.lookup is not None:
        lookup = gateway(fleet.lookup)
        await lookup.live()
        lookup.raise_unseen_error()
        if lookup.gave_up is not None:
            raise GaveUpError(lookup.gave_up)
    plan = fleet.begin(now=trio.current_time())
    gateways = {n: gateway(client, turns, n) for n, client in fleet.clients.items()}
    shards = Shards(plan, gateways, news, turns, raise_on_give_up=raise_on_give_up)
    async with in_background(
        [*(g.live for g in shards.gateways.values()), _Turns(fleet, turns, news).run], shards.leave
    ):
        yield shards
    turns.raise_error()


class _Turns:
    """Gives the shards their turns to identify."""

    def __init__(self, fleet: Fleet, turns: Turns, news: News) -> None:
        self._fleet = fleet
        self._turns = turns
        self._news = news
        self._changed = trio.Event()
        fleet.on_wake = lambda: self._changed.set()

    async def run(self) -> None:
        """Run until cancelled, or until a callback raises."""
        try:
            while True:
                at = self._fleet.next_timer()
                with trio.move_on_at(math.inf if at is None else at):
                    await self._changed.wait()
                self._changed = trio.Event()
                self._fleet.handle_timer(now=trio.current_time())
        except Exception as error:
            self._turns.errors.append(error)
            log_error(error)
            self._news.tell()
