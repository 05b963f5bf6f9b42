"""Loop-independent gateway: errors, awaited answers, the end."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from gateway_proto import (
    Client,
    Dial,
    DialPurpose,
    DialScheduled,
    Dispatch,
    Event,
    GaveUpError,
    GuildMembers,
    LocalProtocolError,
    RequestAnswered,
    RequestError,
    RequestFailed,
    RequestGuildMembers,
    Session,
    UpdatePresence,
)
from gateway_proto.driver import RoundRobin
from gateway_proto.driver.gateway import AdapterGateway, _Answer
from gateway_proto.driver.iteration import Notifier
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import token_fingerprint
from gateway_proto.testing import Link
from tests.driver.support import CONFIG, take_all

MEMBERS = RequestGuildMembers("1", user_ids=["2"])


class CountingNotifier:
    def __init__(self) -> None:
        self.count = 0

    def notify(self) -> None:
        self.count += 1

    async def wait(self) -> None:
        raise AssertionError("must not be awaited")


class Driven(AdapterGateway):
    """A gateway without an event loop."""

    now = 0.0

    async def stop(self, *, keep_session: bool = True) -> None:
        raise AssertionError("must not be stopped")

    def _cancel_dial(self) -> None:
        raise AssertionError("must not be dialed")

    def _now(self) -> float:
        return self.now

    def _task(self) -> object:
        return None

    def _make_notifier(self) -> CountingNotifier:
        return CountingNotifier()

    async def _wait_until(self, at: float | None, notifier: Notifier) -> None:
        await notifier.wait()


class FakeDriver:
    """A driver whose connection raises in every call."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.failed: list[BaseException] = []
        self.connection = self

    def send(self, command: object, *, now: float) -> None:
        raise self.error

    def process_output(self) -> None:
        raise AssertionError("nothing was sent")

    def resume_reading(self) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)


def _driven(client: Client | None = None, round_robin: RoundRobin | None = None) -> Driven:
    client = client or Client(CONFIG)
    return Driven(client, CONFIG, queue_limit=8, round_robin=round_robin)


def _run(coroutine: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def test_session_of_the_next_client_is_dropped_when_it_ended() -> None:
    fingerprint = token_fingerprint(CONFIG.token)
    session = Session(id="s", sequence=1, version=10, token_fingerprint=fingerprint)
    gateway = _driven()
    take_all(gateway)
    gateway._begin_again(Client(CONFIG, session=session))

    gateway._forget_session()
    (scheduled,) = take_all(gateway)

    assert isinstance(scheduled, DialScheduled)
    assert scheduled.purpose is DialPurpose.RESUME
    assert gateway.session is None


def test_exception_from_final_events_ends_the_gateway() -> None:
    gateway, error = _driven(), ZeroDivisionError()

    class Broken(Client):
        def events(self) -> list[Event]:
            raise error

    gateway._client = Broken(CONFIG)
    gateway._finish()

    assert gateway._is_finished
    with pytest.raises(ZeroDivisionError):
        _run(gateway.send(UpdatePresence()))
    with pytest.raises(ZeroDivisionError):
        gateway._raise_unseen_error()
    gateway._raise_unseen_error()


@pytest.mark.parametrize(
    ("error", "fails"), [(LocalProtocolError("wrong"), False), (ZeroDivisionError(), True)]
)
def test_send_exception_ends_the_gateway_unless_a_usage_error(
    error: Exception, fails: bool
) -> None:
    client = Client(CONFIG)
    Link(client, Server())
    gateway, driver = _driven(client), FakeDriver(error)
    gateway._driver = driver

    with pytest.raises(type(error)):
        _run(gateway.send(UpdatePresence()))

    assert driver.failed == ([error] if fails else [])


def test_response_that_is_not_awaited_wakes_no_task() -> None:
    gateway, request = _driven(), MEMBERS
    gateway._take([])
    notifier = CountingNotifier()
    gateway._responses[7] = answer = _Answer(notifier)

    gateway._take([RequestFailed(8, request, "late"), RequestFailed(7, request, "no answer")])
    gateway._take([RequestFailed(7, request, "again")])

    assert answer.outcome == RequestFailed(7, request, "no answer")
    assert notifier.count == 1


def test_error_of_one_shard_is_raised_only_once() -> None:
    round_robin = RoundRobin()
    gateway, error = _driven(round_robin=round_robin), ZeroDivisionError()
    gateway._fail(error)
    gateway._fail(ValueError("a second one"))
    gateway._finish()
    assert round_robin.errors == [error]

    with pytest.raises(ZeroDivisionError):
        _run(gateway._wait_for_event())

    assert round_robin.errors == []


def test_dial_that_fails_after_stop_is_ignored() -> None:
    client = Client(CONFIG)
    gateway = _driven(client)
    dial = gateway._next_dial()
    assert dial is not None
    client.stop(keep_session=True, now=0.0)
    client.events()

    gateway._on_dial_failed(dial, "no address", permanent=False)

    assert client.events() == []


def test_before_dial_that_is_not_async_is_named() -> None:
    def before_dial(dial: Dial) -> Any:
        return 5

    gateway = Driven(Client(CONFIG), CONFIG, queue_limit=8, before_dial=before_dial)
    dial = gateway._next_dial()
    assert dial is not None

    with pytest.raises(LocalProtocolError) as caught:
        _run(gateway._until_allowed(dial))

    assert str(caught.value) == (
        "invalid before_dial() 5: expected an awaitable, as an async function returns"
    )


# ----- awaited answers, and the end -----


class Suspended:
    """A notifier whose waits suspend the coroutine until the test resumes it."""

    def notify(self) -> None:
        pass

    @types.coroutine
    def wait(self) -> Generator[None, None, None]:
        yield


class Stepped(Driven):
    """A gateway whose coroutines the test resumes."""

    def _make_notifier(self) -> Any:
        return Suspended()


class RequestDriver(FakeDriver):
    """A driver whose connection accepts each request, with the number 7."""

    def request(self, request: object, *, now: float, timeout: float) -> int:
        return 7

    def process_output(self) -> None:
        pass


def _requesting() -> tuple[Stepped, Coroutine[Any, Any, Any]]:
    """Return a gateway in READY, and its request, which awaits the answer."""
    client = Client(CONFIG)
    Link(client, Server())
    gateway = Stepped(client, CONFIG, queue_limit=8)
    gateway._driver = RequestDriver(ZeroDivisionError())
    coroutine = gateway.request(MEMBERS)
    coroutine.send(None)
    return gateway, coroutine


def _ended(client: Client, **settings: Any) -> Stepped:
    gateway = Stepped(client, CONFIG, queue_limit=8, **settings)
    gateway._finish()
    return gateway


def test_request_returns_its_answer_after_other_events() -> None:
    gateway, request = _requesting()
    answer = GuildMembers("1", ({"user": {"id": "2"}},))

    gateway._take([Dispatch.of("X", 1), RequestAnswered(7, MEMBERS, answer)])
    with pytest.raises(StopIteration) as returned:
        request.send(None)

    assert returned.value.value == answer
    assert gateway._responses == {}


def test_request_fails_at_its_timeout_without_a_connection() -> None:
    client = Client(CONFIG)
    link = Link(client, Server())
    gateway = Stepped(client, CONFIG, queue_limit=8)
    driver = RequestDriver(ZeroDivisionError())
    driver.connection = client.connection  # type: ignore[assignment]
    gateway._driver = driver
    gateway.now = link.now
    request = gateway.request(MEMBERS, timeout=3.0)
    request.send(None)

    gateway._on_driver_ended()
    gateway.now = link.now + 2.9
    request.send(None)
    gateway.now = link.now + 3.0
    with pytest.raises(RequestError, match="no answer for 3 s"):
        request.send(None)

    assert gateway._responses == {}
    assert client._requests.pending == {}  # it does not fail again on the next connection


def test_request_error_has_reason_and_retry_after() -> None:
    error = RequestError("the server limits this request", 12.5)

    assert str(error) == "the server limits this request"
    assert error.retry_after == 12.5


def test_request_that_fails_raises_reason_and_retry_after() -> None:
    gateway, request = _requesting()

    gateway._take([RequestFailed(7, MEMBERS, "rate limited", 12.5)])
    with pytest.raises(RequestError, match="rate limited") as raised:
        request.send(None)

    assert raised.value.retry_after == 12.5
    assert gateway._responses == {}


@pytest.mark.parametrize(
    ("raises", "error"), [(True, GaveUpError), (False, StopAsyncIteration)], ids=["raise", "end"]
)
def test_iteration_ends_after_the_client_gave_up(raises: bool, error: type[Exception]) -> None:
    client = Client(CONFIG)
    Link(client, Server(ServerConfig(tokens={"another"}))).run(1)
    assert client.gave_up is not None
    gateway = _ended(client, raise_on_give_up=raises)
    take_all(gateway)

    ended = gateway._end()

    assert type(ended) is error
    with pytest.raises(GaveUpError):
        _run(gateway.send(UpdatePresence()))


def test_send_after_stop_raises_that_the_gateway_is_closed() -> None:
    client = Client(CONFIG)
    client.stop(keep_session=True, now=0.0)
    gateway = _ended(client)

    with pytest.raises(LocalProtocolError, match="closed for good: it was stopped"):
        _run(gateway.send(UpdatePresence()))
