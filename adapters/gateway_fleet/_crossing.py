"""Part of one generation's shards in the change to another number of shards, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from gateway_fleet._owner import ShardOwner
from gateway_fleet.store import StoreError
from gateway_proto import Event, Session
from gateway_proto.fleet import GenerationRole, Membership, Stage
from gateway_proto.fleet.generation_steps import LEAVE_RESUME_SECONDS, is_about_to_resume

__all__ = ["Crossing"]

_POLL_SECONDS = 0.01
_RETRY_SECONDS = 0.2


class Crossing:
    """The shards of one generation, while the fleet crosses over to or from it.

    `remove` closes a shard for good.
    """

    def __init__(
        self,
        role: GenerationRole,
        owners: Mapping[int, ShardOwner],
        membership: Membership,
        remove: Callable[[int], Awaitable[None]],
        *,
        publish: bool,
    ) -> None:
        self.role: GenerationRole = role
        self.is_handed_out: bool = role in (GenerationRole.PRESENT, GenerationRole.LEAVING)
        """Whether an iteration takes the events."""
        self.look: Callable[[], Awaitable[object]] | None = None
        """Function that reads the phase of the change, and calls `enter` or `leave`."""
        self.untaken: list[tuple[int | None, Event]] = []
        """Events that were taken from the shards when they entered; they come first."""
        self._owners = owners
        self._membership = membership
        self._remove = remove
        self._publish = publish
        self._dropping: anyio.CancelScope | None = None

    @property
    def keeps_events(self) -> bool:
        """Whether a shard that is acquired now logs its events."""
        return self._publish and self.role.keeps_events

    @property
    def stages(self) -> dict[int, Stage]:
        """Stages of all shards of the generation, as their owners report them."""
        return self._membership.stages

    async def until_phase_is_known(self, session: Session | None) -> None:
        """Read the phase before a shard dials, if what it does depends on a later one."""
        while self.role.must_look(session) and self.look is not None:
            with contextlib.suppress(StoreError):
                await self.look()
                return
            await anyio.sleep(_RETRY_SECONDS)

    def begin(self, owner: ShardOwner) -> None:
        """Prepare an owner that has just claimed its shard."""
        if self.role is GenerationRole.ENTERING:
            owner.enter(keep_events=self._publish)
        elif not self.role.dials(owner.claim.session):
            owner.cut_over()

    def report(self, now: float) -> bool:
        """Report the stage of each shard; return whether one has changed."""
        before = self._membership.stages
        for shard_id, owner in self._owners.items():
            if self.role is GenerationRole.PREPARING:
                owner.stage = Stage.PREPARED if owner.preparation.is_done(now=now) else None
            if not owner.is_over:
                self._membership.reached(shard_id, owner.stage, now=now)
        return self._membership.stages != before

    def end(self) -> None:
        """Continue as the present generation: the change is complete."""
        self.role = GenerationRole.PRESENT
        for owner in self._owners.values():
            owner.stage = None

    async def drop_events(self, shards: Any) -> None:
        """Take the events of the shards, until they enter."""
        with anyio.CancelScope() as self._dropping:
            async for item in shards:
                if self.role is not GenerationRole.PREPARING:
                    self.untaken.append(item)
                    return
                owner = self._owners.get(item[0])
                if owner is not None:
                    owner.drop(item[1])

    def enter(self) -> None:
        """Keep the events from now on, and log that."""
        if self.role is GenerationRole.PREPARING:
            self.role = GenerationRole.ENTERING
            if self._dropping is not None:
                self._dropping.cancel()
            for owner in self._owners.values():
                owner.enter(keep_events=self._publish)

    async def leave(self) -> None:
        """Close all shards; after their last events were handled, log the cutover."""
        self.role = GenerationRole.LEAVING
        async with anyio.create_task_group() as group:
            for owner in list(self._owners.values()):
                group.start_soon(self.leave_shard, owner)

    async def until_handled(self, owner: ShardOwner) -> None:
        """Wait until the events that a closed shard has received are handled, or logged.

        Those of a generation that is not handed out yet are dropped: the next owner gets them.
        """
        while self.is_handed_out and not owner.is_over and owner.gateway.unhandled_events:
            await anyio.sleep(_POLL_SECONDS)

    def discard(self, owner: ShardOwner) -> None:
        """Drop the queued events of a shard that was lost before they were handed out.

        Nothing else takes them, and the next owner gets them again.
        """
        if (
            self.role is GenerationRole.ENTERING
            and not self.is_handed_out
            and owner.gateway is not None
        ):
            self.untaken = [item for item in self.untaken if item[0] != owner.shard_id]
            # Not by an iteration: that of `drop_events` may not have ended yet.
            while owner.gateway.unhandled_events:
                owner.gateway._next_events(owner.gateway.unhandled_events)

    async def leave_shard(self, owner: ShardOwner) -> None:
        """Close a shard once nothing is missing in its log, and log the cutover."""
        while owner.gateway is None and not owner.is_over:  # it was claimed just now
            if owner.ledger.is_clear and owner.stage is Stage.LEFT:
                return
            await anyio.sleep(_POLL_SECONDS)
        with anyio.move_on_after(LEAVE_RESUME_SECONDS):
            while not owner.is_over and _has_missed_events(owner.gateway):
                await anyio.sleep(_POLL_SECONDS)
        owner.is_closing = True
        owner.may_identify = False
        await self._remove(owner.shard_id)
        await self.until_handled(owner)
        owner.cut_over()
        await owner.until_clear()


def _has_missed_events(gateway: Any) -> bool:
    """Whether a gateway is about to resume: the server then sends what was missed."""
    return gateway is not None and is_about_to_resume(gateway.session, gateway.state)
