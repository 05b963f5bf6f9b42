"""Ratios to the baseline: READY to the last dispatch over a loopback socket.

The server and each client have a process of their own; a round runs every client once, in an order
that moves on with each round.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.encoder import COMPRESSIONS
from benchmarks.options import Options
from benchmarks.table import Figure, table
from benchmarks.timing import ratio, spread
from benchmarks.worker import run_worker

__all__ = ["CLIENTS", "NAME", "Client", "figures", "measure", "show"]

NAME = "loopback"
_TIMEOUT = 120.0
"""Seconds of one run; the slowest needs a few."""
_ALL = ("none", "zlib-stream", "zstd-stream")
_TARGETS = {
    ("asyncio", "baseline"): (1.15, 1.15, 1.2),
    ("trio", "asyncio"): (1.2, 1.2, 1.2),
    ("asyncio, data", "baseline_full"): (1.25, 1.25, 1.25),
    ("asyncio, data", "hikari"): (0.95, 0.95, 0.95),
    ("asyncio, half", "hikari"): (0.85, 0.85, 0.85),
    ("asyncio, typed", "baseline_full"): (1.0, 1.0, 1.0),
}
"""At most this ratio of the first client to the second, for each of `_ALL`."""


@dataclass(frozen=True)
class Client:
    """One client to measure."""

    name: str
    file: str
    needs: tuple[str, ...] = ()
    compressions: tuple[str, ...] = _ALL
    takes: str = ""
    """Part of `d` that it decodes: all ("data"), all of each second event ("half"), a few fields
    ("typed"), or no more than needed."""

    @property
    def is_here(self) -> bool:
        """Whether what it needs is installed."""
        if self.file.endswith(".cjs"):
            folder = Path(os.environ.get("NODE_PATH", "")) / "@discordjs" / "ws"
            return shutil.which("node") is not None and folder.is_dir()
        return all(importlib.util.find_spec(name) is not None for name in self.needs)

    def command(self, port: int, compression: str, dispatches: int) -> list[str]:
        """Command that runs it."""
        arguments = [str(port), compression, str(dispatches), *filter(None, [self.takes])]
        if self.file.endswith(".cjs"):
            return ["node", str(Path(__file__).parent / "clients" / self.file), *arguments]
        return [sys.executable, "-m", f"benchmarks.clients.{self.file}", *arguments]


CLIENTS = (
    Client("baseline", "baseline"),
    Client("baseline_full", "baseline", takes="data"),
    Client("asyncio", "gateway_asyncio"),
    Client("asyncio, data", "gateway_asyncio", takes="data"),
    Client("asyncio, half", "gateway_asyncio", takes="half"),
    Client("asyncio, typed", "gateway_asyncio", takes="typed"),
    Client("trio", "gateway_trio", ("trio",)),
    Client("trio, data", "gateway_trio", ("trio",), takes="data"),
    Client("hikari", "hikari", ("hikari",)),
    Client("discord.py", "discordpy", ("discord", "zstandard")),
    Client("discord-gateway", "discord_gateway", ("discord_gateway",), _ALL[:2]),
    Client("aiohttp + orjson", "aiohttp", ("aiohttp", "orjson")),
    Client("picows + orjson", "picows", ("picows", "orjson")),
    Client("@discordjs/ws", "discordjs.cjs", compressions=_ALL[:2]),
)


def _run(client: Client, port: int, compression: str, dispatches: int) -> dict[str, float]:
    command = client.command(port, compression, dispatches)
    what = f"{client.name} with {compression}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{what} did not get all dispatches within {_TIMEOUT:.0f} s") from None
    if done.returncode or not done.stdout:
        raise SystemExit(f"{what} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    # READY is number 1.
    if result["count"] != dispatches or result["last"] not in (None, dispatches + 1):
        raise SystemExit(f"{what} did not get each of {dispatches} dispatches: {result}")
    return result


def measure(options: Options) -> dict[str, Any]:
    """Seconds, of the clock and of the client's processor, for each compression and client."""
    clients = [client for client in CLIENTS if client.is_here]
    seconds: dict[str, dict[str, list[float]]] = {c: {} for c in COMPRESSIONS}
    cpu: dict[str, dict[str, list[float]]] = {c: {} for c in COMPRESSIONS}
    with run_worker("load_server", options.dispatches, *COMPRESSIONS) as server:
        ports = server.read()
        for round_ in range(options.rounds + 1):
            at = round_ % len(clients)
            for compression in COMPRESSIONS:
                for client in clients[at:] + clients[:at]:
                    if compression not in client.compressions:
                        continue
                    result = _run(client, ports[compression], compression, options.dispatches)
                    if round_:  # the first one warms up
                        seconds[compression].setdefault(client.name, []).append(result["seconds"])
                        cpu[compression].setdefault(client.name, []).append(result["cpu"])
    return {
        "dispatches": options.dispatches,
        "rounds": options.rounds,
        "left_out": [client.name for client in CLIENTS if client not in clients],
        "compressions": {
            compression: {
                client.name: {
                    "seconds": spread(of[client.name]),
                    "cpu_seconds": spread(cpu[compression][client.name]),
                    "of_baseline": ratio(of[client.name], of["baseline"]),
                    "of_baseline_full": ratio(of[client.name], of["baseline_full"]),
                    **(
                        {"of_hikari": ratio(of[client.name], of["hikari"])}
                        if "hikari" in of
                        else {}
                    ),
                }
                for client in clients
                if client.name in of
            }
            for compression, of in seconds.items()
        },
    }


def show(result: dict[str, Any]) -> str:
    """The tables: ratios to the baseline with their spread, then seconds."""
    found = result["compressions"]
    names = [client.name for client in CLIENTS if client.name in found["none"]]
    ratios, seconds = [], []
    for name in names:
        cells = [found[c].get(name) for c in found]
        ratios.append([name, *(_ratio(cell) for cell in cells)])
        seconds.append([name, *(_seconds(cell) for cell in cells)])
    title = (
        f"READY to the last of {result['dispatches']} dispatches over loopback, "
        f"{result['rounds']} rounds"
    )
    text = table(f"{title}: of baseline", ["", *found], ratios)
    text += "\n" + table(f"{title}: seconds, and of the client's processor", ["", *found], seconds)
    if result["left_out"]:
        text += f"\n\nnot here: {', '.join(result['left_out'])}"
    return text


def _ratio(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    r = cell["of_baseline"]
    return f"{r['median']:.2f} ({r['min']:.2f} to {r['max']:.2f})"


def _seconds(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    return f"{cell['seconds']['median']:.3f} ({cell['cpu_seconds']['median']:.3f})"


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    found: list[Figure] = []

    for (name, of), targets in _TARGETS.items():
        for compression, target in zip(_ALL, targets, strict=True):
            cells = result["compressions"].get(compression, {})
            measured = cpu = None
            if name in cells and of in cells:
                measured, cpu = (
                    cells[name][clock]["median"] / cells[of][clock]["median"]
                    for clock in ("seconds", "cpu_seconds")
                )
            what = f"loopback: {name} of {of}, {compression}"
            found.append(Figure(what, target, measured, cpu=cpu))
    return found
