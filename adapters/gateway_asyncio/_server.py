"""Server on asyncio: `RunningServer` and `serve_gateway`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

from gateway_asyncio._driver import ConnectionDriver
from gateway_asyncio._listening import open_listener
from gateway_asyncio._runtime_config import check_loop
from gateway_asyncio._wakes import WakeBatch
from gateway_dialing import opening, runtime_server_config
from gateway_proto import Connection
from gateway_proto.driver.arguments import check_serving
from gateway_proto.driver.iteration import LINGER_SECONDS
from gateway_proto.driver.server import BaseServer, OnEvent
from gateway_proto.server import Server

__all__ = ["RunningServer", "serve_gateway"]


class RunningServer(BaseServer[ConnectionDriver]):
    """A server that listens."""

    def __init__(self, server: Server, on_event: OnEvent | None, *, tls: bool) -> None:
        super().__init__(server, on_event, tls=tls)
        self._loop = asyncio.get_running_loop()
        self._wakes = WakeBatch()
        self._body: asyncio.Task[Any] | None = None
        self._is_body_cancelled = False

    def now(self) -> float:
        """Return the time of the event loop's clock, in seconds."""
        return self._loop.time()

    # ----- for the context manager -----

    def _make_driver(self) -> ConnectionDriver:
        """Return the protocol of a transport that was accepted."""
        return ConnectionDriver(self._accept, self._deliver, self._wakes)

    def _cancel(self) -> None:
        if self._body is not None and not self._body.done():
            self._is_body_cancelled = self._body.cancel()

    def _was_cancelled_alone(self) -> bool:
        """Whether only `_fail` has cancelled the body; if so, take the cancellation back, once."""
        task = asyncio.current_task()
        if not self._is_body_cancelled or task is None:
            return False
        self._is_body_cancelled = False
        return task.uncancel() == 0

    async def _close(self, *, linger: float) -> None:
        """Close every connection; wait `linger` seconds for answers to the close frames."""
        self._close_connections()
        try:
            await self._until_closed(linger)
        finally:
            for driver in list(self._drivers):
                driver.finish()
                driver.abort()
            await self._until_closed(LINGER_SECONDS)

    async def _until_closed(self, seconds: float) -> None:
        if self._drivers:
            await asyncio.wait([driver.closed for driver in self._drivers], timeout=seconds)

    def _accept(self, driver: ConnectionDriver) -> Connection[Any, Any]:
        self._drivers.add(driver)
        driver.ended.add_done_callback(lambda _: self._on_ended(driver))
        driver.closed.add_done_callback(lambda _: self._drivers.discard(driver))
        return self.server.accept(now=self.now())

    def _on_ended(self, driver: ConnectionDriver) -> None:
        if driver.error is not None:
            self._fail(driver.error)


@opening
async def serve_gateway(
    server: Server,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    ssl_context: ssl.SSLContext | None = None,
    on_event: OnEvent | None = None,
) -> AsyncIterator[RunningServer]:
    """Start a server, on a free port by default; leaving closes every connection.

    `on_event` is called with each event that a connection receives. If it raises, the body of the
    `async with` is cancelled, and leaving raises that exception. Raises OSError if the address is
    not available.
    """
    check_loop()
    check_serving(server, host, port, ssl_context=ssl_context, on_event=on_event)
    server.config = runtime_server_config(
        server.config, tls=ssl_context is not None, now=asyncio.get_running_loop().time()
    )
    serving = RunningServer(server, on_event, tls=ssl_context is not None)
    listener = await open_listener(
        serving._make_driver,
        host,
        int(port),
        ssl_context=ssl_context,
        handshake_timeout=server.config.handshake_timeout,
        on_error=serving._fail,
    )
    serving.host, serving.port = listener.address
    linger = LINGER_SECONDS
    serving._body = asyncio.current_task()
    try:
        yield serving
    except (asyncio.CancelledError, GeneratorExit):
        linger = 0.0
        if not serving._was_cancelled_alone():
            raise
    finally:
        serving._body = None
        try:
            await listener.close()
        finally:
            await serving._close(linger=linger)
    serving._was_cancelled_alone()
    if serving._error is not None:
        raise serving._error
