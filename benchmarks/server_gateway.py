"""The server role on asyncio or trio, for `server.py` to measure.

    python -m benchmarks.server_gateway LOOP

It prints its port, and answers requests on standard input (`server_requests.py`).
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.server_requests import REPLAY, answer
from gateway_proto.driver.server import BaseServer
from gateway_proto.server import Server, ServerConfig

_WAITING = 2**20
"""Bytes that may wait to be sent on one connection before the stream waits."""


class Serving:
    """Server of this package for the requests."""

    def __init__(
        self, running: BaseServer[Any], sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._running = running
        self._sleep = sleep

    async def dispatch(self, name: str, data: Any) -> None:
        self._running.dispatch(name, data)

    async def breathe(self) -> None:
        await self._sleep(0)
        while any(c.buffered_bytes > _WAITING for c in self._running.server.connections):
            await self._sleep(0.001)

    def session_id(self) -> str:
        (session,) = self._running.server.sessions.values()
        return session.id

    def reset(self) -> None:
        self._running.server.reset(now=self._running.now())


def _server() -> Server:
    return Server(
        ServerConfig(
            tokens={"t"},
            identifies_per_day=10**9,
            heartbeat_tolerance=1000,  # the clients send no heartbeats
            replay_limit=REPLAY,
            replay_bytes=64 * 2**20,
        )
    )


async def _on_asyncio() -> None:
    from gateway_asyncio import serve_gateway

    loop = asyncio.get_running_loop()
    async with serve_gateway(_server()) as running:
        serving = Serving(running, asyncio.sleep)
        await answer(serving, running.port, lambda: loop.run_in_executor(None, sys.stdin.readline))


async def _on_trio() -> None:
    import trio

    from gateway_trio import serve_gateway

    async with serve_gateway(_server()) as running:
        serving = Serving(running, trio.sleep)
        await answer(serving, running.port, lambda: trio.to_thread.run_sync(sys.stdin.readline))


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1] == "trio":
        import trio

        trio.run(_on_trio)
    else:
        asyncio.run(_on_asyncio())
