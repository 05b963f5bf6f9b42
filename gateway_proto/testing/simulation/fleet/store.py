"""The store of a simulated fleet: the verbs over dictionaries, slowed, with lost answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway_proto.fleet import LogHead, LogRecord, ReferenceStore
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.observer import FleetObserver
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["SimulatedStore", "StoreClient"]

T = TypeVar("T")

_GROUP = "group:consumers"
_READ = 32
"""Records of one read."""
_TIMEOUT = 2.0
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
        """What the store has acknowledged."""
        self.group: ReferenceStore = self.reference.scoped(_GROUP)
        """What it has acknowledged to the group of the consumers."""
        self._away_until = 0.0
        self._cut_until: dict[int, float] = {}
        self._slow: dict[int, float] = {}
        self._watchers: dict[str, tuple[int, Callable[[], None]]] = {}
        self._calm = False

    # ----- the verbs that observers see -----

    def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        """Append a record after a head. Return its position, or None if it was refused."""
        position = self.reference.append(shard, after, record)
        if position is not None:
            self._observer.appended(shard, position, record)
        return position

    def write_cursor(self, shard: int, value: bytes, revision: int) -> tuple[bytes | None, int]:
        """Write the cursor of a shard if the revision is the present one."""
        answer = self.group.compare_and_set(f"cursor:{shard}", value, revision)
        if answer == (value, revision + 1):
            self._observer.cursor_written(shard, value)
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

    def rewind(self, shard: int, count: int) -> None:
        """Lose the last records of a shard's log, and its head with them."""
        position = max(0, self.reference.head(shard).position - count)
        self.reference.rewind(shard, position)
        self._observer.rewound(shard, position)

    def recover(self, *, calm: bool) -> None:
        """End all faults; if `calm`, lose no request from now on."""
        self._calm = calm
        self._away_until = 0.0
        self._cut_until.clear()
        self._slow.clear()

    # ----- the network -----

    def send(
        self, machine: int, call: Callable[[SimulatedStore], T], done: Callable[[T], None]
    ) -> None:
        """Send a request of a machine. `done` gets the answer, if it arrives."""
        slow = self._slow.pop(machine, 0.0)
        request_is_slow = self._random.happens(0.5)

        def arrive() -> None:
            if self._scheduler.now >= self._away_until:
                answer = call(self)
                self._travel(machine, 0.0 if request_is_slow else slow, lambda: done(answer))

        self._travel(machine, slow if request_is_slow else 0.0, arrive)

    def _travel(self, machine: int, more: float, arrive: Callable[[], None]) -> None:
        rng, now = self._random, self._scheduler.now
        seconds = more + self._config.store_latency * (1.0 + rng.random() ** 4 * 10.0)
        lost = rng.happens(self._config.loss)
        cut_until = self._cut_until.get(machine, 0.0)
        if cut_until > now:
            # TCP sends again what was lost, unless the connection is given up first.
            lost = rng.happens(0.5)
            seconds += cut_until - now
        if not lost or self._calm:
            self._scheduler.after(seconds, arrive)


class StoreClient:
    """A process's client of the store. Answers that come too late are ignored."""

    def __init__(
        self,
        store: SimulatedStore,
        machine: int,
        process: SimulatedProcess,
        *,
        in_group: bool = False,
    ) -> None:
        self._store = store
        self._machine = machine
        self._process = process
        self._in_group = in_group
        self._reference = store.group if in_group else store.reference

    def request(
        self,
        call: Callable[[SimulatedStore], T],
        done: Callable[[T], None],
        failed: Callable[[], None],
    ) -> None:
        """Send a request. `done` gets the answer, or `failed` is called after the timeout."""
        process = self._process
        waits = [True]

        def answered(answer: T) -> None:
            if waits:
                waits.clear()
                done(answer)

        def timed_out() -> None:
            if waits:
                waits.clear()
                failed()

        self._store.send(
            self._machine, call, lambda answer: process.after(0.0, lambda: answered(answer))
        )
        process.after(_TIMEOUT, timed_out)

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
        self._store.send(self._machine, lambda store: store.notify(member), lambda _: None)

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
        # Invariants observe the logs of the fleet.
        appends = self._reference.append if self._in_group else self._store.append
        self.request(lambda _: appends(shard, after, record), done, failed)

    def records(
        self,
        shard: int,
        after: int,
        done: Callable[[list[tuple[int, LogRecord]]], None],
        failed: Callable[[], None],
    ) -> None:
        """Read records of a shard's log that follow a position."""
        self.request(lambda _: self._reference.records(shard, after)[:_READ], done, failed)

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
        self.request(lambda store: store.write_cursor(shard, value, revision), done, failed)

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
