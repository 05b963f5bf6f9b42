"""Output steps of many drivers, which one handle of the event loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["WakeBatch"]


class WakeBatch:
    """Callbacks of many drivers that one handle of the event loop runs, in order.

    A dispatch to 1,000 sessions wakes 1,000 drivers, and a handle for each takes 1 µs.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run a callback in the next iteration of the event loop, after those added before."""
        if not self._callbacks:
            self._loop.call_soon(self._run)
        self._callbacks.append(callback)

    def _run(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        callbacks.reverse()
        try:
            while callbacks:
                callbacks.pop()()
        finally:
            for callback in reversed(callbacks):  # one of them has ended the process
                self._loop.call_soon(callback)
