"""Memberships under random faults: afterwards each shard has one owner, and none moves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto.fleet import MemberJoined, assign_shards
from tests.fleet.members import Members

SHARDS = 6
FAULTS = st.tuples(
    st.sampled_from(["stop", "cut", "crash", "drain", "rewind", "flush"]),
    st.integers(0, 2),
    st.integers(1, 80),
)


def inject(members: Members, fault: str, name: str, steps: int) -> None:
    """Inject a fault into a member or the store; a member that is gone is started again."""
    seconds = steps / 10
    match fault:
        case "stop":
            members[name].is_stopped = True
            members.run(seconds)
            members[name].is_stopped = False
        case "cut":
            members[name].is_cut = True
            members.run(seconds)
            members[name].is_cut = False
        case "crash":
            members.start(name)
            members.run(seconds)
        case "drain":
            members[name].membership.drain(now=members.now)
            members.run(seconds)
            members.start(name)
        case "rewind":
            shard = steps % SHARDS
            members.store.rewind(shard, members.store.head(shard).position // 2)
            members.run(seconds / 10)
        case _:
            for each in members.store.heartbeat("-", b""):
                members.store.heartbeat(each, b"")
            members.run(seconds / 10)


@settings(deadline=None, max_examples=12)
@given(st.lists(FAULTS, max_size=8))
def test_after_faults_each_shard_has_one_owner_and_stays(
    faults: list[tuple[str, int, int]],
) -> None:
    members = Members("a", "b", "c", count=SHARDS)
    members.run(2.0)
    for fault, index, steps in faults:
        inject(members, fault, "abc"[index], steps)

    members.run(70.0)

    assert members.is_settled
    assert {shard: owners[0] for shard, owners in members.owners.items()} == assign_shards(
        ["a", "b", "c"], SHARDS
    )
    positions = [members.store.head(shard).position for shard in range(SHARDS)]
    members.run(20.0)
    assert [members.store.head(shard).position for shard in range(SHARDS)] == positions


@settings(deadline=None, max_examples=40)
@given(st.lists(FAULTS, max_size=8))
def test_two_owners_of_a_shard_never_have_the_same_claim(
    faults: list[tuple[str, int, int]],
) -> None:
    members = Members("a", "b", "c", count=SHARDS)
    for fault, index, steps in faults:
        inject(members, fault, "abc"[index], steps)
        claims = Counter(
            head.id
            for member in members.members.values()
            for head in member.membership.owned.values()
        )

        assert max(claims.values(), default=1) == 1


def test_rolling_restart_moves_shards_without_a_loss() -> None:
    members = Members("a", "b", "c", "d", count=16)
    members.run(5.0)
    for name in "abcd":
        members[name].membership.drain(now=members.now)
        members.run(10.0, until=lambda name=name: members[name].membership.has_left)  # type: ignore[misc]
        del members.members[name]
        members.start(f"{name}2")
        members.run(5.0)

    assert members.is_settled
    assert Counter(owners[0] for owners in members.owners.values()) == {
        "a2": 4,
        "b2": 4,
        "c2": 4,
        "d2": 4,
    }


@pytest.mark.parametrize("count", [1, 7, 100])
def test_members_that_start_together_claim_each_shard_once(count: int) -> None:
    members = Members("a", "b", "c", count=count)

    seconds = members.run(5.0, until=lambda: members.is_settled)

    assert seconds < 1.0
    assert [members.store.head(shard).position for shard in range(count)] == [1] * count
    assert len(members["a"].take(MemberJoined)) == 2
