"""The store of a simulated fleet: the verbs over dictionaries, slowed, with lost answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from gateway_proto.fleet import Generations, GroupPlace, LogHead, LogRecord, ReferenceStore
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.observer import FleetObserver, LogId
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["GENERATION", "PLACE", "READ", "SimulatedStore", "StoreClient"]

T = TypeVar("T")

GENERATION = "generation"
"""Key of the generations of the bot."""
PLACE = "place"
"""Key of the generation that the group of the consumers reads."""
_GROUP = "group:consumers"
READ = 32
"""Records of one read."""
TIMEOUT = 2.0
"""Seconds after which a member no longer waits for an answer."""


class SimulatedStore:
    """A `ReferenceStore` that machines reach over a network with faults.

    Requests may overtake each other, and arrive after the process that sent them has ended.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        rng: SeededRandom,
        config: FleetSimulationConfig,
        observer: FleetObserver,
    ) -> None:
        self._scheduler = scheduler
        self._random = rng
        self._config = config
        self._observer = observer
        self.reference: ReferenceStore = ReferenceStore()
        """Records that the store has acknowledged."""
        self._generations: Generations | None = None
        self._scopes: dict[tuple[str, bool], ReferenceStore] = {}
        self._away_until = 0.0
        self._cut_until: dict[int, float] = {}
        self._slow: dict[int, float] = {}
        self._watchers: dict[str, tuple[int, Callable[[], None]]] = {}
        self._calm = False

    def scope(self, generation: str, *, in_group: bool = False) -> ReferenceStore:
        """Return the part of a generation, or of the bot (""); or of the group in that."""
        key = generation, in_group
        if key not in self._scopes:
            of = self.reference.scoped(generation) if generation else self.reference
            self._scopes[key] = of.scoped(_GROUP) if in_group else of
        return self._scopes[key]

    @property
    def generations(self) -> Generations | None:
        """The generations of the bot, or None before the first."""
        return self._generations

    @property
    def place(self) -> tuple[bytes | None, int]:
        """The generation that the group reads, as a value and its revision."""
        return self.scope("", in_group=True).compare_and_set(PLACE, None, 0)

    # ----- the verbs that observers see -----

    def append(self, log: LogId, after: LogHead, record: LogRecord) -> int | None:
        """Append a record after a head. Return its position, or None if it was refused."""
        position = self.scope(log.generation).append(log.shard, after, record)
        if position is not None:
            self._observer.appended(log, position, record)
        return position

    def write_cursor(self, log: LogId, value: bytes, revision: int) -> tuple[bytes | None, int]:
        """Write the cursor of a shard if the revision is the present one."""
        group = self.scope(log.generation, in_group=True)
        answer = group.compare_and_set(f"cursor:{log.shard}", value, revision)
        if answer == (value, revision + 1):
            self._observer.cursor_written(log, value)
        return answer

    def write_generations(self, value: bytes, revision: int) -> tuple[bytes | None, int]:
        """Write the generations of the bot if the revision is the present one."""
        before = self.reference.compare_and_set(GENERATION, None, 0)
        answer = self.reference.compare_and_set(GENERATION, value, revision)
        if answer != before:
            self._generations = Generations.from_bytes(value)
            self._observer.generations_written(self._generations)
        return answer

    def write_place(self, value: bytes, revision: int) -> tuple[bytes | None, int]:
        """Write the place of the group if the revision is the present one."""
        group = self.scope("", in_group=True)
        before = group.compare_and_set(PLACE, None, 0)
        answer = group.compare_and_set(PLACE, value, revision)
        if answer != before:
            self._observer.place_written(GroupPlace.from_bytes(value))
        return answer

    def watch(self, member: str, machine: int, notified: Callable[[], None]) -> None:
        """Call a function at each notice to a member, which runs on a machine."""
        self._watchers[member] = machine, notified

    def notify(self, member: str) -> None:
        """Pass a notice on to a member; it is lost if the member has ended."""
        machine, notified = self._watchers[member]
        self._travel(machine, 0.0, notified)

    # ----- faults -----

    def cut(self, machine: int, seconds: float) -> None:
        """Cut a machine off for some seconds: requests and answers are lost or delayed."""
        self._cut_until[machine] = self._scheduler.now + seconds

    def slow(self, machine: int, seconds: float) -> None:
        """Delay the next request of a machine, or its answer, by some seconds."""
        self._slow[machine] = seconds

    def go_away(self, seconds: float) -> None:
        """Lose all requests for some seconds, and keep everything else."""
        self._away_until = self._scheduler.now + seconds

    def rewind(self, log: LogId, count: int) -> None:
        """Lose the last records of a shard's log, and its head with them."""
        scope = self.scope(log.generation)
        position = max(0, scope.head(log.shard).position - count)
        scope.rewind(log.shard, position)
        self._observer.rewound(log, position)

    def recover(self, *, calm: bool) -> None:
        """End all faults; if `calm`, lose no request from now on."""
        self._calm = calm
        self._away_until = 0.0
        self._cut_until.clear()
        self._slow.clear()

    # ----- the network -----

    def send(
        self,
        machine: int,
        call: Callable[[SimulatedStore], T],
        done: Callable[[T], None],
        late: Callable[[], None],
    ) -> None:
        """Send a request of a machine. `done` gets the answer, if it arrives.

        `late` is called, before the timeout, if the answer is lost or arrives later.
        """
        slow = self._slow.pop(machine, 0.0)
        request_is_slow = self._random.happens(0.5)
        until = self._scheduler.now + TIMEOUT

        def arrive() -> None:
            at = math.inf
            if self._scheduler.now >= self._away_until:
                answer = call(self)
                at = self._travel(machine, 0.0 if request_is_slow else slow, lambda: done(answer))
            if at > until > arrives:
                late()

        arrives = self._travel(machine, slow if request_is_slow else 0.0, arrive)
        if arrives >= until:
            late()

    def _travel(self, machine: int, more: float, arrive: Callable[[], None]) -> float:
        """Let a message arrive later; return when, or infinity if it is lost."""
        rng, now = self._random, self._scheduler.now
        seconds = more + self._config.store_latency * (1.0 + rng.random() ** 4 * 10.0)
        lost = rng.happens(self._config.loss)
        cut_until = self._cut_until.get(machine, 0.0)
        if cut_until > now:
            # TCP sends again what was lost, unless the connection is given up first.
            lost = rng.happens(0.5)
            seconds += cut_until - now
        if lost and not self._calm:
            return math.inf
        self._scheduler.after(seconds, arrive)
        return now + seconds


class StoreClient:
    """A process's client of the store, or of the part of a generation, or of the group in that.

    Answers that come too late are ignored.
    """

    def __init__(
        self,
        store: SimulatedStore,
        machine: int,
        process: SimulatedProcess,
        generation: str = "",
        *,
        in_group: bool = False,
    ) -> None:
        self._store = store
        self._machine = machine
        self._process = process
        self._generation = generation
        self._in_group = in_group
        self._reference = store.scope(generation, in_group=in_group)

    def request(
        self,
        call: Callable[[SimulatedStore], T],
        done: Callable[[T], None],
        failed: Callable[[], None],
    ) -> None:
        """Send a request. `done` gets the answer, or `failed` is called after the timeout."""
        process = self._process
        until = process.scheduler.now + TIMEOUT
        waits = [True]

        def answered(answer: T) -> None:
            if waits:
                waits.clear()
                done(answer)

        def timed_out() -> None:
            waits.clear()
            failed()

        # Only a late answer needs a timeout: most are not.
        self._store.send(
            self._machine,
            call,
            lambda answer: process.after(0.0, lambda: answered(answer)),
            lambda: process.at(until, timed_out),
        )

    def heartbeat(
        self,
        member: str,
        value: bytes,
        done: Callable[[dict[str, bytes]], None],
        failed: Callable[[], None],
    ) -> None:
        """Write a member record, and read all."""
        self.request(lambda _: self._reference.heartbeat(member, value), done, failed)

    def watch(self, member: str, notified: Callable[[], None]) -> None:
        """Call a function at each notice to a member."""
        process = self._process
        self._store.watch(member, self._machine, lambda: process.after(0.0, notified))

    def notify(self, member: str) -> None:
        """Send a notice to a member."""
        self._store.send(
            self._machine, lambda store: store.notify(member), lambda _: None, lambda: None
        )

    def head(self, shard: int, done: Callable[[LogHead], None], failed: Callable[[], None]) -> None:
        """Read the head of a shard's log."""
        self.request(lambda _: self._reference.head(shard), done, failed)

    def append(
        self,
        shard: int,
        after: LogHead,
        record: LogRecord,
        done: Callable[[int | None], None],
        failed: Callable[[], None],
    ) -> None:
        """Append a record after a head; the answer None means that it was refused."""
        log, reference = LogId(self._generation, shard), self._reference
        # Invariants observe the logs of the fleet.
        if self._in_group:
            self.request(lambda _: reference.append(shard, after, record), done, failed)
        else:
            self.request(lambda store: store.append(log, after, record), done, failed)

    def records(
        self,
        shard: int,
        after: int,
        done: Callable[[list[tuple[int, LogRecord]]], None],
        failed: Callable[[], None],
    ) -> None:
        """Read records of a shard's log that follow a position."""
        self.request(lambda _: self._reference.records(shard, after)[:READ], done, failed)

    def read_cursor(
        self,
        shard: int,
        done: Callable[[tuple[bytes | None, int]], None],
        failed: Callable[[], None],
    ) -> None:
        """Read how far the group has handled a shard's log."""
        key = f"cursor:{shard}"
        self.request(lambda _: self._reference.compare_and_set(key, None, 0), done, failed)

    def write_cursor(
        self,
        shard: int,
        value: bytes,
        revision: int,
        done: Callable[[tuple[bytes | None, int]], None],
        failed: Callable[[], None],
    ) -> None:
        """Write how far the group has handled a shard's log."""
        log = LogId(self._generation, shard)
        self.request(lambda store: store.write_cursor(log, value, revision), done, failed)

    def read_generations(
        self,
        done: Callable[[tuple[bytes | None, int]], None],
        failed: Callable[[], None],
    ) -> None:
        """Read the generations of the bot."""
        self.compare_and_set(GENERATION, None, 0, done, failed)

    def write_generations(
        self,
        value: bytes,
        revision: int,
        done: Callable[[tuple[bytes | None, int]], None],
        failed: Callable[[], None],
    ) -> None:
        """Write the generations of the bot if the revision is the present one."""
        self.request(lambda store: store.write_generations(value, revision), done, failed)

    def write_place(
        self,
        value: bytes,
        revision: int,
        done: Callable[[tuple[bytes | None, int]], None],
        failed: Callable[[], None],
    ) -> None:
        """Write the place of the group if the revision is the present one."""
        self.request(lambda store: store.write_place(value, revision), done, failed)

    def compare_and_set(
        self,
        key: str,
        value: bytes | None,
        revision: int,
        done: Callable[[tuple[bytes | None, int]], None],
        failed: Callable[[], None],
    ) -> None:
        """Write a value if the revision is the present one, or read it."""
        self.request(lambda _: self._reference.compare_and_set(key, value, revision), done, failed)
