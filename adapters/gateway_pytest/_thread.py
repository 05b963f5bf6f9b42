"""Server on asyncio in its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import attrs

from gateway_asyncio import RunningServer, serve_gateway
from gateway_proto.server import Server, ServerConnection, ServerEvent
from gateway_pytest._tls import Certificate

__all__ = ["ServerThread"]

T = TypeVar("T")
_SECONDS = 10.0
"""Time limit for starting, stopping or a call."""


class ServerThread:
    """Server in its own thread, which also calls functions there."""

    def __init__(
        self,
        server: Server,
        on_event: Callable[[ServerConnection, ServerEvent], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._server = server
        self._on_event = on_event
        self._on_error = on_error
        self._stop = asyncio.Event()
        self._serving: Future[RunningServer] = Future()

    @property
    def serving(self) -> RunningServer:
        """Running server."""
        return self._serving.result(_SECONDS)

    def start(self, certificate: Certificate | None) -> None:
        """Start to listen; raises OSError."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(certificate,), name="gateway_server", daemon=True
        )
        self._thread.start()
        self._serving.result(_SECONDS)

    def stop(self) -> None:
        """Close every connection, and end the thread."""
        with contextlib.suppress(RuntimeError):  # the server has failed, and its loop is closed
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_SECONDS)

    def do(self, what: Callable[[RunningServer], T]) -> T:
        """Call a function in the thread; return its result or raise its exception."""

        async def in_loop() -> T:
            return what(self.serving)

        return asyncio.run_coroutine_threadsafe(in_loop(), self._loop).result(_SECONDS)

    def _run(self, certificate: Certificate | None) -> None:
        try:
            self._loop.run_until_complete(self._serve(certificate))
        except BaseException as error:
            if not self._serving.done():
                self._serving.set_exception(error)
            else:
                self._on_error(error)
        finally:
            self._loop.close()

    async def _serve(self, certificate: Certificate | None) -> None:
        context = None if certificate is None else certificate.server_context
        serve = serve_gateway(self._server, ssl_context=context, on_event=self._on_event)
        async with serve as serving:
            # A client whose Host header has no port, as that of eris, would dial another.
            config = self._server.config
            self._server.config = attrs.evolve(config, url=config.url or serving.url)
            self._serving.set_result(serving)
            await self._stop.wait()
