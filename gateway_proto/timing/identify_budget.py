"""Identifies that one token may still send, and the rate limit key of a shard.

`identify.py` has the queue of identify slots; `rate_limit.py` has the sliding window of the other
limits.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from gateway_proto.timing.rate_limit import SECONDS_PER_DAY

__all__ = ["IDENTIFIES_PER_DAY", "IdentifyBudget", "identify_key", "kept_of", "read_number"]

IDENTIFIES_PER_DAY = 1000
"""Identifies of a token in 24 hours, if no lookup names another number.
<https://docs.discord.com/developers/events/gateway#session-start-limit-object>"""
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


def kept_of(total: int, reserve: int) -> int:
    """Return how many Identifies of a period are left to others: `reserve` in 1000.

    Of a smaller total they are in proportion, and one can always be used.
    """
    return max(0, min(reserve * min(total, 1000) // 1000, total - 1))


class IdentifyBudget:
    """Identifies that one token may still send. All shards and clients of the token share one.

    It has two limits: `per_day` in any 24 hours, counted here, and the one that the last lookup
    reported. Of the latter, `reserve` in 1000 are left to others, in proportion if the total is
    smaller. Of a total of 1 none is reserved: after the reset one can always be used. Discord
    resets a token that sends more: <https://docs.discord.com/developers/events/gateway>.
    """

    __slots__ = ("_kept", "_per_day", "_remaining", "_reserve", "_resets_at", "_taken", "_total")

    def __init__(self, *, per_day: int = 900, reserve: int = 100) -> None:
        self._per_day = per_day
        self._reserve = reserve
        # A list, not a deque: each client has a budget, and a deque takes 760 bytes.
        self._taken: list[float] = []  # times of the Identifies in the last 24 hours, in order
        self._total = 0  # no lookup has reported a limit
        self._kept = 0
        self._remaining = 0
        self._resets_at = math.inf

    def set_limit(self, total: Any, remaining: Any, reset_after: Any, *, now: float) -> None:
        """Set the limit that a lookup reported at `now`; `reset_after` is in milliseconds.

        The values are from the network: a missing or absurd one is replaced or bounded.
        """
        most = 2.0**31
        self._total = total = int(min(max(1.0, read_number(total, IDENTIFIES_PER_DAY)), most))
        self._remaining = int(min(max(0.0, read_number(remaining, total)), most))
        self._kept = kept_of(total, self._reserve)
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
        expired = itertools.takewhile(lambda taken: taken + SECONDS_PER_DAY <= now, self._taken)
        del self._taken[: sum(1 for _ in expired)]
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
