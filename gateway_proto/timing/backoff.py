"""Exponential backoff with full jitter."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]


class Backoff:
    """Wait before the next dial: random, up to a limit that grows by a factor with each failure.

    The owner decides when to reset it. It keeps a client from redialling a server that accepts and
    then drops every connection in a tight loop; a returned server should be dialled soon.
    """

    __slots__ = ("_factor", "_initial", "_maximum", "_random", "failures")

    def __init__(
        self,
        *,
        initial: float,
        maximum: float,
        random: Callable[[], float],
        factor: float = 2.0,
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._factor = factor
        self._random = random
        self.failures: int = 0
        """Failures since the start, or since the last `reset`."""

    def record_loss(self) -> None:
        """Record a failure."""
        self.failures += 1

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0

    def delay(self) -> float:
        """Return the seconds to wait after the last failure."""
        steps = min(max(self.failures - 1, 0), 64)
        return self._random() * min(self._maximum, self._initial * self._factor**steps)
