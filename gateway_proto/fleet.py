"""Config, now → clients: many shards in one process; they share a lookup and turns to identify.

A fleet owns no transport: each of its clients is driven as any other, and `handle_timer` gives
the turns. One shard's failure is not another's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import attrs

from gateway_proto._layers.state import State
from gateway_proto.client import Client
from gateway_proto.client_connection import ClientConnection
from gateway_proto.config import Config
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import GatewayFound
from gateway_proto.session import Session
from gateway_proto.shards import IdentifyBudget, IdentifyQueue, ShardPlan, plan_shards
from gateway_proto.urls import Url

__all__ = ["Fleet"]


class Fleet:
    """Shards of one bot: first `lookup`, a client that ends with the lookup; then `clients`.

    `count` and `ids` are those of the lookup and all, unless given; `sessions` are resumed, by
    shard id; `make_client` is `Client`, or that of a recorder. Raises `LocalProtocolError` for a
    config that names a shard itself, or has none.
    """

    def __init__(
        self,
        config: Config,
        *,
        count: int | None = None,
        ids: Iterable[int] | None = None,
        sessions: Mapping[int, Session] | None = None,
        make_client: Callable[..., Client] = Client,
    ) -> None:
        if config.shard is not None:
            raise LocalProtocolError("Config.shard is for one shard: say count and ids instead")
        if not config.dialect.shards or not config.dialect.greets:
            raise LocalProtocolError(
                f"version {config.dialect.version} has no shards that could take turns after HELLO"
            )
        self._config = config
        self._count = count
        self._ids = None if ids is None else tuple(ids)
        self._sessions = dict(sessions or {})
        self._make_client = make_client
        self.lookup: Client | None = None
        """Drive it first, if it is there; then call `begin`."""
        if config.gateway_url is None:
            self.lookup = make_client(attrs.evolve(config, lookup_bot=True), only_look_up=True)
        self.clients: dict[int, Client] = {}
        """By shard id; none before `begin`."""
        self.queue: IdentifyQueue = IdentifyQueue()
        """Whose turn it is to identify."""
        self.on_wake: Callable[[], None] | None = None
        """Called when `next_timer` may have changed."""
        self._waiting: dict[int, ClientConnection] = {}

    def begin(self, *, now: float) -> ShardPlan:
        """Make the clients that the lookup's answer asks for; returns what it planned.

        Raises `LocalProtocolError` where the lookup failed, the counts do not fit each other, or
        a session not its shard.
        """
        plan = plan_shards(self._found(), count=self._count, ids=self._ids)
        limit = plan.start_limit
        self.queue = IdentifyQueue(
            max_concurrency=plan.max_concurrency,
            seconds=self._config.dialect.identify_seconds,
            budget=None
            if limit is None
            else IdentifyBudget(limit, now=now, reserve=self._config.identify_reserve),
        )
        for shard_id in plan.ids:
            config = attrs.evolve(
                self._config,
                shard=(shard_id, plan.count),
                ask_to_identify=True,
                max_concurrency=plan.max_concurrency,
            )
            self.clients[shard_id] = self._make_client(
                config,
                session=self._sessions.get(shard_id),
                gateway=Url.parse(plan.url),
                on_slot_needed=functools.partial(self._slot_needed, shard_id),
            )
        return plan

    def next_timer(self) -> float | None:
        """When to call `handle_timer`, in seconds of the caller's clock; None: no need to."""
        return self.queue.next_timer()

    def handle_timer(self, *, now: float) -> None:
        """Give the turns to identify that are due."""
        for shard_id, connection in list(self._waiting.items()):
            if connection.state in (State.CLOSING, State.CLOSED):
                del self._waiting[shard_id]
                self.queue.leave(shard_id)
        self.queue.handle_timer(now=now)

    def _found(self) -> GatewayFound:
        if self.lookup is None:
            assert self._config.gateway_url is not None
            return GatewayFound(self._config.gateway_url)
        if self.lookup.found is None:
            raise LocalProtocolError(f"there is no lookup: {self.lookup.gave_up or 'drive it'}")
        return self.lookup.found

    def _slot_needed(self, shard_id: int, connection: ClientConnection, now: float) -> None:
        # One that waited on a connection that is lost comes back to the front.
        self.queue.leave(shard_id)
        self._waiting[shard_id] = connection
        self.queue.join(shard_id, lambda at: connection.grant_identify(now=at))
        self.handle_timer(now=now)
        if self.on_wake is not None:
            self.on_wake()
