"""seed → numbers: chance that is the same on every machine and every Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Chance"]

T = TypeVar("T")

_BITS = 2**64 - 1


class Chance:
    """Numbers that look random, and follow from a seed alone (SplitMix64).

    What is drawn from one child moves no other: so a kind of trouble can be left out, and all else
    stays as it was.
    """

    def __init__(self, seed: object) -> None:
        self._name = str(seed)
        digest = hashlib.blake2b(self._name.encode(), digest_size=8).digest()
        self._state = int.from_bytes(digest, "big")

    def child(self, name: object) -> Chance:
        """Chance of its own, that follows from this seed and a name."""
        return Chance(f"{self._name}/{name}")

    def random(self) -> float:
        """A number in [0, 1)."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _BITS
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _BITS
        return ((state ^ (state >> 31)) >> 11) / 2**53

    def below(self, end: int) -> int:
        """A whole number from 0 to `end` - 1."""
        return int(self.random() * end)

    def between(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return low + self.random() * (high - low)

    def one_of(self, things: Sequence[T]) -> T:
        """One of several."""
        return things[self.below(len(things))]

    def happens(self, probability: float) -> bool:
        """Whether something of that probability happens."""
        return self.random() < probability
