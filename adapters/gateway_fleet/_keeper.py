"""Generations that one process runs: the present one, and the next one during a change."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import anyio

from gateway_fleet._forgetting import forget_generations
from gateway_fleet._generation import read_generations, write_generations
from gateway_fleet._member import Member
from gateway_fleet._runtime import failure_of
from gateway_fleet.store import Store, StoreError
from gateway_proto.driver.event_queue import log_error
from gateway_proto.fleet import (
    CancelChange,
    EnterNext,
    FinishChange,
    Generation,
    GenerationFollower,
    GenerationRole,
    Generations,
    GenerationStep,
    LeavePresent,
    OpenNext,
    Resharding,
)

__all__ = ["Keeper"]

_CHANGE_SECONDS = 0.25
"""Time between two looks at the generations during a change."""
Opener: TypeAlias = Callable[[Generation, GenerationRole], AbstractAsyncContextManager[Member]]


class Keeper:
    """Follows the generations in the store, and advances them once all shards are ready for that.

    `open_member` runs the shards of a generation within its context.
    """

    def __init__(
        self,
        bot: Store,
        generations: Generations,
        present: Member,
        open_member: Opener,
        interval: float,
    ) -> None:
        self.handed_out: Member = present
        """Member whose events an iteration takes."""
        self._bot = bot
        self._follower = GenerationFollower(generations)
        self._present = present
        self._next: Member | None = None
        self._following: deque[Member] = deque()  # to be handed out
        self._open = open_member
        self._seconds = interval
        self._resharding = Resharding()
        self._looking = anyio.Lock()
        self._closing: dict[str, anyio.Event] = {}
        self._is_draining = False
        self._error: Exception | None = None
        self._tasks: Any = None
        present.ask_to_drain = self.drain
        present.crossing.look = self._look

    def raise_error(self) -> None:
        """Raise the exception that ended a generation that was handed out, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def cross(self) -> bool:
        """Hand out the next generation if the one that is handed out is over; return whether."""
        if self.handed_out.crossing.role is not GenerationRole.LEAVING or self._is_draining:
            return False
        if not self._following:
            return False
        self.handed_out = self._following.popleft()
        self.handed_out.crossing.is_handed_out = True
        return True

    async def drain(self) -> None:
        """Give the shards of all generations away; then the iteration ends."""
        self._is_draining = True
        self._follower.drain()
        members = {self.handed_out, self._present, *self._following}
        async with anyio.create_task_group() as group:
            for member in members:
                group.start_soon(member.drain)

    async def run(self) -> None:
        """Follow the generations until cancelled."""
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(forget_generations, self._bot)
                while True:
                    try:
                        await self._look()
                        self._present.failures.request(None, "generations", None)
                    except StoreError as error:
                        self._present.failures.request(None, "generations", error)
                    is_changing = self._follower.known.next is not None
                    await anyio.sleep(min(self._seconds, _CHANGE_SECONDS if is_changing else 60.0))
        except BaseException as error:
            if (failure := failure_of(error)) is None:
                raise
            await self.handed_out.fail(failure)

    async def _look(self) -> None:
        async with self._looking:  # an answer that is late must not follow a newer one
            await self._look_once()

    async def _look_once(self) -> None:
        known, revision = await read_generations(self._bot)
        if known is None:
            # The engine has lost them: else the next member would begin another generation.
            known, revision = await write_generations(self._bot, self._follower.known, revision)
        self._follow(known)
        for member in (self._present, self._next):
            if member is not None and member.crossing.report(now := anyio.current_time()):
                member.changed()
        if self._next is not None:
            wanted = self._resharding.wanted(
                known, self._present.crossing.stages, self._next.crossing.stages, now=now
            )
            if wanted is not None:
                self._follow((await write_generations(self._bot, wanted, revision))[0])

    def _follow(self, known: Generations) -> None:
        """Do what the generations in the store ask for."""
        self._do(self._follower.follow(known))

    def _do(self, steps: list[GenerationStep]) -> None:
        for step in steps:
            match step:
                case OpenNext(generation, role):
                    self._closing[generation.id] = anyio.Event()
                    self._tasks.start_soon(self._run_next, generation, role)
                case EnterNext() if self._next is not None:
                    self._next.crossing.enter()
                case LeavePresent():
                    self._tasks.start_soon(self._present.crossing.leave)
                case CancelChange() if self._next is not None:
                    cancelled, self._next = self._next, None
                    self._following.remove(cancelled)
                    self._tasks.start_soon(self._retire, cancelled)
                case FinishChange() if self._next is not None:
                    over, self._present, self._next = self._present, self._next, None
                    self._present.crossing.enter()  # if this process was stopped meanwhile
                    self._present.crossing.end()
                    over.crossing.role = GenerationRole.LEAVING
                    self._tasks.start_soon(self._retire, over)

    async def _run_next(self, generation: Generation, role: GenerationRole) -> None:
        """Run the shards of the next generation, until it is cancelled or over."""
        closing = self._closing[generation.id]
        member: Member | None = None
        try:
            async with self._open(generation, role) as member:
                member.ask_to_drain = self.drain
                member.crossing.look = self._look
                self._next = member
                self._following.append(member)
                # Before a resume brings events, which are kept.
                self._do(self._follower.opened(generation))
                if member.crossing.role is GenerationRole.PREPARING:
                    await member.crossing.drop_events(member.shards)
                await closing.wait()
        except Exception as error:
            if member is None or member is self._next:
                log_error(error)  # the present generation continues
            else:
                self._error = error
        self._follower.ended(generation)
        if member is not None and member is self._next:
            self._next = None
            self._following.remove(member)

    async def _retire(self, member: Member) -> None:
        await member.retire()
        if (closing := self._closing.get(member.generation.id)) is not None:
            closing.set()
        # It may have been asked just before the end of its generation.
        if await member.drain_requests.was_asked():
            await self.drain()
