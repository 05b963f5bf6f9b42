"""Member of a fleet: one generation's shards in this process, with their slots and commands."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from gateway_fleet._command_service import CommandService, gateway_settings
from gateway_fleet._crossing import Crossing
from gateway_fleet._drains import DrainRequests
from gateway_fleet._owned_shards import OwnedShards
from gateway_fleet._runtime import failure_of
from gateway_fleet._slots import SharedSlots, identify_slots
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet.store import Store, StoreError
from gateway_proto import Config, GaveUpError, LocalProtocolError, __version__
from gateway_proto.driver.event_queue import log_error
from gateway_proto.fleet import Generation, GenerationRole, Membership

__all__ = ["Member"]


class Member:
    """Membership, owned shards, slots and commands of one process, driven against a store."""

    def __init__(
        self,
        config: Config,
        *,
        name: str,
        generation: Generation,
        bot: Store,
        ttl: float,
        interval: float,
        publish: bool,
        role: GenerationRole = GenerationRole.PRESENT,
    ) -> None:
        self.name: str = name
        self.generation: Generation = generation
        self._config = config
        self.store: Store = bot.scoped(generation.id)
        """Store with the logs of this fleet."""
        settings = gateway_settings(config, self.store, publish=publish)
        now = anyio.current_time()
        membership = Membership(
            name,
            generation.count,
            ttl=ttl,
            interval=interval,
            version=__version__,
            gateway=settings,
            now=now,
        )
        self._membership = membership
        self.owners: OwnedShards = OwnedShards(
            membership, name, self.store, role, publish=publish, interval=interval
        )
        self.crossing: Crossing = self.owners.crossing
        self.failures: StoreFailures = self.owners.coordinator.failures
        self.drain_requests: DrainRequests = DrainRequests(self.store, name, self.failures)
        self.slots: SharedSlots = SharedSlots(bot, self.owners.may_identify, self.failures)
        self._commands = CommandService(
            name,
            bot,
            self.store,
            settings,
            self.owners.sender,
            self.owners.presences,
            self.owners.coordinator.look,
            self.failures,
        )
        self._scope: anyio.CancelScope | None = None
        self._finished: anyio.Event | None = None
        self.shards: Any = None
        """Shards of this process, of the adapter."""
        self._is_draining = False
        self._has_plan = False
        self._has_left = False
        self.ask_to_drain: Callable[[], Awaitable[None]] = self.drain
        """Called when the store has a request to drain."""
        self._error: Exception | None = None

    # ----- of the iteration -----

    def metrics(self) -> str:
        """Return counts since the start, and the status of the owned shards."""
        return self.owners.metrics(identifies_left=self.slots.left)

    def raise_error(self) -> None:
        """Raise the exception that ended the member, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    # ----- of the context manager -----

    async def run(self) -> None:
        """Take part in the fleet until cancelled."""
        self._finished = anyio.Event()
        try:
            with anyio.CancelScope() as self._scope:
                await self._run()
        except BaseException as error:
            if (failure := failure_of(error)) is None:
                raise
            await self.fail(failure)
        finally:
            self._finished.set()
            self.owners.coordinator.answered.notify()

    async def fail(self, error: Exception) -> None:
        """End the iteration with an exception."""
        self._error = error
        log_error(error)
        await self.shards.stop()

    async def _run(self) -> None:
        try:
            plan = await self.shards.planned()
        except (GaveUpError, LocalProtocolError):
            return  # the iteration raises it
        self._has_plan = True
        name = f"{self.name}.{self.generation.id}"  # the slots are those of all generations
        self.slots.begin(identify_slots(name, self._config, plan))
        await self.drain_requests.begin()
        async with anyio.create_task_group() as group:
            group.start_soon(self._drain_if_asked)
            group.start_soon(self.owners.run, self.shards)
            group.start_soon(self.slots.run)
            group.start_soon(self._commands.run)

    async def drain(self) -> None:
        """Give all shards away; then the iteration ends."""
        if not self._is_draining:
            self._is_draining = True
            self._membership.drain(now=anyio.current_time())
            self.owners.coordinator.changed()
        # Without a plan nothing is owned, and no heartbeat is written.
        while self._has_plan and not self._membership.has_left and not self._is_over:
            await self.owners.coordinator.answered.wait()
        await self.shards.stop()

    async def _drain_if_asked(self) -> None:
        await self.drain_requests.until_asked(self.owners.coordinator.answered)
        await self.ask_to_drain()

    @property
    def _is_over(self) -> bool:
        return self._finished is not None and self._finished.is_set()

    async def retire(self) -> None:
        """Close all shards for good, and remove the member: the generation is over."""
        if not self._has_left:
            await self.shards.stop(keep_session=False)
            await self.leave()
            with contextlib.suppress(StoreError):
                await self.store.heartbeat(self.name, b"")

    def changed(self) -> None:
        """Send a heartbeat if the membership wants one."""
        self.owners.coordinator.changed()

    async def leave(self) -> None:
        """Close all shards, store their sessions, and leave the members."""
        if self._finished is None or self._has_left:
            return  # it was cancelled before it began
        self._has_left = True
        if self._scope is not None:
            self._scope.cancel()
        await self._finished.wait()
        await self.shards.stop()
        await self.owners.leave()
