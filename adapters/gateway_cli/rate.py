"""Rate of counts over time."""

from __future__ import annotations

from collections import deque

__all__ = ["Rate"]

_SECONDS = 10.0


class Rate:
    """Occurrences per second, over the last ten seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self.value = 0.0
        """Per second; as of the last `measure`."""

    def measure(self, count: int, now: float) -> None:
        """Record the number of all occurrences until `now`, in seconds."""
        samples = self._samples
        if samples and count < samples[-1][1]:
            samples.clear()  # it is counted from the beginning again
        samples.append((now, count))
        # The oldest is as old as the window, or the next to it.
        while len(samples) > 2 and samples[1][0] <= now - _SECONDS:
            samples.popleft()
        (began, before), (_, count) = samples[0], samples[-1]
        self.value = (count - before) / (now - began) if now > began else 0.0
