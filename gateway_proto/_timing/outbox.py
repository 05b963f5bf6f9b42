"""commands, now → what may be sent now, and when the next may: one connection's rate limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from gateway_proto._timing.ratelimit import SlidingWindow

__all__ = ["Outbox", "Waiting"]

C = TypeVar("C")


class Waiting(msgspec.Struct, Generic[C], frozen=True):
    """A command that waits for room."""

    command: C
    text: str | bytes
    since: float
    number: int | None = None
    """Of the request that it is, if it is one."""


class Outbox(Generic[C]):
    """Commands in order, and the last presence; what has no room waits.

    `held_until` says for a command when a limit of its own lets it go: it may be overtaken.
    """

    __slots__ = ("_held_until", "_most", "_presence", "_presences", "_queue", "_reserve", "_window")

    def __init__(
        self,
        *,
        send_limit: tuple[int, float],
        presence_limit: tuple[int, float],
        held_until: Callable[[C, float], float],
    ) -> None:
        self._most = send_limit[0] // 2
        self._window = SlidingWindow(*send_limit)
        self._presences = SlidingWindow(*presence_limit)
        self._held_until = held_until
        self._queue: list[Waiting[C]] = []
        self._presence: Waiting[C] | None = None
        self._reserve = 1

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def waiting(self) -> tuple[C, ...]:
        """Commands that wait, in order, and last the presence that waits."""
        commands = tuple(waiting.command for waiting in self._queue)
        return commands if self._presence is None else (*commands, self._presence.command)

    @property
    def waiting_since(self) -> float | None:
        """Since when the first of them waits."""
        return self._queue[0].since if self._queue else None

    def reserve(self, places: int) -> None:
        """Keep places of the limit free for heartbeats, though never more than half."""
        self._reserve = min(places, self._most)

    def count(self, now: float, *, presence: bool = False) -> None:
        """Something was sent past the queue; `presence`: it had a presence in it."""
        self._window.take(now)
        if presence:
            self._presences.take(now)

    def put(self, waiting: Waiting[C]) -> None:
        """Let a command wait."""
        self._queue.append(waiting)

    def put_presence(self, waiting: Waiting[C] | None) -> None:
        """Let a presence wait, in place of the one that waits; None: no more."""
        self._presence = waiting

    def take(self, now: float) -> Waiting[C] | None:
        """What may be sent now, counted as sent."""
        if self._window.free_at(now, reserve=self._reserve) > now:
            return None
        for index, waiting in enumerate(self._queue):
            if self._held_until(waiting.command, now) <= now:
                self._window.take(now)
                return self._queue.pop(index)
        presence = self._presence
        if presence is None or self._presences.free_at(now) > now:
            return None
        self._presence = None
        self.count(now, presence=True)
        return presence

    def free_at(self, now: float) -> float | None:
        """When the next may be sent; None where nothing waits."""
        soonest = None if self._presence is None else self._presences.free_at(now)
        for waiting in self._queue:
            at = self._held_until(waiting.command, now)
            soonest = at if soonest is None else min(soonest, at)
            if soonest <= now:
                break  # as nearly always with the first, however many wait behind it
        if soonest is None:
            return None
        return max(soonest, self._window.free_at(now, reserve=self._reserve))

    def clear(self) -> list[Waiting[C]]:
        """Let nothing wait any more; returns what did, without the presence."""
        waiting, self._queue = self._queue, []
        self._presence = None
        return waiting
