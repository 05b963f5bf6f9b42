"""Notifier on trio."""

from __future__ import annotations

import trio

__all__ = ["Notifier"]


class Notifier:
    """Repeatable notification of waiting tasks."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def notify(self) -> None:
        """Wake all tasks that wait."""
        event, self._event = self._event, trio.Event()
        event.set()

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        await self._event.wait()
