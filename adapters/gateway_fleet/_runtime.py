"""The adapter of the running event loop, and a notifier on anyio."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from gateway_proto.driver.event_queue import log_error
from gateway_proto.driver.iteration import raisable

__all__ = [
    "Notifier",
    "current_task",
    "failure_of",
    "leave_within",
    "member_name",
    "running_adapter",
]


def running_adapter() -> Any:
    """Return `gateway_asyncio` or `gateway_trio`, for the running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import gateway_trio

        return gateway_trio
    import gateway_asyncio

    return gateway_asyncio


def current_task() -> object:
    """Return the current task of the running event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_task()


def failure_of(error: BaseException) -> Exception | None:
    """Return an exception as an iteration raises it; None if it must end the task that raised it.

    Groups with one exception are unwrapped. A cancellation, `KeyboardInterrupt` and `SystemExit`
    end the task.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    ending = (anyio.get_cancelled_exc_class(), KeyboardInterrupt, SystemExit)
    parts = error.subgroup(ending) if isinstance(error, BaseExceptionGroup) else error
    if parts is not None and isinstance(parts, (*ending, BaseExceptionGroup)):
        return None
    failure = raisable(error)
    return failure if isinstance(failure, Exception) else None


async def leave_within(seconds: float, leave: Callable[[], Awaitable[None]]) -> Exception | None:
    """Leave, shielded for a time; return an exception, since raising it would hide the caller's."""
    try:
        with anyio.move_on_after(seconds, shield=True):
            await leave()
    except BaseException as error:
        if (failure := failure_of(error)) is None:
            raise
        log_error(failure)
        return failure
    return None


def member_name() -> str:
    """Return a name for this process: with its host, and unlike that of any other process."""
    host = platform.node().encode("ascii", "replace").decode()[:64] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


class Notifier:
    """Repeatable notification of waiting tasks."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake all tasks that wait."""
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait(self, timeout: float | None = None) -> None:
        """Wait for the next `notify`, at most `timeout` seconds."""
        event = self._event
        with anyio.move_on_after(timeout):
            await event.wait()
