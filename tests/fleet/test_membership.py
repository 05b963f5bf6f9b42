"""Membership: which shards a member claims, gives away and loses, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import (
    ClaimShard,
    Ledger,
    LogHead,
    LogRecord,
    MemberJoined,
    MemberLeft,
    MemberRecord,
    Membership,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
    ShardStatus,
    Stage,
    WriteMember,
    assign_shards,
)
from tests.fleet.members import Members

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


# ----- heartbeats -----


def test_first_heartbeat_is_due_at_once_and_owns_nothing() -> None:
    member = membership(version="1.2")

    assert member.next_timer() == 0.0
    assert heartbeat(member, 0.0, {}) == MemberRecord(1, version="1.2")


def test_heartbeats_without_news_are_an_interval_apart() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 2.0, {})

    assert member.next_timer() == 2.5
    member.handle_timer(now=2.4)
    assert member.store_requests() == []


def test_one_heartbeat_is_in_flight() -> None:
    member = membership()
    member.handle_timer(now=0.0)

    assert member.next_timer() is None
    member.handle_timer(now=60.0)
    assert len(member.store_requests()) == 1


def test_heartbeat_after_a_slow_answer_is_due_at_once() -> None:
    member = membership()
    own_all(member)

    heartbeat(member, 10.0, {}, answered=11.0)

    assert member.next_timer() == 11.0


def test_failed_heartbeat_is_repeated_after_the_interval() -> None:
    member = membership()

    heartbeat(member, 0.0, None)

    assert member.next_timer() == 0.5
    assert claims(member) == [] and member.events() == []


def test_news_are_announced_in_a_quarter_of_the_interval() -> None:
    member = membership()

    heartbeat(member, 0.0, {})

    assert member.next_timer() == 0.125


def test_record_has_owned_shards_with_their_positions() -> None:
    member = membership()
    own_all(member, position=7)

    assert heartbeat(member, 2.0, {}).owns == {0: 7, 1: 7, 2: 7, 3: 7}


def test_record_has_the_reported_status_of_owned_shards() -> None:
    member = membership()
    own_all(member)
    member.report(2, ShardStatus("ready", 5))
    member.report(9, ShardStatus("ready", 5))

    assert heartbeat(member, 2.0, {}).shards == {2: ShardStatus("ready", 5)}
    member.fenced(2, member.owned[2].id, now=2.1)
    assert heartbeat(member, 2.5, {}).shards == {}


def test_time_that_goes_back_counts_as_the_last_time() -> None:
    member = membership(now=5.0)
    heartbeat(member, 5.0, {})

    member.handle_timer(now=1.0)

    assert member.store_requests() == []
    assert member.next_timer() == 5.125


# ----- claims -----


def test_shards_are_claimed_after_they_were_announced() -> None:
    member = membership()

    heartbeat(member, 0.0, {})
    assert claims(member) == []
    assert heartbeat(member, 0.5, {}).wants == (0, 1, 2, 3)

    assert [request.shard for request in claims(member)] == [0, 1, 2, 3]


def test_claimed_shard_is_owned_and_reported() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    request = claims(member)[2]
    head = LogHead(9, request.id, "a")

    member.claim_done(request, head, now=0.6)

    assert member.owned == {2: head}
    assert member.events() == [ShardAcquired(2, head)]
    assert member.next_timer() == 0.625


def test_refused_claim_is_repeated_with_another_id() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    first = claims(member)
    member.claim_done(first[0], None, now=0.6)

    heartbeat(member, 1.0, {})
    (second,) = claims(member)

    assert second.shard == first[0].shard
    assert second.id != first[0].id
    assert member.owned == {}


def test_two_members_that_start_at_once_claim_no_shard_twice() -> None:
    members = Members("a", "b", count=4)

    members.run(2.0)

    assert members["a"].owned == OF_A and members["b"].owned == OF_B
    assert all(members.store.head(shard).position == 1 for shard in range(4))


def test_shard_that_another_member_owns_is_not_claimed() -> None:
    member = membership()
    heartbeat(member, 0.0, {"b": record(owns={0: 1, 1: 1})})

    heartbeat(member, 0.5, {"b": record(owns={min(OF_A): 1})})

    assert {request.shard for request in claims(member)} == OF_A - {min(OF_A)}


@pytest.mark.parametrize(("name", "claimed"), [("_", set()), ("b", {0, 1, 2, 3})])
def test_member_with_the_lowest_name_claims_what_two_want(name: str, claimed: set[int]) -> None:
    member = membership()
    wants = record(wants=(0, 1, 2, 3), draining=True)  # its view is another one
    heartbeat(member, 0.0, {name: wants})

    heartbeat(member, 0.5, {name: wants})

    assert {request.shard for request in claims(member)} == claimed


def test_ids_of_claims_differ_between_processes_of_one_name() -> None:
    ids = set()
    for now in (0.0, 0.001, 50.0):
        member = membership(now=now)
        heartbeat(member, now, {})
        heartbeat(member, now + 0.5, {})
        ids |= {request.id for request in claims(member)}

    assert len(ids) == 12


def test_claims_of_the_longest_name_begin_a_ledger() -> None:
    now = 1e9 + 1 / 3
    member = Membership("é" * 128, 2**16, now=now)
    for at in (now, now + 1):
        member.handle_timer(now=at)
        member.store_requests()
        member.heartbeat_done({}, now=at)
    request = claims(member)[-1]

    ledger = Ledger("é" * 128, LogHead(2**53 - 1, request.id, "é" * 128))
    ledger.touch()
    _, record = ledger.next_append() or pytest.fail("nothing to append")

    assert LogRecord.from_bytes(record.to_bytes()) == record


def test_claim_that_is_done_while_draining_is_not_owned() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    request = claims(member)[0]
    member.drain(now=0.6)

    member.claim_done(request, LogHead(9, request.id, "a"), now=0.7)

    assert member.owned == {} and member.events() == []


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
    assert member.next_timer() == 2.125
    assert shard not in heartbeat(member, 2.125, {"b": record(wants=(shard,))}).owns


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


# ----- members that die -----


def test_member_that_stops_is_dead_after_ttl_and_replaced() -> None:
    members = Members("a", "b", count=4)
    members.run(2.0)
    members["b"].is_stopped = True

    seconds = members.run(10.0, until=lambda: len(members["a"].owned) == 4)

    assert 3.0 <= seconds <= 3.0 + 1.0
    assert members["a"].take(MemberLeft) == [MemberLeft("b")]


def test_member_that_answers_late_is_not_dead() -> None:
    """The value was read soon after the request was sent, not when the answer came."""
    member = membership()
    value = record()
    heartbeat(member, 1.0, {"b": value})

    for sent, answered in ((2.0, 2.4), (2.6, 3.8), (3.9, 5.2)):
        heartbeat(member, sent, {"b": value}, answered=answered)
    assert member.events() == [MemberJoined("b")]

    heartbeat(member, 5.3, {"b": value})
    assert member.events() == [MemberLeft("b")]


def test_heartbeat_is_sent_when_a_member_would_be_dead() -> None:
    member = membership(interval=0.9)
    own_all(member)
    value = record(owns={1: 1}, draining=True)
    for now in (2.0, 2.9, 3.8, 4.7):
        heartbeat(member, now, {"b": value})

    assert member.next_timer() == 5.0
    heartbeat(member, 5.0, {"b": value})
    assert MemberLeft("b") in member.events()


def test_deaths_in_a_row_cause_no_burst_of_heartbeats() -> None:
    member = membership()
    own_all(member)
    table = {"b": record(draining=True)}
    heartbeat(member, 2.0, table, answered=2.3)
    table["c"] = record(draining=True)
    member.hurry(now=2.3)
    heartbeat(member, 2.3, table, answered=2.31)
    for now in (3.5, 4.9):
        heartbeat(member, now, table)

    assert member.next_timer() == 5.3
    heartbeat(member, 5.3, table)
    assert set(member.members) == {"c"}
    assert member.next_timer() == 5.425


def test_member_that_changes_again_has_joined_again() -> None:
    members = Members("a", "b", count=4)
    members.run(2.0)
    members["b"].is_stopped = True
    members.run(5.0)
    members["a"].take(MemberJoined)
    members["b"].is_stopped = False

    members.run(5.0)

    assert members["a"].take(MemberJoined) == [MemberJoined("b")]
    assert members["a"].owned == OF_A and members["b"].owned == OF_B


def test_missing_value_counts_as_unchanged() -> None:
    member = membership()
    heartbeat(member, 0.0, {"b": record()})

    for step in range(1, 6):
        heartbeat(member, step / 2, {})
    assert set(member.members) == {"b"}
    heartbeat(member, 3.0, {})

    assert member.events() == [MemberJoined("b"), MemberLeft("b")]
    assert member.members == {}


def test_members_are_not_dead_after_an_outage_of_the_engine() -> None:
    members = Members("a", "b", "c", count=6)
    members.run(3.0)
    for name in "abc":
        members[name].is_cut = True
        members[name].events.clear()
    members.run(20.0)
    owners = members.owners
    for name in "abc":
        members[name].is_cut = False

    members.run(10.0)

    assert members.owners == owners
    assert [members[name].events for name in "abc"] == [[], [], []]


def test_observations_begin_again_after_half_of_ttl_cut_off() -> None:
    """A member that was cut off itself has not seen that the others did not change."""
    member = membership()
    value = record()
    heartbeat(member, 0.0, {"b": value})
    heartbeat(member, 1.0, {"b": value})
    for now in (1.5, 2.0, 2.5):
        heartbeat(member, now, None)

    for now in (3.0, 4.0, 5.0, 5.9):
        heartbeat(member, now, {"b": value})
    assert member.events() == [MemberJoined("b")]
    heartbeat(member, 6.1, {"b": value})

    assert member.events() == [MemberLeft("b")]


def test_observations_go_on_after_a_shorter_gap() -> None:
    member = membership()
    value = record()
    for now in (0.0, 1.0, 2.5):
        heartbeat(member, now, {"b": value})

    heartbeat(member, 3.0, {"b": value})

    assert member.events() == [MemberJoined("b"), MemberLeft("b")]


def test_answer_that_is_too_old_counts_as_failed() -> None:
    """A process that was stopped reads an old table: it must not claim with it."""
    member = membership()
    heartbeat(member, 0.0, {})

    heartbeat(member, 0.5, {}, answered=2.1)

    assert claims(member) == []
    assert member.lease_until == 3.0


def test_long_dead_member_is_removed_from_the_table() -> None:
    members = Members("a", "b", count=4)
    members.run(2.0)
    members["b"].is_stopped = True

    members.run(55.0)
    assert "b" in members.store.heartbeat("-", b"")
    members.run(15.0)
    assert set(members.store.heartbeat("-", b"")) == {"a"}

    assert members["a"].owned == {0, 1, 2, 3}
    assert members["a"].membership.members == {}


def test_removed_member_that_was_only_stopped_returns() -> None:
    members = Members("a", "b", count=4)
    members.run(2.0)
    members["b"].is_stopped = True
    members.run(90.0)
    members["b"].is_stopped = False

    members.run(5.0)

    assert members["a"].owned == OF_A and members["b"].owned == OF_B


# ----- ghosts -----


def test_shard_with_a_later_claim_of_another_member_is_lost() -> None:
    member = membership()
    ids = own_all(member, position=5)

    heartbeat(member, 2.0, {"b": record(owns={1: 6, 2: 5, 3: 4})})

    assert member.events() == [MemberJoined("b"), ShardLost(1, ids[1], "b claimed it")]
    assert set(member.owned) == {0, 2, 3}


def test_later_claim_of_a_dead_member_is_ignored() -> None:
    """A failover of the engine may have dropped its claim."""
    member = membership()
    own_all(member, position=5)
    value = record()
    for step in range(8):
        heartbeat(member, 2.0 + step / 2, {"b": value})
    table = {"b": value}

    heartbeat(member, 6.0, table)

    assert len(member.owned) == 4
    assert member.members == {}


def test_stopped_process_loses_its_shards_before_it_may_dial() -> None:
    members = Members("a", "b", count=4)
    members.run(2.0)
    members["b"].is_stopped = True
    members.run(9.0)
    lost_at = members.now
    members["b"].is_stopped = False
    members["b"].take(ShardLost)

    assert not members["b"].membership.may_dial(since=lost_at)
    members.run(5.0, until=lambda: members["b"].membership.may_dial(since=lost_at))

    lost = {event.shard for event in members["b"].take(ShardLost) if isinstance(event, ShardLost)}
    assert lost == OF_B


def test_fenced_shard_is_lost() -> None:
    member = membership()
    ids = own_all(member)
    heartbeat(member, 2.0, {})

    member.fenced(1, ids[1], now=2.01)

    assert set(member.owned) == {0, 2, 3}
    assert member.events() == [ShardLost(1, ids[1], "another member appended to the log")]
    assert member.next_timer() == 2.125


def test_fenced_claim_does_not_affect_a_newer_one() -> None:
    member = membership()
    ids = own_all(member)
    member.fenced(1, ids[1], now=1.1)
    heartbeat(member, 1.5, {})
    heartbeat(member, 2.0, {})
    (request,) = claims(member)
    member.claim_done(request, LogHead(9, request.id, "a"), now=2.0)
    member.events()

    member.fenced(1, ids[1], now=2.1)
    member.released(1, ids[1], now=2.1)

    assert set(member.owned) == {0, 1, 2, 3}
    assert member.events() == []


def test_fenced_shard_is_announced_again_before_it_is_claimed() -> None:
    member = membership()
    ids = own_all(member)
    member.fenced(1, ids[1], now=1.1)

    heartbeat(member, 1.5, {})
    assert claims(member) == []
    assert heartbeat(member, 2.0, {}).wants == (1,)

    assert [request.shard for request in claims(member)] == [1]


def lose_and_claim(member: Membership, now: float) -> bool:
    """Lose shard 1 at `now`; return whether it is owned again a second later."""
    member.fenced(1, member.owned[1].id, now=now)
    heartbeat(member, now + 0.5, {})
    heartbeat(member, now + 1.0, {})
    for request in claims(member):
        member.claim_done(request, LogHead(99, request.id, "a"), now=now + 1.0)
    return 1 in member.owned


def test_shard_that_was_lost_twice_in_a_minute_waits() -> None:
    member = membership()
    own_all(member)

    assert lose_and_claim(member, 10.0)
    assert not lose_and_claim(member, 30.0)
    heartbeat(member, 33.0, {})
    heartbeat(member, 33.5, {})
    assert [request.shard for request in claims(member)] == [1]


def test_losses_of_more_than_a_minute_ago_do_not_count() -> None:
    member = membership()
    own_all(member)

    assert lose_and_claim(member, 10.0)
    assert lose_and_claim(member, 70.0)


def test_shard_that_its_owner_gives_up_twice_waits() -> None:
    member = membership()
    ids = own_all(member)
    member.released(1, ids[1], now=1.0)
    heartbeat(member, 1.5, {})
    heartbeat(member, 2.0, {})
    (request,) = claims(member)
    member.claim_done(request, LogHead(9, request.id, "a"), now=2.0)

    member.released(1, request.id, now=2.1)
    heartbeat(member, 2.5, {})
    heartbeat(member, 3.0, {})

    assert claims(member) == []


def test_two_processes_of_one_name_do_not_claim_in_a_hot_loop() -> None:
    members = Members("a", count=1)
    other = Members("a", count=1, now=100.01)
    other.store = other["a"].store = members.store

    for _ in range(120):
        members.run(0.5)
        other.run(0.5)

    assert members.store.head(0).position <= 12


# ----- dials -----


def test_dial_is_allowed_after_a_heartbeat_sent_after_the_loss() -> None:
    member = membership()
    member.handle_timer(now=0.0)
    member.store_requests()
    member.heartbeat_done({}, now=0.4)

    assert member.may_dial(since=-0.1)
    assert not member.may_dial(since=0.0)
    assert not member.may_dial(since=0.2)
    heartbeat(member, 0.5, None)
    assert not member.may_dial(since=0.2)
    heartbeat(member, 1.0, {})
    assert member.may_dial(since=0.2)
    assert not member.may_dial(since=math.nan)


def test_hurry_brings_the_next_heartbeat_forward() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 2.0, {})
    assert member.next_timer() == 2.5

    member.hurry(now=2.05)
    assert member.next_timer() == 2.125
    member.hurry(now=2.2)
    assert member.next_timer() == 2.125
    heartbeat(member, 3.0, {})
    member.hurry(now=1.0)
    assert member.next_timer() == 3.125


def test_hurry_during_a_heartbeat_affects_the_following_one() -> None:
    member = membership()
    own_all(member)
    member.handle_timer(now=2.0)
    member.store_requests()

    member.hurry(now=2.05)
    member.heartbeat_done({}, now=2.1)

    assert member.next_timer() == 2.125


def test_defaults_are_a_lease_of_ten_seconds_and_four_moves() -> None:
    member = Membership("a", 16, now=0.0)
    for now in (0.0, 0.5, 1.0):
        heartbeat(member, now, {})
        for request in claims(member):
            member.claim_done(request, LogHead(5, request.id, "a"), now=now)
    member.events()

    heartbeat(member, 3.0, {"b": record(wants=tuple(range(16)))})

    assert member.lease_until == 13.0
    assert member.next_timer() == 5.0
    assert sum(isinstance(event, ReleaseRequested) for event in member.events()) == 4


def test_lease_ends_ttl_after_an_answered_heartbeat_was_sent() -> None:
    member = membership()
    assert member.lease_until == -math.inf

    heartbeat(member, 1.0, {}, answered=1.3)
    heartbeat(member, 2.0, None)

    assert member.lease_until == 4.0


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


def test_drain_is_announced_soon() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 2.0, {})

    member.drain(now=2.05)

    assert member.next_timer() == 2.125
    assert heartbeat(member, 2.125, {}).draining


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


# ----- hostile tables -----


def test_values_that_are_no_records_are_ignored() -> None:
    member = membership()
    garbage: dict[Any, Any] = {
        "b": b"",
        "c": b"\xff",
        "d": b'{"n": -1}',
        "e": b'{"n": 1, "owns": {"0": 99999999999999999999}}',
        "": record(owns={1: 9}),
        "x" * 300: record(owns={1: 9}),
        "\ud800": record(owns={1: 9}),
        "f": None,
        5: record(owns={1: 9}),
    }
    heartbeat(member, 0.0, garbage)
    heartbeat(member, 0.5, garbage)

    assert [request.shard for request in claims(member)] == [0, 1, 2, 3]
    assert member.members == {} and member.events() == []


def test_member_whose_value_becomes_garbage_dies_after_ttl() -> None:
    member = membership()
    heartbeat(member, 0.0, {"b": record()})
    for step in range(1, 7):
        heartbeat(member, step / 2, {"b": b"garbage %d" % step})

    assert member.events() == [MemberJoined("b"), MemberLeft("b")]


def test_shards_beyond_the_count_are_ignored() -> None:
    member = membership()
    table = {"b": record(owns={4: 9, 65535: 9}, wants=(4, 65535))}
    heartbeat(member, 0.0, table)

    heartbeat(member, 0.5, table)

    assert {request.shard for request in claims(member)} == OF_A


def test_own_value_in_the_table_does_not_matter() -> None:
    member = membership()
    for now in (0.0, 0.5):
        member.handle_timer(now=now)
        member.heartbeat_done({"a": record(owns={0: 99}, draining=True)}, now=now)

    assert [request.shard for request in claims(member)] == [0, 1, 2, 3]


def test_more_members_than_the_maximum_share_the_shards() -> None:
    member = Membership("a", 4, ttl=3.0, interval=0.5, now=0.0)
    value = record()

    heartbeat(member, 0.0, {f"m{number}": value for number in range(1200)})

    assert len(member.members) == 1200


# ----- invalid calls -----


def test_heartbeat_answered_twice_raises() -> None:
    member = membership()
    heartbeat(member, 0.0, {})

    with pytest.raises(LocalProtocolError) as caught:
        member.heartbeat_done({}, now=0.1)

    assert str(caught.value) == "no heartbeat is in flight: answer each WriteMember once"


def test_claim_answered_twice_raises() -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    request = claims(member)[0]
    member.claim_done(request, None, now=0.6)

    with pytest.raises(LocalProtocolError, match=r"no ClaimShard\(.*\) is pending"):
        member.claim_done(request, None, now=0.7)


@pytest.mark.parametrize(
    "head",
    [
        LogHead(),
        LogHead(5, "other", "a"),
        LogHead(5, "{id}", "b"),
        LogHead(0, "{id}", "a"),
        LogHead(-1, "{id}", "a"),
        LogHead(2**53, "{id}", "a"),
        "head",
    ],
)
def test_claim_done_with_another_head_raises_and_changes_nothing(head: Any) -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 0.5, {})
    request = claims(member)[0]
    if isinstance(head, LogHead):
        head = LogHead(head.position, head.id.format(id=request.id), head.by)

    with pytest.raises(LocalProtocolError, match="invalid"):
        member.claim_done(request, head, now=0.6)

    member.claim_done(request, LogHead(5, request.id, "a"), now=0.7)
    assert set(member.owned) == {request.shard}


@pytest.mark.parametrize(
    ("settings", "error_text"),
    [
        ({"member": ""}, "invalid member '': expected a str of 1 to 128 characters"),
        ({"member": "m" * 129}, "invalid member"),
        ({"member": None}, "member is None"),
        ({"count": 0}, "invalid count 0: expected an int from 1 to 65536"),
        ({"count": 65537}, "invalid count 65537"),
        ({"ttl": 0}, "invalid ttl 0"),
        ({"ttl": math.nan}, "invalid ttl nan"),
        (
            {"ttl": 6.0, "interval": 2.1},
            "invalid interval 2.1: expected a number of seconds, a third of ttl from more than 0 "
            "to 2.0",
        ),
        ({"interval": 0}, "invalid interval 0"),
        ({"max_moves": 0}, "invalid max_moves 0"),
        ({"version": None}, "version is None"),
    ],
)
def test_invalid_settings_raise(settings: dict[str, Any], error_text: str) -> None:
    valid = {"member": "a", "count": 4, "now": 0.0}

    with pytest.raises(LocalProtocolError) as caught:
        Membership(**valid | settings)

    assert str(caught.value).startswith(error_text)


def test_invalid_status_raises() -> None:
    member = membership()

    with pytest.raises(LocalProtocolError, match="invalid status 'ready': expected a ShardStatus"):
        member.report(0, "ready")  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="invalid ShardStatus"):
        member.report(0, ShardStatus("s" * 100))


# ----- the change to another number of shards -----


def test_stages_are_those_of_all_owners() -> None:
    members = Members("a", "b", count=4)
    members.run(20.0, lambda: members.is_settled)

    for shard in members["a"].owned:
        members["a"].membership.reached(shard, Stage.PREPARED, now=members.now)
    for shard in members["b"].owned:
        members["b"].membership.reached(shard, Stage.LEFT, now=members.now)
    members.run(1.0)

    expected = dict.fromkeys(OF_A, Stage.PREPARED) | dict.fromkeys(OF_B, Stage.LEFT)
    assert members["a"].membership.stages == members["b"].membership.stages == expected


def test_new_stage_is_published_early() -> None:
    member = membership(interval=1.0)
    heartbeat(member, 0.0, {})
    heartbeat(member, 1.0, {})
    (request, *_) = claims(member)
    member.claim_done(request, LogHead(2, request.id, "a"), now=1.0)
    for now in (2.0, 3.0):
        heartbeat(member, now, {})

    member.reached(request.shard, Stage.PREPARED, now=3.1)

    assert member.next_timer() == 3.25
    assert heartbeat(member, 3.25, {}).stages == {request.shard: Stage.PREPARED}


def test_stage_is_withdrawn() -> None:
    members = Members("a", count=1)
    members.run(20.0, lambda: members.is_settled)
    member = members["a"].membership
    member.reached(0, Stage.PREPARED, now=members.now)
    assert member.stages == {0: Stage.PREPARED}

    member.reached(0, None, now=members.now)

    assert member.stages == {}


def test_stage_ends_with_the_ownership() -> None:
    members = Members("a", count=2)
    members.run(20.0, lambda: members.is_settled)
    member = members["a"].membership
    for shard in (0, 1):
        member.reached(shard, Stage.LEFT, now=members.now)

    member.fenced(1, member.owned[1].id, now=members.now)
    member.reached(1, Stage.LEFT, now=members.now)

    assert member.stages == {0: Stage.LEFT}


@pytest.mark.parametrize(
    ("position", "stage"), [(1, Stage.PREPARED), (3, Stage.ENTERED), (4, None)]
)
def test_stage_of_the_last_owner_counts(position: int, stage: Stage | None) -> None:
    member = membership()
    heartbeat(member, 0.0, {})
    heartbeat(member, 1.0, {})
    (request, *_) = claims(member)
    member.claim_done(request, LogHead(2, request.id, "a"), now=1.0)
    member.reached(request.shard, Stage.PREPARED, now=1.0)

    stages = {request.shard: Stage.ENTERED} if position < 4 else {}
    other = record(owns={request.shard: position}, stages=stages)
    heartbeat(member, 2.0, {"b": other})

    assert member.stages.get(request.shard) == stage


@pytest.mark.parametrize("stage", [1, "prepared"])
def test_invalid_stage_is_refused(stage: Any) -> None:
    with pytest.raises(LocalProtocolError, match="invalid stage"):
        membership().reached(0, stage, now=0.0)
