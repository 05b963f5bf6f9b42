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
from tests.adapters.test_fleet_chaos import OWNERS, SHARDS, TICK, TTL, Chaos, Fault

_CONNECTED = ("Ready", "Resumed")
_DIALLED = ("DialScheduled", *_CONNECTED)
Line = tuple[float, str, str]
"""Time, event, and process."""
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
    """Return seconds until a shard was connected again, by what had ended its connection.

    A take-over begins with the death of the owner, which is killed, or stopped or cut off for more
    than `ttl`; "from the last death" with that of the last process that dialled, or with the return
    of the engine; "alone" are those without another fault meanwhile. "drain" begins with SIGTERM,
    "planned move" with the close of the connection.
    """
    names = ("take-over", "take-over from the last death", "take-over alone", "drain")
    found: dict[str, list[float]] = {name: [] for name in (*names, "planned move")}
    for shard in range(SHARDS):
        lines = sorted(
            (line["at"], line["what"], owner.name)
            for owner in chaos.owners + chaos.ended
            for line in owner.lines()
            if line.get("shard") == shard
        )
        for fault in chaos.faults:
            owners = [name for at, what, name in lines if at <= fault.at and what in _CONNECTED]
            following = _connected(lines, fault.at)
            if following is None or owners[-1:] != [fault.owner] or following[1] == fault.owner:
                continue
            seconds = following[0] - fault.at
            if fault.kind == "drain":
                found["drain"].append(seconds)
            elif fault.kind == "kill" or (
                fault.kind in ("stop", "partition") and fault.until - fault.at > TTL
            ):
                found["take-over"].append(seconds)
                others = [
                    each
                    for each in chaos.faults
                    if each is not fault and each.until > fault.at and each.at < following[0]
                ]
                began = _last_death(fault, others, lines, following[0])
                found["take-over from the last death"].append(following[0] - began)
                if not others:
                    found["take-over alone"].append(seconds)
        for at, what, name in lines:
            owners = [who for when, kind, who in lines if when < at and kind in _CONNECTED]
            following = _connected(lines, at)
            # The last line of a planned move is the close; a ghost is not the last owner.
            if what == "Closed" and owners[-1:] == [name] and following and following[1] != name:
                found["planned move"].append(following[0] - at)
    return found


def _connected(lines: list[Line], after: float) -> tuple[float, str] | None:
    """Return when the next process was connected, and its name."""
    return next((line[::2] for line in lines if line[0] > after and line[1] in _CONNECTED), None)


def _last_death(fault: Fault, others: list[Fault], lines: list[Line], until: float) -> float:
    """Return when the last of those died that tried to take the shard over."""
    began = fault.at
    for other in others:
        dialled = [name for at, what, name in lines if at <= other.at and what in _DIALLED]
        if other.kind == "engine":
            began = max(began, min(other.until, until))
        elif other.kind != "drain" and dialled[-1:] == [other.owner]:
            began = max(began, other.at)
    return began


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
