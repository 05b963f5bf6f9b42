"""times, things to do → one after the other, in the order of their times."""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Agenda"]


class Agenda:
    """The one clock of a simulation, and what is to be done when.

    What is due at the same time is done in the order in which it was planned.
    """

    def __init__(self) -> None:
        self.now: float = 0.0
        """Seconds since the simulation began."""
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Do something at a time; one that is over is now."""
        self._count += 1
        heapq.heappush(self._heap, (max(time, self.now), self._count, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something in so many seconds."""
        self.at(self.now + seconds, do)

    def run(self, until: float) -> None:
        """Do what is due, up to a time and at it; then it is that time."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, do = heapq.heappop(heap)
            do()
        self.now = max(self.now, until)
