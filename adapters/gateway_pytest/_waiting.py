"""Threads and event loops that wait until the server has received something."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import attrs

from gateway_proto import LocalProtocolError

__all__ = ["Changes", "Search"]

T = TypeVar("T")


@attrs.frozen
class Search(Generic[T]):
    """Condition to wait for, and the text of the error if it is not met in time."""

    look: Callable[[], T | None]
    """Return the result, or None before it exists. Called in the waiting thread or loop."""
    report: Callable[[float], str]
    """Return the text of the error after a number of seconds."""


class Changes:
    """Notification of waiting threads and event loops that the server received something."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._wakers: set[Callable[[], None]] = set()
        self.error: BaseException | None = None
        """The exception that ended the server."""

    def notify(self) -> None:
        """Wake all threads and loops that wait; called in the server's thread."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def fail(self, error: BaseException) -> None:
        """Make all waiting calls raise the exception that ended the server."""
        self.error = error
        self.notify()

    def wait(self, name: str, search: Search[T], timeout: float) -> T:
        """Block this thread until the search finds something.

        Raises AssertionError after `timeout` seconds, and `LocalProtocolError` in the thread of a
        running event loop, which it would block.
        """
        __tracebackhide__ = True
        if _is_loop_running():
            raise LocalProtocolError(
                f"gateway_server.{name} would block the event loop that runs in this thread: "
                f"use await gateway_server.aio.{name}"
            )
        end = time.monotonic() + timeout
        while True:
            count = self._count
            found = self._look(search)
            if found is not None:
                return found
            with self._condition:
                left = end - time.monotonic()
                if not self._condition.wait_for(lambda: self._count != count, max(left, 0.0)):  # noqa: B023
                    raise AssertionError(search.report(timeout))

    async def async_wait(self, search: Search[T], timeout: float) -> T:
        """Await that the search finds something, on asyncio or trio; raises AssertionError."""
        __tracebackhide__ = True
        wait = self._trio_wait if _is_in_trio() else self._asyncio_wait
        found: T | None = await wait(search, timeout)
        if found is None:
            raise AssertionError(search.report(timeout))
        return found

    async def _asyncio_wait(self, search: Search[T], timeout: float) -> T | None:
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(changed.set)

        with self._woken(wake):
            end = loop.time() + timeout
            while (found := self._look(search)) is None:
                try:
                    await asyncio.wait_for(changed.wait(), end - loop.time())
                except TimeoutError:
                    return None
                changed.clear()
            return found

    async def _trio_wait(self, search: Search[T], timeout: float) -> T | None:
        import trio

        token = trio.lowlevel.current_trio_token()
        changed = trio.Event()

        def wake() -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(lambda: changed.set())

        with self._woken(wake):
            end = trio.current_time() + timeout
            while (found := self._look(search)) is None:
                with trio.move_on_at(end) as limit:
                    await changed.wait()
                if limit.cancelled_caught:
                    return None
                changed = trio.Event()
            return found

    def _look(self, search: Search[T]) -> T | None:
        found = search.look()
        if found is None and self.error is not None:
            raise self.error
        return found

    @contextlib.contextmanager
    def _woken(self, wake: Callable[[], None]) -> Iterator[None]:
        with self._condition:
            self._wakers.add(wake)
        try:
            yield
        finally:
            with self._condition:
                self._wakers.discard(wake)


def _is_in_trio() -> bool:
    # If trio runs, it is imported. In guest mode an asyncio loop runs in the same thread.
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def _is_loop_running() -> bool:
    if _is_in_trio():
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
