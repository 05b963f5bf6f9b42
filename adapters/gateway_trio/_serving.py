"""Server, port → connections: the server role on trio."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import trio

from gateway_dialing import AcceptErrors, runtime_server_config
from gateway_proto import Server, ServerConnection, ServerEvent, ServerSession
from gateway_proto._arguments import check_serving
from gateway_proto.gateway import log_error, log_events
from gateway_trio._clock import check_loop
from gateway_trio._pump import Pump

__all__ = ["Serving", "serve_gateway"]

_LINGER_SECONDS = 0.5
"""For the clients' answers to a close frame, and for the last bytes to be sent."""
_LABEL = "server: "
OnEvent = Callable[[ServerConnection, ServerEvent], None]


class Serving:
    """A server that listens."""

    def __init__(
        self, server: Server, on_event: OnEvent | None, ssl_context: ssl.SSLContext | None
    ) -> None:
        self.server: Server = server
        self.host: str = ""
        self.port: int = 0
        self._ssl_context = ssl_context
        self._tls = "" if ssl_context is None else "s"
        self._on_event = on_event
        self._pumps: set[Pump] = set()
        self._scope = trio.CancelScope()
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
        return trio.current_time()

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

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Drive the connection of a stream that was accepted."""
        if self._ssl_context is not None:
            encrypted = trio.SSLStream(
                cast("trio.SocketStream", stream),
                self._ssl_context,
                server_side=True,
                https_compatible=True,
            )
            try:
                with trio.fail_after(self.server.config.handshake_timeout):
                    await encrypted.do_handshake()
            except (trio.BrokenResourceError, trio.TooSlowError):
                await trio.aclose_forcefully(stream)
                return
            except BaseException:  # cancelled: the server is left
                await trio.aclose_forcefully(stream)
                raise
            stream = encrypted
        try:
            connection = self.server.accept(now=self.now())
        except Exception as error:
            self.fail(error)
            await trio.aclose_forcefully(stream)
            return
        pump = Pump(connection, stream, self._deliver)
        self._pumps.add(pump)
        try:
            await pump.run()
        finally:
            self._pumps.discard(pump)
            if pump.error is not None:
                self.fail(pump.error)

    def fail(self, error: BaseException) -> None:
        """End the server because of an exception in a callback or in the state machine."""
        log_error(error, _LABEL)
        if self.error is None:
            self.error = error
            self._scope.cancel()

    async def close(self) -> None:
        """Close every connection; the clients have half a second to answer the close frames."""
        pumps = list(self._pumps)
        for pump in pumps:
            if pump.error is None:
                try:
                    pump.connection.close(1001, now=self.now())
                except Exception as error:
                    pump.fail(error)
                pump.turn()
        with trio.move_on_after(_LINGER_SECONDS):
            for pump in pumps:
                await pump.closed.wait()

    def _deliver(self, pump: Pump, events: list[ServerEvent]) -> bool:
        if events:
            log_events(events, _LABEL)
        if self._on_event is not None:
            for event in events:
                self._on_event(cast("ServerConnection", pump.connection), event)
        return True


async def _open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on every address of a host; a free port is the same for all addresses."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    if port or len(listeners) == 1:
        return listeners
    free = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    return await trio.open_tcp_listeners(free, host=host)


async def _accept(listener: trio.SocketListener, serving: Serving, nursery: trio.Nursery) -> None:
    """Accept connections, also after running out of file descriptors, and drive each."""
    errors = AcceptErrors()
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                await trio.sleep(errors.pause(error, now=trio.current_time()))
                continue
            nursery.start_soon(serving.handle, stream)


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
        server.config, tls=ssl_context is not None, now=trio.current_time()
    )
    serving = Serving(server, on_event, ssl_context)
    listeners = await _open_listeners(host, port)
    serving.host, serving.port = listeners[0].socket.getsockname()[:2]
    error: BaseException | None = None
    async with trio.open_nursery() as nursery, trio.open_nursery() as accepting:
        for listener in listeners:
            accepting.start_soon(_accept, listener, serving, nursery)
        try:
            with serving._scope:
                yield serving
        except trio.Cancelled:
            raise
        except BaseException as caught:
            # Raised again outside of the nurseries, which would wrap it in a group.
            error = caught
        finally:
            accepting.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await serving.close()
            nursery.cancel_scope.cancel()
    if error is None:
        error = serving.error
    if error is not None:
        raise error
