"""Long runs of the chaos of `test_fleet_chaos.py`, by hand, with figures.

python -m tests.adapters.fleet_chaos [--minutes 10] [--seed 1] [--loop asyncio] [--kinds kill,drain]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import pathlib
import random
import statistics
import tempfile
import time
from collections import Counter
from typing import Any

from gateway_proto.fleet import LogRecord
from tests.adapters import test_fleet_chaos as chaos_test
from tests.adapters.engines import engine_process
from tests.adapters.support import serve_process
from tests.adapters.test_fleet_chaos import OWNERS, SHARDS, TICK, Chaos

_CONNECTED = ("Ready", "Resumed")
Log = list[tuple[int, LogRecord]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loop", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--engine", choices=["redis", "nats"], default="redis")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each fault")
    parser.add_argument("--kinds", default="kill,stop,partition,drain,engine")
    parsed = parser.parse_args()
    options = ("--shards", str(SHARDS), "--max-concurrency", str(SHARDS), "--tick", str(TICK))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "engine").mkdir()
        with (
            engine_process(parsed.engine, folder / "engine") as engine,
            serve_process(*options) as server,
        ):
            rng = random.Random(parsed.seed)
            chaos = Chaos(server.api, engine, folder, rng, parsed.loop, parsed.pause)
            try:
                for _ in range(OWNERS):
                    chaos.start_owner()
                chaos_test._until_all_are_past(engine.url, -1)
                began = time.monotonic()
                chaos.run(parsed.minutes * 60, tuple(parsed.kinds.split(",")))
                seconds = time.monotonic() - began
                logs = asyncio.run(chaos_test._read_logs(engine.url))
                newest = max(max(chaos_test._ticks(log)) for log in logs)
                logs = chaos_test._until_all_are_past(engine.url, newest)
            finally:
                for owner in chaos.owners + chaos.ended:
                    owner.end()
            print(json.dumps({"seconds": round(seconds), **figures(chaos, logs)}, indent=2))


def figures(chaos: Chaos, logs: list[Log]) -> dict[str, Any]:
    """What the logs have, and how long shards were without a connection."""
    counts: Counter[str] = Counter()
    for log in logs:
        ticks = chaos_test._ticks(log)
        each = Counter(ticks)
        counts["events"] += len(ticks)
        counts["lost"] += max(ticks) - min(ticks) + 1 - len(each)
        counts["repeated"] += len(ticks) - len(each)
        counts["out of order"] += sum(b <= a for a, b in itertools.pairwise(ticks))
        counts["identifies"] += chaos_test._names(log)["READY"]
        counts["sessions lost"] += sum(record.session_lost for _, record in log)
    return {
        **{name: counts[name] for name in ("events", "lost", "repeated", "out of order")},
        **{name: counts[name] for name in ("identifies", "sessions lost")},
        "faults": dict(chaos.counts),
        **{name: _summary(times) for name, times in _times(chaos).items()},
    }


def _times(chaos: Chaos) -> dict[str, list[float]]:
    """Return seconds from each fault, and from each close of a move, to RESUMED elsewhere."""
    found: dict[str, list[float]] = {"kill": [], "drain": [], "planned move": []}
    for shard in range(SHARDS):
        lines = sorted(
            (line["at"], line["what"], owner.name)
            for owner in chaos.owners + chaos.ended
            for line in owner.lines()
            if line.get("shard") == shard
        )
        for at, kind, name in chaos.faults:
            before = [who for when, what, who in lines if when <= at and what in _CONNECTED]
            if kind in found and before and before[-1] == name:
                found[kind] += [
                    when - at for when, what, _ in lines if when > at and what in _CONNECTED
                ][:1]
        for n, (at, what, name) in enumerate(lines):
            following = next((line for line in lines[n:] if line[1] in _CONNECTED), None)
            # Of a planned move the close is the last line of the former owner.
            if what == "Closed" and following is not None and following[2] != name:
                found["planned move"].append(following[0] - at)
    return found


def _summary(times: list[float]) -> dict[str, float]:
    if not times:
        return {"count": 0}
    ordered = sorted(times)
    return {
        "count": len(times),
        "p50": round(statistics.median(times), 2),
        "p95": round(ordered[int(len(ordered) * 0.95)], 2),
        "max": round(ordered[-1], 2),
    }


if __name__ == "__main__":
    main()
