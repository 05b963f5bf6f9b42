"""A seeded random source that is equal on every system and every Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["SeededRandom"]

T = TypeVar("T")

_BITS = 2**64 - 1


class SeededRandom:
    """Pseudorandom numbers from a seed (SplitMix64).

    Children are independent: if a kind of faults is left out, the numbers of all others stay the
    same.
    """

    def __init__(self, seed: object) -> None:
        self._name = str(seed)
        digest = hashlib.blake2b(self._name.encode(), digest_size=8).digest()
        self._state = int.from_bytes(digest, "big")

    def child(self, name: object) -> SeededRandom:
        """Return an independent source for a name, derived from this seed."""
        return SeededRandom(f"{self._name}/{name}")

    def random(self) -> float:
        """Return a number in [0, 1)."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _BITS
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _BITS
        return ((state ^ (state >> 31)) >> 11) / 2**53

    def randrange(self, end: int) -> int:
        """Return an integer from 0 to `end` - 1."""
        return int(self.random() * end)

    def uniform(self, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        return low + self.random() * (high - low)

    def choice(self, things: Sequence[T]) -> T:
        """Return one of several values, each with equal probability."""
        return things[self.randrange(len(things))]

    def happens(self, probability: float) -> bool:
        """Whether an event of that probability happens."""
        return self.random() < probability
