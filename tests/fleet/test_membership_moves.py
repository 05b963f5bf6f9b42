"""Membership: shards that move to members that join, and from members that drain."""

from __future__ import annotations

from gateway_proto.fleet import (
    MemberJoined,
    Membership,
    ReleaseRequested,
    ShardLost,
)
from tests.fleet.members import Members
from tests.fleet.membership_calls import OF_A, OF_B, claims, heartbeat, membership, own_all, record

# ----- members that join -----


def test_member_that_joins_gets_its_shards_from_the_owner() -> None:
    members = Members("a", count=4)
    members.run(2.0)
    members.start("b")

    members.run(3.0)

    assert members["a"].owned == OF_A and members["b"].owned == OF_B
    assert members["a"].take(MemberJoined) == [MemberJoined("b")]


def test_shard_is_released_only_to_a_member_that_wants_it() -> None:
    member = membership()
    ids = own_all(member)
    shard = min(OF_B)

    heartbeat(member, 2.0, {"b": record()})
    assert member.events() == [MemberJoined("b")]
    heartbeat(member, 2.5, {"b": record(wants=(shard,))})

    assert member.events() == [ReleaseRequested(shard, ids[shard], "b")]
    heartbeat(member, 3.0, {"b": record(wants=(shard,))})
    assert member.events() == []
    assert shard in member.owned


def test_released_shard_is_no_longer_owned_which_is_announced() -> None:
    member = membership()
    ids = own_all(member)
    shard = min(OF_B)
    heartbeat(member, 2.0, {"b": record(wants=(shard,))})

    member.released(shard, ids[shard], now=2.1)

    assert shard not in member.owned
    assert member.next_timer() == 2.1
    assert shard not in heartbeat(member, 2.1, {"b": record(wants=(shard,))}).owns


def moving(max_moves: int) -> tuple[Membership, list[ReleaseRequested]]:
    """Return a member that was asked to give shards away to b, and the requests."""
    member = membership(max_moves=max_moves)
    own_all(member)
    heartbeat(member, 2.0, {"b": record(wants=tuple(OF_B))})
    return member, [each for each in member.events() if isinstance(each, ReleaseRequested)]


def test_at_most_max_moves_shards_are_released_at_a_time() -> None:
    assert len(moving(1)[1]) == 1
    assert len(moving(2)[1]) == 2


def test_next_shard_is_released_once_the_first_is_taken() -> None:
    member, (first,) = moving(1)
    member.released(first.shard, first.claim, now=2.1)
    rest = tuple(OF_B - {first.shard})

    heartbeat(member, 2.5, {"b": record(wants=tuple(OF_B))})
    assert member.events() == []
    heartbeat(member, 3.0, {"b": record(owns={first.shard: 9}, wants=rest)})

    (second,) = member.events()
    assert isinstance(second, ReleaseRequested) and (second.shard,) == rest


def test_next_shard_is_released_if_the_first_is_not_taken() -> None:
    member, (first,) = moving(1)
    member.released(first.shard, first.claim, now=2.1)
    wants = tuple(OF_B - {first.shard})
    for step in range(7):
        heartbeat(member, 2.5 + step / 2, {"b": record(wants=wants)})

    assert [type(event) for event in member.events()] == [ReleaseRequested]


def test_shards_do_not_move_while_the_members_stay() -> None:
    members = Members("a", "b", "c", count=12)
    members.run(5.0)
    owners, heads = members.owners, [members.store.head(shard) for shard in range(12)]

    members.run(60.0)

    assert members.is_settled
    assert members.owners == owners
    assert [members.store.head(shard) for shard in range(12)] == heads


# ----- drains -----


def test_draining_member_gives_all_shards_away_and_leaves() -> None:
    members = Members("a", "b", count=12)
    members.run(3.0)
    members["a"].membership.drain(now=members.now)

    seconds = members.run(10.0, until=lambda: members["a"].membership.has_left)

    assert seconds < 3.0
    members.run(0.5)
    assert members["b"].owned == set(range(12))
    assert members.record("a").draining and members["a"].membership.next_timer() is None
    assert members["b"].take(ShardLost) == []


def test_draining_member_claims_nothing() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    member.drain(now=0.1)
    member.drain(now=0.2)

    heartbeat(member, 0.5, {})

    assert claims(member) == []
    assert member.has_left


def test_drain_is_announced_at_once() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 2.0, {})

    member.drain(now=2.05)

    assert member.next_timer() == 2.05
    assert heartbeat(member, 2.05, {}).draining


def test_draining_member_leaves_after_its_last_claim_is_answered() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    requests = claims(member)
    member.drain(now=0.6)

    heartbeat(member, 1.0, {})
    assert not member.has_left
    for request in requests:
        member.claim_done(request, None, now=1.1)
    heartbeat(member, 1.5, {})

    assert member.has_left


def test_last_member_releases_all_shards_to_none() -> None:
    member = membership(max_moves=4)
    ids = own_all(member)
    member.drain(now=1.5)

    heartbeat(member, 2.0, {})

    assert member.events() == [ReleaseRequested(shard, ids[shard], None) for shard in range(4)]
    for shard in range(4):
        member.released(shard, ids[shard], now=2.1)
    assert not member.has_left
    heartbeat(member, 2.5, {})
    assert member.has_left


def test_last_member_does_not_wait_for_shards_that_nobody_takes() -> None:
    members = Members("a", count=40)
    members.run(3.0)
    members["a"].membership.drain(now=members.now)

    assert members.run(10.0, until=lambda: members["a"].membership.has_left) < 3.0


def test_draining_member_does_not_wait_for_ever_for_a_taker() -> None:
    member = membership()
    ids = own_all(member)
    member.drain(now=2.0)
    for step in range(5):
        heartbeat(member, 2.5 + step / 2, {"b": record()})
    assert member.events() == [MemberJoined("b")]

    heartbeat(member, 5.0, {"b": record()})

    assert member.events() == [ReleaseRequested(shard, ids[shard], "b") for shard in range(4)]


def test_shards_are_not_given_to_a_draining_member() -> None:
    members = Members("a", "b", count=4)
    members.run(3.0)
    members["b"].membership.drain(now=members.now)
    members.run(5.0)
    members["a"].events.clear()

    members.run(5.0)

    assert members["a"].owned == {0, 1, 2, 3}
    assert members["a"].take(ReleaseRequested) == []


def test_member_that_left_does_not_remove_dead_members() -> None:
    member = membership()
    heartbeat(member, 0.0, {"b": record(draining=True)})
    value = record(draining=True)
    for now in (1.0, 2.0, 3.0, 4.0):
        heartbeat(member, now, {"b": value})
        for request in claims(member):
            member.claim_done(request, None, now=now)
    member.drain(now=80.0)

    heartbeat(member, 80.0, {"b": value})

    assert member.has_left and member.store_requests() == []


def test_heartbeats_of_a_move_are_rarer_if_answers_are_slow() -> None:
    member = membership()
    own_all(member)

    heartbeat(member, 2.0, {"b": record()}, answered=2.3)

    assert member.next_timer() == 2.425


# ----- claims that are pending -----


def test_shard_that_is_being_claimed_is_announced_until_answered() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    requests = claims(member)

    heartbeat(member, 1.0, {"b": record()})  # it is to have some of them
    assert heartbeat(member, 1.5, {"b": record()}).wants == (0, 1, 2, 3)
    for request in requests:
        member.claim_done(request, None, now=1.6)

    heartbeat(member, 2.0, {"b": record()})
    assert set(heartbeat(member, 2.5, {"b": record()}).wants) == OF_A


def test_draining_member_announces_no_claims() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    assert claims(member)
    member.drain(now=0.6)

    assert heartbeat(member, 1.0, {}).wants == ()
