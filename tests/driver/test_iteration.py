"""Iterations that exclude each other, exceptions that can be raised, blocked event loops."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Iterator

import pytest

from gateway_proto import Client, Config, LocalProtocolError
from gateway_proto.driver import RoundRobin
from gateway_proto.driver.event_queue import BaseGateway
from gateway_proto.driver.iteration import Iterations, excuse_blocked_loop, raisable

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")


def _take() -> int | None:
    return None


async def _wait() -> int:
    return 1


class Gateway(BaseGateway):
    def _resume_reading(self) -> None:
        pass


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
