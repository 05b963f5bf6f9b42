"""Owners of shards, as the members table names them to processes that are not in it."""

from __future__ import annotations

from collections.abc import Mapping

from gateway_proto.errors import DataError
from gateway_proto.fleet.member_record import GatewaySettings, MemberRecord

__all__ = ["ShardOwners"]


class ShardOwners:
    """The last members table that was read."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[bytes, MemberRecord]] = {}

    def read(self, table: Mapping[str, bytes]) -> None:
        """Take a table. Values that are not records are ignored."""
        records = {}
        for name, value in table.items():
            known = self._records.get(name)
            if known is not None and known[0] == value:
                records[name] = known
                continue
            try:
                records[name] = value, MemberRecord.from_bytes(value)
            except DataError:
                continue
        self._records = records

    def owner(self, shard: int) -> str | None:
        """Return the member with the last claim of a shard; it may be dead. None without one."""
        claims = (
            (record.owns[shard], name)
            for name, (_, record) in self._records.items()
            if shard in record.owns
        )
        return max(claims, default=(0, None))[1]

    def settings(self, member: str) -> GatewaySettings | None:
        """Return the settings of a member; None if it takes no commands."""
        found = self._records.get(member)
        return None if found is None else found[1].gateway
