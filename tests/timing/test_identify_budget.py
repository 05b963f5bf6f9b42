"""Budget of Identifies per day: the own limit, and the one that a lookup reported."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto.timing.identify_budget import IdentifyBudget

DAY = 86400.0


def found(total: Any, remaining: Any, reset_after: Any = None, **settings: int) -> IdentifyBudget:
    budget = IdentifyBudget(**settings)
    budget.set_limit(total, remaining, reset_after, now=0.0)
    return budget


def test_default_budget_is_900_identifies_in_24_hours() -> None:
    budget = IdentifyBudget()
    for _ in range(899):
        budget.record(0.0)
    assert budget.next_slot_at(1.0) == 1.0

    budget.record(1.0)

    assert budget.next_slot_at(1.0) == DAY


def test_default_reserve_is_100_of_1000_session_starts() -> None:
    assert found(1000, 101).next_slot_at(5.0) == 5.0
    assert found(1000, 100).next_slot_at(5.0) == DAY


def test_reserve_counts_in_1000_session_starts_at_most() -> None:
    assert found(2000, 1001, reserve=1000).next_slot_at(5.0) == 5.0
    assert found(2000, 1000, reserve=1000).next_slot_at(5.0) == DAY


def test_reset_after_is_in_milliseconds() -> None:
    budget = found(1000, 0, 60_000)

    assert budget.next_slot_at(5.0) == 60.0
    assert budget.remaining(60.0) == 1000


@pytest.mark.parametrize(
    ("total", "wanted"), [(None, 1000), ("x", 1000), (0, 1), (-5, 1), (10**400, 2**31), (7.9, 7)]
)
def test_absurd_total_of_a_lookup_is_bounded(total: Any, wanted: int) -> None:
    assert found(total, 0, 1).remaining(1.0) == wanted


@pytest.mark.parametrize(
    ("remaining", "wanted"), [(None, 1000), (-1, 0), (10**400, 2**31), (-(10**400), 0)]
)
def test_absurd_remainder_of_a_lookup_is_bounded(remaining: Any, wanted: int) -> None:
    assert found(1000, remaining).remaining(0.0) == wanted


def test_identifies_of_more_than_a_day_ago_do_not_count() -> None:
    budget = IdentifyBudget(per_day=2)
    for now in (0.0, 100.0):
        budget.record(now)
    assert budget.next_slot_at(DAY) == DAY
    budget.record(DAY)

    seconds, why = budget.spent(DAY) or pytest.fail("not spent")

    assert seconds == 100.0
    assert why.startswith("2 Identifies in 24 hours, as many as Config.identify_budget allows")


def test_limit_of_the_lookup_is_named_in_the_reason() -> None:
    seconds, why = found(1000, 100, 50_000).spent(0.0) or pytest.fail("not spent")

    assert seconds == 50.0
    assert why == (
        "100 of 1000 sessions remain, and Config.identify_reserve keeps 100; the next Identify is "
        "possible in 50 s"
    )
