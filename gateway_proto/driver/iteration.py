"""Protocols of drivers, iterations, and blocked event loops, for the adapters of all loops."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gateway_proto.errors import LocalProtocolError

if TYPE_CHECKING:
    from gateway_proto.driver.event_queue import BaseGateway
    from gateway_proto.events import Event

__all__ = [
    "FLUSH_SECONDS",
    "LINGER_SECONDS",
    "READ_SIZE",
    "Driver",
    "Iteration",
    "Iterations",
    "Notifier",
    "RoundRobin",
    "excuse_blocked_loop",
    "raisable",
]

FLUSH_SECONDS = 5.0
"""Time limit for sending the last bytes of a connection to a peer that may not read."""
LINGER_SECONDS = 0.5
"""Time limit for the peer's answer to a close frame, and for sending the last bytes, on leaving."""
READ_SIZE = 262144
"""Maximum number of bytes of one read."""
_BLOCKED_SECONDS = 0.05
"""A timer that fires later than this shows that the event loop was blocked."""
_GRACE_SECONDS = 1.0
"""Time that the peer has afterwards, because our own bytes may have been late, too."""
T = TypeVar("T")


class Notifier(Protocol):
    """Repeatable notification of waiting tasks."""

    def notify(self) -> None:
        """Wake all tasks that wait."""

    async def wait(self) -> None:
        """Wait for the next `notify`."""


class Driver(Protocol):
    """Driver of one connection over one transport."""

    connection: Any

    def process_output(self) -> None:
        """Send the bytes, deliver the events and set the timer; errors go to `fail`."""

    def resume_reading(self) -> None:
        """Resume reading: the event queue has capacity."""

    def fail(self, error: BaseException) -> None:
        """Stop because of an exception in the connection or in a callback."""


class Iteration(Generic[T]):
    """One `async for` loop. It has ended when the loop has dropped the only reference to it.

    `take` returns the next item if it is queued, else None; `wait` waits for it.
    """

    __slots__ = ("__weakref__", "_iterations", "_take", "_wait", "is_waiting", "source", "task")

    def __init__(
        self,
        iterations: Iterations,
        source: object | None,
        task: object,
        take: Callable[[], T | None],
        wait: Callable[[], Awaitable[T]],
    ) -> None:
        self._iterations = iterations
        self.source: object | None = source
        self.task: object = task
        self.is_waiting: bool = False
        self._take = take
        self._wait = wait

    def __aiter__(self) -> Iteration[T]:
        return self

    async def __anext__(self) -> T:
        # A queued item needs this coroutine and one call, and no second coroutine.
        item = self._take()
        if item is not None:
            return item
        # Not a context manager, and not in a coroutine of its own: many connections are idle here.
        self._iterations.check_waiting(self)
        self.is_waiting = True
        try:
            return await self._wait()
        finally:
            self.is_waiting = False


class Iterations:
    """Active iterations over one gateway, or over shards and each of their gateways.

    Two tasks that iterate over the same events would each see a part of them, and the session as of
    the handled events would be wrong.
    """

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: list[weakref.ref[Iteration[Any]]] = []

    def start(
        self,
        source: object | None,
        task: object,
        take: Callable[[], T | None],
        wait: Callable[[], Awaitable[T]],
    ) -> Iteration[T]:
        """Start an iteration over a gateway; None means over all shards.

        Raises `LocalProtocolError` while another task iterates over the same events.
        """
        self._running = [each for each in self._running if each() is not None]
        # No local variable here may refer to another iteration: the traceback would keep it alive.
        if any(_collides(each(), source, task) for each in self._running):
            raise _shared_error()
        iteration = Iteration(self, source, task, take, wait)
        self._running.append(weakref.ref(iteration))
        return iteration

    def check_waiting(self, iteration: Iteration[Any]) -> None:
        """Raise `LocalProtocolError` if another task waits for the events of an iteration.

        It may be the same iteration: tasks may share one, or take turns for a single event each.
        """
        if any(_is_awaited(each(), iteration.source) for each in self._running):
            raise _shared_error()


class RoundRobin:
    """Round robin over the gateways that have events, so that none is starved.

    Gateways without events cost nothing.
    """

    def __init__(self) -> None:
        self._gateways: deque[BaseGateway] = deque()
        self._last: BaseGateway | None = None
        self.iterations: Iterations = Iterations()
        """Iterations over the shards and over each of their gateways."""
        self.errors: list[BaseException] = []
        """Exceptions that ended gateways and that no iteration has raised."""

    def raise_error(self) -> None:
        """Raise the first exception that no iteration has raised, once."""
        if self.errors:
            raise self.errors.pop(0)

    def add(self, gateway: BaseGateway) -> None:
        """Add a gateway whose first event was queued."""
        self._gateways.append(gateway)

    def next_event(self) -> tuple[BaseGateway, Event] | None:
        """Return the next event with its gateway, or None; the previous event counts as handled."""
        if self._last is not None:
            self._last.handled()
            self._last = None
        while self._gateways:
            gateway = self._gateways.popleft()
            event = gateway._next_event()
            if gateway._has_event:
                self._gateways.append(gateway)
            if event is not None:  # None if it was taken from the gateway itself
                self._last = gateway
                return gateway, event
        return None

    def next_events(self, most: int) -> tuple[BaseGateway, list[Event]] | None:
        """Return plain dispatches of one gateway, another event alone, or None.

        They are up to `most`, and count as handled.
        """
        if self._last is not None:
            self._last.handled()
            self._last = None
        while self._gateways:
            gateway = self._gateways.popleft()
            events = gateway._next_events(most)
            if gateway._has_event:
                self._gateways.append(gateway)
            if events:
                return gateway, events
        return None


def _collides(other: Iteration[Any] | None, source: object | None, task: object) -> bool:
    return other is not None and other.task is not task and _overlaps(other, source)


def _is_awaited(other: Iteration[Any] | None, source: object | None) -> bool:
    return other is not None and other.is_waiting and _overlaps(other, source)


def _overlaps(other: Iteration[Any], source: object | None) -> bool:
    return source is None or other.source is None or other.source is source


def _shared_error() -> LocalProtocolError:
    return LocalProtocolError(
        "another task iterates over these events already: iterate in one task, and hand events to "
        "others"
    )


def raisable(error: BaseException) -> BaseException:
    """Return the exception, wrapped if raising it in an iteration would mean something else."""
    if isinstance(error, StopIteration | StopAsyncIteration) or not isinstance(
        error, Exception | KeyboardInterrupt | SystemExit
    ):
        wrapped = RuntimeError(f"{type(error).__name__} was raised in a callback or in the driver")
        wrapped.__cause__ = error
        return wrapped
    return error


def excuse_blocked_loop(connection: Any, due: float | None, now: float) -> bool:
    """Stop the liveness timers for the time in which a blocked event loop could not read.

    `due` is the time at which the adapter's timer should have fired. Data of the peer may still be
    in the socket, so missing data says nothing about the peer. Return whether the loop was blocked.
    If so, do not call this again until data arrives: else a slow event loop could hide a dead peer.
    """
    if due is None or now - due <= _BLOCKED_SECONDS:
        return False
    connection.pause(now=due - _GRACE_SECONDS)
    connection.unpause(now=now)
    return True
