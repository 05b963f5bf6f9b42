"""Event-loop-independent half of the adapters' `Shards`."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gateway_proto._checks import BOOL, COUNT, POSITIVE, integer, shown
from gateway_proto.client.client import Client, Dial
from gateway_proto.config import Config
from gateway_proto.driver.event_queue import BaseGateway, log_error
from gateway_proto.driver.iteration import Iteration, Notifier, RoundRobin
from gateway_proto.errors import GaveUpError, LocalProtocolError
from gateway_proto.events import Event
from gateway_proto.session import Session
from gateway_proto.shard_ids import shard_of
from gateway_proto.shards.manager import ShardManager
from gateway_proto.shards.plan import ShardPlan
from gateway_proto.timing.identify import SlotQueue

if TYPE_CHECKING:
    from gateway_proto.driver.gateway import AdapterGateway

__all__ = ["BaseShards"]

G = TypeVar("G", bound="AdapterGateway")


class BaseShards(abc.ABC, Generic[G]):
    """Many gateways of one bot. Iterate over it for (shard id, event).

    The shard id of the lookup's events is None. If one shard gives up, the others continue. The
    iteration ends when all shards have given up, or were stopped or removed. If it began with
    `ids=()`, an iteration without shards waits for `add`, until `stop` is called.
    """

    _gateway_class: Callable[..., G]

    def __init__(
        self,
        config: Config,
        *,
        count: int | None,
        ids: Iterable[int] | None,
        sessions: Mapping[int, Session] | None,
        dialer: Any,
        queue_limit: int,
        recorder: Any,
        raise_on_give_up: bool,
        before_dial: Callable[[int | None, Dial], Awaitable[None]] | None,
        identify_queue: SlotQueue | None,
    ) -> None:
        self._config = config
        self._dialer = dialer
        self._queue_limit = queue_limit
        self._raise_on_give_up = raise_on_give_up
        self._manager = manager = ShardManager(
            config,
            count=count,
            ids=ids,
            sessions=sessions,
            make_client=Client if recorder is None else recorder.client,
            identify_queue=identify_queue,
        )
        self._before_dial = before_dial
        self._waits_for_add = manager._ids == ()
        self._notifier = self._make_notifier()
        self._slots = self._make_notifier()
        self._round_robin = RoundRobin()
        self._gateways: dict[int, G] = {}
        self._removed: dict[int, G] = {}
        self._ids: dict[BaseGateway, int | None] = {}
        self._locks: dict[int, Any] = {}
        self._changes = 0
        self._has_plan = False
        self._count = 0
        self._is_closed = False
        self._failure: Exception | None = None
        self._failure_is_raised = False
        self._lookup: G | None = None
        if manager.lookup is not None:
            self._lookup = self._make_gateway(manager.lookup, None)

    # ----- for the user -----

    def __aiter__(self) -> Iteration[tuple[int | None, Event]]:
        """Start an iteration; raises `LocalProtocolError` while another task iterates."""
        return self._round_robin.iterations.start(
            None, self._task(), self._take_queued, self._wait_for_event
        )

    def next_nowait(self) -> tuple[int | None, Event] | None:
        """Return the next event of an iteration if it is queued, else None; the last was handled.

        Call it only in the task that iterates: it saves two coroutines per event.
        """
        taken = self._round_robin.next_event()
        return None if taken is None else (self._ids[taken[0]], taken[1])

    def next_events_nowait(self, most: int) -> tuple[int | None, list[Event]] | None:
        """Return queued events of one shard, up to `most`, or None. They count as handled.

        Several are all of the type `Dispatch` itself: an event of another type is returned alone.
        Call it only in the task that iterates. Raises `LocalProtocolError` unless `most` is 1 or
        more.
        """
        POSITIVE.named("most", most)
        taken = self._round_robin.next_events(most)
        return None if taken is None else (self._ids[taken[0]], taken[1])

    @property
    def gateways(self) -> Mapping[int, G]:
        """Gateways by shard id; empty until the lookup is answered. A shard keeps its gateway."""
        return MappingProxyType(self._gateways)

    @property
    def plan(self) -> ShardPlan:
        """Plan with the ids of the shards that are here now.

        Raises `LocalProtocolError` until the lookup is answered, see `planned`.
        """
        return self._manager.plan

    @property
    def gave_up(self) -> str | None:
        """Reason why the lookup gave up; None if it did not. Each gateway has its own `gave_up`."""
        return None if self._lookup is None else self._lookup.gave_up

    @property
    def sessions(self) -> dict[int, Session]:
        """Sessions as of the handled events, by shard id: store them for the next `open_shards`.

        A removed shard keeps its session here.
        """
        gateways = {**self._removed, **self._gateways}
        sessions = {shard_id: gateway.session for shard_id, gateway in gateways.items()}
        return {shard_id: session for shard_id, session in sessions.items() if session is not None}

    def of_guild(self, guild_id: str | int) -> G:
        """Return the gateway that receives a guild's events.

        Raises `LocalProtocolError` if its shard is elsewhere, and until the lookup is answered.
        """
        if not self._has_plan:
            raise LocalProtocolError("no plan yet: wait for the end of the lookup")
        shard_id = shard_of(guild_id, self._count)
        if shard_id not in self._gateways:
            raise LocalProtocolError(f"guild {guild_id} is on shard {shard_id}, which is elsewhere")
        return self._gateways[shard_id]

    async def planned(self) -> ShardPlan:
        """Wait until the lookup is answered, and return the plan.

        Raises `GaveUpError` if the lookup gave up, `LocalProtocolError` if its answer does not fit
        the arguments or the shards were stopped before, and any exception of a callback.
        """
        while not self._has_plan:
            self._round_robin.raise_error()
            self._raise_failure()
            if self._is_over:
                if self.gave_up is not None:
                    raise GaveUpError(self.gave_up)
                raise LocalProtocolError("the shards were stopped before the lookup was answered")
            await self._notifier.wait()
        return self._manager.plan

    async def restart(self, shard_id: int, *, keep_session: bool = True) -> None:
        """Close a shard's connection and dial again, with or without the session.

        A shard that gave up or was stopped starts again. Queued events are delivered before those
        of the new connection; the last is `Closed` with `NextAction.STOP`, as after `stop`. Raises
        `LocalProtocolError` for an id that is not here.
        """
        async with self._changing(shard_id):
            gateway = self._here(shard_id)
            session = await self._end_run(shard_id, keep_session=keep_session)
            self._check_open()
            gateway._begin_again(self._manager.replace(shard_id, session=session))
            self._start(gateway)

    async def add(self, shard_id: int, *, session: Session | None = None) -> None:
        """Run one more of the plan's shards, or one that was removed; `session` is resumed.

        Without `session` the shard identifies, also if its session was kept when it was removed.
        Raises `LocalProtocolError` for an id that is here or not below the count.
        """
        async with self._changing(shard_id):
            client = self._manager.add(shard_id, session=session)
            gateway = self._removed.pop(shard_id, None)
            if gateway is None:
                gateway = self._make_gateway(client, shard_id)
            else:
                gateway._begin_again(client)
            self._gateways[shard_id] = gateway
            self._start(gateway)

    async def remove(self, shard_id: int, *, keep_session: bool = True) -> Session | None:
        """Close a shard's connection and forget the shard; return its session, if it is kept.

        The session is as of the last event received: pass it to `add`, here or in another process,
        after the queued events are handled. Raises `LocalProtocolError` for an id that is not here.
        """
        async with self._changing(shard_id):
            session = await self._end_run(shard_id, keep_session=keep_session)
            self._manager.remove(shard_id)
            self._removed[shard_id] = self._gateways.pop(shard_id)
            return session

    # ----- for the context managers -----

    async def _run(self) -> None:
        """Look up, start the shards and grant identify slots, until cancelled."""
        try:
            if self._lookup is not None:
                self._start(self._lookup)
                await self._until_ended(self._lookup)
                if self._was_not_found:
                    return
            self._manager.on_wake = self._slots.notify
            self._begin()
            while self._has_plan:
                self._manager.handle_timer(now=self._now())
                for shard_id, event in self._manager.events():
                    self._gateways[shard_id]._take([event])
                await self._wait_for_slots(self._manager.next_timer())
        except Exception as error:
            self._round_robin.errors.append(error)
            log_error(error)
            self._notifier.notify()

    def _raise_unseen_error(self) -> None:
        """Raise an exception that no iteration has raised."""
        self._round_robin.raise_error()
        if not self._failure_is_raised:
            self._raise_failure()

    # ----- defined by the adapters -----

    @abc.abstractmethod
    def _start(self, gateway: G) -> None:
        """Run a gateway in a task."""

    @abc.abstractmethod
    async def _until_ended(self, gateway: G) -> None:
        """Wait until the task of a gateway that is stopped has ended."""

    @abc.abstractmethod
    async def _wait_for_slots(self, at: float | None) -> None:
        """Wait for a time of the event loop's clock, or for `_slots`."""

    @abc.abstractmethod
    def _make_lock(self) -> Any:
        """Make a lock, an async context manager."""

    @abc.abstractmethod
    def _make_notifier(self) -> Notifier:
        """Make a notifier."""

    @abc.abstractmethod
    def _now(self) -> float:
        """Return the time of the event loop's clock, in seconds."""

    @abc.abstractmethod
    def _task(self) -> object:
        """Return the current task."""

    # ----- inside -----

    def _take_queued(self) -> tuple[int | None, Event] | None:
        return None if self._round_robin.errors else self.next_nowait()

    async def _wait_for_event(self) -> tuple[int | None, Event]:
        self._round_robin.raise_error()
        while (taken := self._round_robin.next_event()) is None:
            self._raise_failure()
            if self._is_over:
                raise self._end()
            await self._notifier.wait()
            self._round_robin.raise_error()
        gateway, event = taken
        return self._ids[gateway], event

    @property
    def _is_over(self) -> bool:
        """Whether no shard runs, starts or is about to start."""
        if self._changes:
            return False
        if not self._has_plan:
            return self._lookup is not None and self._lookup._is_finished and self._was_not_found
        if self._waits_for_add and not self._gateways:
            return False
        return all(gateway._is_finished for gateway in self._gateways.values())

    @property
    def _was_not_found(self) -> bool:
        return self._manager.lookup is not None and self._manager.lookup.lookup_answer is None

    def _end(self) -> Exception:
        gateways = self._gateways.items()
        reasons = [f"shard {n}: {gateway.gave_up}" for n, gateway in gateways if gateway.gave_up]
        if self.gave_up is not None:
            reasons.append(self.gave_up)
        if self._raise_on_give_up and reasons:
            return GaveUpError("; ".join(reasons))
        return StopAsyncIteration()

    def _begin(self) -> None:
        try:
            self._manager.start(now=self._now())
        except LocalProtocolError as error:
            self._failure = error
        else:
            for shard_id, client in self._manager.clients.items():
                self._gateways[shard_id] = self._make_gateway(client, shard_id)
            self._count = self._manager.plan.count
            self._has_plan = True
            for gateway in self._gateways.values():
                self._start(gateway)
        self._notifier.notify()

    def _make_gateway(self, client: Client, shard_id: int | None) -> G:
        """Make a gateway that is not started."""
        before_dial = self._before_dial
        if before_dial is not None:
            before_dial = functools.partial(before_dial, shard_id)
        gateway = self._gateway_class(
            client,
            self._config,
            dialer=self._dialer,
            queue_limit=self._queue_limit,
            notifier=self._notifier,
            round_robin=self._round_robin,
            shard_id=shard_id,
            before_dial=before_dial,
        )
        self._ids[gateway] = shard_id
        return gateway

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._failure_is_raised = True
            raise self._failure

    def _check_open(self) -> None:
        if self._is_closed:
            raise LocalProtocolError("the shards are closed: open_shards was left")

    def _here(self, shard_id: int) -> G:
        if not COUNT.allows(shard_id) or shard_id not in self._gateways:
            raise LocalProtocolError(f"invalid shard_id {shown(shard_id)}: it is not here")
        return self._gateways[shard_id]

    def _all(self) -> list[G]:
        lookup = [] if self._lookup is None else [self._lookup]
        return [*lookup, *self._gateways.values(), *self._removed.values()]

    async def _end_run(self, shard_id: int, *, keep_session: bool) -> Session | None:
        gateway, client = self._here(shard_id), self._manager.clients[shard_id]
        await gateway.stop(keep_session=keep_session)
        await self._until_ended(gateway)
        return client.session if keep_session else None

    def _begin_stop(self, *, keep_session: bool) -> None:
        """Let an iteration without shards end."""
        BOOL.named("keep_session", keep_session)
        self._waits_for_add = False
        self._notifier.notify()

    async def _stop_shard(self, shard_id: int, *, keep_session: bool) -> None:
        async with self._locked(shard_id):
            if shard_id in self._gateways:
                await self._gateways[shard_id].stop(keep_session=keep_session)

    @contextlib.asynccontextmanager
    async def _changing(self, shard_id: int) -> AsyncIterator[None]:
        """Make one change of a shard at a time; meanwhile no iteration ends."""
        self._check_open()
        if not self._has_plan:
            raise LocalProtocolError("no plan yet: wait for the end of the lookup")
        integer(0, self._count - 1).named("shard_id", shard_id)
        async with self._locked(shard_id):
            self._check_open()
            yield

    @contextlib.asynccontextmanager
    async def _locked(self, shard_id: int) -> AsyncIterator[None]:
        if shard_id not in self._locks:
            self._locks[shard_id] = self._make_lock()
        self._changes += 1
        try:
            async with self._locks[shard_id]:
                yield
        finally:
            self._changes -= 1
            self._notifier.notify()
