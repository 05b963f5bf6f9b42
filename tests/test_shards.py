"""Which shard gets a guild, which a process runs, and whose turn it is to identify."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import (
    GatewayFound,
    IdentifyBudget,
    IdentifyQueue,
    LocalProtocolError,
    SessionStartLimit,
    ShardPlan,
    plan_shards,
    shard_of,
)

LIMIT = SessionStartLimit(1000, 900, 3_600_000, max_concurrency=2)
FOUND = GatewayFound("wss://gateway.discord.gg", 4, LIMIT)


def test_a_guilds_shard_is_its_id_without_22_bits_modulo_the_count() -> None:
    """ "shard = (guild_id >> 22) mod count"."""
    assert shard_of("197038439483310086", 16) == (197038439483310086 >> 22) % 16
    assert shard_of(0, 5) == 0


# ----- the plan -----


def test_a_plan_is_that_of_the_lookup_unless_others_are_given() -> None:
    plan = plan_shards(FOUND)

    assert plan == ShardPlan(FOUND.url, 4, (0, 1, 2, 3), 2, LIMIT)
    assert plan_shards(FOUND, count=8, ids=range(2, 4)).ids == (2, 3)
    assert plan_shards(GatewayFound("wss://x")) == ShardPlan("wss://x", 1, (0,), 1, None)


@pytest.mark.parametrize(
    ("count", "ids", "says"),
    [
        (-1, None, "() of -1 shards: name one or more, each once"),
        (4, [], "() of 4 shards: name one or more, each once"),
        (4, [1, 1], "(1, 1) of 4 shards: name one or more, each once"),
        (4, [4], "shards (4,) are not all from 0 to 3"),
        (4, [-1], "shards (-1,) are not all from 0 to 3"),
        (None, [4], "shards (4,) are not all from 0 to 3"),
    ],
)
def test_what_is_no_plan_is_refused(count: int | None, ids: list[int] | None, says: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        plan_shards(FOUND, count=count, ids=ids)

    assert str(caught.value) == says


def test_a_plan_says_how_long_it_takes() -> None:
    assert plan_shards(FOUND).seconds == 5.0
    assert plan_shards(GatewayFound("wss://x", 3)).seconds == 10.0


def test_a_plan_knows_which_guilds_are_here() -> None:
    plan = plan_shards(FOUND, ids=[1])

    assert plan.shard_of(1 << 22) == 1
    with pytest.raises(LocalProtocolError, match="is on shard 2, which is elsewhere"):
        plan.shard_of(2 << 22)


# ----- the queue -----


def _queue(**options: Any) -> tuple[IdentifyQueue, list[tuple[int, float]]]:
    return IdentifyQueue(margin=0.25, **options), []


def _join(queue: IdentifyQueue, granted: list[tuple[int, float]], *shard_ids: int) -> None:
    for shard_id in shard_ids:
        queue.join(shard_id, lambda at, shard_id=shard_id: granted.append((shard_id, at)))


def _run(queue: IdentifyQueue, until: float) -> None:
    while (at := queue.next_timer()) is not None and at <= until:
        queue.handle_timer(now=max(at, 0.0))


def test_shards_of_a_key_take_turns_and_others_do_not_wait_for_them() -> None:
    """Rules 52 and 53: five seconds and a margin, in the order of their ids."""
    queue, granted = _queue(max_concurrency=2)
    _join(queue, granted, 4, 3, 2, 1, 0)

    _run(queue, 100.0)

    assert granted == [(0, 0.0), (1, 0.0), (2, 5.25), (3, 5.25), (4, 10.5)]
    assert queue.waiting == ()
    assert queue.next_timer() is None


def test_one_that_waits_for_its_key_does_not_hold_up_those_behind_it() -> None:
    queue, granted = _queue(max_concurrency=2)
    _join(queue, granted, 0)
    queue.handle_timer(now=0.0)
    _join(queue, granted, 2, 3)

    queue.handle_timer(now=1.0)

    assert granted == [(0, 0.0), (3, 1.0)]
    assert queue.waiting == (2,)


def test_one_that_lost_its_connection_while_it_waited_comes_back_to_the_front() -> None:
    """Rule 54."""
    queue, granted = _queue()
    _join(queue, granted, 0, 1, 2, 3)
    queue.handle_timer(now=0.0)
    queue.leave(3)
    queue.leave(9)
    assert queue.waiting == (1, 2)

    _join(queue, granted, 3)

    assert queue.waiting == (3, 1, 2)
    _run(queue, 100.0)
    assert [shard_id for shard_id, _ in granted] == [0, 3, 1, 2]
    _join(queue, granted, 3, 2)
    assert queue.waiting == (2, 3), "the front is for once"


def _budget(remaining: int, reset_after: int = 3_600_000, now: float = 0.0) -> IdentifyBudget:
    return IdentifyBudget(SessionStartLimit(1000, remaining, reset_after), now=now, reserve=10)


def test_the_days_budget_stops_before_it_is_burnt() -> None:
    """Rule 49: a thousand in a day cost the token; when the day is over there are new ones."""
    queue, granted = _queue(budget=_budget(12), max_concurrency=16)
    _join(queue, granted, 0, 1, 2, 3)

    queue.handle_timer(now=5.0)

    assert [shard_id for shard_id, _ in granted] == [0, 1]
    assert queue.next_timer() == 3600.0
    queue.handle_timer(now=3599.0)
    assert len(granted) == 2
    queue.handle_timer(now=3600.0)
    assert granted[2:] == [(2, 3600.0), (3, 3600.0)]


def test_a_budget_of_which_nothing_is_used_begins_its_day_with_the_first() -> None:
    budget = _budget(1000, reset_after=0, now=50.0)
    assert budget.free_at(50.0) == 50.0

    for _ in range(990):
        budget.take(100.0)

    assert budget.remaining(100.0) == 10
    assert budget.free_at(100.0) == 100.0 + 86400
    assert budget.remaining(100.0 + 86400) == 1000


@pytest.mark.parametrize(("reset_after", "seconds"), [(1, 0.001), (1000, 1.0)])
def test_a_day_ends_when_the_lookup_said(reset_after: int, seconds: float) -> None:
    budget = _budget(20, reset_after=reset_after, now=50.0)

    assert budget.remaining(50.0) == 20
    assert budget.remaining(50.0 + seconds) == 1000


def test_a_lookup_that_names_no_end_of_the_day_gives_nothing_back() -> None:
    budget = _budget(20, reset_after=0, now=50.0)

    assert budget.remaining(51.0) == 20


def test_a_reserve_that_is_never_there_lets_nobody_in() -> None:
    budget = IdentifyBudget(SessionStartLimit(5, 5, 0), now=0.0, reserve=10)
    queue, granted = _queue(budget=budget)
    _join(queue, granted, 0)

    assert budget.free_at(0.0) is None
    assert queue.next_timer() is None


def test_early_or_twice_is_safe_and_in_time_is_early_enough() -> None:
    queue, granted = _queue()
    _join(queue, granted, 0, 1)

    for now in (0.0, 0.0, 5.0):
        queue.handle_timer(now=now)
    assert granted == [(0, 0.0)]
    queue.handle_timer(now=5.25)

    assert granted == [(0, 0.0), (1, 5.25)]
