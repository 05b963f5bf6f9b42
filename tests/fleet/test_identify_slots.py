"""Identify slots of several members: at most one per key in the interval of the server."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import IdentifySlots
from gateway_proto.timing.identify_budget import identify_key
from tests.fleet.slot_members import BETWEEN, members, run_to, stored

# ----- slots per key -----


def test_key_that_was_never_granted_is_free() -> None:
    (a,) = members("a")
    a.join(3)

    a.run(100.0)

    assert a.granted == [(100.0, 3)]
    assert stored(a)["granted"] == {"0": 1}


def test_slots_of_one_key_are_granted_in_the_interval_in_order() -> None:
    (a,) = members("a")
    a.join(2, 1, 0)

    run_to(20.0, a)

    assert a.granted == [(0.0, 0), (BETWEEN, 1), (2 * BETWEEN, 2)]
    assert a.slots.next_timer() is None


def test_each_key_has_slots_of_its_own_in_one_write() -> None:
    (a,) = members("a", max_concurrency=4)
    a.join(*range(8))

    a.run(0.0)
    assert a.shards == [0, 1, 2, 3]
    assert a.store.compare_and_set("slots", None, 0)[1] == 1
    run_to(6.0, a)
    assert a.shards == [0, 1, 2, 3, 4, 5, 6, 7]


def test_member_waits_after_it_sees_a_slot_of_another() -> None:
    a, b = members("a", "b")
    a.join(0)
    a.run(0.0)
    b.join(1)

    b.run(4.0)

    assert b.slots.next_timer() == 4.0 + BETWEEN
    run_to(20.0, b, start=4.0)
    assert b.granted == [(4.0 + BETWEEN, 1)]


def test_members_take_turns_without_a_common_clock() -> None:
    a, b = members("a", "b")
    a.join(0, 2)
    b.join(1, 3)

    run_to(60.0, a, b)

    times = sorted(at for at, _ in a.granted + b.granted)
    assert len(times) == 4
    assert all(later - earlier >= BETWEEN for earlier, later in itertools.pairwise(times))


def test_slots_of_one_key_do_not_delay_another_key() -> None:
    a, b = members("a", "b", max_concurrency=2)
    a.join(0)
    a.run(0.0)
    b.join(1, 2)

    b.run(1.0)

    assert b.granted == [(1.0, 1)]


def test_of_two_members_that_write_at_once_one_gets_the_slot() -> None:
    a, b = members("a", "b")
    a.join(0)
    b.join(1)
    for member in (a, b):
        member.send(0.0)
        member.answer(0.0)
        member.send(0.1)

    a.answer(0.2)
    b.answer(0.2)

    assert (a.shards, b.shards) == ([0], [])
    assert b.slots.next_timer() == 0.2 + BETWEEN


def test_equal_writes_of_two_members_have_different_values() -> None:
    a, b = members("a", "b")
    values = set()
    for member in (a, b):
        member.join(0)
        member.send(0.0)
        member.answer(0.0)
        member.send(0.0)
        values |= {write.value for write in member.pending}

    assert len(values) == 2


def test_time_that_goes_back_counts_as_the_last_time() -> None:
    (a,) = members("a")
    a.join(0, 1)
    a.run(100.0)

    a.slots.observed(b'{"granted": {"0": 9}}', 2, now=1.0)

    assert a.slots.next_timer() == 100.0 + BETWEEN


# ----- shards that leave -----


def test_shard_that_left_while_it_waited_rejoins_at_the_front() -> None:
    (a,) = members("a")
    a.join(0, 1, 2)
    a.slots.leave(2)
    a.slots.leave(7)

    assert a.slots.waiting_shards == (0, 1)
    a.join(2, 7)
    assert a.slots.waiting_shards == (2, 0, 1, 7)


def test_forgotten_shard_has_no_place_at_the_front() -> None:
    (a,) = members("a")
    a.join(0, 1)
    a.slots.leave(1)
    a.slots.forget(1)
    a.join(1)

    assert a.slots.waiting_shards == (0, 1)
    a.slots.forget(0)
    assert a.slots.waiting_shards == (1,)


def test_slot_of_a_shard_that_left_goes_to_the_next_one() -> None:
    (a,) = members("a", max_concurrency=2)
    a.join(0, 1, 2)
    a.send(0.0)
    a.answer(0.0)
    a.send(0.0)

    a.slots.leave(0)
    a.answer(0.1)

    assert a.shards == [2, 1]


def test_slot_that_a_shard_no_longer_needs_goes_to_the_next_one() -> None:
    (a,) = members("a")
    a.join(0)
    a.needs_slot = False
    b_granted: list[float] = []
    a.slots.join(1, b_granted.append)

    a.run(0.0)

    assert (a.granted, b_granted) == ([], [0.0])


def test_shard_that_needs_its_slot_later_rejoins_at_the_front() -> None:
    (a,) = members("a")
    a.join(1)
    a.needs_slot = False
    a.run(0.0)

    a.join(0, 1)

    assert a.slots.waiting_shards == (1, 0)


def test_slot_that_nobody_needs_is_wasted() -> None:
    (a,) = members("a")
    a.join(0)
    a.send(0.0)
    a.answer(0.0)
    a.send(0.0)
    a.slots.forget(0)
    a.answer(0.1)

    a.join(1)

    assert a.slots.next_timer() == 0.1 + BETWEEN


# ----- arguments -----


@pytest.mark.parametrize(
    ("settings", "error_text"),
    [
        ({"member": ""}, "invalid member ''"),
        ({"max_concurrency": 0}, "invalid max_concurrency 0"),
        ({"seconds": -1}, "invalid seconds -1"),
        ({"margin": None}, "margin is None"),
        ({"stale_after": math.inf}, "invalid stale_after inf"),
        ({"reserve": -1}, "invalid reserve -1"),
    ],
)
def test_invalid_settings_raise(settings: dict[str, Any], error_text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        members("a", **settings)

    assert str(caught.value).startswith(error_text)


@pytest.mark.parametrize(
    ("call", "error_text"),
    [
        (lambda slots: slots.join(-1, print), "invalid shard_id -1"),
        (lambda slots: slots.join(65536, print), "invalid shard_id 65536"),
        (lambda slots: slots.observed("x", 0, now=0.0), "invalid value 'x'"),
        (lambda slots: slots.observed(b"x", -1, now=0.0), "invalid revision -1"),
    ],
)
def test_invalid_arguments_raise(call: Callable[[IdentifySlots], None], error_text: str) -> None:
    (a,) = members("a")

    with pytest.raises(LocalProtocolError) as caught:
        call(a.slots)

    assert str(caught.value).startswith(error_text)


# ----- many members -----


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 3), st.integers(1, 12))
def test_no_key_is_granted_twice_within_five_seconds(
    data: Any, max_concurrency: int, shards: int
) -> None:
    """Requests and answers take any time, answers are lost, members come and go."""
    group = members("a", "b", "c", max_concurrency=max_concurrency)
    for shard in range(shards):
        group[shard % 3].join(shard)
    now = 0.0
    for _ in range(data.draw(st.integers(0, 60))):
        now += data.draw(st.sampled_from([0.0, 0.1, 0.3, 1.0, 5.0, 6.0]))
        member = group[data.draw(st.integers(0, 2))]
        match data.draw(st.sampled_from(["send", "answer", "run", "lose", "leave"])):
            case "send":
                member.send(now)
            case "answer":
                member.answer(now)
            case "run":
                member.run(now)
            case "lose":
                pending, member.pending = member.pending, []
                for write in pending:
                    member.store.compare_and_set("slots", write.value, write.revision)
                    member.slots.written(write, None, now=now)
            case _ if member.slots.waiting_shards:
                shard = member.slots.waiting_shards[0]
                member.slots.leave(shard)
                member.join(shard)
            case _:
                pass
    for _ in range(shards * 60):
        now += 1.0
        for member in group:
            member.answer(now)
            member.run(now)

    granted = sorted(each for member in group for each in member.granted)
    assert sorted(shard for _, shard in granted) == list(range(shards))
    for key in range(max_concurrency):
        times = [at for at, shard in granted if identify_key(shard, max_concurrency) == key]
        assert all(later - earlier >= 5.25 - 1e-9 for earlier, later in itertools.pairwise(times))
