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

    def __init__(self) -> None:
        self._at: dict[Timer, float] = {}
        self._paused_at: float | None = None

    @property
    def paused(self) -> bool:
        """Whether the clocks that wait for the peer stand still."""
        return self._paused_at is not None

    def set(self, timer: Timer, at: float) -> None:
        """Let `timer` fall due at `at`, instead of whenever it was due before."""
        self._at[timer] = at

    def clear(self, timer: Timer) -> None:
        """Forget `timer`; it need not be set."""
        self._at.pop(timer, None)

    def clear_all(self) -> None:
        """Forget every deadline."""
        self._at.clear()

    def pause(self, now: float) -> None:
        """Stop the clocks that wait for the peer."""
        if self._paused_at is None:
            self._paused_at = now

    def unpause(self, now: float) -> None:
        """Let the clocks that wait for the peer run again."""
        if self._paused_at is None:
            return
        stood_still = now - self._paused_at
        self._paused_at = None
        for timer in _LIVENESS & self._at.keys():
            self._at[timer] += stood_still

    def next(self) -> float | None:
        """When the next deadline is due, or None."""
        return min((at for timer, at in self._at.items() if self._runs(timer)), default=None)

    def pop_due(self, now: float) -> Timer | None:
        """Take the earliest deadline that is due at `now`, or None."""
        due = [
            (at, timer.name, timer)
            for timer, at in self._at.items()
            if at <= now and self._runs(timer)
        ]
        if not due:
            return None
        timer = min(due)[2]
        del self._at[timer]
        return timer

    def _runs(self, timer: Timer) -> bool:
        return self._paused_at is None or timer not in _LIVENESS
