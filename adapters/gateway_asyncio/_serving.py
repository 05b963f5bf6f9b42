"""Server, port → connections: the server role on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import attrs

from gateway_asyncio._pump import Pump
from gateway_proto import Connection, Server, ServerConnection, ServerEvent, ServerSession

__all__ = ["Serving", "serve_gateway"]

_BACKLOG = 1024
"""Connections that the system lets wait: a bot with many shards comes with all at once."""
_GOODBYE_SECONDS = 2.0
OnEvent = Callable[[ServerConnection, ServerEvent], None]


class Serving:
    """A server that listens."""

    def __init__(self, server: Server, on_event: OnEvent | None, *, tls: bool) -> None:
        self.server: Server = server
        self.host: str = ""
        self.port: int = 0
        self._tls = "s" if tls else ""
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._pumps: set[Pump] = set()

    @property
    def url(self) -> str:
        """Of the gateway."""
        return f"ws{self._tls}://{self._authority}"

    @property
    def api_url(self) -> str:
        """The base under which `/gateway` lies."""
        return f"http{self._tls}://{self._authority}/api"

    def now(self) -> float:
        """Seconds of the clock that the server is driven with."""
        return self._loop.time()

    def dispatch(
        self, name: str, data: Any, to: Callable[[ServerSession], bool] | None = None
    ) -> int:
        """Dispatch to the sessions that `to` picks, or to all; returns to how many."""
        return self.server.dispatch(name, data, now=self.now(), to=to)

    def drop(self) -> None:
        """Cut every connection that has a session, without a close frame."""
        for connection in list(self.server.connections):
            if connection.session is not None:
                connection.drop(now=self.now())

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def make_pump(self) -> Pump:
        """For a transport that was accepted."""
        return Pump(self._accept, self._deliver)

    async def close(self) -> None:
        """Say goodbye to every client; those that do not answer in time are cut."""
        pumps = list(self._pumps)
        for pump in pumps:
            cast("ServerConnection", pump.connection).close(1001, now=self.now())
            pump.turn()
        if pumps:
            await asyncio.wait([pump.closed for pump in pumps], timeout=_GOODBYE_SECONDS)
        for pump in list(self._pumps):
            pump.abort()

    def _accept(self, pump: Pump) -> Connection[Any, Any]:
        self._pumps.add(pump)
        pump.closed.add_done_callback(lambda _: self._pumps.discard(pump))
        return self.server.accept(now=self.now())

    def _deliver(self, pump: Pump, events: list[ServerEvent]) -> bool:
        if self._on_event is not None:
            for event in events:
                self._on_event(cast("ServerConnection", pump.connection), event)
        return True


@contextlib.asynccontextmanager
async def serve_gateway(
    server: Server,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    ssl_context: ssl.SSLContext | None = None,
    on_event: OnEvent | None = None,
) -> AsyncIterator[Serving]:
    """Listen (on a free port by default); leaving closes every connection.

    `on_event` is called with each event that a connection receives. Raises OSError where the
    address cannot be had.
    """
    server.config = attrs.evolve(
        server.config,
        random=server.config.random or random.SystemRandom().random,
        tls=server.config.tls or ssl_context is not None,
    )
    serving = Serving(server, on_event, tls=ssl_context is not None)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        serving.make_pump, host, port, ssl=ssl_context, backlog=_BACKLOG
    )
    serving.host, serving.port = listener.sockets[0].getsockname()[:2]
    try:
        yield serving
    finally:
        listener.close()
        try:
            await serving.close()
        finally:
            for pump in list(serving._pumps):
                pump.abort()
