"""Observations of the members table: which members are alive, by the clock of the observer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from gateway_proto.errors import DataError
from gateway_proto.fleet.member_record import MAX_DEAD, MemberRecord
from gateway_proto.fleet.records import NAME

__all__ = ["MembersTable"]

_FORGET_AFTER = 60.0
"""Minimum seconds that a dead member stays in the table, for operators."""
_MAX_GONE = 256
"""Number of members that were removed from the table and are remembered, with their last values."""


class _Seen:
    """A value of the table, and when it was seen first.

    `is_known` says whether the member was seen to change: else it may be dead for long.
    """

    __slots__ = ("is_known", "is_live", "record", "since", "value")

    def __init__(self, value: bytes, record: MemberRecord, since: float, *, is_known: bool) -> None:
        self.value = value
        self.record = record
        self.since = since
        self.is_known = is_known
        self.is_live = True


class MembersTable:
    """The other members, as far as one member can know.

    A member is dead once its value was seen unchanged for `ttl` seconds. A value that is missing,
    or an earlier one, counts as unchanged: an engine may have lost the last one. No clocks of two
    members are compared.

    A member that was not seen to change yet is also dead if another one says so of its value.
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

    @property
    def dead(self) -> dict[str, int]:
        """The last members that died, see `MemberRecord`; not those that had given all away."""
        dead = [
            (seen.since, name)
            for name, seen in self._seen.items()
            if not seen.is_live
            and name in self._listed
            and (seen.record.owns or not seen.record.draining)
        ]
        return {name: self._seen[name].record.n for _, name in sorted(dead)[-MAX_DEAD:]}

    @property
    def has_unknown(self) -> bool:
        """Whether a live member was not seen to change yet."""
        return any(seen.is_live and not seen.is_known for seen in self._seen.values())

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
                seen.is_known = False

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
            if seen is not None and record.n < seen.record.n:
                # No sign of life: a crash of the engine may bring an earlier record back. A process
                # with the name of an earlier one gives a sign with its second record.
                seen.value, seen.record = value, record
                seen.since = seen.since if seen.is_live else now  # to be removed later
                continue
            if seen is None or not seen.is_live:
                joined.append(name)
            # The value was read before `now`, so it has changed since then at the latest.
            self._seen[name] = _Seen(value, record, now, is_known=seen is not None)
            for shard, status in record.shards.items():
                self.note_session(shard, status.session_age, now)
        died = []
        reported = self._reported_dead()
        for name, seen in list(self._seen.items()):
            # The table was read after `sent_at`, so the value was unchanged until then at least.
            if seen.is_live and (name in reported or sent_at >= seen.since + self._ttl):
                seen.is_live = False
                died.append(name)
        # Their values may return with a crash of the engine, which loses that they were removed.
        gone = [name for name, seen in self._seen.items() if not seen.is_live and name not in table]
        for name in gone[:-_MAX_GONE]:
            del self._seen[name]
        both = set(joined).intersection(died)
        return sorted(set(joined) - both), sorted(set(died) - both)

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

    def _reported_dead(self) -> set[str]:
        """Return members that are dead by the records of others, and were not seen to change.

        Who was seen to change is judged by the own clock alone. A report holds for as long as the
        member has not changed its record, also if the one who made it is dead by now.
        """
        unknown = {
            name: seen.record.n
            for name, seen in self._seen.items()
            if seen.is_live and not seen.is_known
        }
        if not unknown:
            return set()
        return {
            name
            for seen in self._seen.values()
            for name, n in seen.record.dead.items()
            if unknown.get(name) == n
        }

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
