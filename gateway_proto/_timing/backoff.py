"""failures → seconds to wait: exponential backoff with full jitter."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]


class Backoff:
    """How long to wait before the next dial.

    It falls back to zero failures only after a stable time in READY: a server that accepts and
    then drops every connection must not be dialled in a tight loop.
    """

    __slots__ = ("_first", "_longest", "_random", "_stable", "failures")

    def __init__(
        self, *, first: float, longest: float, stable: float, random: Callable[[], float]
    ) -> None:
        self._first = first
        self._longest = longest
        self._stable = stable
        self._random = random
        self.failures: int = 0
        """Failures since the last stable time."""

    def lost(self, ready_for: float | None = None) -> None:
        """The connection was lost, `ready_for` seconds after READY, or it never came so far."""
        if ready_for is not None and ready_for >= self._stable:
            self.failures = 0
        self.failures += 1

    def delay(self) -> float:
        """Seconds to wait after the last loss: by chance, up to a bound that doubles each time."""
        doublings = min(max(self.failures - 1, 0), 32)
        return self._random() * min(self._longest, self._first * 2.0**doublings)
