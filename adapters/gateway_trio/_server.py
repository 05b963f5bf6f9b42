"""Server on trio: `RunningServer` and `serve_gateway`."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import cast

import trio

from gateway_dialing import AcceptErrors, opening, runtime_server_config
from gateway_proto.driver.arguments import check_serving
from gateway_proto.driver.iteration import LINGER_SECONDS
from gateway_proto.driver.server import BaseServer, OnEvent
from gateway_proto.server import Server
from gateway_trio._driver import ConnectionDriver
from gateway_trio._runtime_config import check_loop

__all__ = ["RunningServer", "serve_gateway"]


class RunningServer(BaseServer[ConnectionDriver]):
    """A server that listens."""

    def __init__(
        self, server: Server, on_event: OnEvent | None, ssl_context: ssl.SSLContext | None
    ) -> None:
        super().__init__(server, on_event, tls=ssl_context is not None)
        self._ssl_context = ssl_context
        self._scope = trio.CancelScope()

    def now(self) -> float:
        """Return the time of trio's clock, in seconds."""
        return trio.current_time()

    # ----- for the context manager -----

    async def _handle(self, stream: trio.abc.Stream) -> None:
        """Drive the connection of a stream that was accepted."""
        if self._ssl_context is not None:
            try:
                encrypted = trio.SSLStream(
                    cast("trio.SocketStream", stream),
                    self._ssl_context,
                    server_side=True,
                    https_compatible=True,
                )
            except BaseException as error:
                self._fail(error)
                await trio.aclose_forcefully(stream)
                return
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
        except BaseException as error:  # of a callback: this is not a checkpoint
            self._fail(error)
            await trio.aclose_forcefully(stream)
            return
        driver = ConnectionDriver(connection, stream, self._deliver)
        self._drivers.add(driver)
        try:
            await driver.run()
        finally:
            self._drivers.discard(driver)
            if driver.error is not None:
                self._fail(driver.error)

    def _cancel(self) -> None:
        self._scope.cancel()

    async def _close(self) -> None:
        """Close every connection; the clients have half a second to answer the close frames."""
        drivers = list(self._drivers)
        self._close_connections()
        with trio.move_on_after(LINGER_SECONDS):
            for driver in drivers:
                await driver.closed.wait()


async def _open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on every address of a host; a free port is the same for all addresses."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    if port or len(listeners) == 1:
        return listeners
    free = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    return await trio.open_tcp_listeners(free, host=host)


async def _accept(
    listener: trio.SocketListener, serving: RunningServer, nursery: trio.Nursery
) -> None:
    """Accept connections, also after running out of file descriptors, and drive each."""
    errors = AcceptErrors()
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                await trio.sleep(errors.pause(error, now=trio.current_time()))
                continue
            nursery.start_soon(serving._handle, stream)


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
        server.config, tls=ssl_context is not None, now=trio.current_time()
    )
    serving = RunningServer(server, on_event, ssl_context)
    listeners = await _open_listeners(host, int(port))
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
                await serving._close()
            nursery.cancel_scope.cancel()
    if error is None:
        error = serving._error
    if error is not None:
        raise error
