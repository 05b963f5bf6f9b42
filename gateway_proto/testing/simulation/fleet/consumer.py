"""A consumer of a simulated feed: its shards, and the events that its application handles."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.fleet import (
    FeedCursor,
    FeedEvent,
    LogHead,
    LogRecord,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
)
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.host import Host
from gateway_proto.testing.simulation.fleet.membership_driver import MembershipDriver
from gateway_proto.testing.simulation.fleet.store import SimulatedStore, StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["ConsumedShard", "Consumer", "ConsumerProcess"]

_POLL_SECONDS = 1.0
"""Time between two looks at a log."""
_RETRY_SECONDS = 0.2


class ConsumedShard:
    """A shard while one process owns it within its group."""

    def __init__(self, process: ConsumerProcess, shard: int, claim: LogHead) -> None:
        self.process: ConsumerProcess = process
        self.shard: int = shard
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
        self.process.group.read_cursor(self.shard, self._begin_with, self._again(self._begin))

    def _begin_with(self, answer: tuple[bytes | None, int]) -> None:
        value, revision = answer

        def start(head: LogHead) -> None:
            self.cursor.begin(value, revision, start=head)
            self._write()
            self._poll()

        if value is None:  # a new group begins with the next events
            self.process.logs.head(self.shard, start, self._again(self._begin))
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

        self.process.group.write_cursor(self.shard, *write, answered, failed)

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

        def answered(records: list[tuple[int, LogRecord]]) -> None:
            self._is_reading = False
            self._add(records)

        def failed() -> None:
            self._is_reading = False
            cursor.restart()  # the engine may have lost the end of the log
            self.process.after(_RETRY_SECONDS, self._write)

        self.process.logs.records(self.shard, cursor.position, answered, failed)

    def _add(self, records: list[tuple[int, LogRecord]]) -> None:
        cursor = self.cursor
        if self.is_over or not cursor.is_active:
            return
        for position, record in records:
            if not cursor.add(position, record):
                break
        if not cursor.needs_records:
            self.process.take()

    def _again(self, do: Callable[[], None]) -> Callable[[], None]:
        def again() -> None:
            if not self.is_over:
                do()

        return lambda: self.process.after(_RETRY_SECONDS, again)


class ConsumerProcess(SimulatedProcess):
    """One process of a group: it takes one event after the other, of all its shards."""

    alive: bool
    clock_lag: float
    frozen: bool

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
        self.logs: StoreClient = StoreClient(store, consumer.number, self)
        self.group: StoreClient = StoreClient(store, consumer.number, self, in_group=True)
        self.shards: dict[int, ConsumedShard] = {}
        """The shards by id."""
        self.is_draining: bool = False
        """Whether it gives its shards away and ends."""
        self._consumer = consumer
        self._handling_seconds = config.handling
        self._observer = observer
        self._random = random
        self._taken: ConsumedShard | None = None
        membership = Membership(
            member, config.shards, ttl=config.ttl, interval=config.interval, now=self.clock()
        )
        self._membership = MembershipDriver(self, member, membership, self.group, self)
        self._membership.step()

    # ----- events -----

    def take(self) -> None:
        """Take the next event, unless one is being handled, and handle it for some time."""
        if self._taken is not None:
            return
        for shard in list(self.shards.values()):
            event = shard.next_event()
            if event is not None:
                # The other shards come first next time.
                self.shards[shard.shard] = self.shards.pop(shard.shard)
                self._taken = shard
                self._observer.consumed(shard, event)
                self.after(2 * self._random.random() * self._handling_seconds, self._handled)
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
