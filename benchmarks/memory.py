"""Memory of an additional connection, compared with bare asyncio streams.

Each has read 300 dispatches and is idle. A process opens 200 and then 1000 of them; the difference
of the memory that it shares with no other, by 800, is what one costs.
"""

from __future__ import annotations

from typing import Any

from benchmarks.encoder import COMPRESSIONS, INTERVAL
from benchmarks.options import Options
from benchmarks.table import Figure, table
from benchmarks.timing import spread
from benchmarks.worker import run_worker

__all__ = ["NAME", "figures", "measure", "show"]

NAME = "memory"
_EVENTS = 300
_FEW, _MANY = 200, 1000
_KINDS = ("gateway", "streams", "decompressor")


def _bytes_of_one(kind: str, compression: str) -> float:
    with run_worker("idle_server", compression, _EVENTS, INTERVAL) as server:
        port = server.read()
        with run_worker(
            "many_connections", kind, compression, _EVENTS, f"{_FEW},{_MANY}", port
        ) as clients:
            few, many = clients.read(), clients.read()
            connections = server.request()["connections"]
    if kind != "decompressor" and connections != _MANY:
        raise SystemExit(f"{connections} of {_MANY} connections are open")
    difference: float = (many["bytes"] - few["bytes"]) / (_MANY - _FEW)
    return difference


def measure(options: Options) -> dict[str, Any]:
    """Bytes of one connection, by compression and kind."""
    rounds = options.rounds
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for compression in COMPRESSIONS:
            for kind in _KINDS:
                of = found.setdefault(compression, {}).setdefault(kind, [])
                of.append(_bytes_of_one(kind, compression))
    return {
        "events": _EVENTS,
        "rounds": rounds,
        "bytes": {
            compression: {kind: spread(values) for kind, values in of.items()}
            for compression, of in found.items()
        },
    }


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for compression, of in result["bytes"].items():
        kinds = [
            f"{s['median'] / 1024:.1f} ({s['min'] / 1024:.1f} to {s['max'] / 1024:.1f})"
            for s in of.values()
        ]
        rows.append([compression, *kinds, f"{_ratio(of):.2f}"])
    title = f"KiB of an idle connection after {result['events']} events, {result['rounds']} rounds"
    return table(title, ["", "gateway_asyncio", "bare streams", "its decompressor", "ratio"], rows)


def _ratio(of: dict[str, dict[str, float]]) -> float:
    return of["gateway"]["median"] / of["streams"]["median"]


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    return [
        Figure(f"memory: of bare streams, {compression}", 1.2, _ratio(of))
        for compression, of in result["bytes"].items()
        if compression != "none"
    ]
