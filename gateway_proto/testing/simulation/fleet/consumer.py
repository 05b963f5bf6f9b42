"""A consumer of a simulated feed: its shards, and the events that its application handles."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.fleet import (
    FeedCursor,
    FeedEvent,
    Generations,
    GroupPlace,
    LogHead,
    LogRecord,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
    Stage,
)
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.host import Host
from gateway_proto.testing.simulation.fleet.membership_driver import MembershipDriver
from gateway_proto.testing.simulation.fleet.observer import LogId
from gateway_proto.testing.simulation.fleet.store import PLACE, READ, SimulatedStore, StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["ConsumedShard", "Consumer", "ConsumerProcess"]

_POLL_SECONDS = 1.0
"""Time between two looks at a log."""
_RETRY_SECONDS = 0.2
_CHANGE_SECONDS = 0.5
"""Time between two looks while the fleet changes the number of its shards."""


class ConsumedShard:
    """A shard while one process owns it within its group."""

    def __init__(self, process: ConsumerProcess, shard: int, claim: LogHead) -> None:
        self.process: ConsumerProcess = process
        self._reading = process.reading
        self.shard: int = shard
        self.log: LogId = LogId(process.reading.place.generation.id, shard)
        self.claim: LogHead = claim
        """The own claim, in the log of the group."""
        self.cursor: FeedCursor = FeedCursor(claim)
        self.is_over: bool = False
        """Whether the shard was given away or lost."""
        self.is_releasing: bool = False
        """Whether the shard is given away once its last event is handled."""
        self._is_reading = self._is_writing = False
        self._on_acknowledged: Callable[[], None] | None = None
        self._begin()

    def next_event(self) -> FeedEvent | None:
        """Take the next event, if one was read."""
        event = self.cursor.next_event()
        self._read()
        return event

    def acknowledge(self, done: Callable[[], None]) -> None:
        """Store that the events that were taken were handled. `done` is called at the end."""
        self._on_acknowledged = done
        self.cursor.handled()
        self._write()

    def end(self) -> None:
        """Drop the events that were read."""
        self.is_over = True
        self._acknowledged()

    def _begin(self) -> None:
        self._reading.group.read_cursor(self.shard, self._begin_with, self._again(self._begin))

    def _begin_with(self, answer: tuple[bytes | None, int]) -> None:
        value, revision = answer

        def start(head: LogHead) -> None:
            entered = self._reading.place.entered
            self.cursor.begin(value, revision, start=head, entered=entered)
            self._write()
            self._poll()

        is_new = value is None and not self._reading.place.entered
        if is_new:  # a new group begins with the next events
            self._reading.logs.head(self.shard, start, self._again(self._begin))
        else:
            start(LogHead())

    def _write(self) -> None:
        """Write the cursor until the store has what it has."""
        if self._is_writing and not self.is_over:
            return
        write = None if self.is_over else self.cursor.next_write()
        if write is None:
            self._acknowledged()
            self._read()
            return
        self._is_writing = True

        def answered(answer: tuple[bytes | None, int]) -> None:
            self._is_writing = False
            if self.is_over:
                return
            self.cursor.written(*answer)
            if self.cursor.is_fenced:
                self.process.fenced(self)
            else:
                self._write()

        def failed() -> None:
            self._is_writing = False
            self.process.after(_RETRY_SECONDS, self._write)

        self._reading.group.write_cursor(self.shard, *write, answered, failed)

    def _acknowledged(self) -> None:
        done, self._on_acknowledged = self._on_acknowledged, None
        if done is not None:
            done()

    def _poll(self) -> None:
        if not self.is_over:
            self._write()
            self.process.after(_POLL_SECONDS, self._poll)

    def _read(self) -> None:
        """Read the log, if all that was read is taken."""
        cursor = self.cursor
        if self._is_reading or self.is_over or not cursor.is_active or not cursor.needs_records:
            return
        self._is_reading = True
        is_ended = self._reading.is_over  # before the read, which then finds all that was logged

        def answered(records: list[tuple[int, LogRecord]]) -> None:
            self._is_reading = False
            self._add(records, is_ended=is_ended)

        def failed() -> None:
            self._is_reading = False
            cursor.restart()  # the engine may have lost the end of the log
            self.process.after(_RETRY_SECONDS, self._write)

        self._reading.logs.records(self.shard, cursor.position, answered, failed)

    def _add(self, records: list[tuple[int, LogRecord]], *, is_ended: bool) -> None:
        cursor = self.cursor
        if self.is_over or not cursor.is_active:
            return
        is_whole = all(cursor.add(position, record) for position, record in records)
        if is_ended and is_whole and len(records) < READ:
            cursor.finish()
        if not cursor.needs_records:
            self.process.take()

    def _again(self, do: Callable[[], None]) -> Callable[[], None]:
        def again() -> None:
            if not self.is_over:
                do()

        return lambda: self.process.after(_RETRY_SECONDS, again)


class _Reading:
    """State of a consumer in the generation that its group reads."""

    def __init__(self, place: GroupPlace, process: ConsumerProcess) -> None:
        self.place: GroupPlace = place
        self.is_over: bool = False
        """Whether the fleet has left the generation: logs that are read to their ends are done."""
        self.logs: StoreClient = process.client(place.generation.id)
        self.group: StoreClient = process.client(place.generation.id, in_group=True)
        self.shards: dict[int, ConsumedShard] = {}


class ConsumerProcess(SimulatedProcess):
    """One process of a group: it takes one event after the other, of all its shards."""

    alive: bool
    clock_lag: float
    frozen: bool
    reading: _Reading
    _membership: MembershipDriver

    def __init__(
        self,
        consumer: Consumer,
        member: str,
        *,
        scheduler: Scheduler,
        config: FleetSimulationConfig,
        store: SimulatedStore,
        observer: FleetHistory,
        random: SeededRandom,
    ) -> None:
        super().__init__(scheduler)
        self.alive = True
        self.member: str = member
        """The member's name, which no other run has."""
        self.is_draining: bool = False
        """Whether it gives its shards away and ends."""
        self._consumer = consumer
        self._store = store
        self._config = config
        self._observer = observer
        self._random = random
        self._taken: ConsumedShard | None = None
        self._has_begun = self._is_changing = False
        self._bot = self.client("")
        self._scope = self.client("", in_group=True)
        self._look()

    def client(self, generation: str, *, in_group: bool = False) -> StoreClient:
        """Return a client of a part of the store."""
        number = self._consumer.number
        return StoreClient(self._store, number, self, generation, in_group=in_group)

    @property
    def shards(self) -> dict[int, ConsumedShard]:
        """The shards by id."""
        return self.reading.shards if self._has_begun else {}

    # ----- the generation that the group reads -----

    def _look(self) -> None:
        """Read the generations and the place of the group, and follow it."""
        self._bot.read_generations(self._look_at_place, self._look_later)

    def _look_later(self) -> None:
        seconds = self._config.look_interval
        if not self._has_begun or self._is_changing:
            seconds = min(seconds, _CHANGE_SECONDS)
        self.after(seconds, self._look)

    def _look_at_place(self, answer: tuple[bytes | None, int]) -> None:
        if answer[0] is None:
            self._look_later()  # no member has been started yet
            return
        generations = Generations.from_bytes(answer[0])

        def placed(answer: tuple[bytes | None, int]) -> None:
            value, revision = answer
            if value is None:
                first = GroupPlace(generations.present).to_bytes()
                self._scope.write_place(first, revision, placed, self._look_later)
            else:
                self._follow(GroupPlace.from_bytes(value), revision, generations)

        self._scope.compare_and_set(PLACE, None, 0, placed, self._look_later)

    def _follow(self, place: GroupPlace, revision: int, generations: Generations) -> None:
        if not self._has_begun or place != self.reading.place:
            self._enter(place)
            self._look_later()
            return
        here = self.reading
        here.is_over = generations.present != place.generation
        self._is_changing = here.is_over or generations.next is not None
        if not self._is_changing:
            self._look_later()
            return
        membership = self._membership.membership
        for shard in here.shards.values():
            if shard.cursor.is_cut:
                membership.reached(shard.shard, Stage.LEFT, now=self.clock())
        self._membership.step()
        wanted = place.following(generations, membership.stages)
        if wanted is None:
            self._look_later()
        else:

            def written(answer: tuple[bytes | None, int]) -> None:
                self._follow(GroupPlace.from_bytes(answer[0] or b""), answer[1], generations)

            self._scope.write_place(wanted.to_bytes(), revision, written, self._look_later)

    def _enter(self, place: GroupPlace) -> None:
        """Leave the logs that were read, and read those of a generation."""
        if self._has_begun:
            self._membership.stop()
            for shard in list(self.shards.values()):
                self._remove(shard)
            self.reading.group.heartbeat(self.member, b"", lambda _: None, lambda: None)
        self._has_begun, self._is_changing = True, False
        self.reading = _Reading(place, self)
        membership = Membership(
            self.member,
            place.generation.count,
            ttl=self._config.ttl,
            interval=self._config.interval,
            now=self.clock(),
        )
        self._membership = MembershipDriver(self, self.member, membership, self.reading.group, self)
        if self.is_draining:
            membership.drain(now=self.clock())
        self._membership.step()

    # ----- events -----

    def take(self) -> None:
        """Take the next event, unless one is being handled, and handle it for some time."""
        if self._taken is not None:
            return
        for shard in list(self.reading.shards.values()):
            event = shard.next_event()
            if event is not None:
                # The other shards come first next time.
                self.shards[shard.shard] = self.shards.pop(shard.shard)
                self._taken = shard
                self._observer.consumed(shard, event)
                self.after(2 * self._random.random() * self._config.handling, self._handled)
                return

    def _handled(self) -> None:
        shard = self._taken
        assert shard is not None
        self._observer.event_handled(shard)
        shard.acknowledge(self._acknowledged)

    def _acknowledged(self) -> None:
        shard, self._taken = self._taken, None
        if shard is not None and shard.is_releasing and not shard.is_over:
            self._release(shard)
        self.take()

    def _release(self, shard: ConsumedShard) -> None:
        self._remove(shard)
        membership = self._membership.membership
        membership.released(shard.shard, shard.claim.id, now=self.clock())
        self._membership.step()

    def fenced(self, shard: ConsumedShard) -> None:
        """Give up a shard that another consumer has taken over."""
        self._remove(shard)
        membership = self._membership.membership
        membership.fenced(shard.shard, shard.claim.id, now=self.clock())
        self._membership.step()

    def _remove(self, shard: ConsumedShard) -> None:
        del self.shards[shard.shard]
        shard.end()

    def _has(self, shard: int, claim: str) -> bool:
        return shard in self.shards and self.shards[shard].claim.id == claim

    # ----- membership -----

    def heartbeat_sent(self, number: int) -> None:
        """Do nothing: invariants observe the heartbeats of machines."""

    def heartbeat_answered(self, number: int) -> None:
        """Do nothing, as above."""

    def lease_renewed(self) -> None:
        """Do nothing: a consumer that reads without a lease cannot acknowledge."""

    def membership_event(self, event: MembershipEvent) -> None:
        """Own a shard, or give it up."""
        match event:
            case ShardAcquired(shard, head):
                self.shards[shard] = ConsumedShard(self, shard, head)
            case ShardLost(shard, claim, _) if self._has(shard, claim):
                self._remove(self.shards[shard])
            case ReleaseRequested(shard, claim, _) if self._has(shard, claim):
                released = self.shards[shard]
                released.is_releasing = True
                if self._taken is not released:
                    self._release(released)
            case _:
                pass

    def has_left(self) -> None:
        """End: all shards are given away."""
        self._consumer.drained()

    def notify(self, member: str) -> None:
        """Do nothing: consumers get no notices."""

    # ----- faults -----

    def drain(self) -> None:
        """Give all shards away, and end."""
        self.is_draining = True
        if self._has_begun:
            self._membership.membership.drain(now=self.clock())
            self._membership.step()

    def crash(self) -> None:
        """End at once."""
        self.alive = False

    def freeze(self, seconds: float) -> None:
        """Freeze for some seconds."""
        self.frozen = True
        self.scheduler.after(seconds, self.thaw)

    def thaw(self) -> None:
        """Run again."""
        if self.frozen and self.alive:
            self.frozen = False
            self.run_deferred()


class Consumer(Host[ConsumerProcess]):
    """A program that consumes the feed."""

    def __init__(
        self,
        number: int,
        *,
        scheduler: Scheduler,
        config: FleetSimulationConfig,
        store: SimulatedStore,
        observer: FleetHistory,
        random: SeededRandom,
    ) -> None:
        def run(member: str, random: SeededRandom) -> ConsumerProcess:
            return ConsumerProcess(
                self,
                member,
                scheduler=scheduler,
                config=config,
                store=store,
                observer=observer,
                random=random,
            )

        super().__init__(f"c{number}", run, scheduler=scheduler, random=random)
        self.number: int = number
        """The number of its machine: those of the fleet come first."""

    def crash(self, *, seconds: float) -> None:
        """End the process at once, and start another after some seconds."""
        self.end(seconds).crash()

    def drained(self) -> None:
        """End the process, which has no shards left, and start another soon."""
        self.end().crash()
