"""Iterations that exclude each other, exceptions that can be raised, blocked event loops."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Iterator
from typing import cast

import pytest

from gateway_proto import (
    Client,
    Config,
    Dispatch,
    Event,
    HeartbeatAcked,
    LocalProtocolError,
    Ready,
    Resumed,
)
from gateway_proto.driver import RoundRobin
from gateway_proto.driver.event_queue import BaseGateway
from gateway_proto.driver.iteration import Iterations, excuse_blocked_loop, raisable

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")


def _take() -> int | None:
    return None


async def _wait() -> int:
    return 1


def _dispatch(sequence: int | None) -> Dispatch:
    return Dispatch("N", sequence)


def _numbers(events: list[Event]) -> list[int | None]:
    return [event.sequence for event in events if isinstance(event, Dispatch)]


class Gateway(BaseGateway):
    resumed = 0

    def _resume_reading(self) -> None:
        self.resumed += 1


def _gateway() -> Gateway:
    return Gateway(Client(CONFIG), queue_limit=1)


def _result(coroutine: Coroutine[None, None, int]) -> int:
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    value: int = stop.value.value
    return value


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    with pytest.raises(LocalProtocolError, match="another task iterates"):
        yield


def test_second_task_is_rejected_until_first_iteration_ends() -> None:
    iterations, gateway = Iterations(), _gateway()
    iteration = iterations.start(gateway, "task 1", _take, _wait)
    with _refused():
        iterations.start(gateway, "task 2", _take, _wait)

    assert iteration.__aiter__() is iteration
    del iteration
    iteration = iterations.start(gateway, "task 2", _take, _wait)

    assert iteration.task == "task 2"


def test_queued_items_are_taken_without_waiting() -> None:
    queued = [0, 2]
    iteration = Iterations().start(
        _gateway(), "task", lambda: queued.pop(0) if queued else None, _wait
    )

    items = [_result(iteration.__anext__()) for _ in range(3)]

    assert items == [0, 2, 1]


def test_events_are_taken_at_most_so_many_at_once_in_turn() -> None:
    rounds = RoundRobin()
    gateways = [Gateway(Client(CONFIG), queue_limit=1, round_robin=rounds) for _ in range(2)]
    for gateway in gateways:
        gateway._enqueue([_dispatch(n) for n in range(5)])

    taken = []
    while (batch := rounds.next_events(2)) is not None:
        taken.append((gateways.index(cast("Gateway", batch[0])), _numbers(batch[1])))

    assert taken == [(0, [0, 1]), (1, [0, 1]), (0, [2, 3]), (1, [2, 3]), (0, [4]), (1, [4])]
    assert [gateway.unhandled_events for gateway in gateways] == [0, 0]


def test_events_taken_at_once_count_as_handled() -> None:
    rounds = RoundRobin()
    gateway = Gateway(Client(CONFIG), queue_limit=9, round_robin=rounds)
    ready = Ready("READY", 1, session_id="s", version=10)
    gateway._enqueue([ready, _dispatch(2), _dispatch(3), _dispatch(4), _dispatch(None)])

    sequences = []
    for most in (2, 2, 2):
        assert rounds.next_events(most) is not None
        assert gateway.session is not None
        sequences.append(gateway.session.sequence)

    assert sequences == [1, 3, 4]


def test_several_events_taken_at_once_are_plain_dispatches() -> None:
    rounds = RoundRobin()
    gateway = Gateway(Client(CONFIG), queue_limit=9, round_robin=rounds)
    resumed = Resumed("RESUMED", 4)
    events = [_dispatch(2), _dispatch(3), HeartbeatAcked(0.1), resumed, _dispatch(5)]
    gateway._enqueue(events)

    taken = []
    while (batch := rounds.next_events(9)) is not None:
        taken.append(batch[1])

    assert taken == [events[:2], [events[2]], [events[3]], [events[4]]]


def test_at_most_256_events_are_taken_at_once() -> None:
    rounds = RoundRobin()
    gateway = Gateway(Client(CONFIG), queue_limit=9, round_robin=rounds)
    gateway._enqueue([_dispatch(n) for n in range(300)])

    batches = [rounds.next_events(1000), rounds.next_events(1000)]

    assert [len(batch[1]) for batch in batches if batch is not None] == [256, 44]


def test_event_taken_alone_is_handled_when_others_are_taken() -> None:
    rounds = RoundRobin()
    gateway = Gateway(Client(CONFIG), queue_limit=9, round_robin=rounds)
    gateway._enqueue([Ready("READY", 1, session_id="s", version=10), _dispatch(2)])
    assert rounds.next_event() is not None
    assert gateway.session is None

    rounds.next_events(5)

    assert gateway.session is not None
    assert gateway.session.sequence == 2


def test_events_taken_from_their_gateway_are_not_taken_at_once() -> None:
    rounds = RoundRobin()
    gateways = [Gateway(Client(CONFIG), queue_limit=9, round_robin=rounds) for _ in range(2)]
    for number, gateway in enumerate(gateways):
        gateway._enqueue([_dispatch(number)])
    assert gateways[0]._next_event() is not None

    batch = rounds.next_events(9)

    assert batch is not None
    assert (batch[0], _numbers(batch[1])) == (gateways[1], [1])
    assert rounds.next_events(9) is None


def test_reading_resumes_once_half_were_taken_at_once() -> None:
    rounds = RoundRobin()
    gateway = Gateway(Client(CONFIG), queue_limit=4, round_robin=rounds)
    gateway._enqueue([_dispatch(n) for n in range(6)], size=600)
    assert not gateway._has_capacity()

    rounds.next_events(3)
    assert gateway.resumed == 0
    rounds.next_events(1)
    assert gateway.resumed == 1
    rounds.next_events(2)

    assert gateway.resumed == 1
    assert rounds.next_events(1) is None


def test_same_task_may_iterate_again_at_any_time() -> None:
    iterations, gateway = Iterations(), _gateway()
    first = iterations.start(gateway, "task", _take, _wait)

    second = iterations.start(gateway, "task", _take, _wait)

    assert first is not second


def test_rejected_task_keeps_no_reference_to_the_iteration() -> None:
    iterations, gateway = Iterations(), _gateway()
    first = iterations.start(gateway, "task 1", _take, _wait)
    with pytest.raises(LocalProtocolError) as kept:
        iterations.start(gateway, "task 2", _take, _wait)

    del first

    assert iterations.start(gateway, "task 2", _take, _wait)
    assert kept.value.__traceback__ is not None


class _Suspended:
    """Awaitable that suspends its coroutine once."""

    def __await__(self) -> Iterator[None]:
        yield


async def _wait_long() -> int:
    await _Suspended()
    return 1


def test_iteration_that_two_tasks_share_is_rejected() -> None:
    iteration = Iterations().start(_gateway(), "task 1", _take, _wait_long)
    first, second = iteration.__anext__(), iteration.__anext__()
    first.send(None)

    with _refused():
        second.send(None)

    first.close()
    assert iteration.__anext__().send(None) is None


def test_two_iterations_of_a_task_cannot_wait_at_once() -> None:
    iterations, gateway = Iterations(), _gateway()
    of_shards = iterations.start(None, "task 1", _take, _wait_long)
    of_gateway = iterations.start(gateway, "task 1", _take, _wait_long)
    waiting = of_gateway.__anext__()
    waiting.send(None)

    with _refused():
        of_shards.__anext__().send(None)

    assert _result(waiting) == 1
    assert of_shards.__anext__().send(None) is None


def test_iterations_of_two_gateways_wait_at_once() -> None:
    iterations = Iterations()
    first = iterations.start(_gateway(), "task 1", _take, _wait_long).__anext__()
    second = iterations.start(_gateway(), "task 2", _take, _wait_long).__anext__()

    assert first.send(None) is None
    assert second.send(None) is None


def test_shards_and_their_gateways_exclude_each_other() -> None:
    iterations, gateway, other = RoundRobin().iterations, _gateway(), _gateway()
    first = iterations.start(gateway, "task 1", _take, _wait)
    second = iterations.start(other, "task 2", _take, _wait)
    with _refused():
        iterations.start(None, "task 3", _take, _wait)
    del first, second

    whole = iterations.start(None, "task 3", _take, _wait)

    with _refused():
        iterations.start(gateway, "task 1", _take, _wait)
    assert whole.source is None


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_ordinary_exceptions_are_raised_as_they_are(error: BaseException) -> None:
    assert raisable(error) is error


@pytest.mark.parametrize("error", [StopIteration(), StopAsyncIteration(), GeneratorExit()])
def test_exceptions_with_a_meaning_in_an_iteration_are_wrapped(error: BaseException) -> None:
    wrapped = raisable(error)

    assert isinstance(wrapped, RuntimeError)
    assert wrapped.__cause__ is error


class _Paused:
    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def pause(self, *, now: float) -> None:
        self.calls.append(("pause", now))

    def unpause(self, *, now: float) -> None:
        self.calls.append(("unpause", now))


@pytest.mark.parametrize("due", [None, 10.0, 9.96, float("inf")])
def test_timer_in_time_does_not_pause_the_connection(due: float | None) -> None:
    connection = _Paused()

    assert not excuse_blocked_loop(connection, due, 10.0)

    assert connection.calls == []


def test_late_timer_pauses_for_the_time_without_reads() -> None:
    connection = _Paused()

    assert excuse_blocked_loop(connection, 9.0, 10.0)

    assert connection.calls == [("pause", 8.0), ("unpause", 10.0)]


def test_error_of_a_shard_is_raised_once() -> None:
    round_robin = RoundRobin()
    round_robin.raise_error()
    round_robin.errors.append(ValueError("x"))

    with pytest.raises(ValueError, match="x"):
        round_robin.raise_error()

    round_robin.raise_error()
    assert round_robin.errors == []
