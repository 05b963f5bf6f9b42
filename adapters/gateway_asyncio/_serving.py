"""Server, port → connections: the server role on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from gateway_asyncio._clock import check_loop
from gateway_asyncio._listening import open_listener
from gateway_asyncio._pump import Pump
from gateway_dialing import runtime_server_config
from gateway_proto import Connection, Server, ServerConnection, ServerEvent, ServerSession
from gateway_proto._arguments import check_serving
from gateway_proto.gateway import log_error, log_events

__all__ = ["Serving", "serve_gateway"]

_LINGER_SECONDS = 0.5
"""For the clients' answers to a close frame, and for the last bytes to be sent."""
_LABEL = "server: "
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
        self._body: asyncio.Task[Any] | None = None
        self._is_body_cancelled = False
        self.error: BaseException | None = None
        """The exception of `on_event` or of the state machine that ended the server."""

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

    def fail(self, error: BaseException) -> None:
        """End the server because of an exception in a callback or in the state machine."""
        log_error(error, _LABEL)
        if self.error is not None:
            return
        self.error = error
        if self._body is not None and not self._body.done():
            self._is_body_cancelled = self._body.cancel()

    def was_cancelled_alone(self) -> bool:
        """Whether `fail`, and no other caller, has cancelled the body; takes that back, once."""
        task = asyncio.current_task()
        if not self._is_body_cancelled or task is None:
            return False
        self._is_body_cancelled = False
        return task.uncancel() == 0

    async def close(self, *, linger: float = _LINGER_SECONDS) -> None:
        """Close every connection; the clients have half a second to answer the close frames."""
        for pump in list(self._pumps):
            if pump.connection is not None and pump.error is None:
                try:
                    pump.connection.close(1001, now=self.now())
                except Exception as error:
                    pump.fail(error)
                pump.turn()
        try:
            await self._until_closed(linger)
        finally:
            for pump in list(self._pumps):
                pump.finish()
                pump.abort()
            await self._until_closed(_LINGER_SECONDS)

    async def _until_closed(self, seconds: float) -> None:
        if self._pumps:
            await asyncio.wait([pump.closed for pump in self._pumps], timeout=seconds)

    def _accept(self, pump: Pump) -> Connection[Any, Any]:
        self._pumps.add(pump)
        pump.ended.add_done_callback(lambda _: self._ended(pump))
        pump.closed.add_done_callback(lambda _: self._pumps.discard(pump))
        return self.server.accept(now=self.now())

    def _ended(self, pump: Pump) -> None:
        if pump.error is not None:
            self.fail(pump.error)

    def _deliver(self, pump: Pump, events: list[ServerEvent]) -> bool:
        if events:
            log_events(events, _LABEL)
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

    `on_event` is called with each event that a connection receives. If it raises, the body of the
    `async with` is cancelled, and leaving raises that exception. Raises OSError if the address is
    not available.
    """
    check_loop()
    check_serving(server, host, port, ssl_context=ssl_context, on_event=on_event)
    server.config = runtime_server_config(
        server.config, tls=ssl_context is not None, now=asyncio.get_running_loop().time()
    )
    serving = Serving(server, on_event, tls=ssl_context is not None)
    listener = await open_listener(
        serving.make_pump,
        host,
        port,
        ssl_context=ssl_context,
        handshake_timeout=server.config.handshake_timeout,
    )
    serving.host, serving.port = listener.address
    linger = _LINGER_SECONDS
    serving._body = asyncio.current_task()
    try:
        yield serving
    except (asyncio.CancelledError, GeneratorExit):
        linger = 0.0
        if not serving.was_cancelled_alone():
            raise
    finally:
        serving._body = None
        try:
            await listener.close()
        finally:
            await serving.close(linger=linger)
    serving.was_cancelled_alone()
    if serving.error is not None:
        raise serving.error
