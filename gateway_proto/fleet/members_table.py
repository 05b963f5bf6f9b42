"""Observations of the members table: which members are alive, by the clock of the observer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from gateway_proto.errors import DataError
from gateway_proto.fleet.member_record import MemberRecord
from gateway_proto.fleet.records import NAME

__all__ = ["MembersTable"]

_FORGET_AFTER = 60.0
"""Minimum seconds that a dead member stays in the table, for operators."""


class _Seen:
    """A value of the table, and when it was seen first."""

    __slots__ = ("is_live", "record", "since", "value")

    def __init__(self, value: bytes, record: MemberRecord, since: float) -> None:
        self.value = value
        self.record = record
        self.since = since
        self.is_live = True


class MembersTable:
    """The other members, as far as one member can know.

    A member is dead once its value was seen unchanged for `ttl` seconds. A value that is missing
    counts as unchanged: an engine may have lost it. No clocks of two members are compared.
    """

    def __init__(self, own: str, ttl: float) -> None:
        self._own = own
        self._ttl = ttl
        self._seen: dict[str, _Seen] = {}
        self._listed: frozenset[str] = frozenset()
        self._sessions: dict[int, float] = {}

    @property
    def live(self) -> dict[str, MemberRecord]:
        """The live members and their last records, without the own one."""
        return {name: seen.record for name, seen in self._seen.items() if seen.is_live}

    def note_session(self, shard: int, age: float | None, now: float) -> None:
        """Note the age of a shard's session; None if its owner does not know it."""
        if age is None:
            self._sessions.pop(shard, None)
        else:
            self._sessions[shard] = now - age

    def session_start(self, shard: int) -> float | None:
        """Return when the session of a shard began, by the own clock; None if it is not known."""
        return self._sessions.get(shard)

    def restart(self, now: float) -> None:
        """Observe the live members from now on, as if each had just been seen to change.

        After an outage of the engine nobody has changed. Dead members stay dead.
        """
        for seen in self._seen.values():
            if seen.is_live:
                seen.since = now

    def observe(
        self, table: Mapping[str, bytes], *, sent_at: float, now: float
    ) -> tuple[list[str], list[str]]:
        """Take a table, read between `sent_at` and `now`; return who joined, and who died.

        Values that are not records are ignored, as if they were missing.
        """
        joined = []
        self._listed = frozenset(table)
        for name, value, record in self._changed(table):
            seen = self._seen.get(name)
            if seen is None or not seen.is_live:
                joined.append(name)
            # The value was read before `now`, so it has changed since then at the latest.
            self._seen[name] = _Seen(value, record, now)
            for shard, status in record.shards.items():
                self.note_session(shard, status.session_age, now)
        died = []
        for name, seen in list(self._seen.items()):
            # The table was read after `sent_at`, so the value was unchanged until then at least.
            if seen.is_live and sent_at >= seen.since + self._ttl:
                seen.is_live = False
                died.append(name)
            if not seen.is_live and name not in table:
                del self._seen[name]
        return sorted(joined), sorted(died)

    def next_death(self) -> float:
        """Return when the first member is dead, if its value does not change; else infinity."""
        live = (seen.since for seen in self._seen.values() if seen.is_live)
        return min(live, default=math.inf) + self._ttl

    def forgettable(self, now: float) -> str | None:
        """Return a member whose value in the table can be removed: it is long dead."""
        before = now - max(_FORGET_AFTER, 10 * self._ttl)
        dead = [
            name
            for name, seen in self._seen.items()
            if not seen.is_live and seen.since < before and name in self._listed
        ]
        return min(dead, default=None)

    def _changed(self, table: Mapping[str, bytes]) -> Iterator[tuple[str, bytes, MemberRecord]]:
        for name, value in table.items():
            if name == self._own or not NAME.allows(name) or not isinstance(value, bytes):
                continue
            seen = self._seen.get(name)
            if seen is not None and seen.value == value:
                continue
            try:
                yield name, value, MemberRecord.from_bytes(value)
            except DataError:
                continue
