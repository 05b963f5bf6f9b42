"""Invariants of a change of the number of shards: it ends, and no event is lost or comes late."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import attrs
import msgspec

from gateway_proto.fleet import (
    Cutover,
    FeedEvent,
    Generation,
    GenerationPhase,
    Generations,
    GroupPlace,
    LogRecord,
)
from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant, logs_of
from gateway_proto.testing.simulation.fleet.observer import ConsumerView, LogId, OwnerView
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner
from gateway_proto.testing.simulation.server_process import TICK

__all__ = ["CancelLeavesNothing", "ChangeEnds", "CutoverOnce", "NothingMissedAtCutover"]

_STOPPED = 2.0
"""Seconds after a stop of a process within which it may not have read what has arrived."""


class ChangeEnds(FleetInvariant):
    """After the faults a change of the number of shards ends, for machines and consumers."""

    def settled(self) -> None:
        """Check that no change is under way, unless all Identifies of the day are spent."""
        generations = self._fleet.store.generations
        assert generations is not None
        what = f"the change is {generations.phase.value} since the faults ended"
        ended = generations.next is None or self._fleet.is_budget_spent()
        self.check(ended, what)
        value, _ = self._fleet.store.place
        read = None if value is None else GroupPlace.from_bytes(value).generation
        what = f"the consumers read {read}, and the fleet runs {generations.present}"
        self.check(not self._fleet.consumers or read == generations.present, what)


class CancelLeavesNothing(FleetInvariant):
    """A cancelled change leaves the present generation as it is, and nothing of the next one."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._known: Generations | None = None

    def generations_written(self, generations: Generations) -> None:
        """Check that a change is cancelled only while it prepares."""
        before, self._known = self._known, generations
        if before is None or before.next is None or generations.present == before.next:
            return
        if generations.next != before.next:
            what = f"the change was cancelled while it was {before.phase.value}"
            self.check(before.phase is GenerationPhase.PREPARING, what)
            same = (generations.present, generations.earlier) == (before.present, before.earlier)
            self.check(same, "the cancelled change has changed the present generation")

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        """Check that no shard is closed for good unless the phase asks for it."""
        if record.cutover:
            known = self._fleet.store.generations
            assert known is not None
            is_leaving = known.next is not None and known.phase is GenerationPhase.LEAVING
            may_leave = [*known.earlier, *([known.present] if is_leaving else [])]
            ids = [generation.id for generation in may_leave]
            self.check(log.generation in ids, "it was closed for good, but not left", log)

    def fleet_recovered(self) -> None:
        """Check that only generations of the store run."""
        generations = self._fleet.store.generations
        assert generations is not None
        for member in self._fleet.members:
            runs = member.generation in (generations.present, generations.next)
            self.check(runs, f"{member} runs, but its generation does not")


class CutoverOnce(FleetInvariant):
    """A group gets one cutover per shard, as its last event, before the next generation."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._place: GroupPlace | None = None
        self._cut: set[LogId] = set()
        self._taken: set[tuple[LogId, int]] = set()

    def consumed(self, consumer: ConsumerView, event: FeedEvent) -> None:
        """Check that a consumer gets nothing after the cutover of a shard."""
        of = consumer.log, consumer.claim.position
        if of in self._taken:
            self.check(False, f"{event!r:.80} follows the cutover", consumer.log)
        if isinstance(event, Cutover):
            self._taken.add(of)

    def cursor_written(self, log: LogId, value: bytes) -> None:
        """Check that the cutover that was acknowledged was taken, and remains so."""
        cursor = msgspec.json.decode(value)
        if cursor["place"].get("cut", False):
            taken = log in self._cut or (log, cursor["epoch"]) in self._taken
            self.check(taken, "a cutover was acknowledged that nobody got", log)
            self._cut.add(log)
        else:
            self.check(log not in self._cut, "the cutover is no longer acknowledged", log)

    def place_written(self, place: GroupPlace) -> None:
        """Check that all cutovers were handled before the next generation is read."""
        before, self._place = self._place, place
        if before is not None:
            left = [str(log) for log in logs_of(before.generation) if log not in self._cut]
            self.check(not left, f"the group goes on without the cutover of {left}")


@attrs.define
class _Change:
    """A change that is under way or complete."""

    before: Generation
    after: Generation
    first: int
    """The last tick before it was announced."""
    last: int = 0
    """The last tick before it was complete."""


@attrs.define
class _Ticks:
    """The ticks that are in a log, and those that a lost session may have cost."""

    logged: set[int] = attrs.field(factory=set)
    gaps: list[tuple[float, float]] = attrs.field(factory=list)
    """Ticks before and after each reported loss."""

    def has(self, tick: int) -> bool:
        """Whether a tick is in the log, or in a reported gap."""
        return tick in self.logged or any(first < tick < last for first, last in self.gaps)


class NothingMissedAtCutover(FleetInvariant):
    """Each event is in the log of the generation before a change, or of the one after it.

    Except those of a session whose loss is reported, and if the machine of a shard that closes was
    stopped or cut off.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._change: _Change | None = None
        self._complete: list[_Change] = []
        self._disturbed: set[LogId] = set()

    def generations_written(self, generations: Generations) -> None:
        """Note the beginning and the end of a change."""
        tick, change = self._fleet.ticks.count, self._change
        if change is not None and generations.present == change.after:
            change.last = tick
            self._complete.append(change)
        if generations.next is None:
            self._change = None
        elif change is None or change.after != generations.next:
            self._change = _Change(generations.present, generations.next, tick)

    def leaves(self, owner: OwnerView) -> None:
        """Note a shard that is closed while its machine does not get all events."""
        assert isinstance(owner, ShardOwner)
        end, now = owner.end, self._fleet.scheduler.now
        is_cut_off = owner.is_ready and (end is None or end.wire.has_lost)
        was_stopped = owner.process.thawed_at > now - _STOPPED
        if owner.left_unresumed or is_cut_off or was_stopped:
            self._disturbed.add(owner.log)

    def rewound(self, log: LogId, position: int) -> None:
        """Note a closed shard whose last events are lost: nobody can get them again."""
        generations = self._fleet.store.generations
        if generations is not None and generations.phase is GenerationPhase.LEAVING:
            self._disturbed.add(log)

    def fleet_recovered(self) -> None:
        """Check the changes that were completed since the last time."""
        complete, self._complete = self._complete, []
        for change in complete:
            # A shard of the first may not have had a session when the change began.
            before = [self._ticks(log, has_session=False) for log in logs_of(change.before)]
            after = [self._ticks(log, has_session=True) for log in logs_of(change.after)]
            for guild in range(math.lcm(len(before), len(after))):
                old, new = guild % len(before), guild % len(after)
                log = LogId(change.before.id, old)
                if log in self._disturbed:
                    continue
                for tick in range(change.first + 1, change.last + 1):
                    if not before[old].has(tick) and not after[new].has(tick):
                        what = f"tick {tick} is in no log, neither in that of shard {new} after it"
                        self.check(False, what, log)

    def _ticks(self, log: LogId, *, has_session: bool) -> _Ticks:
        """Return the ticks of a log, which begins with a session or with a gap."""
        found, last, lost = _Ticks(), -math.inf, not has_session
        for tick in self._events(log):
            if tick is None:
                lost = True
            else:
                if lost:
                    found.gaps.append((last, tick))
                found.logged.add(tick)
                last, lost = tick, False
        if lost:
            found.gaps.append((last, math.inf))
        return found

    def _events(self, log: LogId) -> Iterator[int | None]:
        """Yield the ticks of a log, and None where a session is lost or begins."""
        ticks = self._fleet.ticks
        for _, record in self._fleet.store.scope(log.generation).records(log.shard, 0):
            if record.cutover:
                return
            if record.session_lost:
                yield None
            for name, sequence, _ in record.events:
                if name == "READY":
                    yield None
                elif name == TICK and record.session is not None:
                    yield ticks.tick(record.session.id, ticks.number(record.session.id, sequence))
