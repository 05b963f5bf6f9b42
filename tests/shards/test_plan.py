"""Shard of a guild, and shard plans of a process."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway_proto import GatewayFound, LocalProtocolError, SessionStartLimit
from gateway_proto.shards import ShardPlan, plan, shard_of
from tests.wrong_values import ReprRaises

LIMIT = SessionStartLimit(1000, 900, 3_600_000, max_concurrency=2)
FOUND = GatewayFound("wss://gateway.discord.gg", 4, LIMIT)


def test_shard_of_a_guild_is_id_shifted_22_bits_modulo_count() -> None:
    """ "shard = (guild_id >> 22) mod count"."""
    assert shard_of("197038439483310086", 16) == (197038439483310086 >> 22) % 16
    assert shard_of(0, 5) == 0


# ----- the plan -----


def test_plan_uses_the_lookup_unless_overridden() -> None:
    plan = ShardPlan.from_lookup(FOUND)

    assert plan == ShardPlan(FOUND.url, 4, (0, 1, 2, 3), 2, LIMIT)
    assert ShardPlan.from_lookup(FOUND, count=8, ids=range(2, 4)).ids == (2, 3)
    assert ShardPlan.from_lookup(GatewayFound("wss://x"), ids=()).ids == ()
    assert ShardPlan.from_lookup(GatewayFound("wss://x")) == ShardPlan("wss://x", 1, (0,), 1, None)


@pytest.mark.parametrize(
    ("count", "ids", "error_text"),
    [
        (-1, None, "invalid count -1: expected an int from 1 to 281474976710656"),
        (0, None, "invalid count 0: expected an int from 1 to 281474976710656"),
        ("4", None, "invalid count '4': expected an int from 1 to 281474976710656"),
        (True, None, "invalid count True: expected an int from 1 to 281474976710656"),
        (4, [1, 1], "invalid ids (1, 1): expected ints, each once"),
        (4, ["1"], "invalid ids ('1',): expected ints, each once"),
        (4, "12", "invalid ids '12': expected ints, each once"),
        (4, 1, "invalid ids 1: expected ints, each once"),
        (4, [4], "invalid ids (4,): expected ids from 0 to 3, count is 4"),
        (4, [-1], "invalid ids (-1,): expected ids from 0 to 3, count is 4"),
        (None, [-1], "invalid ids (-1,): expected ids from 0"),
        (None, [4], "invalid ids (4,): expected ids from 0 to 3, count is 4"),
    ],
)
def test_invalid_counts_and_ids_raise(count: Any, ids: Any, error_text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ShardPlan.from_lookup(FOUND, count=count, ids=ids)

    assert str(caught.value) == error_text


def test_ids_without_a_count_raise() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ShardPlan.from_lookup(GatewayFound("wss://x"), ids=range(100))

    assert str(caught.value).startswith("ids (0, 1, 2,")
    assert str(caught.value).endswith("... without count: pass count, the number of all shards")
    assert ShardPlan.from_lookup(GatewayFound("wss://x"), ids=[0]).count == 1


@pytest.mark.parametrize("shards", [10**9, 10**400, 16385], ids="{!r:.12}".format)
def test_huge_count_of_the_lookup_raises(shards: int) -> None:
    with pytest.raises(LocalProtocolError, match="more than 16384: pass count"):
        ShardPlan.from_lookup(GatewayFound("wss://x", shards))

    assert ShardPlan.from_lookup(GatewayFound("wss://x", shards), count=2).ids == (0, 1)


@pytest.mark.parametrize("shards", [0, -5, -(10**400), math.nan, "many"], ids="{!r:.12}".format)
def test_unusable_count_of_the_lookup_means_one_shard(shards: Any) -> None:
    assert ShardPlan.from_lookup(GatewayFound("wss://x", shards)).ids == (0,)


@pytest.mark.parametrize(
    ("named", "used"),
    [(0, 1), (-3, 1), (math.nan, 1), (None, 1), (2.5, 2), (10**400, 2**31)],
    ids="{!r:.12}".format,
)
def test_unusable_max_concurrency_is_at_least_one(named: Any, used: int) -> None:
    limit = SessionStartLimit(1000, 1000, 0, named)

    plan = ShardPlan.from_lookup(GatewayFound("wss://x", 4, limit))

    assert plan.max_concurrency == used
    assert plan.min_identify_seconds == (15.0 if used == 1 else 5.0 if used == 2 else 0.0)


@pytest.mark.parametrize(
    ("guild_id", "count", "error_text"),
    [
        ("abc", 4, "invalid guild_id 'abc'"),
        (None, 4, "guild_id is None"),
        ("1", 0, "invalid count 0"),
    ],
)
def test_invalid_guild_id_raises(guild_id: Any, count: int, error_text: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"{error_text}: expected"):
        shard_of(guild_id, count)


def test_plan_has_its_duration_in_seconds() -> None:
    assert ShardPlan.from_lookup(FOUND).min_identify_seconds == 5.0
    assert ShardPlan.from_lookup(GatewayFound("wss://x", 3)).min_identify_seconds == 10.0


def test_plan_returns_the_shard_of_its_guilds() -> None:
    plan = ShardPlan.from_lookup(FOUND, ids=[1])

    assert plan.shard_of(1 << 22) == 1
    with pytest.raises(LocalProtocolError, match="is on shard 2, which is elsewhere"):
        plan.shard_of(2 << 22)


@pytest.mark.parametrize("found", [None, "wss://gateway.example", 5, {"shards": 5}])
def test_plan_of_another_type_than_gateway_found_is_rejected(found: Any) -> None:
    with pytest.raises(
        LocalProtocolError, match=r"^(invalid found .*|found is None): expected a GatewayFound"
    ):
        ShardPlan.from_lookup(found, count=2)


@pytest.mark.parametrize("count", [2**20 + 1, 2**31, 10**400])
def test_huge_count_without_ids_is_rejected(count: int) -> None:
    error_text = "^invalid count .*(1048576 shards in one process, or ids|281474976710656)$"
    with pytest.raises(LocalProtocolError, match=error_text):
        ShardPlan.from_lookup(GatewayFound("wss://gateway.example"), count=count)


def test_largest_counts_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MAX_SHARDS_WITHOUT_IDS", 5)
    found = GatewayFound("wss://gateway.example", 16384)

    assert ShardPlan.from_lookup(found, count=5).ids == (0, 1, 2, 3, 4)
    assert ShardPlan.from_lookup(found, ids=[5]).count == 16384


@pytest.mark.parametrize("last", [29, 100])
def test_ids_in_an_error_have_at_most_80_characters(last: int) -> None:
    ids = (*range(10, 29), last)

    with pytest.raises(LocalProtocolError) as caught:
        ShardPlan.from_lookup(GatewayFound("wss://gateway.example", 4), ids=ids)

    shown = str(caught.value).removeprefix("invalid ids ").partition(": ")[0]
    assert len(repr(ids)) == 80 + (last == 100)
    assert shown == (repr(ids) if last == 29 else f"{repr(ids)[:77]}...")


def test_ids_that_cannot_be_shown_are_rejected() -> None:
    with pytest.raises(LocalProtocolError, match=r"^invalid ids .*tuple.*: expected ints, each on"):
        ShardPlan.from_lookup(FOUND, count=4, ids=[ReprRaises()])


@pytest.mark.parametrize("guild_id", [None, "x", float("inf"), float("nan"), "9" * 5000])
def test_guild_id_of_another_type_is_rejected(guild_id: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"guild_id .*: expected a snowflake"):
        shard_of(guild_id, 2)
