"""The adapter of the running event loop, and a notifier on anyio."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
from typing import Any

import anyio

__all__ = ["Notifier", "alone", "current_task", "member_name", "running_adapter"]


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


def alone(error: Exception) -> Exception:
    """Return the only exception of groups with one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


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
