"""guild id → shard; the lookup's answer → a plan; shards, now → whose turn it is to identify."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import GatewayFound, SessionStartLimit

__all__ = [
    "IdentifyBudget",
    "IdentifyQueue",
    "ShardPlan",
    "identify_key",
    "plan_shards",
    "shard_of",
]

_DAY = 86400.0


def shard_of(guild_id: str | int, count: int) -> int:
    """The shard that receives a guild's events: `(guild_id >> 22) % count`."""
    return (int(guild_id) >> 22) % count


def identify_key(shard_id: int, max_concurrency: int) -> int:
    """Shards with the same key take turns to identify: `shard_id % max_concurrency`."""
    return shard_id % max_concurrency


class ShardPlan(msgspec.Struct, frozen=True):
    """Which shards a process runs, and what it may do to open them."""

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
        """How long it takes at least until all have identified."""
        keys = [identify_key(shard_id, self.max_concurrency) for shard_id in self.ids]
        return 5.0 * (max(map(keys.count, set(keys))) - 1)

    def shard_of(self, guild_id: str | int) -> int:
        """The shard here that gets a guild's events; raises `LocalProtocolError` if elsewhere."""
        shard_id = shard_of(guild_id, self.count)
        if shard_id not in self.ids:
            raise LocalProtocolError(f"guild {guild_id} is on shard {shard_id}, which is elsewhere")
        return shard_id


def plan_shards(
    found: GatewayFound, *, count: int | None = None, ids: Iterable[int] | None = None
) -> ShardPlan:
    """The plan of a lookup: its own count and all ids, unless the caller says others.

    `ids` is a range for a process of several. Raises `LocalProtocolError` for what is no plan.
    """
    count = count or found.shards or 1
    chosen = tuple(range(count) if ids is None else ids)
    if count < 1 or not chosen or len(set(chosen)) != len(chosen):
        raise LocalProtocolError(f"{chosen} of {count} shards: name one or more, each once")
    if not all(0 <= shard_id < count for shard_id in chosen):
        raise LocalProtocolError(f"shards {chosen} are not all from 0 to {count - 1}")
    limit = found.session_start_limit
    concurrency = 1 if limit is None else max(1, limit.max_concurrency)
    return ShardPlan(found.url, count, chosen, concurrency, limit)


class IdentifyBudget:
    """How many sessions may still be opened, as `/gateway/bot` said it at `now`.

    It is spent once no more than `reserve` are left: a thousand Identifies in a day cost the token.
    """

    def __init__(self, limit: SessionStartLimit, *, now: float, reserve: int) -> None:
        self._total = limit.total
        self._reserve = reserve
        self._remaining = limit.remaining
        # Where nothing is used yet, the day begins with the first.
        self._resets_at = now + limit.reset_after / 1000 if limit.reset_after > 0 else None

    def remaining(self, now: float) -> int:
        """How many sessions may still be opened."""
        if self._resets_at is not None and now >= self._resets_at:
            self._remaining, self._resets_at = self._total, None
        return self._remaining

    def free_at(self, now: float) -> float | None:
        """When a session may be opened: `now`, or when the day is over; None: never."""
        return now if self.remaining(now) > self._reserve else self._resets_at

    def take(self, now: float) -> None:
        """A session is opened."""
        self._remaining = self.remaining(now) - 1
        if self._resets_at is None:
            self._resets_at = now + _DAY


class IdentifyQueue:
    """Shards take turns: of each key, one in `seconds` and a margin.

    The margin is there since the server counts from when it handled the last Identify. With a
    `budget` that is spent, no turn is given until it is there again. A shard that lost its
    connection while it waited comes back to the front.
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
        self._waiting: dict[int, Callable[[float], None]] = {}
        self._first: set[int] = set()
        self._free_at: dict[int, float] = {}
        self._now = -math.inf

    @property
    def waiting(self) -> tuple[int, ...]:
        """The shards that wait, in the order of their turns."""
        return tuple(sorted(self._waiting, key=self._order))

    def join(self, shard_id: int, grant: Callable[[float], None]) -> None:
        """Wait for a turn; `grant` is called with the time of `handle_timer` once it comes."""
        self._waiting[shard_id] = grant

    def leave(self, shard_id: int) -> None:
        """The connection of a shard is lost; if it waited, its next one waits at the front."""
        if self._waiting.pop(shard_id, None) is not None:
            self._first.add(shard_id)

    def next_timer(self) -> float | None:
        """When the next turn comes; None: nobody waits, or nobody will get one."""
        turn = min(map(self._turn_at, self._waiting), default=None)
        if turn is None or self._budget is None:
            return turn
        free_at = self._budget.free_at(max(self._now, turn))
        return None if free_at is None else max(turn, free_at)

    def handle_timer(self, *, now: float) -> None:
        """Give the turns that are due."""
        self._now = now = max(self._now, now)
        for shard_id in self.waiting:
            if self._budget is not None and self._budget.free_at(now) != now:
                return
            if self._turn_at(shard_id) > now:
                continue
            grant = self._waiting.pop(shard_id)
            self._first.discard(shard_id)
            self._free_at[identify_key(shard_id, self._max_concurrency)] = now + self._between
            if self._budget is not None:
                self._budget.take(now)
            grant(now)

    def _turn_at(self, shard_id: int) -> float:
        key = identify_key(shard_id, self._max_concurrency)
        return self._free_at.get(key, -math.inf)

    def _order(self, shard_id: int) -> tuple[bool, int]:
        return shard_id not in self._first, shard_id
