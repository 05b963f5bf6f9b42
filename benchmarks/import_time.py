"""CPU time of imports in new interpreters, compared with the dependencies, and of `--help`.

gateway_proto imports h11 and wsproto with its first lookup or connection that frames, so it is also
measured together with what these import. The adapters import everything at once.

All modules are there as bytecode, written by a first import: installed packages have theirs, and a
checkout may not, which alone makes its import half as long again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.options import Options
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, spread

__all__ = ["NAME", "figures", "measure", "show"]

NAME = "import_time"
_IMPORTS = {
    "dependencies": "attrs, h11, msgspec, wsproto",
    "gateway_proto": "gateway_proto",
    "first_connection": "gateway_proto, gateway_proto.client.lookup, gateway_proto.wire.frames",
    "asyncio": "asyncio",
    "gateway_asyncio": "gateway_asyncio",
    "trio": "trio",
    "gateway_trio": "gateway_trio",
}
_CODE = """
import json, os, sys, time
clock = time.perf_counter if os.name == "nt" else time.process_time
began = clock()
import {what}
seconds = clock() - began
frameworks = [name for name in ("asyncio", "trio") if name in sys.modules]
print(json.dumps([seconds, frameworks]))
"""


_HELP = ["-m", "gateway_cli", "--help"]


def _run(arguments: list[str], bytecode: str) -> subprocess.CompletedProcess[bytes]:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**variables, "PYTHONPYCACHEPREFIX": bytecode},
        capture_output=True,
        timeout=60,
    )


def _importing(what: str) -> list[str]:
    return ["-c", _CODE.format(what=what)]


def _import(what: str, bytecode: str) -> tuple[float, list[str]]:
    seconds, frameworks = json.loads(_run(_importing(what), bytecode).stdout)
    return seconds, frameworks


def _help_seconds(bytecode: str) -> float:
    began = _children_seconds()
    _run(_HELP, bytecode)
    return _children_seconds() - began


def _children_seconds() -> float:
    """CPU seconds of all ended children; Windows does not count them."""
    times_ = os.times()
    return time.perf_counter() if os.name == "nt" else times_.children_user + times_.children_system


def measure(options: Options) -> dict[str, Any]:
    """Milliseconds of each import, and which event loops came with it."""
    with tempfile.TemporaryDirectory() as bytecode:
        # This writes the bytecode too.
        is_here = {
            name: not _run(_importing(what), bytecode).returncode for name, what in _IMPORTS.items()
        }
        for name in ("dependencies", "gateway_proto", "gateway_asyncio"):
            if not is_here[name]:
                raise SystemExit(f"{name}: cannot be imported by {sys.executable}")
        has_command = not _run(_HELP, bytecode).returncode
        names = [name for name in _IMPORTS if is_here[name]]
        return _measure(names, options, bytecode, has_command=has_command)


def _measure(
    names: list[str], options: Options, bytecode: str, *, has_command: bool
) -> dict[str, Any]:
    helps: list[float] = []
    rounds: dict[str, list[float]] = {}
    loops: dict[str, list[str]] = {}
    for _ in range(max(options.rounds * 3, 9)):
        for name in names:
            seconds, loops[name] = _import(_IMPORTS[name], bytecode)
            rounds.setdefault(name, []).append(seconds * 1000)
        if has_command:
            helps.append(_help_seconds(bytecode))
    return {
        "help_seconds": spread(helps) if helps else None,
        "rounds": len(rounds["dependencies"]),
        "milliseconds": {name: spread(values) for name, values in rounds.items()},
        "ratio": ratio(rounds["gateway_proto"], rounds["dependencies"]),
        "first_connection": ratio(rounds["first_connection"], rounds["dependencies"]),
        "event_loops": loops,
    }


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for name, ms in result["milliseconds"].items():
        loops = ", ".join(result["event_loops"][name]) or "none"
        rows.append(
            [_IMPORTS[name], f"{ms['median']:.1f} ({ms['min']:.1f} to {ms['max']:.1f})", loops]
        )
    if (seconds := result["help_seconds"]) is not None:
        ms = {key: value * 1000 for key, value in seconds.items()}
        cell = f"{ms['median']:.0f} ({ms['min']:.0f} to {ms['max']:.0f})"
        rows.append(["gateway-proto --help, the whole process", cell, ""])
    title = (
        f"CPU time of imports in a fresh interpreter, {result['rounds']} rounds: gateway_proto "
        f"takes {times(result['ratio'])} of its dependencies, "
        f"{times(result['first_connection'])} with what a first connection imports"
    )
    return table(title, ["", "ms", "event loops imported"], rows)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    loops = result["event_loops"]
    own = [("gateway_proto", None), ("gateway_asyncio", "asyncio"), ("gateway_trio", "trio")]
    foreign = sum(
        loop != framework for name, framework in own if name in loops for loop in loops[name]
    )
    seconds = result["help_seconds"]
    help_seconds = None if seconds is None else seconds["median"]
    return [
        Figure("import_time: import, of its dependencies", 1.2, result["ratio"]["median"]),
        Figure("import_time: gateway-proto --help", 0.25, help_seconds, unit="s"),
        Figure("import_time: foreign event loops imported", 0, foreign, unit=""),
    ]
