"""Command line of the benchmarks: prints tables, writes JSON and a chart.

python -m benchmarks            everything, in an environment of its own with the peers
python -m benchmarks --short    what a checkout must not lose, in the environment it runs in
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.environment import enter
from benchmarks.options import Options
from benchmarks.table import Figure, targets

_ALL = (
    "fleet",
    *("process", "loopback", "memory", "idle", "scaling", "hostile_input", "server"),
    *("simulation", "recovery", "import_time"),
)
_SHORT = ("process", "scaling", "hostile_input", "server", "simulation", "recovery", "import_time")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How fast and how small gateway_proto is."
    )
    add = parser.add_argument
    add("--short", action="store_true", help="less of it, without peers; 1 if a fast path is lost")
    add("--only", nargs="+", choices=_ALL, metavar="NAME", help=f"of {', '.join(_ALL)}")
    add("--rounds", type=int, metavar="N", help="interleaved rounds, 7 by default")
    add("--dispatches", type=int, metavar="N", help="of the corpus, 60000 by default")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    add("--chart", type=Path, metavar="FILE", help="draw loopback's table here, as SVG")
    parsed = parser.parse_args(arguments)
    for name in ("rounds", "dispatches"):
        value = getattr(parsed, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value} is not 1 or more")
    if parsed.short and set(parsed.only or ()) - set(_SHORT):
        parser.error(f"--short measures {', '.join(_SHORT)} only")
    if parsed.chart and (parsed.short or "loopback" not in (parsed.only or _ALL)):
        parser.error("--chart needs the measurement loopback")
    return parsed


def _system() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
    }


def main(arguments: list[str]) -> int:
    """Measure, print, write and draw; return the exit status."""
    parsed = _parse(arguments)
    if not parsed.short:
        enter(arguments)
    usual = Options(dispatches=8_000, rounds=5, short=True) if parsed.short else Options()
    options = Options(
        dispatches=parsed.dispatches or usual.dispatches,
        rounds=parsed.rounds or usual.rounds,
        short=parsed.short,
    )
    report: dict[str, Any] = {"system": _system(), "measurements": {}}
    figures: list[Figure] = []
    for name in parsed.only or (_SHORT if parsed.short else _ALL):
        measurement = importlib.import_module(f"benchmarks.{name}")
        print(f"\nmeasuring {name} ...", file=sys.stderr, flush=True)
        began = time.perf_counter()
        result = measurement.measure(options)
        result["took_seconds"] = round(time.perf_counter() - began, 1)
        report["measurements"][name] = result
        print(measurement.show(result), flush=True)
        figures += measurement.figures(result)
    report["targets"] = [
        {
            "what": f.what,
            "target": f.target,
            "measured": f.measured,
            "cpu": f.cpu,
            "reached": f.reached,
        }
        for f in figures
    ]
    print(targets(figures))
    if parsed.json:
        parsed.json.write_text(json.dumps(report, indent=2) + "\n")
    if parsed.chart:
        from benchmarks.chart import draw

        draw(report, parsed.chart)
    lost = [f for f in figures if f.lost]
    for f in lost if parsed.short else ():
        print(
            f"\nlost: {f.what} is {f.measured:.2f} {f.unit}, more than {f.lost_above:g} times the "
            f"{f.target} that it should be: see which fast path is no longer taken",
            file=sys.stderr,
        )
    return 1 if parsed.short and lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
