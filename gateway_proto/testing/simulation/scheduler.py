"""The clock of a simulation, and the calls that are planned on it."""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Scheduler"]


class Scheduler:
    """The clock of a simulation, and its planned calls.

    Calls at the same time are made in the order in which they were planned.
    """

    def __init__(self) -> None:
        self.now: float = 0.0
        """Seconds since the start of the simulation."""
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def at(self, time: float, do: Callable[[], object]) -> None:
        """Plan a call at a time. A time in the past means now."""
        self._count += 1
        heapq.heappush(self._heap, (max(time, self.now), self._count, do))

    def after(self, seconds: float, do: Callable[[], object]) -> None:
        """Plan a call after some seconds."""
        self.at(self.now + seconds, do)

    def run(self, until: float) -> None:
        """Make the calls that are due until a time, inclusive, and advance the clock to it."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, do = heapq.heappop(heap)
            do()
        self.now = max(self.now, until)
