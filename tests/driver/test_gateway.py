"""Loop-independent gateway: event queue, handled session, read pauses, errors."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from gateway_proto import (
    Client,
    Config,
    Dial,
    DialPurpose,
    DialScheduled,
    Dispatch,
    Event,
    GaveUpError,
    GuildMembers,
    LocalProtocolError,
    Ready,
    RequestAnswered,
    RequestError,
    RequestFailed,
    RequestGuildMembers,
    Session,
    State,
    UpdatePresence,
)
from gateway_proto.driver import RoundRobin
from gateway_proto.driver.event_queue import BaseGateway
from gateway_proto.driver.gateway import AdapterGateway, _Answer
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import token_fingerprint
from gateway_proto.testing import Link

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")
MEMBERS = RequestGuildMembers("1", user_ids=["2"])


class Gateway(BaseGateway):
    """A gateway that a test fills as an adapter's driver does."""

    reads = True

    def fill(self, link: Link) -> None:
        self._enqueue(link.client.take())
        self.reads = self._has_capacity()

    def _resume_reading(self) -> None:
        self.reads = True

    def put(self, *events: Event, size: int = 0) -> None:
        self._enqueue(events, size)

    def has_room(self) -> bool:
        return self._has_capacity()

    def end(self) -> None:
        self._forget_session()


def _gateway(limit: int = 8, round_robin: RoundRobin | None = None) -> tuple[Gateway, Link, Server]:
    server = Server()
    client = Client(CONFIG)
    return Gateway(client, queue_limit=limit, round_robin=round_robin), Link(client, server), server


def _take_all(gateway: BaseGateway) -> list[Event]:
    return list(iter(gateway._next_event, None))


def test_event_is_handled_when_the_next_is_requested() -> None:
    gateway, link, server = _gateway()
    server.dispatch("X", 1, now=link.now)
    link.run()
    gateway.fill(link)
    while not isinstance(gateway._next_event(), Ready):
        assert gateway.session is None

    assert gateway.session is None, "READY is being handled"
    taken = gateway._next_event()
    assert gateway.session is not None
    assert gateway.session.sequence == 1
    assert isinstance(taken, Dispatch)
    assert gateway.session.sequence == 1
    assert gateway._next_event() is None
    assert gateway.session.sequence == 2


def test_unhandled_events_count_the_one_that_is_handled() -> None:
    gateway, _, _ = _gateway()
    gateway.put(Dispatch("A", b"1", 1), Dispatch("B", b"2", 2))

    assert gateway.unhandled_events == 2
    gateway._next_event()
    assert gateway.unhandled_events == 2
    gateway._next_event()
    assert gateway.unhandled_events == 1
    gateway.handled()
    assert gateway.unhandled_events == 0


def test_dispatch_without_sequence_keeps_the_session() -> None:
    gateway, link, _ = _gateway()
    gateway.fill(link)
    _take_all(gateway)
    before = gateway.session

    gateway.put(Dispatch.of("X", 1))
    _take_all(gateway)

    assert gateway.session == before


def test_new_session_resets_the_sequence() -> None:
    gateway, link, server = _gateway()
    server.dispatch("X", 1, now=link.now)
    link.run()
    gateway.fill(link)
    gateway.put(Ready("READY", 1, session_id="new", version=10))

    _take_all(gateway)

    assert gateway.session is not None
    assert (gateway.session.id, gateway.session.sequence) == ("new", 1)


def test_gateway_has_the_properties_of_its_client() -> None:
    gateway, link, _ = _gateway()
    assert gateway.state is State.READY
    link.run(120)

    assert gateway.latency == 0.0
    assert gateway.queued_commands == ()
    assert gateway.gave_up is None
    assert gateway.last_closed is None
    assert not gateway._is_finished


def test_gateway_without_connection_has_no_state() -> None:
    gateway = Gateway(Client(CONFIG), queue_limit=1)

    assert gateway.state is None
    assert gateway.latency is None
    assert gateway.queued_commands == ()
    assert gateway._next_event() is None


def test_reading_continues_after_a_large_batch_is_taken() -> None:
    gateway, link, _ = _gateway(limit=1000)
    gateway.fill(link)
    _take_all(gateway)
    limit = CONFIG.events_limit

    gateway.put(*[Dispatch.of("X", 1)] * 3, size=limit - 1)
    assert gateway.has_room()
    gateway.put(Dispatch.of("X", 2), size=1)
    assert not gateway.has_room()

    gateway.reads = False
    for _ in range(3):
        gateway._next_event()
        assert not gateway.reads
    gateway._next_event()
    assert gateway.reads
    assert gateway._next_event() is None


def test_reading_continues_when_the_queue_is_half_empty() -> None:
    gateway, link, _ = _gateway(limit=4)
    assert gateway.reads

    gateway.fill(link)

    assert not gateway.reads
    gateway._next_event()
    assert not gateway.reads
    gateway._next_event()
    assert gateway.reads


def test_timer_does_not_end_the_read_pause() -> None:
    gateway, link, _ = _gateway(limit=4)
    gateway.fill(link)
    gateway._next_event()

    gateway.fill(link)  # no events: called for a timer

    assert not gateway.reads
    gateway._next_event()
    assert gateway.reads


def test_deliberately_ended_session_is_dropped() -> None:
    gateway, link, _ = _gateway()
    gateway.fill(link)
    _take_all(gateway)
    assert gateway.session is not None

    gateway.end()

    assert gateway.session is None
    assert gateway._next_event() is None
    assert gateway.session is None


def test_session_that_ended_while_ready_is_handled_is_dropped() -> None:
    gateway, link, _ = _gateway()
    gateway.fill(link)
    while not isinstance(gateway._next_event(), Ready):
        pass

    gateway.end()
    gateway.handled()

    assert gateway.session is None


def test_reading_continues_after_a_large_batch_is_taken_at_once() -> None:
    gateway, _, _ = _gateway(limit=1000)
    gateway.put(*[Dispatch.of("X", 1)] * 3, size=CONFIG.events_limit)
    assert not gateway.has_room()
    gateway.reads = False

    gateway._next_events(2)
    assert not gateway.reads
    gateway._next_events(2)

    assert gateway.reads
    assert gateway.has_room()


def test_events_of_gateways_are_taken_round_robin() -> None:
    round_robin = RoundRobin()
    (busy, *_), (other, *_), (idle, *_) = (_gateway(round_robin=round_robin) for _ in range(3))
    busy.put(*(Dispatch.of("BUSY", n, n) for n in range(3)))
    other.put(Dispatch.of("OTHER", 0, 1))

    taken = list(iter(round_robin.next_event, None))

    assert [gateway for gateway, _ in taken] == [busy, other, busy, busy]
    assert idle not in dict(taken)
    busy.put(Dispatch.of("BUSY", 3, 4))
    assert round_robin.next_event() == (busy, Dispatch.of("BUSY", 3, 4))


def test_round_robin_event_is_handled_at_the_next_take() -> None:
    round_robin = RoundRobin()
    (first, link, _), (second, *_) = (
        _gateway(round_robin=round_robin),
        _gateway(round_robin=round_robin),
    )
    first.fill(link)
    while not isinstance((round_robin.next_event() or (first, None))[1], Ready):
        pass
    second.put(Dispatch.of("X", 1, 1))
    assert first.session is None

    round_robin.next_event()

    assert first.session is not None


def test_events_taken_directly_skip_the_round_robin() -> None:
    round_robin = RoundRobin()
    (first, *_), (second, *_) = (_gateway(round_robin=round_robin) for _ in range(2))
    first.put(Dispatch.of("X", 1, 1))
    second.put(Dispatch.of("Y", 1, 1))

    first._next_event()

    assert round_robin.next_event() == (second, Dispatch.of("Y", 1, 1))
    assert second._next_event() is None
    assert round_robin.next_event() is None


def test_request_error_has_reason_and_retry_after() -> None:
    error = RequestError("the server limits this request", 12.5)

    assert str(error) == "the server limits this request"
    assert error.retry_after == 12.5


# ----- what the gateways of all event loops share -----


class CountingNotifier:
    def __init__(self) -> None:
        self.count = 0

    def notify(self) -> None:
        self.count += 1

    async def wait(self) -> None:
        raise AssertionError("must not be awaited")


class Driven(AdapterGateway):
    """A gateway without an event loop."""

    async def stop(self, *, keep_session: bool = True) -> None:
        raise AssertionError("must not be stopped")

    def _cancel_dial(self) -> None:
        raise AssertionError("must not be dialed")

    def _now(self) -> float:
        return 0.0

    def _task(self) -> object:
        return None

    def _make_notifier(self) -> CountingNotifier:
        return CountingNotifier()


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
    _take_all(gateway)
    gateway._begin_again(Client(CONFIG, session=session))

    gateway._forget_session()
    (scheduled,) = _take_all(gateway)

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
    _take_all(gateway)

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
