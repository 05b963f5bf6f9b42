"""Delay of heartbeats and cost of each connection, with 10,000 idle connections.

All clients are in one process, their servers in two others, which report the delay of each
heartbeat. Connections are compressed (zlib-stream), with a heartbeat every 41.25 s, as Discord's.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from typing import Any

from benchmarks.encoder import INTERVAL
from benchmarks.options import Options
from benchmarks.table import Figure, table
from benchmarks.worker import run_worker

__all__ = ["NAME", "figures", "measure", "show"]

NAME = "idle"
_COUNTS = (100, 1_000, 10_000)
_FEW = 50
"""Connections that are there before the difference is taken."""
_SERVERS = 2
_WINDOW = 1.1 * INTERVAL / 1000
"""Seconds, in which each connection sends one or two heartbeats."""
_SETTLED = 3.0
_SPARE = 200
"""Files that a process has open for other things."""
_FLAT = 1.25


def _possible() -> list[int]:
    """Each connection is a file of the clients' process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [min(count, hard - _SPARE) for count in _COUNTS]


def _measure(count: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(run_worker("idle_server", "zlib-stream", 0, INTERVAL))
            for _ in range(_SERVERS)
        ]
        ports = [server.read() for server in servers]
        few = min(_FEW, count // 2)
        began = time.monotonic()
        clients = stack.enter_context(
            run_worker("many_connections", "gateway", "zlib-stream", 0, f"{few},{count}", *ports)
        )
        at_few, at_all = clients.read(), clients.read()
        opened = time.monotonic() - began
        # Delays while connections open, or memory is measured, are not counted.
        time.sleep(_SETTLED)
        for server in servers:
            server.request()
        before = clients.request()
        time.sleep(_WINDOW)
        after = clients.request()
        answers = [server.request() for server in servers]
    connections = sum(answer["connections"] for answer in answers)
    if connections != count:
        raise SystemExit(f"{connections} of {count} connections are still open")
    late = sorted(late * 1000 for answer in answers for late in answer["late"])
    if len(late) < count:
        raise SystemExit(f"{len(late)} heartbeats of {count} connections: some sent none")
    cuts = statistics.quantiles(late, n=100, method="inclusive")
    return {
        "connections": count,
        "opened_seconds": opened,
        "heartbeats": len(late),
        "late_ms": {"p50": cuts[49], "p99": cuts[98], "max": late[-1]},
        "bytes": (at_all["bytes"] - at_few["bytes"]) / (count - few),
        "cpu_us_a_second": (after["cpu"] - before["cpu"]) / _WINDOW / count * 1e6,
    }


def measure(options: Options) -> dict[str, Any]:
    """Lateness, memory and processor for each count, one after the other."""
    return {
        "asked": list(_COUNTS),
        "window_seconds": _WINDOW,
        "counts": [_measure(count) for count in _possible()],
    }


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for asked, of in zip(result["asked"], result["counts"], strict=True):
        fewer = f" (not {asked}: RLIMIT_NOFILE)" if asked != of["connections"] else ""
        rows.append(
            [
                f"{of['connections']}{fewer}",
                *(f"{ms:.1f}" for ms in of["late_ms"].values()),
                str(of["heartbeats"]),
                f"{of['bytes'] / 1024:.1f}",
                f"{of['cpu_us_a_second']:.1f}",
                f"{of['opened_seconds']:.1f}",
            ]
        )
    head = ["", "late p50 ms", "p99 ms", "max ms", "sent", "KiB each", "CPU us/s each", "opened s"]
    title = f"idle connections in one process, {result['window_seconds']:.0f} s, zlib-stream"
    return table(title, head, rows)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    first, last = result["counts"][0], result["counts"][-1]
    count = last["connections"]
    return [
        Figure(f"idle: 99th percentile, {count}", 100.0, last["late_ms"]["p99"], "ms"),
        Figure(f"idle: bytes each, {count} of 100", _FLAT, last["bytes"] / first["bytes"]),
        Figure(
            f"idle: CPU each, {count} of 100",
            _FLAT,
            last["cpu_us_a_second"] / first["cpu_us_a_second"],
        ),
    ]
