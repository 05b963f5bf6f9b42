"""The store of a simulated fleet: latency, lost requests and answers, cuts, outages, rewinds."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gateway_proto.fleet import LogHead, LogRecord
from gateway_proto.testing import FleetSimulationConfig, SeededRandom
from gateway_proto.testing.simulation.fleet.observer import FleetObserver, LogId
from gateway_proto.testing.simulation.fleet.store import SimulatedStore, StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.scheduler import Scheduler

CONFIG = FleetSimulationConfig(loss=0.0, store_latency=0.01)
EMPTY = LogHead()


class _Log(FleetObserver):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        self.calls.append((log, position, record.id))

    def rewound(self, log: LogId, position: int) -> None:
        self.calls.append((log, position))


class _Bench:
    """A store, and the client of one process on machine 0."""

    def __init__(self, config: FleetSimulationConfig = CONFIG, seed: int = 1) -> None:
        self.scheduler = Scheduler()
        self.log = _Log()
        self.store = SimulatedStore(self.scheduler, SeededRandom(seed), config, self.log)
        self.process = SimulatedProcess(self.scheduler)
        self.process.alive = True
        self.client = StoreClient(self.store, 0, self.process)
        self.answers: list[tuple[float, Any]] = []

    def append(self, record: str, after: LogHead = EMPTY) -> None:
        self.client.append(0, after, LogRecord(record, "m"), self.done, self.failed)

    def done(self, answer: Any) -> None:
        self.answers.append((self.scheduler.now, answer))

    def failed(self) -> None:
        self.answers.append((self.scheduler.now, "no answer"))


def test_store_answers_each_verb_after_its_latency() -> None:
    bench = _Bench()
    bench.append("a")
    bench.scheduler.run(1.0)
    bench.client.head(0, bench.done, bench.failed)
    bench.client.heartbeat("m", b"1", bench.done, bench.failed)
    bench.client.compare_and_set("slots", b"x", 0, bench.done, bench.failed)
    bench.scheduler.run(10.0)

    (first, position), *others = bench.answers
    assert position == 1
    assert 0.02 <= first <= 0.3
    assert [answer for _, answer in sorted(others, key=lambda other: str(other[1]))] == [
        (b"x", 1),
        LogHead(1, "a", "m"),
        {"m": b"1"},
    ]
    assert bench.log.calls == [(("", 0), 1, "a")]


def test_refused_append_is_not_observed() -> None:
    bench = _Bench()

    bench.append("a", LogHead(5, "other"))
    bench.scheduler.run(1.0)

    assert [answer for _, answer in bench.answers] == [None]
    assert bench.log.calls == []


@pytest.mark.parametrize("seed", range(8))
def test_slow_request_fails_and_is_made_later(seed: int) -> None:
    bench = _Bench(seed=seed)

    bench.store.slow(0, 20.0)
    bench.append("a")
    bench.scheduler.run(19.0)

    assert bench.answers == [(2.0, "no answer")]
    before = list(bench.log.calls)
    bench.scheduler.run(30.0)
    assert bench.log.calls == [(("", 0), 1, "a")], "it was slow on its way, or its answer was"
    assert len(bench.answers) == 1, "an answer that is too late is ignored"
    assert before in ([], bench.log.calls)


def test_slow_machine_has_one_slow_request() -> None:
    bench = _Bench()

    bench.store.slow(0, 20.0)
    bench.append("a")
    bench.client.head(1, bench.done, bench.failed)
    bench.scheduler.run(1.0)

    assert [answer for _, answer in bench.answers] == [EMPTY]


def test_cut_delays_or_loses_the_requests_of_a_machine() -> None:
    fates = set()
    for seed in range(20):
        bench = _Bench(seed=seed)
        bench.store.cut(0, 10.0)
        bench.append("a")
        bench.scheduler.run(9.0)
        assert bench.log.calls == []
        bench.scheduler.run(20.0)
        fates.add(len(bench.log.calls))

    assert fates == {0, 1}


def test_cut_leaves_other_machines_alone() -> None:
    bench = _Bench()
    bench.store.cut(1, 10.0)

    bench.append("a")
    bench.scheduler.run(1.0)

    assert [answer for _, answer in bench.answers] == [1]


def test_store_that_is_away_keeps_what_it_has() -> None:
    bench = _Bench()
    bench.append("a")
    bench.scheduler.run(1.0)

    bench.store.go_away(10.0)
    bench.append("b", LogHead(1, "a"))
    bench.scheduler.run(12.0)
    bench.append("c", LogHead(1, "a"))
    bench.scheduler.run(13.0)

    assert [answer for _, answer in bench.answers] == [1, "no answer", 2]


def test_rewind_drops_records_and_the_head() -> None:
    bench = _Bench()
    for number, record in enumerate("abc"):
        bench.append(record, LogHead(number, "-abc"[number]) if number else EMPTY)
        bench.scheduler.run(number + 1.0)

    bench.store.rewind(LogId("", 0), 2)
    bench.store.rewind(LogId("", 0), 5)

    assert bench.log.calls[3:] == [(("", 0), 1), (("", 0), 0)]
    assert bench.store.reference.head(0) == EMPTY


def test_lossy_store_loses_requests_and_answers_until_recovery() -> None:
    bench = _Bench(attrs.evolve(CONFIG, loss=0.5))
    for number in range(100):
        bench.client.compare_and_set(f"k{number}", b"x", 0, bench.done, bench.failed)
    bench.scheduler.run(10.0)
    done = sum(bench.store.reference.compare_and_set(f"k{n}", None, 0)[1] for n in range(100))
    answered = sum(answer != "no answer" for _, answer in bench.answers)
    assert 0 < answered < done < 100

    bench.answers.clear()
    bench.store.cut(0, 100.0)
    bench.store.go_away(100.0)
    bench.store.slow(0, 100.0)
    bench.store.recover(calm=True)
    for number in range(100):
        bench.client.compare_and_set(f"k{number}", None, 0, bench.done, bench.failed)
    bench.scheduler.run(20.0)

    assert "no answer" not in [answer for _, answer in bench.answers]
