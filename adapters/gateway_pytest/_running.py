"""ServerConfig → a server in a thread, and what a test does with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from gateway_asyncio import Serving, serve_gateway
from gateway_proto import (
    Server,
    ServerConfig,
    ServerConnection,
    ServerEvent,
    ServerMessage,
    ServerSession,
)

__all__ = ["RunningGateway"]

T = TypeVar("T")
_START_SECONDS = 10.0


class RunningGateway:
    """A gateway that runs until the test is over. Its methods may be called from any thread."""

    # The first part is the user's id, as clients take it apart.
    token: str = "ODAzNTExMTAyMjQ2Nzg5MTI=.aaaaaa.bbbb"
    """The one that is let in."""

    def __init__(self, config: ServerConfig) -> None:
        self.server: Server = Server(config)
        self.received: list[ServerEvent] = []
        """All that came, of all connections, in order."""
        self._news = threading.Condition()
        self._seen = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._serving: Future[Serving] = Future()
        self._thread = threading.Thread(target=self._run, name="gateway_server", daemon=True)

    def __enter__(self) -> RunningGateway:
        self._thread.start()
        self._serving.result(_START_SECONDS)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    @property
    def url(self) -> str:
        """Of the gateway: ws://..."""
        return self._serving.result().url

    @property
    def api_url(self) -> str:
        """The base under which `/gateway` lies: http://.../api"""
        return self._serving.result().api_url

    def dispatch(
        self, name: str, data: Any, to: Callable[[ServerSession], bool] | None = None
    ) -> int:
        """Dispatch to the sessions that `to` picks, or a gateway would; returns to how many."""
        return self._do(lambda serving: serving.dispatch(name, data, to))

    def send(self, message: ServerMessage) -> None:
        """Send a message on every connection that has a session."""

        def send(serving: Serving) -> None:
            for connection in list(self.server.connections):
                if connection.session is not None:
                    connection.send(message, now=serving.now())

        self._do(send)

    def drop(self) -> None:
        """Cut every connection that has a session, without a close frame."""
        self._do(lambda serving: serving.drop())

    def close(self, code: int, reason: str = "") -> None:
        """Close every connection that has a session."""

        def close(serving: Serving) -> None:
            for connection in list(self.server.connections):
                if connection.session is not None:
                    connection.close(code, reason, now=serving.now())

        self._do(close)

    def wait_for(self, what: type[T], *, timeout: float = 10.0) -> T:
        """The next event of a type, after the one that was waited for last.

        Raises AssertionError, with all that came since, where none comes in `timeout` seconds.
        """
        with self._news:
            found = self._news.wait_for(lambda: self._next(what), timeout)
            if found:
                return found[0]
            came = "\n  ".join(map(repr, self.received[self._seen :])) or "nothing"
        raise AssertionError(
            f"no {what.__name__} was received in {timeout:g} s; what came:\n  {came}"
        )

    # ----- inside -----

    def _next(self, what: type[T]) -> list[T]:
        for index in range(self._seen, len(self.received)):
            event = self.received[index]
            if isinstance(event, what):
                self._seen = index + 1
                return [event]
        return []

    def _do(self, what: Callable[[Serving], T]) -> T:
        async def in_loop() -> T:
            return what(self._serving.result())

        return asyncio.run_coroutine_threadsafe(in_loop(), self._loop).result(_START_SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if not self._serving.done():
                self._serving.set_exception(error)
                return
            raise
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        async with serve_gateway(self.server, on_event=self._on_event) as serving:
            self._serving.set_result(serving)
            await self._stop.wait()

    def _on_event(self, _connection: ServerConnection, event: ServerEvent) -> None:
        with self._news:
            self.received.append(event)
            self._news.notify_all()
