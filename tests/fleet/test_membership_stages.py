"""Membership: stages of the change to another number of shards."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import (
    LogHead,
    Stage,
)
from tests.fleet.members import Members
from tests.fleet.membership_calls import OF_A, OF_B, claims, heartbeat, membership, record


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
