"""Sliding window: how many sends it still allows, and when the next slot is free."""

from __future__ import annotations

__all__ = ["SECONDS_PER_DAY", "SlidingWindow"]

SECONDS_PER_DAY = 86400.0


class SlidingWindow:
    """At most `limit` sends in any `seconds`.

    A fixed window would allow twice the limit at its border; this one counts the sends themselves.
    Only the last `limit` sends can delay the next one, so no more are recorded.
    """

    __slots__ = ("_limit", "_seconds", "_sent")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._sent: list[float] = []

    def record(self, now: float) -> None:
        """Record a send at `now`, whether or not a slot was free."""
        if len(self._sent) >= self._limit:
            del self._sent[0]
        self._sent.append(now)

    def next_slot_at(self, now: float, *, reserve: int = 0) -> float:
        """Return when the next slot is free, with `reserve` slots kept; `now` if one is free."""
        while self._sent and self._sent[0] + self._seconds <= now:
            del self._sent[0]
        over = len(self._sent) - (self._limit - reserve)
        return now if over < 0 else self._sent[over] + self._seconds
