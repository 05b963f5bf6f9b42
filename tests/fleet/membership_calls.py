"""One membership, driven by hand against the records of other members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_proto.fleet import (
    ClaimShard,
    LogHead,
    MemberRecord,
    Membership,
    WriteMember,
    assign_shards,
)

TARGETS = assign_shards(["a", "b"], 4)
OF_A = {shard for shard, name in TARGETS.items() if name == "a"}
OF_B = {shard for shard, name in TARGETS.items() if name == "b"}
RECORD_N = iter(range(10**6))


def membership(**settings: Any) -> Membership:
    return Membership("a", 4, **{"ttl": 3.0, "interval": 0.5, "now": 0.0} | settings)


def record(**fields: Any) -> bytes:
    """Return a record that differs from all earlier ones."""
    return MemberRecord(next(RECORD_N), **fields).to_bytes()


def heartbeat(
    member: Membership, now: float, table: Mapping[str, bytes] | None, *, answered: float = 0.0
) -> MemberRecord:
    """Send a heartbeat, answer it with the values of other members, return the own record."""
    member.handle_timer(now=now)
    (request,) = (each for each in member.store_requests() if isinstance(each, WriteMember))
    assert request.member == "a"
    answer = None if table is None else {**table, "a": request.value}
    member.heartbeat_done(answer, now=max(now, answered))
    return MemberRecord.from_bytes(request.value)


def claims(member: Membership) -> list[ClaimShard]:
    return [each for each in member.store_requests() if isinstance(each, ClaimShard)]


def own_all(member: Membership, *, position: int = 5) -> dict[int, str]:
    """Let a lone member claim all shards at time 1; return the ids of its claims."""
    heartbeat(member, 0.0, {})
    heartbeat(member, 1.0, {})
    for request in claims(member):
        member.claim_done(request, LogHead(position, request.id, "a"), now=1.0)
    member.events()
    assert set(member.owned) == {0, 1, 2, 3}
    return {shard: head.id for shard, head in member.owned.items()}
