"""Shards of one process, which share a lookup and identify slots.

A manager has no transports: each of its clients is driven like any other client, and `handle_timer`
grants the identify slots. The failure of one shard does not affect the others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping

import attrs
import msgspec

from gateway_proto._checks import CALLBACK, COUNT, Check, as_now, optional, shown
from gateway_proto.client.client import Client
from gateway_proto.client.connection import ClientConnection
from gateway_proto.config import Config, check_is_config
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Event, GatewayFound, IdentifyBudgetSpent
from gateway_proto.session import Session, check_session
from gateway_proto.shards.plan import IdentifyBudget, IdentifyQueue, ShardPlan, check_ids
from gateway_proto.timing.identify import LimitedQueue, SlotQueue
from gateway_proto.urls import Url

__all__ = ["ShardManager"]

_CHECK_SECONDS = 5.0
"""Seconds between two checks whether the Identifies of all processes are used up."""
_QUEUE_METHODS = ("join", "leave", "forget", "next_timer", "handle_timer")
_MAKE_CLIENT = Check(CALLBACK.allows, "Client, or the method client of a Recorder")
_QUEUE = optional(
    Check(
        lambda value: all(callable(getattr(value, method, None)) for method in _QUEUE_METHODS),
        "an IdentifyQueue, or one like it",
    )
)


class ShardManager:
    """Shards of one bot: first `lookup`, a client that ends with the lookup; then `clients`.

    `count` defaults to the lookup's answer and `ids` to all ids below it; without any id, the
    shards are added later. `sessions`, by shard id, are resumed. `make_client` is `Client` or the
    `client` method of a recorder. Identify slots come from `identify_queue`, which may be shared
    with other processes, or from a queue of the manager. With `Config.wait_for_identify_slot` the
    caller grants them.
    Raises `LocalProtocolError` for invalid arguments, for a config with `shard`, and for a version
    without shards.
    """

    def __init__(
        self,
        config: Config,
        *,
        count: int | None = None,
        ids: Iterable[int] | None = None,
        sessions: Mapping[int, Session] | None = None,
        make_client: Callable[..., Client] = Client,
        identify_queue: SlotQueue | None = None,
    ) -> None:
        check_is_config(config)
        _QUEUE.named("identify_queue", identify_queue)
        _MAKE_CLIENT.named("make_client", make_client)
        if identify_queue is not None and config.wait_for_identify_slot:
            raise LocalProtocolError(
                "invalid Config.wait_for_identify_slot True: identify_queue grants the slots"
            )
        if config.shard is not None:
            raise LocalProtocolError(
                f"invalid Config.shard {config.shard!r}: it is for one shard; pass count and ids"
            )
        if not config.version.shards or not config.version.sends_hello:
            raise LocalProtocolError(
                f"version {config.version.number} has no shards that could wait for a slot after "
                "HELLO"
            )
        self._config = config
        self._count = count
        self._ids = check_ids(count, ids)
        if sessions is not None and not isinstance(sessions, Mapping):
            raise LocalProtocolError(
                f"invalid sessions {shown(sessions)}: expected Sessions by shard id"
            )
        self._sessions = dict(sessions or {})
        for shard_id, session in self._sessions.items():
            check_session(f"sessions[{shown(shard_id)}]", session)
        self._make_client = make_client
        self._plan: ShardPlan | None = None
        self._events: list[tuple[int, Event]] = []
        self._unreported: dict[int, ClientConnection] = {}
        self._now = -math.inf
        self.lookup: Client | None = None
        """Client to drive to its end before `start` is called; None if no lookup is necessary."""
        if config.gateway_url is None:
            self.lookup = make_client(attrs.evolve(config, use_gateway_bot=True), lookup_only=True)
        else:
            ShardPlan.from_lookup(GatewayFound(config.gateway_url), count=count, ids=self._ids)
        self.clients: dict[int, Client] = {}
        """Clients by shard id; empty before `start`."""
        self.budget: IdentifyBudget = IdentifyBudget(
            per_day=config.identify_budget, reserve=config.identify_reserve
        )
        """Identifies that all shards together may still send."""
        self._shares_queue = identify_queue is not None
        shared: object = identify_queue
        self._limited = shared if isinstance(shared, LimitedQueue) else None
        self._check_at = -math.inf
        self._held: dict[int, ClientConnection] = {}  # got a slot while the budget was spent
        self.queue: SlotQueue = IdentifyQueue() if identify_queue is None else identify_queue
        """Shards that wait for an identify slot, in order."""
        self.on_wake: Callable[[], None] | None = None
        """Function to call when `next_timer` may have changed or events may be available."""

    def start(self, *, now: float) -> ShardPlan:
        """Make the clients of the lookup's answer, and return the plan.

        Raises `LocalProtocolError` with the reason if the lookup gave up or returned too large a
        count, if `ids` do not fit the count, or if `start` was called before.
        """
        now = as_now(now)
        if self._plan is not None:
            raise LocalProtocolError("start was called before: use add and remove")
        plan = ShardPlan.from_lookup(self._found(), count=self._count, ids=self._ids)
        if (limit := plan.start_limit) is not None:
            self.budget.set_limit(limit.total, limit.remaining, limit.reset_after, now=now)
        else:
            own = self._config.max_concurrency
            plan = msgspec.structs.replace(plan, max_concurrency=own)
        if not self._shares_queue:
            self.queue = IdentifyQueue(
                max_concurrency=plan.max_concurrency,
                seconds=self._config.version.identify_seconds,
                budget=self.budget,
            )
        clients = {n: self._client(plan, n, self._sessions.get(n)) for n in plan.ids}
        self._plan, self.clients = plan, clients
        return plan

    @property
    def plan(self) -> ShardPlan:
        """Plan with the ids of the present shards; raises `LocalProtocolError` before `start`."""
        return msgspec.structs.replace(self._started(), ids=tuple(sorted(self.clients)))

    def add(self, shard_id: int, *, session: Session | None = None) -> Client:
        """Make the client of one more shard, or of one that was removed; drive it like the others.

        Without `session` the shard identifies, also if it was removed before. Raises
        `LocalProtocolError` for an id that is here or not below the count, and before `start`.
        """
        plan = self._started()
        if not COUNT.allows(shard_id) or shard_id >= plan.count:
            raise LocalProtocolError(
                f"invalid shard_id {shown(shard_id)}: expected an int from 0 to {plan.count - 1}"
            )
        check_session("session", session)
        if shard_id in self.clients:
            raise LocalProtocolError(f"invalid shard_id {shard_id}: it is here already")
        client = self.clients[shard_id] = self._client(plan, shard_id, session)
        return client

    def replace(self, shard_id: int, *, session: Session | None = None) -> Client:
        """Make a new client for a shard that is here; stop the former one and drive it to its end.

        It keeps the presence, and the voice states of `Config.restore_voice_states`. Raises
        `LocalProtocolError` for an id that is not here.
        """
        check_session("session", session)
        client = self._client(self._started(), self._here(shard_id), session)
        client._keep_desired_states(self.remove(shard_id))
        self.clients[shard_id] = client
        return client

    def remove(self, shard_id: int) -> Client:
        """Forget a shard, and return its client: stop it and drive it to its end.

        Raises `LocalProtocolError` for an id that is not here.
        """
        client = self.clients.pop(self._here(shard_id))
        self.queue.forget(shard_id)
        self._unreported.pop(shard_id, None)
        self._held.pop(shard_id, None)
        return client

    def events(self) -> list[tuple[int, Event]]:
        """Return new (shard id, event) pairs: one `IdentifyBudgetSpent` per wait of a shard."""
        events, self._events = self._events, []
        return events

    def next_timer(self) -> float | None:
        """Return the time to call `handle_timer`, in seconds; None if nothing is due."""
        times = [self.queue.next_timer()]
        if self._unreported and self._limited is not None:
            times.append(self._check_at)  # other processes may use up what is left
        if self._held:
            times.append(self.budget.next_slot_at(self._now))
        return min((at for at in times if at is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Grant the identify slots that are due."""
        now = self._now = max(self._now, as_now(now))
        if self._held and self.budget.spent(now) is None:
            held, self._held = self._held, {}
            for shard_id, connection in held.items():
                self._join(shard_id, connection)
        self.queue.handle_timer(now=now)
        if self._unreported and (spent := self._spent(now)) is not None:
            for shard_id, connection in self._unreported.items():
                if connection.awaiting_identify_slot:
                    self._events.append((shard_id, IdentifyBudgetSpent(*spent)))
            self._unreported.clear()
        elif self._limited is not None and now >= self._check_at:
            self._check_at = now + _CHECK_SECONDS
            lost = [n for n, c in self._unreported.items() if not c.awaiting_identify_slot]
            for shard_id in lost:
                del self._unreported[shard_id]

    def _spent(self, now: float) -> tuple[float | None, str] | None:
        spent = self.budget.spent(now)
        return spent if spent is not None or self._limited is None else self._limited.spent(now)

    def _client(self, plan: ShardPlan, shard_id: int, session: Session | None) -> Client:
        config = attrs.evolve(
            self._config,
            shard=(shard_id, plan.count),
            wait_for_identify_slot=True,
            max_concurrency=plan.max_concurrency,
        )
        client = self._make_client(
            config,
            session=session,
            gateway=Url.parse(plan.url),
            on_slot_needed=functools.partial(self._on_slot_needed, shard_id),
        )
        client.share_budget(self.budget)
        return client

    def _started(self) -> ShardPlan:
        """Plan as `start` made it: its ids are not those of the present shards."""
        if self._plan is None:
            raise LocalProtocolError("no plan yet: wait for the end of the lookup")
        return self._plan

    def _here(self, shard_id: int) -> int:
        if not COUNT.allows(shard_id) or shard_id not in self.clients:
            raise LocalProtocolError(f"invalid shard_id {shown(shard_id)}: it is not here")
        return shard_id

    def _found(self) -> GatewayFound:
        if self.lookup is None:
            assert self._config.gateway_url is not None
            return GatewayFound(self._config.gateway_url)
        if self.lookup.lookup_answer is None:
            raise LocalProtocolError(
                f"the lookup has no answer: {self.lookup.gave_up or 'drive it first'}"
            )
        return self.lookup.lookup_answer

    def _on_slot_needed(self, shard_id: int, connection: ClientConnection, now: float) -> None:
        client = self.clients.get(shard_id)
        if client is None or client.connection is not connection:
            return  # the shard was removed
        self._unreported[shard_id] = connection
        if not self._config.wait_for_identify_slot:
            # A shard that waited on a lost connection returns to the front.
            self.queue.leave(shard_id)
            self._join(shard_id, connection)
        self.handle_timer(now=now)
        if self.on_wake is not None:
            self.on_wake()

    def _join(self, shard_id: int, connection: ClientConnection) -> None:
        self.queue.join(shard_id, functools.partial(self._grant, shard_id, connection))

    def _grant(self, shard_id: int, connection: ClientConnection, now: float) -> bool:
        if not connection.awaiting_identify_slot:
            return False
        if self._shares_queue and self.budget.spent(now) is not None:
            # The queue of other processes has other limits than the budget of this one.
            self._held[shard_id] = connection
            return False
        self._unreported.pop(shard_id, None)
        connection.grant_identify(now=now)
        return True
