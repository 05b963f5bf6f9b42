"""Ratios to a bare server: CPU time of the server process, for each compression.

Four measurements: one dispatch to many sessions, many dispatches to one session, clients that
identify all at once, and the replay after a Resume. The server (on asyncio, on trio, and
`server_baseline.py`), and the clients (`server_clients.py`, which only count frames) have a process
each. A round measures every server once, in an order that moves on with each round.
"""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from benchmarks.encoder import COMPRESSIONS
from benchmarks.options import Options
from benchmarks.server_requests import REPLAY
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, spread
from benchmarks.worker import Worker, run_worker

__all__ = ["NAME", "Run", "check_sizes", "figures", "measure", "show"]

NAME = "server"
_BASELINE = "bare aiohttp"
_SERVERS = {
    _BASELINE: ("server_baseline",),
    "asyncio": ("server_gateway", "asyncio"),
    "trio": ("server_gateway", "trio"),
}
_NEEDS = {_BASELINE: "aiohttp", "trio": "trio"}
_KINDS = {
    "identify": "µs for each client that identifies",
    "broadcast": "µs for each session of a dispatch to all",
    "stream": "µs for each dispatch to one session",
    "replay": "µs for each dispatch that is replayed",
}
_TARGET = 1.5
"""At most this ratio to the baseline, by CPU time of the server process; on asyncio."""
_EQUAL = 0.02
"""Part by which compressed sizes may differ: the compression context holds READY, too."""


@dataclass(frozen=True)
class Sizes:
    """Amounts of a run."""

    clients: int
    broadcasts: int
    stream: int
    replay: int

    @classmethod
    def of(cls, options: Options) -> Sizes:
        """Return the amounts for the options."""
        return cls(50, 10, 2_000, 1_000) if options.short else cls(1_000, 20, 100_000, REPLAY)


class Run:
    """One server in one compression, measured once."""

    def __init__(self, server: Worker, clients: Worker, port: int, compression: str) -> None:
        self._server = server
        self._clients = clients
        self._port = port
        self._compression = compression
        self.cpu: dict[str, float] = {}
        """Microseconds of the server process, by kind."""
        self.wall: dict[str, float] = {}
        """Microseconds until the clients have received all."""
        self.sizes: dict[str, int] = {}
        """Bytes that the clients received; those of the first broadcast are not counted."""

    def run(self, sizes: Sizes) -> None:
        """Measure all, and leave the server without sessions."""
        self._identify_and_broadcast(sizes)
        self._stream_and_replay(sizes)

    def _identify_and_broadcast(self, sizes: Sizes) -> None:
        count, ask = sizes.clients, self._clients.ask
        before = self._cpu()
        seconds = ask("identify", count, self._port, self._compression)
        self._note("identify", self._cpu() - before, seconds, count)
        size, cpu, wall = 0, 0.0, 0.0
        for number in range(sizes.broadcasts):
            before = self._cpu()
            self._clients.begin("wait", number + 2)  # READY is the first
            began = self._server.ask("dispatch", number)
            wall += self._clients.read() - began
            cpu += self._cpu() - before
            if number == 0:  # its compressed size depends on the text of READY before it
                size = ask("size")
        self._note("broadcast", cpu, wall, count * sizes.broadcasts)
        self.sizes["broadcast"] = ask("size") - size
        ask("close")
        self._server.ask("reset")

    def _stream_and_replay(self, sizes: Sizes) -> None:
        ask = self._clients.ask
        ask("identify", 1, self._port, self._compression)
        size, before = ask("size"), self._cpu()
        self._clients.begin("wait", sizes.stream + 1)
        began = self._server.ask("stream", sizes.stream)
        wall = self._clients.read() - began
        self._note("stream", self._cpu() - before, wall, sizes.stream)
        self.sizes["stream"] = ask("size") - size
        id_ = self._server.ask("session")
        ask("close")
        after = 1 + sizes.stream - sizes.replay
        before = self._cpu()
        began = ask("resume", self._port, self._compression, id_, after)
        wall = ask("wait", sizes.replay + 1) - began  # RESUMED is the last
        self._note("replay", self._cpu() - before, wall, sizes.replay)
        self.sizes["replay"] = ask("size")
        ask("close")
        self._server.ask("reset")

    def _cpu(self) -> float:
        seconds: float = self._server.ask("cpu")
        return seconds

    def _note(self, kind: str, cpu: float, wall: float, count: int) -> None:
        self.cpu[kind] = cpu / count * 1e6
        self.wall[kind] = wall / count * 1e6


def measure(options: Options) -> dict[str, Any]:
    """CPU time of each server, for each compression and kind."""
    names = [name for name in _SERVERS if _is_here(name)]
    if options.short and _BASELINE in names:
        names = [_BASELINE, "asyncio"]
    sizes, rounds = Sizes.of(options), min(options.rounds, 3 if options.short else options.rounds)
    runs: dict[str, dict[str, list[Run]]] = {c: {n: [] for n in names} for c in COMPRESSIONS}
    with contextlib.ExitStack() as stack:
        clients = stack.enter_context(run_worker("server_clients"))
        servers = {name: stack.enter_context(run_worker(*_SERVERS[name])) for name in names}
        ports = {name: server.read() for name, server in servers.items()}
        for round_ in range(rounds + 1):
            at = round_ % len(names)
            for compression in COMPRESSIONS:
                for name in names[at:] + names[:at]:
                    run = Run(servers[name], clients, ports[name], compression)
                    run.run(sizes)
                    if round_:  # the first one warms up
                        runs[compression][name].append(run)
    for compression, by_name in runs.items():
        check_sizes(by_name, compression)
    return {
        "clients": sizes.clients,
        "stream": sizes.stream,
        "replay": sizes.replay,
        "rounds": rounds,
        "compressions": {
            compression: {
                name: _cells(found, by_name.get(_BASELINE)) for name, found in by_name.items()
            }
            for compression, by_name in runs.items()
        },
    }


def _is_here(name: str) -> bool:
    return name not in _NEEDS or importlib.util.find_spec(_NEEDS[name]) is not None


def check_sizes(by_name: dict[str, list[Run]], compression: str) -> None:
    """End the run if the servers did not send the same."""
    first = next(iter(by_name.values()))[0].sizes
    allowed = 0.0 if compression == "none" else _EQUAL
    for name, runs in by_name.items():
        for kind, size in runs[0].sizes.items():
            if abs(size - first[kind]) > allowed * size:
                raise SystemExit(
                    f"{name} sent {size} bytes ({kind}, {compression}), not {first[kind]}"
                )


def _cells(runs: list[Run], baseline: list[Run] | None) -> dict[str, Any]:
    cells = {}
    for kind in _KINDS:
        cpu = [run.cpu[kind] for run in runs]
        cells[kind] = {
            "cpu": spread(cpu),
            "wall": spread([run.wall[kind] for run in runs]),
            "of_baseline": None
            if baseline is None
            else ratio(cpu, [r.cpu[kind] for r in baseline]),
        }
    return cells


def show(result: dict[str, Any]) -> str:
    """A table for each measurement: ratios by CPU time, microseconds of CPU and of the clock."""
    found = result["compressions"]
    text = ""
    for kind, unit in _KINDS.items():
        rows = []
        for name in next(iter(found.values())):
            cells = [found[compression][name][kind] for compression in found]
            rows.append(
                [
                    name,
                    *(times(cell["of_baseline"]) if cell["of_baseline"] else "" for cell in cells),
                    *(
                        f"{cell['cpu']['median']:.1f} ({cell['wall']['median']:.1f})"
                        for cell in cells
                    ),
                ]
            )
        title = f"server, {kind}: of the baseline by CPU time, and {unit}: CPU (clock)"
        text += table(title, ["", *found, *found], rows) + "\n"
    sizes = (
        f"{result['clients']} clients, {result['stream']} dispatches, {result['replay']} replayed"
    )
    return f"{text}\n{sizes}, {result['rounds']} rounds"


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the target."""
    found: list[Figure] = []
    for kind in _KINDS:
        for compression, cells in result["compressions"].items():
            cell = cells["asyncio"][kind]["of_baseline"]
            measured = None if cell is None else cell["median"]
            found.append(Figure(f"server: {kind}, {compression}", _TARGET, measured))
    return found
