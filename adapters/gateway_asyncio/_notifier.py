"""Notifier on asyncio."""

from __future__ import annotations

import asyncio

__all__ = ["Notifier"]


class Notifier:
    """Repeatable notification of waiting tasks; unused, a tenth of an `asyncio.Event` in size."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Wake all tasks that wait."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
