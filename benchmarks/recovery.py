"""Seconds from the end of an outage to READY, in virtual time, over many seeds.

The figures depend on the seeds alone: they are the same on every system.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.options import Options
from benchmarks.table import Figure, table
from gateway_proto import Client, Config, Ready
from gateway_proto.server import Fault, Scenario, Server, ServerConfig
from gateway_proto.testing import Link

__all__ = ["NAME", "away", "figures", "measure", "show", "unanswered"]

NAME = "recovery"
SEEDS = 200
OUTAGES = (5.0, 20.0, 60.0)
"""Seconds."""
SHAPES_AFTER_HELLO: dict[str, tuple[Fault, ...]] = {
    "every Identify and Resume is dropped": tuple(
        Fault("drop", on=on, connection=None) for on in ("identify", "resume")
    ),
    "every Identify and Resume gets op 9": tuple(
        Fault("invalidate", on=on, connection=None) for on in ("identify", "resume")
    ),
    "every Identify and Resume gets op 7": tuple(
        Fault("reconnect", on=on, connection=None) for on in ("identify", "resume")
    ),
}
SHAPES: dict[str, tuple[Fault, ...]] = {
    "every dial is refused": (),
    "every upgrade gets HTTP 503": (Fault("refuse", on="upgrade", connection=None),),
    "every WebSocket ends before HELLO": (Fault("close", on="open", connection=None, code=1001),),
    **SHAPES_AFTER_HELLO,
}
RESUME_URLS = {"resume URL of its own": "ws://resume.localhost/", "the same URL": "ws://localhost/"}
_LONGEST = 3600.0


def _ready(seed: int, url: str) -> tuple[Link, Server]:
    """A client that has been READY for five minutes, and its server."""
    server = Server(ServerConfig(url=url))
    config = Config(
        token="t", intents=0, gateway_url="ws://localhost/", random=random.Random(seed).random
    )
    link = Link(Client(config), server)
    link.run(300.0)
    link.client.expect(Ready)
    return link, server


def _until_ready(link: Link) -> float:
    began = link.now
    link.client.take()
    link.run_until(
        lambda: any(isinstance(event, Ready) for event in link.client.events[-8:]), within=_LONGEST
    )
    return link.now - began


def away(seed: int, seconds: float, faults: tuple[Fault, ...] = ()) -> float:
    """Return the seconds from the end of an outage, in which all sessions were lost, to READY.

    Without faults every dial is refused.
    """
    link, server = _ready(seed, "ws://localhost/")
    if faults:
        server.set_scenario(Scenario(faults))
    else:
        link.dead_hosts.add("localhost")
    link.cut()
    link.run(seconds)
    for session in list(server.sessions.values()):
        server.expire_session(session)
    server.set_scenario(Scenario([]))
    link.dead_hosts.clear()
    return _until_ready(link)


def unanswered(seed: int, resume_url: str) -> float:
    """Return the seconds from the loss of a connection to READY if no Resume is answered."""
    link, server = _ready(seed, resume_url)
    server.set_scenario(Scenario([Fault("silence", on="resume", connection=None)]))
    link.cut()
    return _until_ready(link)


def _summary(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"median": statistics.median(values), "p95": cuts[-1], "max": max(values)}


def measure(options: Options) -> dict[str, Any]:
    """Seconds until READY: median, 95th percentile and maximum of the seeds."""
    seeds = range(25 if options.short else SEEDS)
    outages = {
        f"{seconds:.0f} s, {shape}": _summary([away(seed, seconds, faults) for seed in seeds])
        for shape, faults in SHAPES.items()
        for seconds in OUTAGES
    }
    resumes = {
        what: _summary([unanswered(seed, url) for seed in seeds])
        for what, url in RESUME_URLS.items()
    }
    return {"seeds": len(seeds), "outages": outages, "unanswered": resumes}


def show(result: dict[str, Any]) -> str:
    """Return the table."""
    rows = [
        [what, *(f"{s[key]:.1f}" for key in ("median", "p95", "max"))]
        for what, s in (
            *((f"away for {what}", s) for what, s in result["outages"].items()),
            *((f"Resume is not answered, {what}", s) for what, s in result["unanswered"].items()),
        )
    ]
    title = f"seconds until READY, {result['seeds']} seeds, all sessions lost"
    return table(title, ["", "median", "95 %", "max"], rows)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures against their targets."""
    found = []
    for what, s in result["outages"].items():
        found.append(Figure(f"recovery: {what}, median", 10.0, s["median"], "s"))
        found.append(Figure(f"recovery: {what}, 95 %", 25.0, s["p95"], "s"))
    for what, s in result["unanswered"].items():
        found.append(Figure(f"recovery: Resume not answered, {what}", 40.0, s["median"], "s"))
    return found
