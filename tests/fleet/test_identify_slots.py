"""Identify slots of several members: at most one per key in the interval of the server."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import IdentifySlots, ReferenceStore, SlotWrite
from gateway_proto.timing.identify_budget import identify_key

DAY = 24 * 3600
BETWEEN = 5.75


class Member:
    """Slots of one member on a store, with what they granted."""

    def __init__(self, name: str, store: ReferenceStore, **settings: Any) -> None:
        self.store = store
        self.slots = IdentifySlots(
            **{"member": name, "max_concurrency": 1, "reserve": 0} | settings
        )
        self.granted: list[tuple[float, int]] = []
        self.needs_slot = True
        self.pending: list[SlotWrite] = []

    def join(self, *shards: int) -> None:
        for shard in shards:
            self.slots.join(shard, functools.partial(self._grant, shard))

    def _grant(self, shard: int, now: float) -> bool:
        if self.needs_slot:
            self.granted.append((now, shard))
        return self.needs_slot

    def send(self, now: float) -> None:
        """Take the requests without answering them."""
        self.pending += self.slots.writes(now=now)

    def answer(self, now: float) -> None:
        """Let the store do what is pending."""
        pending, self.pending = self.pending, []
        for write in pending:
            value, revision = self.store.compare_and_set("slots", write.value, write.revision)
            self.slots.written(write, revision if value == write.value else None, now=now)
            self.slots.observed(value, revision, now=now)

    def run(self, now: float) -> None:
        """Do everything that is due at a time."""
        for _ in range(10):
            self.send(now)
            if not self.pending:
                return
            self.answer(now)
        raise AssertionError("a hot loop")

    @property
    def shards(self) -> list[int]:
        return [shard for _, shard in self.granted]


def members(*names: str, **settings: Any) -> list[Member]:
    store = ReferenceStore()
    return [Member(name, store, **settings) for name in names]


def run_to(end: float, *members: Member, start: float = 0.0) -> None:
    """Run members at each of their timers until a time."""
    now = start
    while now <= end:
        for member in members:
            member.run(now)
        timers = [at for each in members if (at := each.slots.next_timer()) is not None]
        now = max(min(timers, default=math.inf), now + 0.001)


def stored(member: Member) -> Any:
    value, _ = member.store.compare_and_set("slots", None, 0)
    return None if value is None else msgspec.json.decode(value)


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


# ----- slow, lost and failed answers -----


def test_slot_that_is_granted_late_is_not_used() -> None:
    (a,) = members("a")
    a.join(0)
    a.send(0.0)
    a.answer(0.0)
    a.send(0.0)

    a.answer(0.51)

    assert a.granted == [] and a.slots.waiting_shards == (0,)
    run_to(20.0, a, start=0.51)
    assert a.granted == [(0.51 + BETWEEN, 0)]
    assert stored(a)["granted"] == {"0": 2}


def test_slot_that_is_granted_just_in_time_is_used() -> None:
    (a,) = members("a")
    a.join(0)
    a.send(0.0)
    a.answer(0.0)
    a.send(0.0)

    a.answer(0.5)

    assert a.granted == [(0.5, 0)]


def test_one_request_is_in_flight() -> None:
    (a,) = members("a")
    a.join(0)
    a.send(0.0)

    assert a.slots.next_timer() is None
    assert a.slots.writes(now=60.0) == []


@pytest.mark.parametrize("is_read", [True, False])
def test_failed_request_is_followed_by_a_read_after_a_delay(is_read: bool) -> None:
    (a,) = members("a")
    a.join(0)
    a.send(1.0)
    if not is_read:
        a.answer(1.0)
        a.send(1.0)
    (write,) = a.pending
    a.pending.clear()

    a.slots.written(write, None, now=1.1)

    assert (write.value is None) is is_read
    assert a.slots.next_timer() == 1.6
    assert a.slots.writes(now=1.5) == []
    assert a.slots.writes(now=1.6) == [SlotWrite(None, 0)]


def test_write_whose_answer_was_lost_wastes_one_slot() -> None:
    (a,) = members("a")
    a.join(0)
    a.send(0.0)
    a.answer(0.0)
    a.send(0.0)
    (write,) = a.pending
    a.pending.clear()
    a.store.compare_and_set("slots", write.value, write.revision)
    a.slots.written(write, None, now=1.0)

    run_to(20.0, a, start=1.0)

    assert a.granted == [(1.5 + BETWEEN, 0)]
    assert stored(a)["granted"] == {"0": 2}


def test_own_write_does_not_undo_a_later_observation() -> None:
    (a,) = members("a")
    a.join(0)
    a.send(0.0)
    a.answer(0.0)
    a.send(0.0)
    (write,) = a.pending
    value, revision = a.store.compare_and_set("slots", write.value, write.revision)
    later, newest = a.store.compare_and_set("slots", b'{"granted": {"0": 7}}', revision)
    a.slots.observed(later, newest, now=0.1)

    a.slots.written(write, revision, now=0.2)

    assert value == write.value and a.shards == [0]
    a.pending.clear()
    a.join(1)
    assert a.slots.next_timer() == 0.1 + BETWEEN


def test_unknown_or_repeated_answers_raise() -> None:
    (a,) = members("a")
    a.join(0)
    a.send(0.0)
    (write,) = a.pending
    with pytest.raises(LocalProtocolError, match="is pending"):
        a.slots.written(SlotWrite(b"{}", 5), 6, now=0.0)

    a.slots.written(write, 0, now=0.0)

    with pytest.raises(LocalProtocolError, match="is pending: answer each once"):
        a.slots.written(write, 0, now=0.0)


# ----- a store that loses the record, or has garbage -----


def test_lost_record_frees_no_key_at_once() -> None:
    (a,) = members("a")
    a.join(0)
    a.run(0.0)
    a.store = ReferenceStore()
    a.join(1)
    a.slots.observed(None, 0, now=3.0)

    run_to(20.0, a, start=3.0)

    assert a.granted == [(0.0, 0), (3.0 + BETWEEN, 1)]


def test_count_that_goes_back_counts_as_changed() -> None:
    (a,) = members("a")
    a.join(0)
    a.slots.observed(b'{"granted": {"0": 7}}', 4, now=0.0)

    a.slots.observed(b'{"granted": {"0": 6}}', 3, now=5.0)

    assert a.slots.next_timer() == 5.0 + BETWEEN


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff",
        b"null",
        b'{"granted": {"a": 1}}',
        b'{"granted": {"0": -1}}',
        b'{"left": -1}',
        b'{"left": 2147483649}',
        b'{"resets": 604801}',
        b'{"resets": 1e999}',
        b'{"x": ' + b"[" * 100_000,
        b'{"by": "' + b"b" * 2**21 + b'"}',
    ],
)
def test_garbage_is_replaced_after_the_interval(garbage: bytes) -> None:
    (a,) = members("a")
    a.store.compare_and_set("slots", garbage, 0)
    a.join(0)

    run_to(20.0, a, start=1.0)

    assert a.granted == [(1.0 + BETWEEN, 0)]
    assert stored(a)["granted"] == {"0": 1}


def test_garbage_does_not_remove_the_limit() -> None:
    (a,) = members("a")
    a.slots.looked_up(1000, 5, DAY * 1000, now=0.0)
    a.run(0.0)
    a.store.compare_and_set("slots", b"garbage", 1)
    a.join(0)

    run_to(20.0, a, start=1.0)

    assert a.slots.left == stored(a)["left"] == 4


def test_counts_at_their_maximum_begin_again() -> None:
    (a,) = members("a")
    a.store.compare_and_set("slots", b'{"granted": {"0": 9223372036854775807}}', 0)
    a.join(0)

    run_to(20.0, a)

    assert a.shards == [0]
    assert stored(a)["granted"] == {"0": 0}


# ----- the limit of the lookup -----


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


def test_spent_limit_without_a_reset_time_grants_nothing() -> None:
    (a,) = members("a", reserve=100)
    a.slots.looked_up(1000, 100, 0, now=0.0)
    a.join(0)
    a.run(0.0)

    assert a.granted == []
    assert a.slots.next_timer() is None


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
