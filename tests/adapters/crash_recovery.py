"""Repeated SIGKILL of a client and its server: no event is lost without notice.

    python -m tests.adapters.crash_recovery [--kills 200] [--adapter asyncio] [--seed 1]

Three processes. The server dispatches numbers, one after the other, and writes each to a log before
(as the API of a service would know the past). The client handles each number by writing a line to
its own log, and then stores its session. The third kills either, waits until numbers are handled
again, and finally checks the log:

- after a killed client the session is resumed and no number is missing; at most the number that
  was handled but not stored is repeated;
- after a killed server, whose sessions are lost, the client receives READY of a new session, and so
  looks up the missed numbers in the log.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from gateway_asyncio import serve_gateway
from gateway_proto import Config, Dispatch, Ready, Resumed, Session
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import session_after

__all__ = ["kill_both"]

_ROOT = pathlib.Path(__file__).parents[2]
_PATIENCE = 60.0
"""Seconds until numbers must be handled again; a new session may have to wait for its slot."""
_EVERY = 0.004
"""Seconds from one number to the next."""
_PROGRESS = 5
"""Numbers that are handled between two kills."""
_KEPT = 2 * round(_PATIENCE / _EVERY)
"""Numbers for a resume: more than come while a busy system takes its time to start a client."""


# ----- server and client -----


async def _serve(folder: pathlib.Path, port: int) -> None:
    log = folder / "sent"
    number = len(log.read_bytes()) // 8 if log.exists() else 0
    async with serve_gateway(Server(ServerConfig(replay_limit=_KEPT)), port=port) as serving:
        (folder / "port").write_text(str(serving.port))
        with log.open("ab", buffering=0) as sent:
            while True:
                number += 1
                sent.write(number.to_bytes(8, "big"))  # one write: complete or not at all
                serving.dispatch("NUMBER", number)
                await asyncio.sleep(_EVERY)


class _App:
    """Event handler: writes a log, and stores the session after each event."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._log = (folder / "handled").open("a", buffering=1)
        lines = (folder / "handled").read_text().split()
        self._last = max((int(line) for line in lines if line.isdecimal()), default=0)
        store = folder / "session"
        self.session = Session.from_json(store.read_text()) if store.exists() else None

    def handle(self, event: Any) -> None:
        """Handle one event."""
        match event:
            case Ready():
                # A new session: the missed numbers of the previous one are in the log.
                known = (self._folder / "sent").read_bytes()
                for number in range(self._last + 1, len(known) // 8 + 1):
                    self._note(number)
            case Dispatch(name="NUMBER"):
                # In a new session numbers may arrive that were just looked up.
                if event.data > self._last or self._is_next_again(event.data):
                    self._note(event.data)
        self.session = session_after(self.session, event)
        if self.session is not None:
            new = self._folder / "session.new"
            new.write_text(self.session.to_json())
            new.replace(self._folder / "session")
        if isinstance(event, Ready | Resumed):
            # A client killed before this repeats the lookup with a new session.
            self._log.write(f"{type(event).__name__.upper()}\n")

    def _is_next_again(self, number: int) -> bool:
        """Whether the number was handled before the kill but its session was not stored."""
        return number == self._last

    def _note(self, number: int) -> None:
        self._log.write(f"{number}\n")
        self._last = number


async def _listen(adapter: Any, folder: pathlib.Path, port: int) -> None:
    app = _App(folder)
    config = Config(
        token="t",
        intents=0,
        gateway_url=f"ws://127.0.0.1:{port}",
        backoff_initial=0.05,
        backoff_max=0.5,
    )
    async with adapter.open_gateway(config, session=app.session) as gateway:
        async for event in gateway:
            app.handle(event)


# ----- killer -----


def _start(role: str, adapter: str, folder: pathlib.Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.adapters.crash_recovery", "--role", role]
    command += ["--adapter", adapter, "--folder", str(folder), "--port", str(port)]
    paths = f"{_ROOT}{os.pathsep}{_ROOT / 'adapters'}"
    return subprocess.Popen(command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": paths})


def _lines(folder: pathlib.Path) -> list[str]:
    path = folder / "handled"
    return path.read_text().split() if path.exists() else []


def _await(what: str, is_so: Any) -> float:
    """Wait for a condition; return the seconds that it took."""
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > _PATIENCE:
            raise AssertionError(f"{what}: not within {_PATIENCE:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - begun


def kill_both(kills: int, *, adapter: str, seed: int, servers: float = 0.25) -> dict[str, Any]:
    """Kill `kills` times, a part of them the server. Raises AssertionError if a number is lost."""
    rng = random.Random(seed)
    outages: dict[str, list[float]] = {"client": [], "server": []}
    repeated: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="killed-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        running: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(lambda: [_end(process) for process in running.values()])
        running["server"] = _start("server", adapter, folder, 0)
        _await("the server listens", lambda: (folder / "port").exists() and _port(folder))
        port = _port(folder)
        running["client"] = _start("client", adapter, folder, port)
        _await("numbers are handled", lambda: len(_lines(folder)) > _PROGRESS)
        for _ in range(kills):
            time.sleep(rng.random() * 0.1)
            role = "server" if rng.random() < servers else "client"
            _end(running[role])
            before = len(_lines(folder))
            running[role] = _start(role, adapter, folder, port)

            def is_back(before: int = before, role: str = role) -> bool:
                come = _lines(folder)[before:]
                begun = [i for i, line in enumerate(come) if not line.isdecimal()]
                return bool(begun) and len(come) - begun[0] > _PROGRESS

            outages[role].append(_await(f"numbers are handled after a killed {role}", is_back))
            come = _lines(folder)[before:]
            first = next(line for line in come if not line.isdecimal())
            expected = "RESUMED" if role == "client" else "READY"
            assert first == expected, f"after a killed {role}: {first}"
        running["client"].send_signal(signal.SIGTERM)
        running["client"].wait()
        numbers = [int(line) for line in _lines(folder) if line.isdecimal()]
    for number, following in itertools.pairwise(numbers):
        assert following in (number, number + 1), f"{following} came after {number}"
        repeated["again"] += following == number
    assert numbers[0] == 1
    assert repeated["again"] <= len(outages["client"]), (
        "only the number interrupted by a kill is repeated"
    )
    return {"numbers": numbers[-1], "again": repeated["again"], "outages": outages}


def _port(folder: pathlib.Path) -> int:
    return int((folder / "port").read_text() or 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def main() -> None:
    """Run one of the three processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--adapter", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--role", choices=["server", "client"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "server":
        asyncio.run(_serve(given.folder, given.port))
    elif given.role == "client" and given.adapter == "asyncio":
        import gateway_asyncio

        asyncio.run(_listen(gateway_asyncio, given.folder, given.port))
    elif given.role == "client":
        import trio

        import gateway_trio

        trio.run(_listen, gateway_trio, given.folder, given.port)
    else:
        done = kill_both(given.kills, adapter=given.adapter, seed=given.seed)
        print(f"{done['numbers']} numbers, none lost, {done['again']} handled again")
        for role, seconds in done["outages"].items():
            if seconds:
                middle = sorted(seconds)[len(seconds) // 2]
                times = f"back after {middle:.1f} s (median), {max(seconds):.1f} s (longest)"
                print(f"{len(seconds)} kills of the {role}: {times}")


if __name__ == "__main__":
    main()
