"""Generations of a fleet: numbers of shards, one after the other, and the change between two.

A generation has its own members table, logs and sessions. To change the number of shards, a second
generation is announced next to the present one, in one value that all members read and change by
compare-and-set. Each shard reports how far it is (`Stage`) in its owner's member record. Any member
that sees that all shards have reached a stage writes the next phase; two that write the same
change nothing more. So no member is needed for the change, not even the one that announced it.

| phase | shards of the next generation | shards of the present one | the phase ends |
|---|---|---|---|
| PREPARING | identify; their events are dropped | as always | all of the next are PREPARED |
| ENTERING | keep their events | as always | all of the next are ENTERED, and settled |
| LEAVING | keep their events | append a cutover, and close | all of the present are LEFT |

Then the next generation is the present one. Both keep events between ENTERING and LEAVING, since
two connections are not in step: events around the cutover come twice rather than not at all.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Annotated

import msgspec

from gateway_proto._checks import DURATION, WORD, instance_of, optional
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Dispatch, Event, Ready, Resumed, SessionInvalidated
from gateway_proto.fleet.member_record import MAX_SHARDS, SHARD_COUNT, Stage
from gateway_proto.fleet.records import decoded_value
from gateway_proto.session import GuildBackfill

__all__ = [
    "Generation",
    "GenerationPhase",
    "Generations",
    "GroupPlace",
    "Preparation",
    "Resharding",
]

_MAX_EARLIER = 16
"""Number of earlier generations that are known. Older logs are long dropped."""
_BACKFILL_SECONDS = 30.0
"""Seconds after READY for which guilds are awaited. Those in an outage may take hours."""


class GenerationPhase(enum.Enum):
    """Progress of the change to the next generation."""

    PREPARING = "preparing"
    ENTERING = "entering"
    LEAVING = "leaving"


class Generation(msgspec.Struct, frozen=True):
    """One number of shards, with members, logs and sessions of its own."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARDS)]


class Generations(msgspec.Struct, frozen=True, omit_defaults=True):
    """The generations of a bot: the value in the store. Each change returns the value to write."""

    present: Generation
    next: Generation | None = None
    """Generation that is announced."""
    phase: GenerationPhase = GenerationPhase.PREPARING
    """Progress of the change to `next`."""
    earlier: tuple[Generation, ...] = ()
    """The last generations before the present one: consumers read their logs to the ends first."""
    dropped: tuple[Generation, ...] = ()
    """The last generations that were announced, and never began."""

    @classmethod
    def begun(cls, id: str, count: int, *, before: Generations | None = None) -> Generations:
        """Return a first generation, or one that begins since no member of another is live."""
        generation = _generation(id, count)
        _BEFORE.named("before", before)
        if before is None:
            return cls(generation)
        return cls(generation, earlier=before._passed, dropped=before._dropped)

    def announced(self, id: str, count: int) -> Generations:
        """Announce a generation. `id` differs from all others.

        Raises `LocalProtocolError` if one is announced, and if the present one has `count` shards.
        """
        generation = _generation(id, count)
        if self.next is not None:
            raise LocalProtocolError(
                f"a change to {self.next.count} shards is under way ({self.phase.value}): wait for "
                "its end, or cancel it while it is preparing"
            )
        if count == self.present.count:
            raise LocalProtocolError(f"invalid count {count}: the fleet runs {count} shards now")
        return msgspec.structs.replace(self, next=generation, phase=GenerationPhase.PREPARING)

    def cancelled(self) -> Generations:
        """Cancel the announced generation.

        Raises `LocalProtocolError` without one, and if its events are kept already.
        """
        if self.next is None:
            raise LocalProtocolError("no change of the number of shards is under way")
        if self.phase is not GenerationPhase.PREPARING:
            raise LocalProtocolError(
                f"the change to {self.next.count} shards is {self.phase.value}: it can be "
                "cancelled only while it is preparing"
            )
        return msgspec.structs.replace(self, next=None, dropped=self._dropped)

    def advanced(self) -> Generations:
        """Return the next phase; after LEAVING the next generation is the present one.

        Raises `LocalProtocolError` if no generation is announced.
        """
        if self.next is None:
            raise LocalProtocolError("no change of the number of shards is under way")
        if self.phase is GenerationPhase.LEAVING:
            return Generations(self.next, earlier=self._passed, dropped=self.dropped)
        return msgspec.structs.replace(self, phase=_FOLLOWING[self.phase])

    def after(self, generation: Generation) -> Generation | None:
        """Return the generation in which consumers continue after one; None after the present one.

        After one that is no longer known it is the present one.
        """
        known = (*self.earlier, self.present)
        if generation not in known:
            return self.present
        return next(iter(known[known.index(generation) + 1 :]), None)

    @property
    def over(self) -> tuple[Generation, ...]:
        """Generations whose members, logs and values the store need not keep any longer.

        Consumers may still read their logs, so a store keeps them until the retention is over.
        """
        return self.earlier + self.dropped

    @property
    def _passed(self) -> tuple[Generation, ...]:
        return (*self.earlier, self.present)[-_MAX_EARLIER:]

    @property
    def _dropped(self) -> tuple[Generation, ...]:
        return self.dropped if self.next is None else (*self.dropped, self.next)[-_MAX_EARLIER:]

    def to_bytes(self) -> bytes:
        """Return JSON, which `from_bytes` converts to an equal value."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Generations:
        """Return the value of `to_bytes`. Raises `DataError` if it is invalid."""
        return decoded_value(data, cls, "the generations of a fleet")


class GroupPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """The generation that a group of consumers reads: a value in the store, for all of them."""

    generation: Generation
    entered: bool = False
    """Whether the group came from another generation, and reads the logs from their beginnings."""

    def to_bytes(self) -> bytes:
        """Return JSON, which `from_bytes` converts to an equal value."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> GroupPlace:
        """Return the value of `to_bytes`. Raises `DataError` if it is invalid."""
        return decoded_value(data, cls, "the place of a group")

    def following(self, generations: Generations, stages: Mapping[int, Stage]) -> GroupPlace | None:
        """Return the next place, once the cutover of all shards was handled; else None.

        `stages` is `Membership.stages` of the consumers of the group.
        """
        after = generations.after(self.generation)
        if after is None or not _have_all(self.generation, stages, Stage.LEFT):
            return None
        return GroupPlace(after, entered=True)


_BEFORE = optional(instance_of(Generations, "Generations"))
_FOLLOWING = {
    GenerationPhase.PREPARING: GenerationPhase.ENTERING,
    GenerationPhase.ENTERING: GenerationPhase.LEAVING,
}
_REQUIRED = {
    GenerationPhase.PREPARING: Stage.PREPARED,
    GenerationPhase.ENTERING: Stage.ENTERED,
    GenerationPhase.LEAVING: Stage.LEFT,
}


class Resharding:
    """Decides when a phase ends, from what the shards of both generations report.

    The phase ENTERING lasts `settle` seconds after all shards have entered: what one connection has
    received by then, the other one will soon receive, too. Raises `LocalProtocolError` for an
    invalid duration.
    """

    def __init__(self, *, settle: float = 1.0) -> None:
        DURATION.named("settle", settle)
        self._settle = settle
        self._complete: tuple[Generation | None, float] = (None, math.inf)

    def wanted(
        self,
        generations: Generations,
        present: Mapping[int, Stage],
        next_: Mapping[int, Stage],
        *,
        now: float,
    ) -> Generations | None:
        """Return the value to write, if the phase ends now.

        `present` and `next_` are `Membership.stages` of the two generations.
        """
        if generations.next is None:
            return None
        phase = generations.phase
        is_leaving = phase is GenerationPhase.LEAVING
        of, stages = (generations.present, present) if is_leaving else (generations.next, next_)
        if not _have_all(of, stages, _REQUIRED[phase]):
            return None
        if phase is GenerationPhase.ENTERING:
            if self._complete[0] != of:
                self._complete = of, now
            if now < self._complete[1] + self._settle:
                return None
        return generations.advanced()


class Preparation:
    """Whether one shard of the next generation is READY, and has received its guilds.

    Add all events of the shard. A shard that resumes a session whose READY another member received
    is ready at once: which guilds are missing is not known here.
    """

    def __init__(self) -> None:
        self._backfill = GuildBackfill()
        self._ready_at = math.inf

    def add(self, event: Event, *, now: float) -> None:
        """Add an event, received at `now`."""
        if isinstance(event, SessionInvalidated):
            self._backfill, self._ready_at = GuildBackfill(), math.inf
        if not isinstance(event, Dispatch):
            return
        if isinstance(event, Ready):
            self._ready_at = now
        elif isinstance(event, Resumed) and self._backfill.missing is None:
            self._backfill = GuildBackfill(frozenset())
        self._backfill = self._backfill.after(event)

    def is_done(self, *, now: float) -> bool:
        """Whether the shard is prepared. Guilds are awaited for 30 seconds after READY."""
        return self._backfill.done or now >= self._ready_at + _BACKFILL_SECONDS


def _have_all(generation: Generation, stages: Mapping[int, Stage], least: Stage) -> bool:
    return all(stages.get(shard, 0) >= least for shard in range(generation.count))


def _generation(id: str, count: int) -> Generation:
    WORD.named("id", id)
    SHARD_COUNT.named("count", count)
    return Generation(str.__str__(id), int(count))  # of a subclass, which msgspec does not encode
