"""Rate limits of Identify: order and interval of the shards, and the budget per day.

`rate_limit.py` has the sliding window of the other limits; `server/limits.py` has the limits of
the server role.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

from gateway_proto.timing.rate_limit import SECONDS_PER_DAY

__all__ = ["IdentifyBudget", "IdentifyQueue", "SlotQueue", "identify_key", "read_number"]

_WEEK = 7 * SECONDS_PER_DAY


def identify_key(shard_id: int, max_concurrency: int) -> int:
    """Return the rate limit key of a shard: the shards of one key identify one at a time.

    See <https://docs.discord.com/developers/events/gateway>, "Sharding".
    """
    return shard_id % max(1, max_concurrency)


def read_number(value: Any, default: float) -> float:
    """Return a value of the network as a float; `default` if it is not a number."""
    try:
        number = float(value)
    except OverflowError:  # an int of more than 308 digits
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return default
    return default if math.isnan(number) else number


class IdentifyBudget:
    """Identifies that one token may still send. All shards and clients of the token share one.

    It has two limits: `per_day` in any 24 hours, counted here, and the one that the last lookup
    reported. Of the latter, `reserve` in 1000 are left to others, in proportion if the total is
    smaller. Of a total of 1 none is reserved: after the reset one can always be used. Discord
    resets a token that sends more: <https://docs.discord.com/developers/events/gateway>.
    """

    def __init__(self, *, per_day: int = 900, reserve: int = 100) -> None:
        self._per_day = per_day
        self._reserve = reserve
        self._taken: deque[float] = deque()
        self._total = 0  # no lookup has reported a limit
        self._kept = 0
        self._remaining = 0
        self._resets_at = math.inf

    def set_limit(self, total: Any, remaining: Any, reset_after: Any, *, now: float) -> None:
        """Set the limit that a lookup reported at `now`; `reset_after` is in milliseconds.

        The values are from the network: a missing or absurd one is replaced or bounded.
        """
        most = 2.0**31
        self._total = total = int(min(max(1.0, read_number(total, 1000.0)), most))
        self._remaining = int(min(max(0.0, read_number(remaining, total)), most))
        self._kept = min(self._reserve * min(total, 1000) // 1000, total - 1)
        seconds = read_number(reset_after, 0.0) / 1000
        if seconds > 0:
            self._resets_at = now + min(seconds, _WEEK)
        elif self._remaining > self._kept:
            self._resets_at = math.inf  # the day begins with the first Identify
        else:
            # The limit is per 24 hours: <https://docs.discord.com/developers/events/gateway>.
            # So it ends after a day, even if the answer does not name its end.
            self._resets_at = now + SECONDS_PER_DAY

    def remaining(self, now: float) -> int | None:
        """Return how many Identifies the lookup's limit still allows; None without a limit."""
        if not self._total:
            return None
        if now >= self._resets_at:
            self._remaining, self._resets_at = self._total, math.inf
        return self._remaining

    def next_slot_at(self, now: float) -> float | None:
        """Return when the next Identify may be sent, `now` at the earliest; None means never."""
        if self._per_day < 1:
            return None
        while self._taken and self._taken[0] + SECONDS_PER_DAY <= now:
            self._taken.popleft()
        excess = len(self._taken) - self._per_day
        own = now if excess < 0 else self._taken[excess] + SECONDS_PER_DAY
        remaining = self.remaining(now)
        found = now if remaining is None or remaining > self._kept else self._resets_at
        return max(now, own, found)

    def record(self, now: float) -> None:
        """Count an Identify that is sent."""
        self._taken.append(now)
        remaining = self.remaining(now)
        if remaining is not None:
            self._remaining = max(0, remaining - 1)
            if math.isinf(self._resets_at):
                self._resets_at = now + SECONDS_PER_DAY

    def spent(self, now: float) -> tuple[float | None, str] | None:
        """Return the seconds until an Identify may be sent, and why; None if one may be sent now.

        Seconds of None mean never.
        """
        free_at = self.next_slot_at(now)
        if free_at is None:
            return None, f"invalid Config.identify_budget {self._per_day}: it allows no Identify"
        if free_at <= now:
            return None
        remaining = self.remaining(now)
        if remaining is not None and remaining <= self._kept:
            why = (
                f"{remaining} of {self._total} sessions remain, and Config.identify_reserve keeps "
                f"{self._kept}"
            )
        else:
            why = (
                f"{len(self._taken)} Identifies in 24 hours, as many as Config.identify_budget "
                "allows: find out why sessions are lost"
            )
        seconds = free_at - now
        return seconds, f"{why}; the next Identify is possible in {seconds:.0f} s"


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
