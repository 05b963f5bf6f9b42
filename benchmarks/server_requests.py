"""Requests of the parent process that a measured server answers, on any event loop.

A request is a line with a JSON array on standard input, and its answer a line of JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from benchmarks.corpus import dispatches

__all__ = ["INTENTS", "REPLAY", "TURN", "Measured", "answer", "corpus"]

INTENTS = 0x3FFFFFF
"""Intents of the clients, so that they receive every dispatch."""
REPLAY = 10_000
"""Dispatches that a session keeps for a resume."""
TURN = 64
"""Dispatches to one session before the event loop runs."""
_CORPUS = 1_500
_SMALL = 4_096
"""Bytes of a dispatch to all sessions, at most."""
_LEFT_OUT = ("GUILD_CREATE", "GUILD_MEMBERS_CHUNK")
"""Gateways send them at the start or on request, and a server keeps the guilds of the first."""


class Measured(Protocol):
    """Server to measure."""

    async def dispatch(self, name: str, data: Any) -> None:
        """Dispatch to every session."""

    async def breathe(self) -> None:
        """Let the event loop run, until not much waits to be sent."""

    def session_id(self) -> str:
        """Return the id of the only session."""

    def reset(self) -> None:
        """Drop all connections and sessions."""


def corpus() -> list[tuple[str, Any]]:
    """Dispatches as an application has them: names and values."""
    return [(name, d) for name, d in dispatches(_CORPUS) if name not in _LEFT_OUT]


async def answer(measured: Measured, port: int, read_line: Callable[[], Awaitable[str]]) -> None:
    """Print the port, and answer requests until the input ends."""
    every = corpus()
    small = [(name, d) for name, d in every if len(json.dumps(d)) < _SMALL]
    _reply(port)
    while line := await read_line():
        match json.loads(line):
            case ["cpu"]:
                _reply(time.process_time())
            case ["dispatch", number]:
                began = time.monotonic()
                await measured.dispatch(*small[number % len(small)])
                _reply(began)
            case ["stream", count]:
                began = time.monotonic()
                for number in range(count):
                    await measured.dispatch(*every[number % len(every)])
                    if number % TURN == TURN - 1:
                        await measured.breathe()
                _reply(began)
            case ["session"]:
                _reply(measured.session_id())
            case ["reset"]:
                measured.reset()
                gc.collect()  # else the next run frees memory of this one, or uses it again
                _reply(None)


def _reply(value: Any) -> None:
    print(json.dumps(value))
    sys.stdout.flush()
