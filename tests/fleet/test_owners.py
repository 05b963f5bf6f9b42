"""Owners of shards out of the members table."""

from __future__ import annotations

from typing import Any

from gateway_proto.fleet import GatewaySettings, MemberRecord, ShardOwners


def table(**members: MemberRecord) -> dict[str, Any]:
    return {name: record.to_bytes() for name, record in members.items()}


def test_owner_is_the_member_with_the_last_claim() -> None:
    owners = ShardOwners()
    assert owners.owner(0) is None

    owners.read(table(a=MemberRecord(1, {0: 5, 1: 9}), b=MemberRecord(1, {0: 7})))

    assert [owners.owner(shard) for shard in range(3)] == ["b", "a", None]


def test_next_table_replaces_the_previous_one() -> None:
    owners = ShardOwners()
    owners.read(table(a=MemberRecord(1, {0: 5}), b=MemberRecord(1, {1: 5})))

    owners.read(table(a=MemberRecord(1, {0: 5}), b=MemberRecord(2, {0: 6})))

    assert [owners.owner(shard) for shard in range(2)] == ["b", None]


def test_values_that_are_not_records_are_ignored() -> None:
    owners = ShardOwners()

    owners.read({**table(a=MemberRecord(1, {0: 5})), "b": b"garbage"})

    assert owners.owner(0) == "a"


def test_settings_are_those_of_the_record() -> None:
    settings = GatewaySettings(10, 513, "etf", 100, True)
    owners = ShardOwners()

    owners.read(table(a=MemberRecord(1, gateway=settings), b=MemberRecord(1)))

    assert [owners.settings(name) for name in "abc"] == [settings, None, None]
