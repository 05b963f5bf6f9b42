"""Named timers, some of which pause while nobody reads from the peer."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["AWAITED", "Timer", "Timers"]


class Timer(enum.Enum):
    """Names of timers."""

    HANDSHAKE = "handshake"
    HELLO = "hello"
    READY = "ready"
    HEARTBEAT = "heartbeat"
    LIVENESS = "liveness"
    SEND = "send"
    COMMAND_DELAY = "command_delay"
    REQUEST = "request"
    IDENTIFY = "identify"
    FAULT = "fault"
    CLOSE = "close"


AWAITED: Mapping[Timer, str] = MappingProxyType(
    {
        Timer.HANDSHAKE: "the HTTP response",
        Timer.HELLO: "HELLO",
        Timer.READY: "READY or RESUMED",
        Timer.LIVENESS: "data from the peer",
        Timer.REQUEST: "the response to a request",
        Timer.CLOSE: "the end of the closing handshake",
    }
)
"""Text of what a timer waits for, in the error of a connection that ends with it."""


_PAUSABLE = frozenset(
    {Timer.HANDSHAKE, Timer.HELLO, Timer.READY, Timer.LIVENESS, Timer.REQUEST},
)


class Timers:
    """A few named timers, in seconds of the caller's clock.

    While it is paused, the timers that wait for the peer do not run: nobody reads, so a missing
    answer says nothing about the peer. `unpause` moves them by the length of the pause.
    """

    __slots__ = ("_at", "_paused_at", "earliest")

    def __init__(self) -> None:
        self._at: dict[Timer, float] = {}
        self._paused_at: float | None = None
        self.earliest: float = math.inf
        """Time of the next timer, infinite without timers. An attribute, not a method: it is read
        after every received message and seldom changes."""

    @property
    def is_paused(self) -> bool:
        """Whether the timers that wait for the peer are paused."""
        return self._paused_at is not None

    def paused_for(self, now: float) -> float | None:
        """Return the seconds since `pause`; None if the timers run."""
        return None if self._paused_at is None else now - self._paused_at

    def set(self, timer: Timer, at: float | None) -> None:
        """Set `timer` to `at`, in place of its earlier time; None clears it."""
        if at is None:
            self.clear(timer)
            return
        self._at[timer] = at
        self._update()

    def clear(self, timer: Timer) -> None:
        """Clear `timer`, which need not be set."""
        if self._at.pop(timer, None) is not None:
            self._update()

    def clear_all(self) -> None:
        """Clear every timer."""
        self._at.clear()
        self.earliest = math.inf

    def pause(self, now: float) -> None:
        """Stop the timers that wait for the peer."""
        if self._paused_at is None:
            self._paused_at = now
            self._update()

    def unpause(self, now: float) -> None:
        """Start the timers that wait for the peer again."""
        seconds = self.paused_for(now)
        if seconds is None:
            return
        self._paused_at = None
        for timer in _PAUSABLE & self._at.keys():
            self._at[timer] += seconds
        self._update()

    def next_timer(self) -> float | None:
        """Return the time of the next timer, or None."""
        return None if self.earliest == math.inf else self.earliest

    def pop_due(self, now: float) -> Timer | None:
        """Clear and return the earliest timer that is due at `now`; None if none is due."""
        earliest = self.earliest
        if earliest > now:
            return None
        due = (timer for timer, at in self._at.items() if at == earliest and self._runs(timer))
        timer = min(due, key=lambda timer: timer.name)
        self.clear(timer)
        return timer

    def _update(self) -> None:
        times: Iterable[float] = self._at.values()
        if self._paused_at is not None:
            times = [at for timer, at in self._at.items() if self._runs(timer)]
        self.earliest = min(times, default=math.inf)

    def _runs(self, timer: Timer) -> bool:
        return self._paused_at is None or timer not in _PAUSABLE
