"""ServerConfig → a server in a thread, and what a test does with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar, overload

import attrs

from gateway_asyncio import Serving
from gateway_proto import (
    LocalProtocolError,
    Server,
    ServerConfig,
    ServerConnection,
    ServerEvent,
    ServerMessage,
    ServerSession,
)
from gateway_proto._checks import SECONDS
from gateway_pytest._choosing import message_of
from gateway_pytest._searches import Searches
from gateway_pytest._settings import config_of, token_of
from gateway_pytest._thread import ServerThread
from gateway_pytest._tls import Certificate
from gateway_pytest._waiting import Changes

__all__ = ["AsyncWaits", "RunningGateway"]

T = TypeVar("T")
Predicate = Callable[[ServerEvent], object]


class RunningGateway:
    """A gateway that runs until the test is over. Its methods may be called from any thread.

    Those that wait block the thread; `aio` has them in a form to be awaited.
    """

    def __init__(self, config: ServerConfig | None = None) -> None:
        config = config_of([]) if config is None else config
        self.server: Server = Server(config)
        self.token: str = token_of(config)
        """One that is accepted, if `ServerConfig.tokens` has any."""
        self.received: list[ServerEvent] = []
        """All events of all connections, in order."""
        self.aio: AsyncWaits = AsyncWaits(self)
        self._searches = Searches(self.server, self.received)
        self._changes = Changes()
        self._thread = ServerThread(self.server, self._on_event, self._changes.fail)
        self._certificate: Certificate | None = None

    def __enter__(self) -> Self:
        if self.server.config.tls:
            self._certificate = Certificate()
        try:
            self._thread.start(self._certificate)
        except BaseException:
            self._remove_certificate()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.stop()
        self._remove_certificate()
        if self._changes.error is not None and exc[1] is None:
            raise self._changes.error

    @property
    def url(self) -> str:
        """The URL of the gateway: ws://... or, with TLS, wss://..."""
        return self._thread.serving.url

    @property
    def api_url(self) -> str:
        """The URL under which `/gateway` is: http://.../api"""
        return self._thread.serving.api_url

    @property
    def ca_file(self) -> str:
        """The path of the certificate to trust, in PEM: for SSL_CERT_FILE, NODE_EXTRA_CA_CERTS."""
        return self._trust().path

    @property
    def ssl_context(self) -> Any:
        """An `ssl.SSLContext` for clients, which trusts the server."""
        return self._trust().client_context

    # ----- what a test does to clients -----

    def dispatch(
        self,
        name: str,
        data: Any,
        to: Callable[[ServerSession], bool] | None = None,
        *,
        allow_none: bool = False,
    ) -> int:
        """Dispatch to the sessions that `to` picks, or a gateway would; returns to how many.

        Raises AssertionError if it is none, unless `allow_none`.
        """
        __tracebackhide__ = True
        count = self._do(lambda serving: serving.dispatch(name, data, to))
        return self._reached(name, count, allow_none)

    def say(
        self, content: str = "", *, channel: Any = None, author: Any = None, **fields: Any
    ) -> dict[str, Any]:
        """Let a member of the world send a message; returns it, after it was dispatched.

        `channel` and `author` are names, ids or objects of the world; by default the first text
        channel, and the first member that is no bot. `fields` are further ones of a message.
        """
        __tracebackhide__ = True
        message = message_of(self.server.world, content, channel, author, fields)
        self.dispatch("MESSAGE_CREATE", message)
        return message

    def send(self, message: ServerMessage, *, allow_none: bool = False) -> int:
        """Send a message on every connection that has a session; returns on how many."""
        __tracebackhide__ = True

        def send(serving: Serving) -> int:
            connections = self._with_session()
            for connection in connections:
                connection.send(message, now=serving.now())
            return len(connections)

        return self._reached(type(message).__name__, self._do(send), allow_none)

    def drop(self, *, allow_none: bool = False) -> int:
        """Drop every connection that has a session, without a close frame; returns how many."""
        __tracebackhide__ = True

        def drop(serving: Serving) -> int:
            count = len(self._with_session())
            serving.drop()
            return count

        return self._reached("drop", self._do(drop), allow_none)

    def close(self, code: int, reason: str = "", *, allow_none: bool = False) -> int:
        """Close every connection that has a session; returns how many."""
        __tracebackhide__ = True

        def close(serving: Serving) -> int:
            connections = self._with_session()
            for connection in connections:
                connection.close(code, reason, now=serving.now())
            return len(connections)

        return self._reached(f"close {code}", self._do(close), allow_none)

    # ----- what a test waits for -----

    def wait_until_ready(self, *, shards: int | None = None, timeout: float = 10.0) -> None:
        """Wait until READY or RESUMED was sent to as many shards; by default `ServerConfig.shards`.

        What is dispatched then comes after READY and GUILD_CREATE. Raises AssertionError after
        `timeout` seconds.
        """
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        self._changes.wait("wait_until_ready", self._searches.ready(shards), timeout)

    @overload
    def wait_for(self, what: type[T], *, timeout: float = 10.0) -> T: ...
    @overload
    def wait_for(self, what: Predicate, *, timeout: float = 10.0) -> Any: ...
    def wait_for(self, what: Any, *, timeout: float = 10.0) -> Any:
        """Return the next event of a type, or that a predicate accepts.

        It is the next after the one that was waited for last. Raises AssertionError, with all that
        came since, if there is none in `timeout` seconds.
        """
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        return self._changes.wait("wait_for", self._searches.event(what), timeout)

    # ----- inside -----

    def _remove_certificate(self) -> None:
        if self._certificate is not None:
            self._certificate.remove()

    def _trust(self) -> Certificate:
        if self._certificate is None:
            raise LocalProtocolError("this server has no TLS: use @pytest.mark.gateway(tls=True)")
        return self._certificate

    def _with_session(self) -> Sequence[ServerConnection]:
        return [c for c in list(self.server.connections) if c.session is not None]

    def _reached(self, what: str, count: int, allow_none: bool) -> int:
        __tracebackhide__ = True
        if count == 0 and not allow_none:
            sessions = len(self.server.sessions)
            why = (
                "no client has a session: call wait_until_ready() first"
                if sessions == 0
                else f"none of the {sessions} sessions is connected, has the intents and the shard"
            )
            raise AssertionError(f"{what} reached nobody: {why}; or pass allow_none=True")
        return count

    def _on_event(self, _connection: ServerConnection, event: ServerEvent) -> None:
        self.received.append(event)
        self._changes.notify()

    def _do(self, what: Callable[[Serving], T]) -> T:
        if self._changes.error is not None:
            raise self._changes.error
        return self._thread.do(what)


@attrs.frozen(repr=False)
class AsyncWaits:
    """The methods of `RunningGateway` that wait, as coroutines for asyncio and trio.

    They do not block the loop, so the bot may run in the same one.
    """

    _gateway: RunningGateway

    async def wait_until_ready(self, *, shards: int | None = None, timeout: float = 10.0) -> None:
        """Await like `RunningGateway.wait_until_ready`."""
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        await self._gateway._changes.async_wait(self._gateway._searches.ready(shards), timeout)

    @overload
    async def wait_for(self, what: type[T], *, timeout: float = 10.0) -> T: ...
    @overload
    async def wait_for(self, what: Predicate, *, timeout: float = 10.0) -> Any: ...
    async def wait_for(self, what: Any, *, timeout: float = 10.0) -> Any:
        """Await like `RunningGateway.wait_for`."""
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        return await self._gateway._changes.async_wait(self._gateway._searches.event(what), timeout)
