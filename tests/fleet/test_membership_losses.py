"""Membership: shards of members that die, and shards that a member loses."""

from __future__ import annotations

from gateway_proto.fleet import (
    LogHead,
    MemberJoined,
    MemberLeft,
    MemberRecord,
    Membership,
    ReleaseRequested,
    ShardLost,
    WriteMember,
)
from tests.fleet.members import Members
from tests.fleet.membership_calls import OF_A, OF_B, claims, heartbeat, membership, own_all, record

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
    heartbeat(member, 1.1, {"b": record(draining=True)})
    value = record(owns={1: 1}, draining=True)
    for now in (2.0, 2.9, 3.8, 4.7):
        heartbeat(member, now, {"b": value})

    assert member.next_timer() == 5.0
    heartbeat(member, 5.0, {"b": value})
    assert MemberLeft("b") in member.events()


def test_deaths_in_a_row_cause_no_burst_of_heartbeats() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 1.5, {name: record(draining=True) for name in "bc"})
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


def test_dead_member_stays_in_the_table_for_ten_ttl() -> None:
    member = membership(ttl=10.0, interval=2.0)
    value, now = record(), 0.0
    removals: list[WriteMember] = []

    while not removals:
        heartbeat(member, now, {"b": value})
        removals = [each for each in member.store_requests() if isinstance(each, WriteMember)]
        now += 2.0

    assert removals == [WriteMember("b", b"")]
    assert 100.0 < now - 2.0 <= 104.0


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


def test_earlier_record_of_a_dead_member_is_no_sign_of_life() -> None:
    """A server of NATS that is killed may have it again after the last one was removed."""
    member = membership()
    own_all(member)
    earlier, last = record(wants=(0, 1, 2, 3)), record(wants=(0, 1, 2, 3))
    for step in range(8):
        heartbeat(member, 2.0 + step / 2, {"b": last})
    heartbeat(member, 6.0, {})
    member.events()
    member.drain(now=6.0)

    heartbeat(member, 6.5, {"b": earlier})
    written = heartbeat(member, 7.0, {"b": earlier})

    assert member.members == {}
    assert {event.to for event in member.events() if isinstance(event, ReleaseRequested)} == {None}
    assert written.dead == {"b": MemberRecord.from_bytes(earlier).n}


def test_earlier_record_of_a_live_member_does_not_end_it() -> None:
    member = membership()
    earlier, last = record(), record()
    heartbeat(member, 0.0, {"b": last})

    heartbeat(member, 0.5, {"b": earlier})
    assert set(member.members) == {"b"}
    for now in (1.0, 1.5, 2.0, 2.5, 3.0):
        heartbeat(member, now, {"b": earlier})

    assert member.members == {}
    assert member.events() == [MemberJoined("b"), MemberLeft("b")]


def test_process_with_the_name_of_a_dead_one_joins() -> None:
    member = membership()
    first, second, of_the_dead = record(), record(), record()
    for step in range(8):
        heartbeat(member, step / 2, {"b": of_the_dead})
    member.events()

    heartbeat(member, 5.0, {"b": first})
    assert member.events() == []
    heartbeat(member, 5.5, {"b": second})

    assert member.events() == [MemberJoined("b")]


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
