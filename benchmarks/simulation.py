"""Cost of virtual time: an idle connection in `Link`, shards in `Simulation`."""

from __future__ import annotations

from typing import Any

from benchmarks.options import Options
from benchmarks.table import Figure, table
from benchmarks.timing import spread, timed
from gateway_proto import Client, Config, HeartbeatAcked, Intents
from gateway_proto.server import Server
from gateway_proto.testing import Link, Simulation, SimulationConfig

__all__ = ["NAME", "figures", "measure", "show"]

NAME = "simulation"
_SECONDS_PER_DAY = 86_400.0
_HOUR = 3_600.0
_INTERVAL = 41.25
_SHARDS = 1_000


def _day() -> None:
    config = Config(token="t", intents=Intents.GUILDS, api_url="http://localhost/api", version=10)
    link = Link(Client(config), Server())
    link.run(_SECONDS_PER_DAY)
    _check(link.client.events, _SECONDS_PER_DAY)


def _hour(shards: int) -> None:
    """All shards of one bot on one clock, and what must hold of each checked all the time."""
    config = SimulationConfig(
        clients=shards,
        servers=1,
        sharded=True,
        max_concurrency=16,
        dispatch_interval=None,
        fault_interval=None,
    )
    report = Simulation(1, config).run(_HOUR)
    least = shards * _HOUR / _INTERVAL
    if report.events < least:
        raise SystemExit(f"{report.events} events are less than {least:.0f} heartbeats")


def _check(events: list[Any], seconds: float) -> None:
    heartbeats = sum(isinstance(event, HeartbeatAcked) for event in events)
    if abs(heartbeats - seconds / _INTERVAL) > 2:
        raise SystemExit(f"{heartbeats} heartbeats in {seconds} s are not one in {_INTERVAL} s")


def measure(options: Options) -> dict[str, Any]:
    """Seconds for a day of one connection, and for an hour of many shards."""
    shards = 100 if options.short else _SHARDS
    days: list[float] = []
    hours: list[float] = []
    for _ in range(3 if options.short else options.rounds):
        days.append(timed(_day)[0])
    for _ in range(1 if options.short else min(options.rounds, 3)):
        hours.append(timed(lambda: _hour(shards))[0])
    return {"shards": shards, "day_seconds": spread(days), "hour_seconds": spread(hours)}


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for what, key in (("a day, 1 shard", "day"), (f"an hour, {result['shards']} shards", "hour")):
        s = result[f"{key}_seconds"]
        rows.append([what, f"{s['median']:.3f}", f"{s['min']:.3f}", f"{s['max']:.3f}"])
    return table("virtual time", ["", "seconds", "min", "max"], rows)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets; fewer shards are held to their part of it."""
    shards = result["shards"]
    return [
        Figure("simulation: a day", 0.5, result["day_seconds"]["median"], "s"),
        Figure(
            f"simulation: {shards} shards' hour",
            60.0 * shards / _SHARDS,
            result["hour_seconds"]["median"],
            "s",
        ),
    ]
