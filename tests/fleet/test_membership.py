"""Membership: heartbeats, claims and dials of a member, and the tables it reads."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import (
    Ledger,
    LogHead,
    LogRecord,
    MemberJoined,
    MemberLeft,
    MemberRecord,
    Membership,
    ReleaseRequested,
    ShardAcquired,
    ShardStatus,
)
from tests.fleet.members import Members
from tests.fleet.membership_calls import OF_A, OF_B, claims, heartbeat, membership, own_all, record

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


def test_news_are_announced_in_a_16th_of_the_interval() -> None:
    member = membership()

    heartbeat(member, 0.0, {})

    assert member.next_timer() == 0.03125


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
    assert member.next_timer() == 5.03125


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
    assert member.next_timer() == 0.6


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


def test_heartbeats_hurry_while_a_shard_is_to_be_given_away() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 2.0, {})
    assert member.next_timer() == 2.5

    heartbeat(member, 2.5, {"b": record()})  # it does not want any shard yet
    assert member.next_timer() == 2.625
    heartbeat(member, 2.625, {})

    assert member.next_timer() == 2.75, "until b is dead"


def test_heartbeats_hurry_while_another_has_a_wanted_shard() -> None:
    member = membership()
    everything = record(owns=dict.fromkeys(range(4), 5))
    heartbeat(member, 1.0, {"b": everything})
    heartbeat(member, 1.125, {"b": everything})

    assert member.next_timer() == 1.25


def test_heartbeats_hurry_until_a_given_shard_is_claimed() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 2.0, {"b": record(wants=tuple(range(4)))})
    for event in member.events():
        if isinstance(event, ReleaseRequested):
            member.released(event.shard, event.claim, now=2.05)
    given = set(range(4)) - member.owned.keys()
    heartbeat(member, 2.125, {"b": record(wants=tuple(given))})
    assert member.next_timer() == 2.25

    heartbeat(member, 2.25, {"b": record(owns=dict.fromkeys(given, 9))})

    assert member.next_timer() == 2.75


def test_session_of_a_shard_begins_when_its_owner_says() -> None:
    member = membership()
    unknown = ShardStatus()
    heartbeat(member, 1.0, {"b": record(shards={1: ShardStatus(session_age=40.0), 2: unknown})})
    assert member.session_start(1) == -39.0
    assert member.session_start(2) is None

    heartbeat(member, 2.0, {"b": record(shards={})})  # it was given away
    assert member.session_start(1) == -39.0
    heartbeat(member, 3.0, {"c": record(shards={1: unknown})})

    assert member.session_start(1) is None


def test_session_of_an_own_shard_begins_as_reported() -> None:
    member = membership()
    own_all(member)

    member.report(2, ShardStatus(session_age=0.25))

    assert member.session_start(2) == 0.75


def test_defaults_are_a_lease_of_ten_seconds_and_four_moves() -> None:
    member = Membership("a", 16, now=0.0)
    for now in (0.0, 0.5, 1.0):
        heartbeat(member, now, {})
        for request in claims(member):
            member.claim_done(request, LogHead(5, request.id, "a"), now=now)
    member.events()
    heartbeat(member, 3.0, {})
    assert member.next_timer() == 5.0

    heartbeat(member, 5.0, {"b": record(wants=tuple(range(16)))})

    assert member.lease_until == 15.0
    assert sum(isinstance(event, ReleaseRequested) for event in member.events()) == 4


def test_lease_ends_ttl_after_an_answered_heartbeat_was_sent() -> None:
    member = membership()
    assert member.lease_until == -math.inf

    heartbeat(member, 1.0, {}, answered=1.3)
    heartbeat(member, 2.0, None)

    assert member.lease_until == 4.0


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
        ({"member": "-"}, "invalid member '-'"),
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
