"""Identify slots of several members under the limit of the lookup."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.fleet.slot_members import DAY, members, run_to, stored


def test_each_slot_takes_one_of_the_limit() -> None:
    a, b = members("a", "b", max_concurrency=2)
    a.slots.looked_up(1000, 700, DAY * 1000, now=0.0)
    a.join(0, 1)
    b.join(2)

    run_to(20.0, a, b)

    assert stored(a)["left"] == 697
    assert b.slots.left == 697


def test_smaller_count_of_two_lookups_is_valid() -> None:
    a, b = members("a", "b")
    a.slots.looked_up(1000, 700, DAY * 1000, now=0.0)
    a.run(0.0)
    b.slots.looked_up(1000, 650, DAY * 1000, now=1.0)
    b.run(1.0)
    a.slots.looked_up(1000, 690, DAY * 1000, now=2.0)
    a.run(2.0)

    assert stored(a)["left"] == 650


def test_no_slot_is_granted_at_the_reserve() -> None:
    (a,) = members("a", reserve=100, max_concurrency=4)
    a.slots.looked_up(1000, 102, 3_600_000, now=0.0)
    a.join(0, 1, 2, 3)

    run_to(60.0, a)

    assert a.shards == [0, 1]
    assert a.slots.next_timer() == 3600.0


def test_reserve_is_in_proportion_to_a_small_total() -> None:
    (a,) = members("a", reserve=500, max_concurrency=4)
    a.slots.looked_up(4, 4, DAY * 1000, now=0.0)
    a.join(0, 1, 2, 3)

    a.run(0.0)

    assert a.shards == [0, 1]


def test_reset_allows_the_whole_total_again() -> None:
    (a,) = members("a", reserve=100)
    a.slots.looked_up(1000, 100, 3_600_000, now=0.0)
    a.join(0)

    run_to(4000.0, a)

    assert a.granted == [(3600.0, 0)]
    assert (stored(a)["left"], stored(a)["looked_up"], stored(a)["resets"]) == (999, 2, DAY)


def test_each_member_counts_to_the_reset_from_what_it_saw() -> None:
    a, b = members("a", "b", reserve=100)
    a.slots.looked_up(1000, 100, 3_600_000, now=0.0)
    a.run(0.0)
    b.join(0)
    b.run(500.0)

    assert b.slots.next_timer() == 500.0 + 3600.0


def test_lookup_of_the_next_period_raises_the_count() -> None:
    (a,) = members("a", reserve=100)
    a.slots.looked_up(1000, 100, 3_600_000, now=0.0)
    a.run(0.0)
    a.slots.looked_up(1000, 990, DAY * 1000, now=10.0)
    a.run(10.0)

    assert stored(a)["left"] == 990


def test_lookup_after_the_reset_is_used_instead_of_the_total() -> None:
    (a,) = members("a", reserve=100)
    a.slots.looked_up(1000, 100, 3_600_000, now=0.0)
    a.run(0.0)
    a.slots.looked_up(1000, 400, 0, now=3600.0)
    a.join(0)
    a.run(3600.0)

    assert stored(a)["left"] == 399


def test_reset_time_of_a_later_lookup_replaces_an_unknown_one() -> None:
    (a,) = members("a", reserve=100)
    a.slots.looked_up(1000, 1000, 0, now=0.0)
    a.run(0.0)
    a.slots.looked_up(1000, 100, 3_600_000, now=10.0)
    a.join(0)
    a.run(10.0)

    assert a.slots.next_timer() == 3610.0


@pytest.mark.parametrize("reset", [0, None, -5, "soon", math.nan])
def test_spent_limit_without_a_reset_time_ends_after_a_day(reset: Any) -> None:
    (a,) = members("a", reserve=100)
    a.slots.looked_up(1000, 100, reset, now=0.0)
    a.join(0)
    a.run(0.0)

    assert a.granted == []
    assert a.slots.next_timer() == DAY
    run_to(DAY, a)
    assert a.shards == [0]


def test_period_without_a_reset_time_begins_with_its_first_slot() -> None:
    a, b = members("a", "b", reserve=100)
    a.slots.looked_up(1000, 101, 0, now=0.0)
    a.join(0)
    run_to(1000.0, a, b)
    b.join(1)
    run_to(1100.0, a, b)

    assert (stored(a)["left"], stored(a)["resets"]) == (100, DAY)
    assert b.granted == []
    run_to(DAY + 1200.0, a, b)
    assert b.shards == [1]


def test_spent_limit_names_its_reset() -> None:
    (a,) = members("a", reserve=100)
    a.slots.looked_up(1000, 101, 3_600_000, now=0.0)
    a.join(0)
    a.run(0.0)

    assert a.slots.spent(now=600.0) == (
        3000.0,
        "100 of 1000 sessions remain to the fleet, and Config.identify_reserve keeps 100; the next "
        "Identify is possible in 3000 s",
    )
    assert a.slots.spent(now=3600.0) is None


def test_unspent_or_unknown_limit_is_not_reported() -> None:
    a, b = members("a", "b", reserve=100)
    a.slots.looked_up(1000, 102, 3_600_000, now=0.0)
    a.join(0)
    a.run(0.0)

    assert (a.slots.spent(now=1.0), b.slots.spent(now=1.0)) == (None, None)


def test_total_holds_for_all_members_without_a_lookup() -> None:
    a, b = members("a", "b", reserve=100, total=10)
    for number, member in enumerate([a, b] * 10):
        member.join(number)
        run_to(number * 60.0, a, b)

    assert len(a.granted) + len(b.granted) == 9  # one in ten is left to others
    assert stored(a)["left"] == 1


@pytest.mark.parametrize(
    ("answer", "left", "resets"),
    [
        ((math.nan, None, "x"), 1000, None),
        ((-5, 7, -1), 1, None),
        ((10**400, 10**400, 10**400), 2**31, 7 * DAY),
        ((10, 20, 1000), 10, 1),
    ],
)
def test_absurd_lookups_are_bounded(answer: tuple[Any, Any, Any], left: int, resets: Any) -> None:
    (a,) = members("a")

    a.slots.looked_up(*answer, now=0.0)
    a.run(0.0)

    assert stored(a)["left"] == left
    assert stored(a).get("resets") == resets


def test_record_with_a_total_of_0_grants_nothing() -> None:
    (a,) = members("a")
    a.store.compare_and_set("slots", b'{"left": 0, "total": 0, "resets": 10, "looked_up": 1}', 0)
    a.join(0)

    run_to(100.0, a)

    assert a.granted == []
