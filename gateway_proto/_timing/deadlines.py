"""now ↔ deadlines: named points in time, and which of them is due next."""

from __future__ import annotations

import enum

__all__ = ["Deadlines", "Timer"]


class Timer(enum.Enum):
    """What a deadline is for."""

    HANDSHAKE = "the HTTP answer"
    GREETING = "HELLO"
    SESSION = "READY or RESUMED"
    HEARTBEAT = "the next heartbeat"
    LIVENESS = "a sign of life from the peer"
    SEND = "room for a waiting command"
    WAITING = "a report that commands wait long"
    REQUEST = "an answer to a request"
    IDENTIFY = "the time to identify again"
    FAULT = "the next fault"
    CLOSE = "the end of the closing handshake"


_LIVENESS = frozenset(
    {Timer.HANDSHAKE, Timer.GREETING, Timer.SESSION, Timer.LIVENESS, Timer.REQUEST},
)


class Deadlines:
    """A few named deadlines in seconds of the caller's clock.

    While it is paused, the deadlines that wait for the peer stand still: nobody reads, so the
    peer's silence proves nothing. `unpause` moves them by the length of the pause.
    """

    __slots__ = ("_at", "_is_stale", "_next", "_paused_at")

    def __init__(self) -> None:
        self._at: dict[Timer, float] = {}
        self._paused_at: float | None = None
        self._next: float | None = None
        self._is_stale = False

    @property
    def paused(self) -> bool:
        """Whether the clocks that wait for the peer stand still."""
        return self._paused_at is not None

    def stood_still(self, now: float) -> float | None:
        """For how many seconds they have; None: they run."""
        return None if self._paused_at is None else now - self._paused_at

    def set(self, timer: Timer, at: float) -> None:
        """Let `timer` fall due at `at`, instead of whenever it was due before."""
        self._at[timer] = at
        self._is_stale = True

    def clear(self, timer: Timer) -> None:
        """Forget `timer`; it need not be set."""
        self._at.pop(timer, None)
        self._is_stale = True

    def clear_all(self) -> None:
        """Forget every deadline."""
        self._at.clear()
        self._is_stale = True

    def pause(self, now: float) -> None:
        """Stop the clocks that wait for the peer."""
        if self._paused_at is None:
            self._paused_at = now
            self._is_stale = True

    def unpause(self, now: float) -> None:
        """Let the clocks that wait for the peer run again."""
        stood_still = self.stood_still(now)
        if stood_still is None:
            return
        self._paused_at = None
        for timer in _LIVENESS & self._at.keys():
            self._at[timer] += stood_still
        self._is_stale = True

    def next(self) -> float | None:
        """When the next deadline is due, or None."""
        # It is asked after every read, and seldom has another answer.
        if self._is_stale:
            times = (at for timer, at in self._at.items() if self._runs(timer))
            self._next = min(times, default=None)
            self._is_stale = False
        return self._next

    def pop_due(self, now: float) -> Timer | None:
        """Take the earliest deadline that is due at `now`, or None."""
        at = self.next()
        if at is None or at > now:
            return None
        due = (timer for timer, its in self._at.items() if its == at and self._runs(timer))
        timer = min(due, key=lambda timer: timer.name)
        self.clear(timer)
        return timer

    def _runs(self, timer: Timer) -> bool:
        return self._paused_at is None or timer not in _LIVENESS
