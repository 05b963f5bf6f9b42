"""Identify slots over all members of a fleet: one record in the store, changed by compare-and-set.

The record counts the slots that were granted per rate limit key. To take a slot is to write that
count plus one. A member may do so if the key was never granted, or if the member itself has seen
the count unchanged for longer than the server's interval. So no clocks are compared, and a member
that dies with a slot wastes only that one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeAlias

import msgspec

from gateway_proto._checks import COUNT, POSITIVE, SECONDS, as_now, integer, optional, shown
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.fleet.member_record import MAX_SHARDS
from gateway_proto.fleet.records import BYTES, MAX_SEQUENCE, NAME, decoded_value
from gateway_proto.timing.identify_budget import (
    IDENTIFIES_PER_DAY,
    identify_key,
    kept_of,
    read_number,
)
from gateway_proto.timing.rate_limit import SECONDS_PER_DAY

__all__ = ["IdentifySlots", "SlotWrite"]

_WEEK = 7 * SECONDS_PER_DAY
_MAX_LEFT = 2**31
_NEW_PERIOD = 60.0
"""Seconds by which the end of a period must differ from that of another one."""
_SHARD = integer(0, MAX_SHARDS - 1)
_TOTAL = optional(integer(1, _MAX_LEFT))

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)]
_Left: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_MAX_LEFT)]
_Period: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=_WEEK)]
Grant: TypeAlias = Callable[[float], object]


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Value of the record in the store, as JSON."""

    granted: Annotated[dict[_Count, _Count], msgspec.Meta(max_length=MAX_SHARDS)] = {}
    """Granted slots by key."""
    left: _Left | None = None
    """Identifies that are left until the reset. None means that no limit is known."""
    total: _Left = 0
    resets: _Period = 0.0
    """Seconds to the reset, from the last lookup or the start of the period. 0 means unknown."""
    looked_up: _Count = 0
    """Number of lookups, and of periods that began without one. Each member counts `resets` from
    when it saw this number first."""
    by: str = ""
    """Unique for each write, so that a member recognizes its own."""


class SlotWrite(msgspec.Struct, frozen=True):
    """Write `value` if the record still has `revision`; read only if it is None.

        value, revision = store.compare_and_set(key, write.value, write.revision)
        slots.written(write, revision if value == write.value else None, now=now)
        slots.observed(value, revision, now=now)

    If the store fails, call `written` with None alone.
    """

    value: bytes | None
    revision: int


class _Taken(msgspec.Struct, frozen=True):
    """A write in flight: its record, its keys, and when it was sent."""

    write: SlotWrite
    record: _Record
    keys: tuple[int, ...]
    sent_at: float


class IdentifySlots:
    """Identify slots of the shards of one member, as `IdentifyQueue` has them for one process.

    `member` is a unique name, see `Membership`. One shard of a key gets a slot in `seconds`,
    `margin` and `stale_after` together. A slot that was granted more than `stale_after` after the
    write was sent is not used, since the process may have been stopped: the shard asks again. Of
    1000 Identifies of a period `reserve` are left to others, in proportion if the total is smaller.
    `total` is the number of Identifies in a day if no member looked it up; None means no limit.
    Raises `LocalProtocolError` for invalid arguments.

    A slot does not show that the shard is still owned. Before Identify read the head of its log: if
    that is another's record, the session may be opened already, and an Identify would be wasted.
    After a read that ended later than `stale_after` let the shard join again.
    """

    def __init__(
        self,
        *,
        member: str,
        max_concurrency: int,
        seconds: float = 5.0,
        margin: float = 0.25,
        stale_after: float = 0.5,
        reserve: int,
        total: int | None = None,
    ) -> None:
        NAME.named("member", member)
        POSITIVE.named("max_concurrency", max_concurrency)
        SECONDS.named("seconds", seconds)
        SECONDS.named("margin", margin)
        SECONDS.named("stale_after", stale_after)
        COUNT.named("reserve", reserve)
        _TOTAL.named("total", total)
        self._member = member
        self._max_concurrency = max_concurrency
        self._between = seconds + margin + stale_after
        self.stale_after: float = stale_after
        """Seconds after which a slot is not used, from when its write was sent."""
        self._reserve = reserve
        self._total = total
        self._waiting: dict[int, tuple[tuple[bool, int], Grant]] = {}
        self._first: set[int] = set()
        self._record = _Record()
        self._revision = 0
        self._is_known = False  # an answer of the store has been seen since the last failure
        self._is_seen = False
        self._seen_at: dict[int, float] = {}  # when the count of a key was seen to change
        self._unknown_since = -math.inf  # for keys whose counts the store has lost
        self._resets_at = math.inf
        self._looked_up: tuple[int, int, float] | None = None  # of the own lookup, to be written
        self._in_flight: _Taken | None = None
        self._writes = 0
        self._retry_at = -math.inf
        self._now = -math.inf

    # ----- shards -----

    @property
    def waiting_shards(self) -> tuple[int, ...]:
        """The shards that wait, in the order of their slots."""
        return tuple(shard for _, shard in sorted(order for order, _ in self._waiting.values()))

    @property
    def left(self) -> int | None:
        """Identifies that are left in the present period; None without a limit."""
        return self._record.left

    def join(self, shard_id: int, grant: Grant) -> None:
        """Queue a shard for a slot: `grant` is called with the time of the `written` call.

        If `grant` returns False, the shard no longer needs the slot, and the next one gets it.
        """
        _SHARD.named("shard_id", shard_id)
        self._waiting[shard_id] = (shard_id not in self._first, shard_id), grant

    def leave(self, shard_id: int) -> None:
        """Remove a shard whose connection is lost; if it waited, it rejoins at the front."""
        if self._waiting.pop(shard_id, None) is not None:
            self._first.add(shard_id)

    def forget(self, shard_id: int) -> None:
        """Remove a shard, and its place at the front."""
        self._waiting.pop(shard_id, None)
        self._first.discard(shard_id)

    def looked_up(self, total: Any, remaining: Any, reset_after: Any, *, now: float) -> None:
        """Report the answer of an own lookup; `reset_after` is in milliseconds.

        The values are from the network: an absurd one is replaced or bounded. Within a period the
        smallest count of all members is valid. A period without a known end ends a day after its
        first slot, or after it was found spent.
        """
        self._advance(now)
        most = float(_MAX_LEFT)
        whole = min(max(1.0, read_number(total, IDENTIFIES_PER_DAY)), most)
        left = min(max(0.0, read_number(remaining, whole)), whole)
        seconds = min(max(0.0, read_number(reset_after, 0.0) / 1000), float(_WEEK))
        self._looked_up = int(whole), int(left), self._now + seconds if seconds else math.inf

    # ----- the loop -----

    def next_timer(self) -> float | None:
        """Return the time to call `writes`; None if no shard waits, or while a write is in flight.

        A time in the past means now.
        """
        if self._in_flight is not None or not (self._waiting or self._looked_up):
            return None
        if not self._is_known or self._looked_up is not None:
            return self._retry_at
        at = min(map(self._free_at, self._keys()))
        return max(at, self._resets_at) if self._is_spent() else at

    def spent(self, *, now: float) -> tuple[float, str] | None:
        """Return the seconds until slots are granted again, and why; None while some are left."""
        now = self._advance(now)
        record, seconds = self._record, self._resets_at - now
        if not self._is_spent() or seconds <= 0:
            return None
        return seconds, (
            f"{record.left} of {record.total} sessions remain to the fleet, and "
            f"Config.identify_reserve keeps {kept_of(record.total, self._reserve)}; "
            f"the next Identify is possible in {seconds:.0f} s"
        )

    def writes(self, *, now: float) -> list[SlotWrite]:
        """Return the request to make now, if any: one at a time. Answer it with `written`."""
        self._advance(now)
        due = self.next_timer()
        if due is None or due > self._now:
            return []
        if not self._is_known:
            taken = _Taken(SlotWrite(None, 0), self._record, (), self._now)
        else:
            taken = self._taken()
        self._in_flight = taken
        return [taken.write]

    def observed(self, value: bytes | None, revision: int, *, now: float) -> None:
        """Report the value of the record and its revision, as the store returned them."""
        optional(BYTES).named("value", value)
        COUNT.named("revision", revision)
        now = self._advance(now)
        self._is_known, self._retry_at = True, -math.inf
        record = _decoded(value)
        if record is None:
            # The store has lost the record, or it is garbage: the limits of Discord still count.
            if value is not None or self._is_seen:
                self._unknown_since = now if revision != self._revision else self._unknown_since
            record = msgspec.structs.replace(self._record, granted={})
        self._take(record, now)
        self._revision, self._is_seen = revision, True

    def written(self, write: SlotWrite, revision: int | None, *, now: float) -> None:
        """Report the revision that a write made, and grant its slots.

        None means that another member was first, or that the store failed. Raises
        `LocalProtocolError` for a write without an answer pending.
        """
        taken = self._in_flight
        if taken is None or taken.write != write:
            raise LocalProtocolError(f"no {shown(write)} is pending: answer each once")
        optional(COUNT).named("revision", revision)
        self._in_flight = None
        now = self._advance(now)
        if revision is None:
            # Unless `observed` is called, the record is read again.
            self._is_known, self._retry_at = False, now + self.stale_after
            return
        if write.value is None:
            return
        self._looked_up = None
        if revision >= self._revision:  # else `observed` was called with a later one
            self._take(taken.record, now)
            self._revision, self._is_seen = revision, True
        if now - taken.sent_at > self.stale_after:
            return
        for key in taken.keys:
            self._grant(key, now)

    # ----- slots -----

    def _taken(self) -> _Taken:
        """Return a write that takes a slot of each key that is free and has a shard."""
        record, may_take = self._renewed()
        keys = sorted({key for key in self._keys() if self._free_at(key) <= self._now})
        keys = keys[:may_take]
        granted = dict(record.granted)
        for key in keys:
            granted[key] = (granted.get(key, 0) + 1) % (MAX_SEQUENCE + 1)
        self._writes += 1
        if keys and record.left is not None and not record.resets:
            record = self._with_period(record, SECONDS_PER_DAY)  # it begins with its first slot
        record = msgspec.structs.replace(
            record,
            granted=granted,
            left=None if record.left is None else record.left - len(keys),
            by=f"{self._member}/{self._writes:x}",
        )
        write = SlotWrite(msgspec.json.encode(record), self._revision)
        return _Taken(write, record, tuple(keys), self._now)

    def _renewed(self) -> tuple[_Record, int]:
        """Return the record with the own lookup and a new period, and how many slots it allows."""
        record, now = self._record, self._now
        total, left, resets_at = record.total, record.left, self._resets_at
        is_over = left is not None and now >= resets_at
        if self._looked_up is not None:
            total, remaining, ends_at = self._looked_up
            is_later = ends_at - resets_at > _NEW_PERIOD and not math.isinf(ends_at)
            if left is None or is_over or is_later:
                left, resets_at = remaining, ends_at
            else:
                left, resets_at = min(left, remaining), min(resets_at, ends_at)
        elif is_over:
            left, resets_at = total, now + SECONDS_PER_DAY
        elif left is None and self._total is not None:
            left = total = self._total
            record = msgspec.structs.replace(record, left=left, total=total)
        if is_over or self._looked_up is not None:
            resets = 0.0 if math.isinf(resets_at) else min(max(resets_at - now, 0.0), float(_WEEK))
            record = msgspec.structs.replace(record, left=left, total=total)
            record = self._with_period(record, resets)
        most = len(self._waiting) if left is None else max(0, left - kept_of(total, self._reserve))
        return record, most

    def _with_period(self, record: _Record, seconds: float) -> _Record:
        """Return the record with a period of `seconds` from now; 0 means unknown."""
        looked_up = (record.looked_up + 1) % (MAX_SEQUENCE + 1)
        return msgspec.structs.replace(record, resets=seconds, looked_up=looked_up)

    def _is_spent(self) -> bool:
        left = self._record.left
        return left is not None and left <= kept_of(self._record.total, self._reserve)

    def _take(self, record: _Record, now: float) -> None:
        """Take a record of the store: note what has changed."""
        before = self._record
        for key in before.granted.keys() | record.granted.keys():
            if before.granted.get(key) != record.granted.get(key):
                self._seen_at[key] = now
        if record.looked_up != before.looked_up or record.resets != before.resets:
            self._resets_at = now + record.resets if record.resets else math.inf
        self._record = record
        if math.isinf(self._resets_at) and self._is_spent():
            # The limit is per 24 hours: <https://docs.discord.com/developers/events/gateway>.
            self._resets_at = now + SECONDS_PER_DAY

    def _advance(self, now: float) -> float:
        """Take the time of a call; one smaller than the last counts as the last."""
        self._now = max(self._now, as_now(now))
        return self._now

    def _free_at(self, key: int) -> float:
        """Return when a key is free, if its count does not change; -inf if it was never granted."""
        return max(self._seen_at.get(key, -math.inf), self._unknown_since) + self._between

    def _keys(self) -> Iterator[int]:
        """Yield the keys of the waiting shards."""
        return (identify_key(shard, self._max_concurrency) for shard in self._waiting)

    def _grant(self, key: int, now: float) -> None:
        """Grant a slot of a key to its first shard that still needs one."""
        for shard in self.waiting_shards:
            if identify_key(shard, self._max_concurrency) == key:
                _, grant = self._waiting.pop(shard)
                self._first.discard(shard)
                if grant(now) is not False:
                    return
                self._first.add(shard)


def _decoded(value: bytes | None) -> _Record | None:
    """Return the record of a value; None for garbage."""
    if value is None:
        return None
    try:
        return decoded_value(value, _Record, "the record of identify slots")
    except DataError:
        return None
