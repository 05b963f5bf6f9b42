"""Identify queue, and the budget of Identifies."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.shards import IdentifyQueue
from gateway_proto.timing.identify_budget import IdentifyBudget


def _queue(**options: Any) -> tuple[IdentifyQueue, list[tuple[int, float]]]:
    return IdentifyQueue(margin=0.25, **options), []


def _join(queue: IdentifyQueue, granted: list[tuple[int, float]], *shard_ids: int) -> None:
    for shard_id in shard_ids:
        queue.join(shard_id, lambda at, shard_id=shard_id: granted.append((shard_id, at)))


def _run(queue: IdentifyQueue, until: float) -> None:
    while (at := queue.next_timer()) is not None and at <= until:
        queue.handle_timer(now=max(at, 0.0))


def test_identify_slots_are_granted_per_key_in_order() -> None:
    """Rules 52 and 53: five seconds and a margin, in the order of their ids."""
    queue, granted = _queue(max_concurrency=2)
    _join(queue, granted, 4, 3, 2, 1, 0)

    _run(queue, 100.0)

    assert granted == [(0, 0.0), (1, 0.0), (2, 5.25), (3, 5.25), (4, 10.5)]
    assert queue.waiting_shards == ()
    assert queue.next_timer() is None


def test_seconds_and_margin_of_identify_slots_are_added() -> None:
    queue = IdentifyQueue(seconds=10.0, margin=2.0)
    granted: list[tuple[int, float]] = []
    _join(queue, granted, 0, 1)

    _run(queue, 100.0)

    assert granted == [(0, 0.0), (1, 12.0)]


def test_identify_slot_of_another_key_is_not_delayed() -> None:
    queue, granted = _queue(max_concurrency=2)
    _join(queue, granted, 0)
    queue.handle_timer(now=0.0)
    _join(queue, granted, 2, 3)

    queue.handle_timer(now=1.0)

    assert granted == [(0, 0.0), (3, 1.0)]
    assert queue.waiting_shards == (2,)


def test_shard_that_disconnects_while_queued_rejoins_in_front() -> None:
    """Rule 54."""
    queue, granted = _queue()
    _join(queue, granted, 0, 1, 2, 3)
    queue.handle_timer(now=0.0)
    queue.leave(3)
    queue.leave(9)
    assert queue.waiting_shards == (1, 2)

    _join(queue, granted, 3)

    assert queue.waiting_shards == (3, 1, 2)
    _run(queue, 100.0)
    assert [shard_id for shard_id, _ in granted] == [0, 3, 1, 2]
    _join(queue, granted, 3, 2)
    assert queue.waiting_shards == (2, 3), "only once in front"


def _budget(remaining: int, reset_after: float = 3_600_000, now: float = 0.0) -> IdentifyBudget:
    budget = IdentifyBudget(per_day=2000, reserve=10)
    budget.set_limit(1000, remaining, reset_after, now=now)
    return budget


def test_spent_budget_grants_no_identify_slot_until_its_reset() -> None:
    """Rule 49: 1000 in a day reset the token; the budget is refilled after the day."""
    budget = _budget(12)
    queue, granted = _queue(budget=budget, max_concurrency=16)
    for shard_id in range(4):
        queue.join(shard_id, _taking(budget, granted, shard_id))

    queue.handle_timer(now=5.0)

    assert [shard_id for shard_id, _ in granted] == [0, 1]
    assert queue.next_timer() == 3600.0
    queue.handle_timer(now=3599.0)
    assert len(granted) == 2
    queue.handle_timer(now=3600.0)
    assert granted[2:] == [(2, 3600.0), (3, 3600.0)]


def _taking(
    budget: IdentifyBudget, granted: list[tuple[int, float]], shard_id: int
) -> Callable[[float], None]:
    def grant(at: float) -> None:
        budget.record(at)
        granted.append((shard_id, at))

    return grant


def test_unused_identify_budget_starts_its_day_with_first_use() -> None:
    budget = _budget(1000, reset_after=0, now=50.0)
    assert budget.next_slot_at(50.0) == 50.0

    for _ in range(990):
        budget.record(100.0)

    assert budget.remaining(100.0) == 10
    assert budget.next_slot_at(100.0) == 100.0 + 86400
    assert budget.remaining(100.0 + 86400) == 1000


@pytest.mark.parametrize(("reset_after", "seconds"), [(1, 0.001), (1000, 1.0)])
def test_identify_budget_resets_at_the_time_of_the_lookup(reset_after: int, seconds: float) -> None:
    budget = _budget(20, reset_after=reset_after, now=50.0)

    assert budget.remaining(50.0) == 20
    assert budget.remaining(50.0 + seconds) == 1000


def test_identify_budget_without_reset_time_is_not_refilled() -> None:
    budget = _budget(20, reset_after=0, now=50.0)

    assert budget.remaining(51.0) == 20


@pytest.mark.parametrize("reset_after", [0, -1, -(10**400), math.nan, None], ids="{!r:.12}".format)
def test_spent_identify_budget_without_reset_waits_a_day(reset_after: Any) -> None:
    """No limit lasts longer than the 24 hours that the documentation names."""
    budget = _budget(3, reset_after=reset_after, now=50.0)

    assert budget.next_slot_at(50.0) == 50.0 + 86400
    assert budget.next_slot_at(50.0 + 86400) == 50.0 + 86400


@pytest.mark.parametrize("reset_after", [10**400, math.inf, 1e300], ids="{!r:.12}".format)
def test_identify_budget_reset_is_bounded_by_a_week(reset_after: Any) -> None:
    assert _budget(3, reset_after=reset_after).next_slot_at(0.0) == 7 * 86400


@pytest.mark.parametrize(
    ("total", "remaining", "allowed"),
    [
        (1, 1, 1),
        (2, 2, 2),
        (100, 100, 90),
        (101, 100, 90),
        (1000, 1000, 900),
        (1000, 101, 1),
        (1000, 100, 0),
        (2000, 2000, 1900),
        (0, 0, 0),
        (0, 1, 1),
        (-5, -5, 0),
        (1000, -(10**400), 0),
        (math.nan, 1000, 900),
        (1000, math.nan, 900),
        (1000, None, 900),
    ],
    ids="{!r:.12}".format,
)
def test_identify_reserve_is_a_tenth_of_a_small_total(
    total: Any, remaining: Any, allowed: int
) -> None:
    budget = IdentifyBudget(per_day=10_000, reserve=100)
    budget.set_limit(total, remaining, 3_600_000, now=0.0)

    taken = 0
    while budget.spent(0.0) is None:
        budget.record(0.0)
        taken += 1

    assert taken == allowed
    assert budget.next_slot_at(0.0) == 3600.0
    assert budget.next_slot_at(3600.0) == 3600.0, "after the reset at least one may identify"


def test_huge_remaining_number_keeps_the_own_identify_limit() -> None:
    budget = IdentifyBudget(per_day=5, reserve=100)
    budget.set_limit(10**400, 10**400, 0, now=0.0)
    for at in range(5):
        budget.record(float(at))

    assert budget.next_slot_at(4.0) == 86400.0
    assert budget.next_slot_at(86400.0) == 86400.0


def test_identify_reserve_of_all_still_allows_one() -> None:
    budget = IdentifyBudget(reserve=10**9)
    budget.set_limit(5, 5, 1000, now=0.0)

    assert budget.spent(0.0) is None
    budget.record(0.0)
    assert budget.spent(0.0) is not None


def test_spent_identify_budget_is_reported_with_its_reset() -> None:
    found, own = _budget(3), IdentifyBudget(per_day=1)
    own.record(0.0)

    assert found.spent(0.0) == (
        3600.0,
        "3 of 1000 sessions remain, and Config.identify_reserve keeps 10; the next Identify is "
        "possible in 3600 s",
    )
    assert own.spent(400.0) == (
        86000.0,
        "1 Identifies in 24 hours, as many as Config.identify_budget allows: find out why "
        "sessions are lost; the next Identify is possible in 86000 s",
    )
    assert own.spent(86400.0) is None
    assert own.remaining(0.0) is None


def test_identify_budget_of_zero_grants_no_slot() -> None:
    budget = IdentifyBudget(per_day=0)
    queue, granted = _queue(budget=budget)
    _join(queue, granted, 0)

    queue.handle_timer(now=0.0)

    assert (granted, queue.next_timer(), budget.next_slot_at(1e9)) == ([], None, None)
    spent = budget.spent(0.0)
    assert spent is not None
    assert spent[0] is None


def test_declined_identify_slot_goes_to_the_next_shard() -> None:
    queue, granted = _queue()
    queue.join(0, lambda at: False)
    _join(queue, granted, 1)

    queue.handle_timer(now=1.0)

    assert granted == [(1, 1.0)]
    _join(queue, granted, 2, 3, 0)
    assert queue.waiting_shards == (0, 2, 3), "a lost connection returns to the front"


def test_forgotten_shard_does_not_rejoin_in_front() -> None:
    queue, granted = _queue()
    _join(queue, granted, 0, 1)
    queue.leave(1)
    queue.forget(1)
    queue.forget(0)
    assert (queue.waiting_shards, queue.next_timer()) == ((), None)

    _join(queue, granted, 0, 1)

    assert queue.waiting_shards == (0, 1)
    _run(queue, 10.0)
    assert [shard_id for shard_id, _ in granted] == [0, 1]


def test_grant_that_raises_uses_only_its_own_identify_slot() -> None:
    queue, granted = _queue()
    queue.join(0, _raise)
    _join(queue, granted, 1)
    with pytest.raises(ZeroDivisionError):
        queue.handle_timer(now=0.0)

    _run(queue, 10.0)

    assert granted == [(1, 5.25)]


def _raise(at: float) -> None:
    raise ZeroDivisionError


def test_repeated_join_keeps_one_place_in_the_queue() -> None:
    queue, granted = _queue()
    queue.handle_timer(now=0.0)
    for _ in range(1000):
        _join(queue, granted, 7)
        queue.leave(7)
        _join(queue, granted, 7)

    assert queue.waiting_shards == (7,)
    assert sum(map(len, queue._shards.values())) <= 2
    _run(queue, 10.0)
    assert granted == [(7, 0.0)]


@pytest.mark.parametrize("max_concurrency", [1, 16, 2**31])
def test_cost_of_an_identify_slot_is_constant(max_concurrency: int) -> None:
    calls = []
    for count in (500, 4000):
        queue, granted = _queue(max_concurrency=max_concurrency, seconds=0.0)
        traced = 0

        def count_calls(frame: Any, event: str, _: Any) -> None:
            nonlocal traced
            traced += event == "call"

        before = sys.getprofile()
        sys.setprofile(count_calls)
        for shard_id in range(count):
            _join(queue, granted, shard_id)
            queue.handle_timer(now=0.0)
            queue.next_timer()
        _run(queue, 1e9)
        sys.setprofile(before)
        assert len(granted) == count
        calls.append(traced / count)

    assert calls[1] < calls[0] * 1.2


def test_early_or_repeated_timer_call_grants_no_identify_slot() -> None:
    queue, granted = _queue()
    _join(queue, granted, 0, 1)

    for now in (0.0, 0.0, 5.0):
        queue.handle_timer(now=now)
    assert granted == [(0, 0.0)]
    queue.handle_timer(now=5.25)

    assert granted == [(0, 0.0), (1, 5.25)]


@pytest.mark.parametrize("value", [None, "5", -1, True, 10**400, float("nan"), [5]])
@pytest.mark.parametrize("name", ["max_concurrency", "seconds", "margin"])
def test_identify_queue_rejects_invalid_arguments(name: str, value: Any) -> None:
    with pytest.raises(LocalProtocolError, match=f"^(invalid {name} |{name} is None:)"):
        IdentifyQueue(**{name: value})


def test_identify_queue_rejects_a_budget_of_another_type() -> None:
    with pytest.raises(
        LocalProtocolError, match=r"^invalid budget 900: expected an IdentifyBudget"
    ):
        IdentifyQueue(budget=900)  # type: ignore[arg-type]
