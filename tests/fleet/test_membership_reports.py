"""Membership: members that are dead by the records of others, for those that have just started."""

from __future__ import annotations

from gateway_proto.fleet import (
    MemberJoined,
    MemberLeft,
    MemberRecord,
    Membership,
    assign_shards,
)
from gateway_proto.fleet.member_record import MAX_DEAD
from tests.fleet.members import Members
from tests.fleet.membership_calls import OF_A, claims, heartbeat, membership, own_all, record


def value(n: int, **fields: object) -> bytes:
    return MemberRecord(n, **fields).to_bytes()  # type: ignore[arg-type]


def test_dead_members_are_reported_with_their_last_number() -> None:
    member = membership()
    own_all(member)
    for step in range(7):
        heartbeat(member, 2.0 + step / 2, {"b": value(7, owns={1: 1})})

    written = heartbeat(member, 5.5, {"b": value(7)})

    assert written.dead == {"b": 7}


def test_death_is_reported_soon() -> None:
    member = membership()
    own_all(member)
    heartbeat(member, 1.5, {"b": value(1, draining=True)})
    for now in (2.0, 3.0, 4.0, 5.0):
        heartbeat(member, now, {"b": value(7, draining=True, owns={9: 1})})

    assert member.events()[-1] == MemberLeft("b")
    assert member.next_timer() == 5.03125


def test_member_that_had_given_all_away_is_not_reported() -> None:
    member = membership()
    own_all(member)
    for step in range(8):
        heartbeat(member, 2.0 + step / 2, {"b": value(7, draining=True)})

    assert heartbeat(member, 6.0, {}).dead == {}


def test_member_that_returns_is_no_longer_reported() -> None:
    member = membership()
    own_all(member)
    for step in range(8):
        heartbeat(member, 2.0 + step / 2, {"b": value(7)})
    heartbeat(member, 6.0, {"b": value(8)})

    assert heartbeat(member, 6.5, {"b": value(8)}).dead == {}


def test_last_members_that_died_are_reported_up_to_the_maximum() -> None:
    member = membership()
    names = [f"m{number:03}" for number in range(MAX_DEAD + 6)]
    table = {name: value(7) for name in names}
    heartbeat(member, 0.5, dict.fromkeys(names[:6], value(7)))
    for step in range(8):
        heartbeat(member, 1.0 + step / 2, table)

    assert set(heartbeat(member, 5.5, table).dead) == set(names[6:])


def test_new_member_counts_a_reported_member_as_dead_at_once() -> None:
    member = membership()
    table = {"b": record(dead={"c": 7}), "c": value(7, owns=dict.fromkeys(range(4), 1))}

    heartbeat(member, 0.0, table)

    assert member.events() == [MemberJoined("b")]
    assert set(member.members) == {"b"}
    heartbeat(member, 0.1, table)
    assert {request.shard for request in claims(member)} == OF_A


def test_member_whose_record_has_changed_is_not_dead() -> None:
    member = membership()

    dead = {"c": 7, "d": 7, "e": 9}
    heartbeat(member, 0.0, {"b": record(dead=dead), "c": value(8), "e": value(8)})

    assert set(member.members) == {"b", "c", "e"}


def test_member_that_was_seen_to_change_is_not_dead_by_a_report() -> None:
    """The own observation is better: the clock of another member may be wrong."""
    member = membership()
    heartbeat(member, 0.0, {"b": record(), "c": value(7)})
    heartbeat(member, 0.5, {"b": record(), "c": value(8)})

    heartbeat(member, 1.0, {"b": record(dead={"c": 8}), "c": value(8)})

    assert set(member.members) == {"b", "c"}


def test_member_that_was_cut_off_believes_reports_again() -> None:
    member = membership()
    heartbeat(member, 0.0, {"b": record(), "c": value(7)})
    heartbeat(member, 0.5, {"b": record(), "c": value(8)})
    for now in (1.0, 2.0, 3.0):
        heartbeat(member, now, None)
    member.events()

    heartbeat(member, 3.5, {"b": record(dead={"c": 8}), "c": value(8)})

    assert member.events() == [MemberLeft("c")]


def test_report_of_a_dead_member_still_holds() -> None:
    member = membership()

    heartbeat(
        member, 0.0, {"b": value(9, dead={"c": 7}), "c": value(7), "d": record(dead={"b": 9})}
    )

    assert set(member.members) == {"d"}


def test_reported_member_that_returns_joins() -> None:
    member = membership()
    heartbeat(member, 0.0, {"b": record(dead={"c": 7}), "c": value(7)})
    member.events()

    heartbeat(member, 0.5, {"b": record(dead={"c": 7}), "c": value(8)})

    assert member.events() == [MemberJoined("c")]


def test_heartbeats_hurry_until_each_member_is_known() -> None:
    member = Membership("a", 4, ttl=3.0, interval=0.5, now=0.0)
    heartbeat(member, 0.0, {"b": value(1, draining=True)})
    own = heartbeat(member, 0.1, {"b": value(1, draining=True)})
    assert own.wants
    member.drain(now=0.2)
    claims(member)
    heartbeat(member, 0.3, {"b": value(1, draining=True)})
    assert member.next_timer() == 0.425

    heartbeat(member, 0.425, {"b": value(2, draining=True)})

    assert member.next_timer() == 0.925


def test_new_member_takes_shards_of_those_that_died_before() -> None:
    """A crashed process and its replacement: it waits for no heartbeat of the first."""
    members = Members("a", "b", "c", count=12)
    members.run(3.0)
    members["c"].is_stopped = True
    members.run(6.0)
    members["b"].membership.drain(now=members.now)
    members.run(3.0)
    members["b"].is_stopped = True

    members.start("d")
    seconds = members.run(10.0, until=lambda: bool(members["d"].owned) and is_divided(members))

    assert seconds < 1.5
    members.run(0.5)
    assert set(members.record("d").dead) <= {"c"}


def is_divided(members: Members) -> bool:
    targets = assign_shards(["a", "d"], 12)
    return all(
        members[name].owned == {shard for shard, to in targets.items() if to == name}
        for name in "ad"
    )


# ----- members that were removed -----


def test_removed_value_that_the_engine_has_again_is_dead() -> None:
    member = membership()
    own_all(member)
    for step in range(7):
        heartbeat(member, 2.0 + step / 2, {"b": value(7)})
    heartbeat(member, 6.0, {})
    assert heartbeat(member, 6.5, {}).dead == {}
    member.events()

    heartbeat(member, 7.0, {"b": value(7)})

    assert member.events() == [] and member.members == {}
    assert heartbeat(member, 7.5, {"b": value(7)}).dead == {"b": 7}


def test_removed_members_are_remembered_up_to_a_maximum() -> None:
    member = membership()
    table = {f"m{number:03}": value(7) for number in range(300)}
    for step in range(8):
        heartbeat(member, step / 2, table)
    heartbeat(member, 4.5, {})
    member.events()

    heartbeat(member, 5.0, table)

    assert len(member.events()) == 300 - 256
