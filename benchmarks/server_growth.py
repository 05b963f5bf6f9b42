"""Cost of a dispatch of the server role with many sessions, and after many dispatches, in process.

Sessions take turns, so that each finds its state cold in the caches of the processor. The baseline
does the same with what it needs: a sequence, a bounded buffer to replay, and a list of output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from benchmarks.options import Options
from benchmarks.server_clients import IDENTIFY, UPGRADE
from benchmarks.server_requests import corpus
from benchmarks.timing import ratio, timed
from gateway_proto.server import Server, ServerConfig, ServerConnection

__all__ = ["by_dispatches", "by_sessions"]

_REPLAY = 1_000
"""Dispatches that a session keeps, the default of the server role."""
_TURN = 50
"""Dispatches of one session before its bytes are taken."""

Dispatches = list[tuple[str, Any]]


def _server() -> Server:
    return Server(ServerConfig(identifies_per_day=10**9, replay_limit=_REPLAY))


def _session(server: Server) -> ServerConnection:
    connection = server.accept(now=0.0)
    connection.receive_data(UPGRADE.format("", 1).encode(), now=0.0)
    connection.receive_data(IDENTIFY, now=0.0)
    connection.data_to_send()
    if connection.session is None:
        raise SystemExit(f"the client has no session: {connection!r}")
    return connection


class BareSession:
    """State that a bare loop keeps of a session."""

    def __init__(self) -> None:
        self.sequence = 0
        self._replay: deque[bytes] = deque(maxlen=_REPLAY)
        self._out: list[bytes] = []

    def dispatch(self, start: bytes, end: bytes) -> None:
        """Number, keep and frame a dispatch."""
        self.sequence += 1
        text = b"%b%d%b" % (start, self.sequence, end)
        self._replay.append(text)
        self._out.append(b"\x81\x7e" + len(text).to_bytes(2, "big") + text)

    def data_to_send(self) -> bytes:
        """Return what waits."""
        data = b"".join(self._out)
        self._out.clear()
        return data


def _dispatch(
    server: Server, connections: list[ServerConnection], every: Dispatches, count: int
) -> int:
    size = 0
    for number in range(count):
        server.dispatch(*every[number % len(every)], now=1.0)
        if len(connections) > 1 or number % _TURN == _TURN - 1:
            for connection in connections:
                size += len(connection.data_to_send())
    return size


def _dispatch_bare(sessions: list[BareSession], every: Dispatches, count: int) -> int:
    size = 0
    for number in range(count):
        name, data = every[number % len(every)]
        start = b'{"t":"%b","s":' % name.encode()
        end = b',"op":0,"d":%b}' % msgspec.json.encode(data)
        for session in sessions:
            session.dispatch(start, end)
        if len(sessions) > 1 or number % _TURN == _TURN - 1:
            for session in sessions:
                size += len(session.data_to_send())
    return size


def by_sessions(options: Options, counts: tuple[int, ...]) -> dict[str, Any]:
    """Cost of a delivered dispatch with each number of sessions, relative to the first number.

    As many dispatches are delivered in all, however many sessions share them.
    """
    every = [(name, d) for name, d in corpus() if len(msgspec.json.encode(d)) < 2_000]
    delivered, rounds = (5_000, 3) if options.short else (20_000, options.rounds)
    ours: dict[int, list[float]] = {n: [] for n in counts}
    bare: dict[int, list[float]] = {n: [] for n in counts}
    for round_ in range(rounds + 1):
        for count in counts:
            server = _server()
            connections = [_session(server) for _ in range(count)]
            sessions = [BareSession() for _ in range(count)]
            each = delivered // count
            works: tuple[tuple[dict[int, list[float]], Callable[[], int]], ...] = (
                (ours, partial(_dispatch, server, connections, every, each)),
                (bare, partial(_dispatch_bare, sessions, every, each)),
            )
            for found, work in works:
                seconds, size = timed(work)
                if not size:
                    raise SystemExit("nothing was sent")
                if round_:  # the first one warms up
                    found[count].append(seconds / delivered * 1e6)
    first = counts[0]
    return {
        str(n): {"server": ratio(ours[n], ours[first]), "baseline": ratio(bare[n], bare[first])}
        for n in counts
    }


def by_dispatches(options: Options, block: int, blocks: int) -> dict[str, Any]:
    """Cost of the last block of dispatches to one session, relative to the second."""
    every = corpus()
    early: list[float] = []
    late: list[float] = []
    for _ in range(3 if options.short else options.rounds):
        server = _server()
        connections = [_session(server)]
        for n in range(blocks):
            seconds, _ = timed(partial(_dispatch, server, connections, every, block))
            if n in (1, blocks - 1):  # the very first one warms up
                (early if n == 1 else late).append(seconds / block * 1e6)
    return {"seen": block * blocks, "last_of_first": ratio(late, early)}
