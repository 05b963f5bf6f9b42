"""Identify slots: order and interval of the shards of one process.

The interval of a key: <https://docs.discord.com/developers/events/gateway#sharding-max-concurrency>.

`identify_budget.py` has the budget per day; `server/limits.py` has the limits of the server role.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol, runtime_checkable

from gateway_proto.timing.identify_budget import IdentifyBudget, identify_key

__all__ = ["IdentifyQueue", "LimitedQueue", "SlotQueue"]


class SlotQueue(Protocol):
    """Queue of identify slots: an `IdentifyQueue`, or one that several processes share."""

    @property
    def waiting_shards(self) -> tuple[int, ...]:
        """The shards that wait, in the order of their slots."""

    def join(self, shard_id: int, grant: Callable[[float], object]) -> None:
        """Queue a shard for a slot: `grant` is called with the time at which it is granted.

        If `grant` returns False, the shard no longer needs the slot, which stays free.
        """

    def leave(self, shard_id: int) -> None:
        """Remove a shard whose connection is lost; if it waited, it rejoins at the front."""

    def forget(self, shard_id: int) -> None:
        """Remove a shard, and its place at the front."""

    def next_timer(self) -> float | None:
        """Return the time to call `handle_timer`, in seconds; None if nothing is due."""

    def handle_timer(self, *, now: float) -> None:
        """Grant the slots that are due."""


@runtime_checkable
class LimitedQueue(Protocol):
    """Queue that grants no slots while the Identifies of a day are used up."""

    def spent(self, now: float) -> tuple[float, str] | None:
        """Return the seconds until slots are granted again, and why; None while some are left."""


class IdentifyQueue:
    """Identify slots of shards, see `gateway_proto.shards.IdentifyQueue`, without checks.

    A call takes O(log n) for n shards.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 1,
        seconds: float = 5.0,
        margin: float = 0.25,
        budget: IdentifyBudget | None = None,
    ) -> None:
        self._max_concurrency = max_concurrency
        self._between = seconds + margin
        self._budget = budget
        self._waiting: dict[int, tuple[tuple[bool, int], Callable[[float], object]]] = {}
        self._first: set[int] = set()
        # Two kinds of heaps: per key its shards, some of which may have left; and the keys with
        # shards, by the time of their next slot. A shard has at most two entries, listed in
        # `_entries`: one at the front and one by its id.
        self._shards: dict[int, list[tuple[bool, int]]] = {}
        self._entries: set[tuple[bool, int]] = set()
        self._keys: list[tuple[float, int]] = []
        self._free_at: dict[int, float] = {}
        self._now = -math.inf

    @property
    def waiting_shards(self) -> tuple[int, ...]:
        """The shards that wait, in the order of their slots."""
        return tuple(shard_id for _, shard_id in sorted(o for o, _ in self._waiting.values()))

    def join(self, shard_id: int, grant: Callable[[float], object]) -> None:
        """Queue a shard for a slot: `grant` is called with the time of the `handle_timer` call.

        If `grant` returns False, the shard no longer needs the slot, which stays free.
        """
        order = shard_id not in self._first, shard_id
        self._waiting[shard_id] = order, grant
        if order in self._entries:
            return
        self._entries.add(order)
        key = identify_key(shard_id, self._max_concurrency)
        if key not in self._shards:
            self._shards[key] = []
            heappush(self._keys, (self._free_at.get(key, -math.inf), key))
        heappush(self._shards[key], order)

    def leave(self, shard_id: int) -> None:
        """Remove a shard whose connection is lost; if it waited, it rejoins at the front."""
        if self._waiting.pop(shard_id, None) is not None:
            self._first.add(shard_id)

    def forget(self, shard_id: int) -> None:
        """Remove a shard, and its place at the front."""
        self._waiting.pop(shard_id, None)
        self._first.discard(shard_id)

    def next_timer(self) -> float | None:
        """Return when the next slot is free; None if no shard waits or can get one."""
        at = self._next_slot()
        if at is None or self._budget is None:
            return at
        free_at = self._budget.next_slot_at(max(self._now, at))
        return None if free_at is None else max(at, free_at)

    def handle_timer(self, *, now: float) -> None:
        """Grant the slots that are due."""
        self._now = now = max(self._now, now)
        while (at := self._next_slot()) is not None and at <= now:
            if self._budget is not None and self._budget.next_slot_at(now) != now:
                return
            self._grant(now)

    def _next_slot(self) -> float | None:
        """Return when the first slot is free, after dropping entries of shards that left."""
        while self._keys:
            at, key = self._keys[0]
            shards = self._shards[key]
            while shards and not self._waits(shards[0]):
                self._entries.discard(heappop(shards))
            if shards:
                return at
            heappop(self._keys)
            del self._shards[key]
        return None

    def _waits(self, order: tuple[bool, int]) -> bool:
        waiting = self._waiting.get(order[1])
        return waiting is not None and waiting[0] == order

    def _grant(self, now: float) -> None:
        at, key = heappop(self._keys)
        order = heappop(self._shards[key])
        self._entries.discard(order)
        _, shard_id = order
        _, grant = self._waiting.pop(shard_id)
        self._first.discard(shard_id)
        free_at = now + self._between  # used if `grant` raises: it may have sent Identify
        try:
            if grant(now) is False:
                free_at = at
                self._first.add(shard_id)
        finally:
            self._free_at[key] = free_at
            heappush(self._keys, (free_at, key))
