"""Fleets of real processes under faults: each event is in the log of its shard once, in order."""

from __future__ import annotations

import asyncio
import itertools
import json
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import gateway_fleet
from gateway_proto.fleet import LogRecord
from tests.adapters.engines import (
    EngineProcess,
    engine_process,
    needs_nats,
    needs_redis,
    open_store,
)
from tests.adapters.stalling_proxy import StallingProxy
from tests.adapters.support import ENVIRONMENT, PATIENCE, ROOT, serve_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SHARDS = 16
OWNERS = 4
TTL = 3.0
TICK = 0.06


class Owner:
    """A process of the fleet, with its own way to the engine."""

    _numbers = itertools.count()

    def __init__(self, api: str, engine: EngineProcess, folder: pathlib.Path, loop: str) -> None:
        self.name = f"owner-{next(self._numbers)}"
        self.proxy = StallingProxy(engine.port)
        self.output = folder / f"{self.name}.jsonl"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.adapters.fleet_owner"),
                    *(api, f"{engine.scheme}://127.0.0.1:{self.proxy.port}", self.name, loop),
                ],
                cwd=ROOT,
                env=ENVIRONMENT,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def lines(self) -> list[dict[str, Any]]:
        text = self.output.read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def end(self) -> None:
        self.proxy.close()
        self.process.kill()
        self.process.wait(20)


@attrs.define
class Fault:
    """A fault with its victim, in Unix time."""

    at: float
    kind: str
    owner: str
    until: float = 0.0


@attrs.define
class Chaos:
    """Owners, and the faults that a seed chooses."""

    api: str
    engine: EngineProcess
    folder: pathlib.Path
    rng: random.Random
    loop: str = "asyncio"
    pause: float = 0.0
    owners: list[Owner] = attrs.Factory(list)
    ended: list[Owner] = attrs.Factory(list)
    counts: Counter[str] = attrs.Factory(Counter)
    faults: list[Fault] = attrs.Factory(list)

    def start_owner(self) -> None:
        self.owners.append(Owner(self.api, self.engine, self.folder, self.loop))

    def inject(self, kinds: tuple[str, ...]) -> None:
        kind, owner = self.rng.choice(kinds), self.rng.choice(self.owners)
        seconds = self.rng.uniform(1.0, 9.0)
        self.counts[kind] += 1
        fault = Fault(time.time(), kind, owner.name)
        self.faults.append(fault)
        match kind:
            case "kill":
                owner.process.kill()
                self._replace(owner)
            case "stop":
                owner.process.send_signal(signal.SIGSTOP)
                time.sleep(seconds)
                owner.process.send_signal(signal.SIGCONT)
            case "partition":
                owner.proxy.flows.clear()
                time.sleep(seconds)
                owner.proxy.flows.set()
            case "drain":
                owner.process.send_signal(signal.SIGTERM)
                self._replace(owner)
            case "engine":
                self.engine.kill()
                time.sleep(self.rng.uniform(0.0, 5.0))
                self.engine.start()
        fault.until = time.time()

    def _replace(self, owner: Owner) -> None:
        self.owners.remove(owner)
        self.ended.append(owner)
        self.start_owner()

    def run(self, seconds: float, kinds: tuple[str, ...]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.pause + self.rng.uniform(0.5, 3.0))
            self.inject(kinds)


async def _read_logs(url: str) -> list[list[tuple[int, LogRecord]]]:
    async with open_store(url) as store:
        found = await gateway_fleet.find_fleet(store, "secret")
        if found is None:
            return [[] for _ in range(SHARDS)]
        return [[item async for item in found[0].records(n, 0)] for n in range(SHARDS)]


def _ticks(log: list[tuple[int, LogRecord]]) -> list[int]:
    return [
        json.loads(data)["number"]
        for _, record in log
        for name, _, data in record.events
        if name == "TICK"
    ]


def _names(log: list[tuple[int, LogRecord]]) -> Counter[str]:
    return Counter(name for _, record in log for name, _, _ in record.events)


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[EngineProcess]:
    folder = tmp_path / "engine"
    folder.mkdir()
    with engine_process(request.param, folder) as process:
        yield process


def _check(logs: list[list[tuple[int, LogRecord]]]) -> None:
    for shard_id, log in enumerate(logs):
        positions = [position for position, _ in log]
        # An engine may begin above 1.
        assert positions == list(range(positions[0], positions[0] + len(log)))
        sequences = [sequence for _, record in log for _, sequence, _ in record.events]
        # Increasing: a RESUMED that does not arrive takes a sequence, and is not sent again.
        assert sequences == sorted(set(sequences)), f"shard {shard_id}"
        ticks = _ticks(log)
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), f"shard {shard_id}"
        assert _names(log)["READY"] == 1, f"shard {shard_id} identified once"
        assert not any(record.session_lost for _, record in log)


def _until_all_are_past(url: str, tick: int) -> list[list[tuple[int, LogRecord]]]:
    end = time.monotonic() + 2 * PATIENCE
    while True:
        logs = asyncio.run(_read_logs(url))
        last = [max(_ticks(log), default=-1) for log in logs]
        if min(last) > tick:
            return logs
        assert time.monotonic() < end, f"waited for tick {tick} in all logs: {last}"
        time.sleep(0.5)


FAULTS = ("kill", "stop", "partition", "drain")


@pytest.mark.parametrize(
    ("engine", "seed", "kinds", "loop"),
    [
        pytest.param("redis", 1, FAULTS, "asyncio", marks=needs_redis),
        pytest.param("redis", 2, (*FAULTS, "engine"), "asyncio", marks=needs_redis),
        pytest.param("redis", 3, (*FAULTS, "engine"), "trio", marks=needs_redis),
        pytest.param("nats", 2, (*FAULTS, "engine"), "asyncio", marks=needs_nats),
    ],
    indirect=["engine"],
)
def test_chaos_loses_and_repeats_nothing(
    engine: EngineProcess, tmp_path: pathlib.Path, seed: int, kinds: tuple[str, ...], loop: str
) -> None:
    options = ("--shards", str(SHARDS), "--max-concurrency", str(SHARDS), "--tick", str(TICK))
    with serve_process(*options) as server:
        chaos = Chaos(server.api, engine, tmp_path, random.Random(seed), loop)
        try:
            for _ in range(OWNERS):
                chaos.start_owner()
            _until_all_are_past(engine.url, -1)
            chaos.run(30.0, kinds)
            logs = asyncio.run(_read_logs(engine.url))
            newest = max(max(_ticks(log)) for log in logs)
            logs = _until_all_are_past(engine.url, newest)
        finally:
            for owner in chaos.owners + chaos.ended:
                owner.end()
    assert sum(chaos.counts.values()) >= 5
    _check(logs)
