"""now → room: how many sends a sliding window still takes, and when the next place is free."""

from __future__ import annotations

__all__ = ["SlidingWindow"]


class SlidingWindow:
    """At most `limit` sends in any `seconds`.

    A fixed window would let twice the limit through at its border; this one counts the sends
    themselves. Only the last `limit` sends can delay the next one, so no more are recorded.
    """

    __slots__ = ("_limit", "_seconds", "_sent")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._sent: list[float] = []

    def take(self, now: float) -> None:
        """Count a send at `now`, whether there was room for it or not."""
        if len(self._sent) >= self._limit:
            del self._sent[0]
        self._sent.append(now)

    def free_at(self, now: float, *, reserve: int = 0) -> float:
        """When the next send has room, with `reserve` places kept free; `now` if it has already."""
        while self._sent and self._sent[0] + self._seconds <= now:
            del self._sent[0]
        over = len(self._sent) - (self._limit - reserve)
        return now if over < 0 else self._sent[over] + self._seconds
