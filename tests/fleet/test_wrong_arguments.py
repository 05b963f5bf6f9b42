"""Wrong arguments of the parts of a fleet: each is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from gateway_proto import LocalProtocolError, RequestSoundboardSounds, UpdatePresence
from gateway_proto.commands import Activity
from gateway_proto.fleet import (
    Delivery,
    Generations,
    IdentifySlots,
    LogAnswers,
    LogHead,
    Membership,
    ReferenceStore,
    assign_shards,
    check_command,
    claim_record,
    decode_command,
    encode_command,
)
from gateway_proto.fleet.member_record import GatewaySettings, ShardStatus
from gateway_proto.versions import VERSIONS

NOT_A_TIME = (None, True, "5", math.nan, b"5", [], object())
HEAD = LogHead()
COMMAND = UpdatePresence()


def _membership(**fields: Any) -> Membership:
    return Membership(**{"member": "m", "count": 2, "now": 0.0, **fields})


def _slots() -> IdentifySlots:
    return IdentifySlots(member="m", max_concurrency=1, reserve=0)


def _delivery(**fields: Any) -> Delivery:
    arguments = {"command": b"x", "id": "i", "reply_to": "r", "seconds": 1.0, "now": 0.0}
    return Delivery(0, **{**arguments, **fields})


def _ask(**fields: Any) -> object:
    arguments = {"nonce": "n", "timeout": 1.0, "now": 0.0}
    return LogAnswers(VERSIONS[10]).add(RequestSoundboardSounds(1), **{**arguments, **fields})


CALLS: tuple[tuple[str, Callable[[Any], object], tuple[Any, ...]], ...] = (
    ("now", lambda now: _membership(now=now), NOT_A_TIME),
    ("now", lambda now: _membership().handle_timer(now=now), NOT_A_TIME),
    ("now", lambda now: _membership().drain(now=now), NOT_A_TIME),
    ("shard", lambda shard: _membership().report(shard, ShardStatus()), ([], None, "0", True, -1)),
    ("now", lambda now: _slots().writes(now=now), NOT_A_TIME),
    ("now", lambda now: _delivery(now=now), NOT_A_TIME),
    ("command", lambda command: _delivery(command=command), (None, "x", COMMAND)),
    ("id", lambda id_: _delivery(id=id_), (None, "", 5, "x" * 257)),
    ("reply_to", lambda name: _delivery(reply_to=name), (None, "", 5)),
    ("now", lambda now: _ask(now=now), NOT_A_TIME),
    ("timeout", lambda timeout: _ask(timeout=timeout), (None, 0, -1, math.inf, 10**5000, "1")),
    ("now", lambda now: ReferenceStore().post("m", b"x", 1.0, now=now), NOT_A_TIME),
    ("now", lambda now: ReferenceStore().unpost("m", b"x", now=now), NOT_A_TIME),
    ("now", lambda now: ReferenceStore().take("m", now=now), NOT_A_TIME),
    ("members", lambda members: assign_shards(members, 1), (None, 5, "ab", b"ab", {"a": 1})),
    ("settings", lambda settings: check_command(COMMAND, settings), (None, {}, "json")),
    ("member", lambda member: claim_record(member, "c", HEAD), (None, "", 5)),
    ("claim_id", lambda id_: claim_record("m", id_, HEAD), (None, "", 5)),
    ("head", lambda head: claim_record("m", "c", head), (None, {}, "head")),
    ("before", lambda before: Generations.begun("g", 1, before=before), ({}, "g", 1)),
    ("command", encode_command, (None, 10**5000, {}, GatewaySettings(version=10))),
)


@pytest.mark.parametrize(("field", "call", "wrong"), CALLS)
def test_wrong_argument_is_named(
    field: str, call: Callable[[Any], object], wrong: tuple[Any, ...]
) -> None:
    for value in wrong:
        with pytest.raises(LocalProtocolError, match=f"{field}( |s )") as caught:
            call(value)

        assert len(str(caught.value)) < 300


def test_text_of_a_subclass_is_encoded() -> None:
    class Text(str):
        __slots__ = ()

    command = UpdatePresence(Activity(Text("chess")))

    assert decode_command(encode_command(command)) == UpdatePresence(Activity("chess"))
    assert Generations.from_bytes(Generations.begun(Text("g"), 1).to_bytes()).present.id == "g"
