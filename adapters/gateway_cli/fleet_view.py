"""Observation of a fleet: its members and shards, as their records in the store say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gateway_proto import DataError, LocalProtocolError
from gateway_proto.fleet import MemberRecord, ShardStatus

if TYPE_CHECKING:
    from gateway_cli.fleet_change import FleetChange
    from gateway_fleet import Store
    from gateway_proto.fleet import Generation

__all__ = ["FleetView", "MemberRow", "ShardRow", "find_generation", "read_members"]


@attrs.frozen
class MemberRow:
    """A member, as its last record says."""

    member: str
    shards: tuple[int, ...]
    version: str
    draining: bool
    heartbeat_age: float | None
    """Seconds since its last heartbeat was seen; None if none was seen yet."""
    alive: bool
    """Whether that is recent."""

    @property
    def has_left(self) -> bool:
        """Whether it gave all shards away, and ended: its record stays for a while."""
        return self.draining and not self.shards and not self.alive


@attrs.frozen
class ShardRow:
    """A shard, as the last record of its owner says."""

    shard: int
    owner: str | None
    status: ShardStatus


async def find_generation(store: Store, bot: str | None) -> tuple[str, Store, Generation]:
    """Return a bot of the store, the store of its present generation, and the generation.

    Raises `LocalProtocolError` without a fleet, and `StoreError`.
    """
    from gateway_fleet._bots import find_bot
    from gateway_fleet._generation import read_generation

    try:
        found = await find_bot(store, bot)
    except LocalProtocolError as error:
        raise LocalProtocolError(str(error).replace("bot=", "--bot")) from None
    if found is None:
        raise LocalProtocolError("the store has no fleet: no member has been started yet")
    generation, _ = await read_generation(store.scoped(found))
    if generation is None:
        raise LocalProtocolError(f"the store has no fleet of the bot {found!r:.80}")
    return found, store.scoped(found).scoped(generation.id), generation


async def read_members(store: Store) -> dict[str, bytes]:
    """Return the members table: an empty value of no member changes nothing."""
    return await store.heartbeat("-", b"")


class FleetView:
    """Members and shards of a fleet, from members tables that are read one after the other.

    No clocks of two machines are compared: a heartbeat is seen when a record has changed. A member
    is alive if one was seen in the last `seconds`.
    """

    def __init__(self, bot: str, generation: Generation, seconds: float) -> None:
        self.bot = bot
        self.generation = generation
        self.change: FleetChange | None = None
        """The change to another number of shards, if one is under way."""
        self._seconds = seconds
        self._records: dict[str, MemberRecord] = {}
        self._values: dict[str, bytes] = {}
        self._changed: dict[str, float | None] = {}
        self._now = 0.0
        self._has_looked = False

    def observe(self, table: Mapping[str, bytes], *, now: float) -> None:
        """Take a table that was read at `now`."""
        for name, value in table.items():
            if self._values.get(name) == value:
                continue
            try:
                self._records[name] = MemberRecord.from_bytes(value)
            except DataError:
                continue
            # The first record of a table may be an old one; one that appears later is new.
            self._changed[name] = now if self._has_looked else None
            self._values[name] = value
        for name in self._values.keys() - table.keys():
            del self._values[name], self._records[name], self._changed[name]
        self._now, self._has_looked = now, True

    @property
    def has_seen_all(self) -> bool:
        """Whether a heartbeat of each member was seen that has not left."""
        return all(row.heartbeat_age is not None or row.has_left for row in self.members())

    def members(self) -> list[MemberRow]:
        """Return a row for each member, by name."""
        rows = []
        for name, record in sorted(self._records.items()):
            at = self._changed[name]
            age = None if at is None else self._now - at
            owned = tuple(sorted(record.owns))
            alive = age is not None and age <= self._seconds
            rows.append(MemberRow(name, owned, record.version, record.draining, age, alive))
        return rows

    def shards(self) -> list[ShardRow]:
        """Return a row for each shard. Of several owners the one with the last claim counts."""
        claims: dict[int, tuple[int, str]] = {}
        for name, record in self._records.items():
            for shard, position in record.owns.items():
                claims[shard] = max(claims.get(shard, (0, "")), (position, name))
        rows = []
        for shard in range(self.generation.count):
            _, owner = claims.get(shard, (0, None))
            status = ShardStatus() if owner is None else self._records[owner].shards.get(shard)
            rows.append(ShardRow(shard, owner, status or ShardStatus()))
        return rows

    def as_json(self) -> dict[str, Any]:
        """Return all of it as one object."""
        return {
            "bot": self.bot,
            "generation": self.generation.id,
            "count": self.generation.count,
            "next": None if self.change is None else attrs.asdict(self.change),
            "members": [attrs.asdict(row) for row in self.members()],
            "shards": [
                {
                    "shard": row.shard,
                    "owner": row.owner,
                    **{name: getattr(row.status, name) for name in ShardStatus.__struct_fields__},
                }
                for row in self.shards()
            ],
        }
