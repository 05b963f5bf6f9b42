"""Membership: notices to the members that wait for the news of a heartbeat."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto.fleet import (
    GatewaySettings,
    LogHead,
    MemberRecord,
    Membership,
    NotifyMember,
    ReleaseRequested,
    assign_shards,
    mailbox_of,
)
from gateway_proto.fleet.mailboxes import check_message
from gateway_proto.fleet.notices import is_notice, notice, who_waits
from tests.fleet.membership_calls import (
    OF_A,
    OF_B,
    claims,
    heartbeat,
    membership,
    own_all,
    record,
)

GATEWAY = GatewaySettings(10)


def notified(member: Membership) -> list[str]:
    """Return the members that are to be notified, of all requests so far."""
    return [each.member for each in member.store_requests() if isinstance(each, NotifyMember)]


def with_gateway(**fields: Any) -> bytes:
    return record(gateway=GATEWAY, **fields)


def settled() -> tuple[Membership, dict[int, str]]:
    """Return a member that owns its half of the shards next to b, and its claims."""
    member = membership()
    ids = own_all(member)
    heartbeat(member, 1.5, {"b": with_gateway(wants=tuple(OF_B))})
    for event in member.events():
        if isinstance(event, ReleaseRequested):
            member.released(event.shard, event.claim, now=1.6)
    heartbeat(member, 2.0, {"b": with_gateway(owns=dict.fromkeys(OF_B, 9))})
    member.store_requests()
    assert set(member.owned) == OF_A
    return member, ids


# ----- who is notified -----


def test_drain_notifies_the_members_that_get_the_shards() -> None:
    member, _ = settled()
    names = assign_shards(["b", "c", "d", "e", "f", "g"], 4)
    table = {name: with_gateway() for name in "bcdefg"}
    heartbeat(member, 2.5, table)
    member.store_requests()
    member.drain(now=2.6)

    heartbeat(member, 2.7, table)

    assert notified(member) == sorted({names[shard] for shard in OF_A})
    heartbeat(member, 3.0, table)
    assert notified(member) == []


def test_released_shard_notifies_its_next_owner() -> None:
    member = membership()
    own_all(member)
    wants = with_gateway(wants=tuple(OF_B))
    heartbeat(member, 2.0, {"b": wants})
    for event in member.events():
        if isinstance(event, ReleaseRequested):
            member.released(event.shard, event.claim, now=2.1)
    assert notified(member) == []

    heartbeat(member, 2.2, {"b": wants})

    assert notified(member) == ["b"]
    heartbeat(member, 2.5, {"b": wants})
    assert notified(member) == []


def test_shard_that_was_lost_notifies_nobody() -> None:
    member, _ = settled()

    heartbeat(member, 2.5, {"b": with_gateway(owns=dict.fromkeys(range(4), 99))})
    heartbeat(member, 3.0, {"b": with_gateway(owns=dict.fromkeys(range(4), 99))})

    assert member.owned == {}
    assert notified(member) == ["b"], "the shards are wanted back"


def test_shard_that_another_owns_is_not_given_to_its_target() -> None:
    before, written = MemberRecord(1, {0: 5, 1: 6}), MemberRecord(2)

    names = who_waits(before, written, {0: "b", 1: "c"}, {0: (9, "d")}, {})

    assert names == {"c"}


def test_wanted_shard_notifies_its_owner_once() -> None:
    member = membership()
    everything = with_gateway(owns=dict.fromkeys(range(4), 5))
    heartbeat(member, 0.0, {"b": everything})
    assert notified(member) == []

    heartbeat(member, 1.0, {"b": everything})

    assert notified(member) == ["b"]
    heartbeat(member, 1.5, {"b": everything})
    assert notified(member) == []


def test_acquired_shard_notifies_the_owner_that_gave_it() -> None:
    member = membership()
    heartbeat(member, 0.0, {"b": with_gateway(owns=dict.fromkeys(range(4), 5))})
    heartbeat(member, 1.0, {"b": with_gateway(owns=dict.fromkeys(range(4), 5))})
    heartbeat(member, 1.5, {"b": with_gateway(owns=dict.fromkeys(OF_B, 5))})
    requests = claims(member)
    assert {request.shard for request in requests} == OF_A
    for request in requests:
        member.claim_done(request, LogHead(7, request.id, "a"), now=1.6)

    heartbeat(member, 2.1, {"b": with_gateway(owns=dict.fromkeys(OF_B, 5))})

    assert notified(member) == ["b"]
    heartbeat(member, 2.6, {"b": with_gateway(owns=dict.fromkeys(OF_B, 5))})
    assert notified(member) == []


def test_claim_without_a_previous_owner_notifies_nobody() -> None:
    member = membership()
    for now in (0.0, 1.0, 1.5):
        heartbeat(member, now, {"b": with_gateway()})
        for request in claims(member):
            member.claim_done(request, LogHead(5, request.id, "a"), now=now)

    heartbeat(member, 2.0, {"b": with_gateway()})

    assert set(member.owned) == OF_A
    assert notified(member) == []


def test_member_that_takes_no_commands_is_not_notified() -> None:
    member, _ = settled()
    member.drain(now=2.6)

    heartbeat(member, 2.7, {"b": record()})

    assert notified(member) == []


def test_failed_heartbeat_notifies_nobody_until_one_is_answered() -> None:
    member, _ = settled()
    member.drain(now=2.6)

    heartbeat(member, 2.7, None)
    assert notified(member) == []
    heartbeat(member, 3.3, {"b": with_gateway()})

    assert notified(member) == ["b"]


# ----- members that are notified -----


def test_notice_brings_the_next_heartbeat_to_now() -> None:
    member, _ = settled()
    heartbeat(member, 3.0, {"b": with_gateway()})
    assert member.next_timer() == 3.5

    member.notified(now=3.2)

    assert member.next_timer() == 3.2


def test_notices_in_a_row_cause_no_burst_of_heartbeats() -> None:
    member, _ = settled()
    heartbeat(member, 3.0, {"b": with_gateway()})

    for _ in range(20):
        member.notified(now=3.001)

    assert member.next_timer() == 3.03125


def test_notice_during_a_heartbeat_affects_the_following_one() -> None:
    member, _ = settled()
    member.handle_timer(now=3.0)
    member.store_requests()

    member.notified(now=3.01)
    member.heartbeat_done({"b": with_gateway(owns=dict.fromkeys(OF_B, 9))}, now=3.1)

    assert member.next_timer() == 3.1


# ----- messages -----


@pytest.mark.parametrize("member", ["a", "é" * 128])
def test_notices_differ_and_fit_into_a_mailbox(member: str) -> None:
    messages = {notice(member, number) for number in range(3)}

    assert len(messages) == 3
    for message in messages:
        check_message(mailbox_of(member), message)
        assert is_notice(message)


@pytest.mark.parametrize("message", [b"", b"\xc1", b"notice 1 a", b"\x96\xa2id\x01"])
def test_other_messages_are_no_notices(message: bytes) -> None:
    assert not is_notice(message)


# ----- a claim during a heartbeat -----


def test_shard_that_is_claimed_during_a_heartbeat_notifies_later() -> None:
    member = membership()
    everything = with_gateway(owns=dict.fromkeys(range(4), 5))
    rest = with_gateway(owns=dict.fromkeys(OF_B, 5))
    for now, value in ((0.0, everything), (1.0, everything), (1.5, rest)):
        heartbeat(member, now, {"b": value})
    requests = claims(member)
    member.handle_timer(now=2.0)
    member.store_requests()
    for request in requests:
        member.claim_done(request, LogHead(7, request.id, "a"), now=2.1)
    member.heartbeat_done({"b": rest}, now=2.2)
    assert notified(member) == []

    heartbeat(member, 2.5, {"b": rest})

    assert notified(member) == ["b"]
