"""Notifier on asyncio."""

from __future__ import annotations

import asyncio

__all__ = ["Notifier"]


class Notifier:
    """Repeatable notification of waiting tasks; unused, a tenth of an `asyncio.Event` in size."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        # None, not an empty list: most notifiers have one waiter, or none.
        self._waiters: list[asyncio.Future[None]] | None = None

    def notify(self) -> None:
        """Wake all tasks that wait."""
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters = self._waiters or []
        waiters.append(waiter)
        try:
            await waiter
        finally:
            waiters.remove(waiter)
