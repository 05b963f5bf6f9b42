"""`RunningGateway`: a server in a thread, and the methods that a test waits with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

from gateway_proto import LocalProtocolError
from gateway_proto._checks import SECONDS
from gateway_proto.server import HttpRequested, Server, ServerConfig, ServerConnection, ServerEvent
from gateway_proto.server.rest import Rest
from gateway_pytest._aio import AsyncWaits
from gateway_pytest._searches import Searches, request_filter
from gateway_pytest._sending import Sender
from gateway_pytest._settings import config_of, token_of
from gateway_pytest._thread import ServerThread
from gateway_pytest._tls import Certificate
from gateway_pytest._waiting import Changes

__all__ = ["RunningGateway"]

T = TypeVar("T")
Predicate = Callable[[ServerEvent], object]


class RunningGateway(Sender):
    """Gateway that runs until the test has ended. Its methods may be called from any thread.

    Those that wait block the thread; `aio` has the same methods as coroutines.
    """

    def __init__(self, config: ServerConfig | None = None) -> None:
        config = config_of([]) if config is None else config
        server, changes = Server(config), Changes()
        super().__init__(server, ServerThread(server, self._on_event, changes.fail), changes)
        self.token: str = token_of(config)
        """Token that the server accepts, unless `ServerConfig.tokens` is empty."""
        self.received: list[ServerEvent] = []
        """Events of all connections, in order."""
        self._searches = Searches(server, self.received)
        self.aio: AsyncWaits = AsyncWaits(changes, self._searches)
        """Methods that wait, as coroutines."""
        self.rest: Rest = server.rest
        """Scripted REST routes: `rest.reply(method, path, status=..., json=...)`."""
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
        """URL of the gateway: ws://... or, with TLS, wss://..."""
        return self._thread.serving.url

    @property
    def api_url(self) -> str:
        """Base URL of the HTTP routes, `http://.../api`, which has `/gateway` and others."""
        return self._thread.serving.api_url

    @property
    def ca_file(self) -> str:
        """Path of the PEM certificate to trust: for SSL_CERT_FILE, NODE_EXTRA_CA_CERTS."""
        return self._trust().path

    @property
    def ssl_context(self) -> Any:
        """`ssl.SSLContext` for clients, which trusts the server."""
        return self._trust().client_context

    # ----- waiting -----

    def wait_until_ready(self, *, shards: int | None = None, timeout: float = 10.0) -> None:
        """Wait until READY or RESUMED was sent to `shards` shards; default: `ServerConfig.shards`.

        Dispatches sent afterwards arrive after READY and GUILD_CREATE. Raises AssertionError after
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

        It is the next after the event that the last call returned. Raises AssertionError after
        `timeout` seconds, with all events since then.
        """
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        return self._changes.wait("wait_for", self._searches.event(what), timeout)

    def requests(self, method: str | None = None, path: str | None = None) -> list[HttpRequested]:
        """Return the HTTP requests so far, or those of a method and path.

        The path is as in the documentation, such as "/channels/{channel_id}/messages"; a part in
        braces matches any value.
        """
        is_meant = request_filter(method, path)
        return [e for e in list(self.received) if isinstance(e, HttpRequested) and is_meant(e)]

    def wait_for_request(
        self, method: str | None = None, path: str | None = None, *, timeout: float = 10.0
    ) -> HttpRequested:
        """Return the next request of a method and path, after the one waited for last."""
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        search = self._searches.request(method, path)
        return self._changes.wait("wait_for_request", search, timeout)

    def check_routes(self) -> None:
        """Raise AssertionError if a client asked for routes that the server does not have.

        The fixture calls it after the test.
        """
        __tracebackhide__ = True
        unknown = [f"{r.method} {r.path} ({r.status})" for r in self.rest.unknown]
        if unknown:
            raise AssertionError(
                f"requests of routes that the server does not have: {', '.join(unknown)}; "
                "script them with gateway_server.rest.reply(method, path, json=...)"
            )

    # ----- inside -----

    def _remove_certificate(self) -> None:
        if self._certificate is not None:
            self._certificate.remove()

    def _trust(self) -> Certificate:
        if self._certificate is None:
            raise LocalProtocolError("this server has no TLS: use @pytest.mark.gateway(tls=True)")
        return self._certificate

    def _on_event(self, _connection: ServerConnection, event: ServerEvent) -> None:
        self.received.append(event)
        self._changes.notify()
