"""Event-loop-independent half of a running server."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.driver.server import BaseServer
from gateway_proto.events import HttpRequested
from gateway_proto.server import Server, ServerConnection


class Driver:
    """Driver of a connection that records the exceptions it fails with."""

    def __init__(self, connection: Any, error: BaseException | None = None) -> None:
        self.connection = connection
        self.error = error
        self.failed: list[BaseException] = []
        self.outputs = 0

    def process_output(self) -> None:
        self.outputs += 1

    def resume_reading(self) -> None:
        raise AssertionError("a server does not stop reading")

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)


class Serving(BaseServer[Driver]):
    """Running server without an event loop."""

    cancelled = 0

    def now(self) -> float:
        return 0.0

    def _cancel(self) -> None:
        self.cancelled += 1

    def close(self, *drivers: Driver) -> None:
        self._drivers |= {*drivers}
        self._close_connections()


def _serving() -> Serving:
    return Serving(Server(), None, tls=False)


def test_first_error_cancels_the_body_once() -> None:
    serving, error = _serving(), ZeroDivisionError()

    serving._fail(error)
    serving._fail(ValueError())

    assert serving._error is error
    assert serving.cancelled == 1


def test_error_that_is_not_an_exception_is_wrapped() -> None:
    serving, error = _serving(), GeneratorExit()

    serving._fail(error)

    assert isinstance(serving._error, RuntimeError)
    assert serving._error.__cause__ is error


def test_close_skips_connections_that_failed_or_never_opened() -> None:
    serving = _serving()
    failed = Driver(serving.server.accept(now=0.0), ZeroDivisionError())
    unopened = Driver(None)

    serving.close(failed, unopened)

    assert (failed.outputs, unopened.outputs) == (0, 0)


def test_exception_while_closing_ends_only_its_connection() -> None:
    class Broken:
        def close(self, code: int, *, now: float) -> None:
            raise ZeroDivisionError

    serving = _serving()
    broken, other = Driver(Broken()), Driver(serving.server.accept(now=0.0))

    serving.close(broken, other)

    assert [type(error) for error in broken.failed] == [ZeroDivisionError]
    assert (broken.outputs, other.outputs) == (1, 1)


def test_on_event_that_returns_a_coroutine_is_rejected() -> None:
    async def handle(*_: object) -> None:
        raise AssertionError("never runs")

    on_event: Any = lambda *args: handle(*args)  # noqa: E731
    serving = Serving(Server(), on_event, tls=False)
    connection = serving.server.accept(now=0.0)

    with pytest.raises(LocalProtocolError, match=r"invalid on_event\(\) .*: expected a function"):
        serving._deliver(Driver(connection), [HttpRequested("GET", "/", 404)])


def test_drop_keeps_connections_without_a_session() -> None:
    serving = _serving()
    connection: ServerConnection = serving.server.accept(now=0.0)
    state = connection.state

    serving.drop()

    assert connection.state is state


def test_urls_have_brackets_around_an_ipv6_host() -> None:
    serving = Serving(Server(), None, tls=True)
    serving.host, serving.port = "::1", 443

    assert serving.url == "wss://[::1]:443"
    assert serving.api_url == "https://[::1]:443/api"
