"""Shard plans and the public `IdentifyQueue`, which checks its arguments."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from gateway_proto._checks import (
    CALLBACK,
    COUNT,
    POSITIVE,
    SECONDS,
    as_now,
    as_tuple,
    instance_of,
    optional,
    shown,
)
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import GatewayFound, SessionStartLimit
from gateway_proto.shard_ids import shard_of
from gateway_proto.timing import identify
from gateway_proto.timing.identify_budget import IdentifyBudget, identify_key, read_number

__all__ = [
    "IdentifyBudget",
    "IdentifyQueue",
    "ShardPlan",
    "identify_key",
]

_MAX_SHARDS_OF_LOOKUP = 16384
"""Maximum number of shards that a lookup may ask for; at 1,000 guilds per shard, 16 million guilds.
The caller may pass a larger count."""
_MAX_SHARDS_WITHOUT_IDS = 2**20
"""Maximum number of shards of a process if the caller does not pass ids."""
_SECONDS_BETWEEN = 5.0
"""Between two Identifies of one key:
<https://docs.discord.com/developers/events/gateway#sharding-max-concurrency>."""
_FOUND = instance_of(GatewayFound, "a GatewayFound, the answer of a lookup")
_BUDGET = optional(instance_of(IdentifyBudget, "an IdentifyBudget"))


class ShardPlan(msgspec.Struct, frozen=True):
    """The shards of a process, and the limits under which they identify."""

    url: str
    """The gateway's URL."""
    count: int
    """Number of shards in all processes."""
    ids: tuple[int, ...]
    """Ids of the shards of this process."""
    max_concurrency: int = 1
    start_limit: SessionStartLimit | None = None

    @classmethod
    def from_lookup(
        cls, found: GatewayFound, *, count: int | None = None, ids: Iterable[int] | None = None
    ) -> ShardPlan:
        """Return the plan for a lookup's answer: its count and all ids, or the passed ones.

        With several processes, each passes its own `ids`. Raises `LocalProtocolError` for ids that
        are not below the count, and for a lookup that asks for more than 16,384 shards.
        """
        _FOUND.named("found", found)
        chosen = check_ids(count, ids)
        total = _count_of(found) if count is None else count
        if chosen is None:
            if total > _MAX_SHARDS_WITHOUT_IDS:
                raise LocalProtocolError(
                    f"invalid count {total}: expected at most {_MAX_SHARDS_WITHOUT_IDS} shards in "
                    "one process, or ids"
                )
            chosen = tuple(range(total))
        elif count is None and not found.shards and chosen not in ((), (0,)):
            raise LocalProtocolError(
                f"ids {_short(chosen)} without count: pass count, the number of all shards"
            )
        check_ids(total, chosen)
        limit = found.session_start_limit
        concurrency = 1.0 if limit is None else read_number(limit.max_concurrency, 1.0)
        return cls(found.url, total, chosen, int(min(max(1.0, concurrency), 2.0**31)), limit)

    @property
    def min_identify_seconds(self) -> float:
        """Minimum number of seconds until all shards of the plan have identified."""
        keys = Counter(identify_key(shard_id, self.max_concurrency) for shard_id in self.ids)
        return _SECONDS_BETWEEN * (max(keys.values(), default=1) - 1)

    def shard_of(self, guild_id: str | int) -> int:
        """Return the shard that receives a guild's events.

        Raises `LocalProtocolError` if it is not a shard of this process.
        """
        shard_id = shard_of(guild_id, self.count)
        if shard_id not in self.ids:
            raise LocalProtocolError(f"guild {guild_id} is on shard {shard_id}, which is elsewhere")
        return shard_id


def check_ids(count: int | None, ids: Iterable[int] | None) -> tuple[int, ...] | None:
    """Return `ids` as a tuple; raises `LocalProtocolError` unless they are below `count`."""
    if count is not None:
        POSITIVE.named("count", count)
    chosen = None if ids is None else _ids_of(ids)
    if chosen and (min(chosen) < 0 or max(chosen) >= (count or math.inf)):
        allowed = "0" if count is None else f"0 to {count - 1}, count is {count}"
        raise LocalProtocolError(f"invalid ids {_short(chosen)}: expected ids from {allowed}")
    return chosen


def _count_of(found: GatewayFound) -> int:
    named = read_number(found.shards, 1.0)
    if named > _MAX_SHARDS_OF_LOOKUP:
        raise LocalProtocolError(
            f"the lookup asks for {named:.0f} shards, more than {_MAX_SHARDS_OF_LOOKUP}: pass count"
        )
    return int(max(1.0, named))


def _ids_of(ids: Iterable[int]) -> tuple[int, ...]:
    chosen = as_tuple(ids)
    if (
        isinstance(chosen, tuple)
        and not any(map(_is_not_int, chosen))
        and len(set(chosen)) == len(chosen)
    ):
        return chosen
    raise LocalProtocolError(f"invalid ids {_short(chosen)}: expected ints, each once")


def _short(ids: object) -> str:
    try:
        text = repr(ids)
    except Exception:  # of a caller's object
        return shown(ids)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_not_int(value: object) -> bool:
    return not isinstance(value, int) or isinstance(value, bool)


class IdentifyQueue(identify.IdentifyQueue):
    """Identify slots of shards, in the order of ids: one per key in `seconds` plus `margin`.

    The margin is necessary because the server counts from when it handled the last Identify. No
    slot is granted while `budget` is spent; the sender of an Identify records it there. A shard
    that lost its connection while it waited returns to the front.

    Raises `LocalProtocolError` for invalid arguments; the class of `timing` does not check them.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 1,
        seconds: float = _SECONDS_BETWEEN,
        margin: float = 0.25,
        budget: IdentifyBudget | None = None,
    ) -> None:
        POSITIVE.named("max_concurrency", max_concurrency)
        SECONDS.named("seconds", seconds)
        SECONDS.named("margin", margin)
        _BUDGET.named("budget", budget)
        super().__init__(
            max_concurrency=max_concurrency, seconds=seconds, margin=margin, budget=budget
        )

    def join(self, shard_id: int, grant: Callable[[float], object]) -> None:
        """Queue a shard for a slot: `grant` is called with the time of the `handle_timer` call.

        If `grant` returns False, the shard no longer needs the slot, which stays free.
        """
        COUNT.named("shard_id", shard_id)
        CALLBACK.named("grant", grant)
        super().join(shard_id, grant)

    def handle_timer(self, *, now: float) -> None:
        """Grant the slots that are due."""
        super().handle_timer(now=as_now(now))
