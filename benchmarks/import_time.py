"""Import time in new interpreters, compared with that of the dependencies.

All modules are there as bytecode, written by a first import: installed packages have theirs, and a
checkout may not, which alone makes its import half as long again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.options import Options
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, spread

__all__ = ["NAME", "figures", "measure", "show"]

NAME = "import_time"
_IMPORTS = {
    "dependencies": "attrs, h11, msgspec, wsproto",
    "gateway_proto": "gateway_proto",
    "asyncio": "asyncio",
    "gateway_asyncio": "gateway_asyncio",
    "trio": "trio",
    "gateway_trio": "gateway_trio",
}
_CODE = """
import json, sys, time
began = time.perf_counter()
import {what}
seconds = time.perf_counter() - began
frameworks = [name for name in ("asyncio", "trio") if name in sys.modules]
print(json.dumps([seconds, frameworks]))
"""


def _run(what: str, bytecode: str) -> subprocess.CompletedProcess[bytes]:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", _CODE.format(what=what)],
        env={**variables, "PYTHONPYCACHEPREFIX": bytecode},
        capture_output=True,
        timeout=60,
    )


def _import(what: str, bytecode: str) -> tuple[float, list[str]]:
    seconds, frameworks = json.loads(_run(what, bytecode).stdout)
    return seconds, frameworks


def measure(options: Options) -> dict[str, Any]:
    """Milliseconds of each import, and which event loops came with it."""
    with tempfile.TemporaryDirectory() as bytecode:
        # This writes the bytecode too.
        is_here = {name: not _run(what, bytecode).returncode for name, what in _IMPORTS.items()}
        for name in ("dependencies", "gateway_proto", "gateway_asyncio"):
            if not is_here[name]:
                raise SystemExit(f"{name}: cannot be imported by {sys.executable}")
        return _measure([name for name in _IMPORTS if is_here[name]], options, bytecode)


def _measure(names: list[str], options: Options, bytecode: str) -> dict[str, Any]:
    rounds: dict[str, list[float]] = {}
    loops: dict[str, list[str]] = {}
    for _ in range(max(options.rounds * 3, 9)):
        for name in names:
            seconds, loops[name] = _import(_IMPORTS[name], bytecode)
            rounds.setdefault(name, []).append(seconds * 1000)
    return {
        "rounds": len(rounds["dependencies"]),
        "milliseconds": {name: spread(values) for name, values in rounds.items()},
        "ratio": ratio(rounds["gateway_proto"], rounds["dependencies"]),
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
    title = (
        f"import in a fresh interpreter, {result['rounds']} rounds: gateway_proto takes "
        f"{times(result['ratio'])} of its dependencies"
    )
    return table(title, ["", "ms", "event loops imported"], rows)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    loops = result["event_loops"]
    own = [("gateway_proto", None), ("gateway_asyncio", "asyncio"), ("gateway_trio", "trio")]
    foreign = sum(
        loop != framework for name, framework in own if name in loops for loop in loops[name]
    )
    return [
        Figure("import_time: import, of its dependencies", 1.3, result["ratio"]["median"]),
        Figure("import_time: foreign event loops imported", 0, foreign, unit=""),
    ]
