"""guild id → shard; lookup answer → plan; shards, now → identify slots, within the day's budget."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

import msgspec

from gateway_proto._checks import COUNT, POSITIVE, SECONDS, instance_of, optional, rejected
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import GatewayFound, IdentifyBudgetSpent, SessionStartLimit

__all__ = [
    "IdentifyBudget",
    "IdentifyQueue",
    "ShardPlan",
    "identify_key",
    "plan_shards",
    "shard_of",
]

_DAY = 86400.0
_WEEK = 7 * _DAY
_MOST_SHARDS = 16384
"""Shards that a lookup may ask for: with one for 1,000 guilds a bot in 16 million. The caller may
name more."""
_MOST_ALL = 2**20
"""Shards of a process whose ids the caller does not name."""
_FOUND = instance_of(GatewayFound, "a GatewayFound, the answer of a lookup")


def shard_of(guild_id: str | int, count: int) -> int:
    """Return the shard that receives a guild's events: `(guild_id >> 22) % count`."""
    POSITIVE.named("count", count)
    try:
        return (int(guild_id) >> 22) % count
    except (TypeError, ValueError, OverflowError):
        raise rejected("guild_id", guild_id, "an id") from None


def identify_key(shard_id: int, max_concurrency: int) -> int:
    """Return the key of a shard: those of one key identify one after the other."""
    return shard_id % max(1, max_concurrency)


class ShardPlan(msgspec.Struct, frozen=True):
    """The shards of a process, and the limits under which they identify."""

    url: str
    """Of the gateway."""
    count: int
    """Of all shards, in all processes."""
    ids: tuple[int, ...]
    """Those of this process."""
    max_concurrency: int = 1
    start_limit: SessionStartLimit | None = None

    @property
    def seconds(self) -> float:
        """Seconds until all have identified, at the least."""
        keys = Counter(identify_key(shard_id, self.max_concurrency) for shard_id in self.ids)
        return 5.0 * (max(keys.values(), default=1) - 1)

    def shard_of(self, guild_id: str | int) -> int:
        """The shard here that gets a guild's events; raises `LocalProtocolError` if elsewhere."""
        shard_id = shard_of(guild_id, self.count)
        if shard_id not in self.ids:
            raise LocalProtocolError(f"guild {guild_id} is on shard {shard_id}, which is elsewhere")
        return shard_id


def plan_shards(
    found: GatewayFound, *, count: int | None = None, ids: Iterable[int] | None = None
) -> ShardPlan:
    """Return the plan of a lookup: its count and all ids, unless the caller names others.

    `ids` are those of one of several processes. Raises `LocalProtocolError` if they do not fit, and
    for a lookup that asks for an absurd number of shards.
    """
    _FOUND.named("found", found)
    chosen = check_ids(count, ids)
    total = _count_of(found) if count is None else count
    if chosen is None:
        if total > _MOST_ALL:
            raise LocalProtocolError(
                f"invalid count {total}: expected at most {_MOST_ALL} shards in one process, or ids"
            )
        chosen = tuple(range(total))
    elif count is None and not found.shards and chosen != (0,):
        raise LocalProtocolError(
            f"ids {_short(chosen)} without count: pass count, the number of all shards"
        )
    check_ids(total, chosen)
    limit = found.session_start_limit
    concurrency = 1.0 if limit is None else _number(limit.max_concurrency, 1.0)
    return ShardPlan(found.url, total, chosen, int(min(max(1.0, concurrency), 2.0**31)), limit)


def check_ids(count: int | None, ids: Iterable[int] | None) -> tuple[int, ...] | None:
    """Return `ids` as a tuple; raises `LocalProtocolError` if they are none of `count` shards."""
    if count is not None:
        POSITIVE.named("count", count)
    chosen = None if ids is None else _ids_of(ids)
    if chosen is not None and (min(chosen) < 0 or max(chosen) >= (count or math.inf)):
        allowed = "0" if count is None else f"0 to {count - 1}, count is {count}"
        raise LocalProtocolError(f"invalid ids {_short(chosen)}: expected ids from {allowed}")
    return chosen


def _count_of(found: GatewayFound) -> int:
    named = _number(found.shards, 1.0)
    if named > _MOST_SHARDS:
        raise LocalProtocolError(
            f"the lookup asks for {named:.0f} shards, more than {_MOST_SHARDS}: pass count"
        )
    return int(max(1.0, named))


def _ids_of(ids: Iterable[int]) -> tuple[int, ...]:
    wrong = f"invalid ids {ids!r:.80}: expected one or more ints, each once"
    if isinstance(ids, str | bytes):
        raise LocalProtocolError(wrong)
    try:
        chosen = tuple(ids)
    except TypeError:
        raise LocalProtocolError(wrong) from None
    if not chosen or any(map(_is_no_int, chosen)) or len(set(chosen)) != len(chosen):
        raise LocalProtocolError(
            f"invalid ids {_short(chosen)}: expected one or more ints, each once"
        )
    return chosen


def _short(ids: tuple[Any, ...]) -> str:
    text = repr(ids)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_no_int(value: object) -> bool:
    return not isinstance(value, int) or isinstance(value, bool)


def _number(value: Any, default: float) -> float:
    """Read a number that the network named: `default` if it is none."""
    try:
        number = float(value)
    except OverflowError:  # an int of more than 308 digits
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return default
    return default if math.isnan(number) else number


class IdentifyBudget:
    """Identifies that one token may still send; all of its shards and clients share one.

    Two limits: `per_day` in any 24 hours, which are counted here, and those that the last lookup
    reported. Of the latter `reserve` in 1000 are left to others, in proportion if the total is
    smaller: of a total of 1 none is reserved, and one can always be used after the reset. Discord
    resets the token after 1000 Identifies in 24 hours.
    """

    def __init__(self, *, per_day: int = 900, reserve: int = 100) -> None:
        COUNT.named("per_day", per_day)
        COUNT.named("reserve", reserve)
        self._per_day = per_day
        self._reserve = reserve
        self._taken: deque[float] = deque()
        self._total = 0  # no lookup has reported a limit
        self._kept = 0
        self._remaining = 0
        self._resets_at = math.inf

    def found(self, limit: SessionStartLimit, *, now: float) -> None:
        """Take over the limit that a lookup reported at `now`, however absurd its numbers are."""
        most = 2.0**31
        self._total = total = int(min(max(1.0, _number(limit.total, 1000.0)), most))
        self._remaining = int(min(max(0.0, _number(limit.remaining, total)), most))
        self._kept = min(self._reserve * min(total, 1000) // 1000, total - 1)
        seconds = _number(limit.reset_after, 0.0) / 1000
        if seconds > 0:
            self._resets_at = now + min(seconds, _WEEK)
        elif self._remaining > self._kept:
            self._resets_at = math.inf  # the day begins with the first Identify
        else:
            # "A 24-hour period": no limit lasts longer, whatever the answer leaves out.
            self._resets_at = now + _DAY

    def remaining(self, now: float) -> int | None:
        """Return how many Identifies the lookup's limit still allows; None without a limit."""
        if not self._total:
            return None
        if now >= self._resets_at:
            self._remaining, self._resets_at = self._total, math.inf
        return self._remaining

    def free_at(self, now: float) -> float | None:
        """Return when the next Identify may be sent, `now` at the earliest; None means never."""
        if self._per_day < 1:
            return None
        while self._taken and self._taken[0] + _DAY <= now:
            self._taken.popleft()
        excess = len(self._taken) - self._per_day
        own = now if excess < 0 else self._taken[excess] + _DAY
        remaining = self.remaining(now)
        found = now if remaining is None or remaining > self._kept else self._resets_at
        return max(now, own, found)

    def take(self, now: float) -> None:
        """Count an Identify that is sent."""
        self._taken.append(now)
        remaining = self.remaining(now)
        if remaining is not None:
            self._remaining = max(0, remaining - 1)
            if math.isinf(self._resets_at):
                self._resets_at = now + _DAY

    def spent(self, now: float) -> IdentifyBudgetSpent | None:
        """Return the report that no Identify may be sent now; None if one may be sent."""
        free_at = self.free_at(now)
        if free_at is None:
            return IdentifyBudgetSpent(
                None, f"invalid Config.identify_budget {self._per_day}: it allows no Identify"
            )
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
        return IdentifyBudgetSpent(
            free_at - now, f"{why}; the next Identify is possible in {free_at - now:.0f} s"
        )


_BUDGET = optional(instance_of(IdentifyBudget, "an IdentifyBudget"))


class IdentifyQueue:
    """Identify slots of shards: one in `seconds` and `margin` for each key, in the order of ids.

    The margin is necessary since the server counts from when it handled the last Identify. While
    `budget` is spent, no slot is granted; the sender of an Identify takes from it. A shard that
    lost its connection while it waited returns to the front. A call takes O(log n) for n shards.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 1,
        seconds: float = 5.0,
        margin: float = 0.25,
        budget: IdentifyBudget | None = None,
    ) -> None:
        POSITIVE.named("max_concurrency", max_concurrency)
        SECONDS.named("seconds", seconds)
        SECONDS.named("margin", margin)
        _BUDGET.named("budget", budget)
        self._max_concurrency = max_concurrency
        self._between = seconds + margin
        self._budget = budget
        self._waiting: dict[int, tuple[tuple[bool, int], Callable[[float], object]]] = {}
        self._first: set[int] = set()
        # Heaps: of each key its shards, which may have left; of all keys with shards, when each is
        # free. A shard has at most two entries, in `_entries`: at the front, and by its id.
        self._lines: dict[int, list[tuple[bool, int]]] = {}
        self._entries: set[tuple[bool, int]] = set()
        self._keys: list[tuple[float, int]] = []
        self._free_at: dict[int, float] = {}
        self._now = -math.inf

    @property
    def waiting(self) -> tuple[int, ...]:
        """The shards that wait, in the order of their slots."""
        return tuple(shard_id for _, shard_id in sorted(o for o, _ in self._waiting.values()))

    def join(self, shard_id: int, grant: Callable[[float], object]) -> None:
        """Wait for a slot: `grant` is then called with the time of `handle_timer`.

        If it returns False, the shard no longer needs the slot, which stays free.
        """
        order = shard_id not in self._first, shard_id
        self._waiting[shard_id] = order, grant
        if order in self._entries:
            return
        self._entries.add(order)
        key = identify_key(shard_id, self._max_concurrency)
        if key not in self._lines:
            self._lines[key] = []
            heappush(self._keys, (self._free_at.get(key, -math.inf), key))
        heappush(self._lines[key], order)

    def leave(self, shard_id: int) -> None:
        """Stop waiting: the connection is lost. If it waited, the next one waits at the front."""
        if self._waiting.pop(shard_id, None) is not None:
            self._first.add(shard_id)

    def forget(self, shard_id: int) -> None:
        """Stop waiting: the shard was removed."""
        self._waiting.pop(shard_id, None)
        self._first.discard(shard_id)

    def next_timer(self) -> float | None:
        """Return when the next slot is free; None if no shard waits, or none will get one."""
        turn = self._next_turn()
        if turn is None or self._budget is None:
            return turn
        free_at = self._budget.free_at(max(self._now, turn))
        return None if free_at is None else max(turn, free_at)

    def handle_timer(self, *, now: float) -> None:
        """Grant the slots that are due."""
        self._now = now = max(self._now, now)
        while (turn := self._next_turn()) is not None and turn <= now:
            if self._budget is not None and self._budget.free_at(now) != now:
                return
            self._grant(now)

    def _next_turn(self) -> float | None:
        """Drop the shards that left, at the front, and return when the first key is free."""
        while self._keys:
            at, key = self._keys[0]
            line = self._lines[key]
            while line and not self._waits(line[0]):
                self._entries.discard(heappop(line))
            if line:
                return at
            heappop(self._keys)
            del self._lines[key]
        return None

    def _waits(self, order: tuple[bool, int]) -> bool:
        waiting = self._waiting.get(order[1])
        return waiting is not None and waiting[0] == order

    def _grant(self, now: float) -> None:
        at, key = heappop(self._keys)
        order = heappop(self._lines[key])
        self._entries.discard(order)
        _, shard_id = order
        _, grant = self._waiting.pop(shard_id)
        self._first.discard(shard_id)
        free_at = now + self._between  # if it raises, it may have identified
        try:
            if grant(now) is False:
                free_at = at
                self._first.add(shard_id)
        finally:
            self._free_at[key] = free_at
            heappush(self._keys, (free_at, key))
