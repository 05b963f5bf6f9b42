"""Long run of many shards with faults: memory must not grow, and no event may be lost.

    python -m tests.adapters.soak [--shards 200] [--minutes 60]

Two processes: a server and the shards. The server dispatches numbers to every session, at times
to all of them at once, and injects faults: it drops connections, requests reconnects, and
invalidates sessions. The shards check that each session receives its numbers once and in order.
Each minute both processes report their memory. At the end the second half must not exceed the
first by more than 5 percent; the warm-up at the start is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import pathlib
import random
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import gateway_asyncio
from gateway_proto import (
    Config,
    Dispatch,
    GaveUp,
    Ready,
    ReconnectRequested,
    Resumed,
    SessionInvalidated,
)
from gateway_proto.server import Server, ServerConfig

__all__ = ["soak"]

_ROOT = pathlib.Path(__file__).parents[2]
_GROWTH = 1.05
_WARM = 0.2
"""The part of the time that is left out."""
_INTERVAL = 10_000
"""Milliseconds between heartbeats."""
_FAULT_INTERVAL = 0.5
"""Seconds from one to the next."""
_BURST = 40
"""Numbers to every session at once."""


def _memory() -> int:
    """Return the memory of this process in bytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def _serve() -> None:
    config = ServerConfig(
        max_concurrency=10_000,
        heartbeat_interval=_INTERVAL,
        identifies_per_day=10**9,
        # The replay buffers fill up well before the end of the first half.
        replay_limit=200,
        session_lifetime=30.0,
    )
    server, rng = Server(config), random.Random(1)
    counts: dict[str, int] = {}
    async with gateway_asyncio.serve_gateway(server) as serving:
        print(serving.port, flush=True)

        def advance(session: Any) -> bool:
            """Send each session its own next number."""
            counts[session.id] = counts.get(session.id, 0) + 1
            return True

        loop = asyncio.get_running_loop()
        reported_at = faulted_at = loop.time()
        for step in itertools.count():
            await asyncio.sleep(0.05)
            now = loop.time()
            if now - reported_at >= 60 or step == 0:
                reported_at = now
                print(_memory(), flush=True)
            for _ in range(_BURST if step % 600 == 599 else 1):
                chosen = list(server.sessions.values())
                some = chosen if step % 600 == 599 else chosen[step % 20 :: 20]
                ids = {session.id for session in some if advance(session)}
                for id_ in ids:
                    serving.dispatch("NUMBER", counts[id_], to=lambda s, id_=id_: s.id == id_)
            for id_ in counts.keys() - server.sessions.keys():
                del counts[id_]
            ready = [c for c in server.connections if c.session is not None]
            if now - faulted_at >= _FAULT_INTERVAL and ready:
                faulted_at = now
                unlucky = rng.choice(ready)
                match rng.randrange(4):
                    case 0:
                        unlucky.drop(now=now)
                    case 1:
                        unlucky.send(ReconnectRequested(), now=now)
                    case 2:
                        unlucky.close(4000, now=now)
                    case _:
                        unlucky.send(SessionInvalidated(rng.random() < 0.5), now=now)


class _Checked:
    """Numbers that a shard has received."""

    def __init__(self) -> None:
        self.number = 0
        self.total = self.sessions = self.resumes = 0

    def receive(self, event: Any) -> None:
        match event:
            case Ready():
                self.number = 0
                self.sessions += 1
            case Resumed():
                self.resumes += 1
            case Dispatch(name="NUMBER"):
                assert event.data == self.number + 1, f"{event.data} came after {self.number}"
                self.number = event.data
                self.total += 1
            case GaveUp(reason):
                raise AssertionError(reason)


async def _listen(port: int, shards: int, seconds: float) -> tuple[list[int], list[_Checked]]:
    config = Config(
        token="t",
        intents=0,
        api_url=f"http://127.0.0.1:{port}/api",
        backoff_initial=0.2,
        identify_budget=10**9,
        identify_attempts=10**9,
        max_concurrency=10_000,
    )
    inboxes = [_Checked() for _ in range(shards)]
    memory: list[int] = []
    until, reported_at = time.monotonic() + seconds, time.monotonic()
    async with gateway_asyncio.open_shards(config, count=shards) as manager:
        async for shard_id, event in manager:
            if shard_id is None:  # of the lookup
                continue
            inboxes[shard_id].receive(event)
            now = time.monotonic()
            if now - reported_at >= seconds / 60:
                reported_at = now
                memory.append(_memory())
            if now >= until:
                break
    return memory, inboxes


def soak(shards: int, minutes: float) -> dict[str, Any]:
    """Run for `minutes`. Raises AssertionError if a number is lost or the memory grows."""
    paths = f"{_ROOT}{os.pathsep}{_ROOT / 'adapters'}"
    command = [sys.executable, "-m", "tests.adapters.soak", "--serve"]
    server = subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        memory, inboxes = asyncio.run(_listen(port, shards, minutes * 60))
        server.kill()
        served = [int(line) for line in server.stdout.read().split()]
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
    assert all(shard.sessions for shard in inboxes), "each shard had a session"
    for name, held in (("shards", memory), ("server", served)):
        warm = held[int(len(held) * _WARM) :]
        if len(warm) >= 8:
            half = len(warm) // 2
            first, second = statistics.median(warm[:half]), statistics.median(warm[half:])
            assert second <= first * _GROWTH, f"the {name} grew: {held}"
    return {
        "memory": memory,
        "served": served,
        "numbers": sum(shard.total for shard in inboxes),
        "sessions": sum(shard.sessions for shard in inboxes),
        "resumes": sum(shard.resumes for shard in inboxes),
    }


def main() -> None:
    """Run one of the two processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve())
        return
    done = soak(given.shards, given.minutes)
    print(f"{given.shards} shards, {given.minutes:g} minutes: {done['numbers']} numbers in order,")
    print(f"{done['sessions']} sessions, {done['resumes']} resumes")
    for name, held in (("shards", done["memory"]), ("server", done["served"])):
        mebibytes = " ".join(f"{each / 2**20:.1f}" for each in held[:: max(1, len(held) // 12)])
        print(f"memory of the {name}, MiB: {mebibytes}")


if __name__ == "__main__":
    main()
