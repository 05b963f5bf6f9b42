"""Event-loop-independent half of the adapters' running server."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast

from gateway_proto._checks import rejected
from gateway_proto.driver.event_queue import log_error, log_events
from gateway_proto.driver.iteration import Driver, raisable
from gateway_proto.events import ServerEvent
from gateway_proto.server.connection import ServerConnection
from gateway_proto.server.server import Server
from gateway_proto.server.session import ServerSession

__all__ = ["BaseServer", "OnEvent"]

OnEvent = Callable[[ServerConnection, ServerEvent], None]
_LABEL = "server: "
_GOING_AWAY = 1001  # RFC 6455, section 7.4.1: "a server going down"


class _ServerDriver(Driver, Protocol):
    error: BaseException | None


D = TypeVar("D", bound=_ServerDriver)


class BaseServer(abc.ABC, Generic[D]):
    """A server that listens."""

    def __init__(self, server: Server, on_event: OnEvent | None, *, tls: bool) -> None:
        self.server: Server = server
        self.host: str = ""
        self.port: int = 0
        self._suffix = "s" if tls else ""
        self._on_event = on_event
        self._drivers: set[D] = set()
        self._error: BaseException | None = None

    # ----- for the user -----

    @property
    def url(self) -> str:
        """The URL of the gateway."""
        return f"ws{self._suffix}://{self._authority}"

    @property
    def api_url(self) -> str:
        """The base URL of the HTTP routes, such as `/gateway`."""
        return f"http{self._suffix}://{self._authority}/api"

    @abc.abstractmethod
    def now(self) -> float:
        """Return the time of the clock that the server is driven with, in seconds."""

    def dispatch(
        self, name: str, data: Any, to: Callable[[ServerSession], bool] | None = None
    ) -> int:
        """Dispatch to the sessions that `to` selects, or a gateway would; return their number."""
        return self.server.dispatch(name, data, now=self.now(), to=to)

    def drop(self) -> None:
        """Drop every connection that has a session, without a close frame."""
        for connection in list(self.server.connections):
            if connection.session is not None:
                connection.drop(now=self.now())

    # ----- for the adapters -----

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @abc.abstractmethod
    def _cancel(self) -> None:
        """Cancel the body of the context manager."""

    def _fail(self, error: BaseException) -> None:
        """End the server because of an exception in a callback or in the state machine."""
        log_error(error, _LABEL)
        if self._error is None:
            self._error = raisable(error)
            self._cancel()

    def _close_connections(self) -> None:
        """Send a close frame to every client."""
        for driver in list(self._drivers):
            if driver.connection is not None and driver.error is None:
                try:
                    driver.connection.close(_GOING_AWAY, now=self.now())
                except Exception as error:
                    driver.fail(error)
                driver.process_output()

    def _deliver(self, driver: D, events: list[ServerEvent]) -> bool:
        if events:
            log_events(events, _LABEL)
        if self._on_event is not None:
            for event in events:
                returned: object = self._on_event(
                    cast("ServerConnection", driver.connection), event
                )
                if inspect.iscoroutine(returned):  # as of a lambda that calls an async function
                    returned.close()
                    raise rejected("on_event()", returned, "a function that is not async")
        return True
