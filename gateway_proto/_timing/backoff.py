"""failures → seconds to wait: exponential backoff with full jitter."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]


class Backoff:
    """The wait before the next dial: random, up to a limit that doubles with each failure.

    The owner decides what ends it. A server that accepts and then drops every connection must not
    be dialled in a tight loop, and one that has returned must not be waited for.
    """

    __slots__ = ("_first", "_longest", "_random", "failures")

    def __init__(self, *, first: float, longest: float, random: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._random = random
        self.failures: int = 0
        """Failures since the start, or since the last `reset`."""

    def lost(self) -> None:
        """Count a failure."""
        self.failures += 1

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0

    def delay(self) -> float:
        """Return the seconds to wait after the last failure."""
        doublings = min(max(self.failures - 1, 0), 32)
        return self._random() * min(self._longest, self._first * 2.0**doublings)
