"""Identify slots of several members with a store that is slow, fails or loses the record."""

from __future__ import annotations

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import ReferenceStore, SlotWrite
from tests.fleet.slot_members import (
    BETWEEN,
    DAY,
    members,
    reading_member,
    run_to,
    stored,
    writing_member,
)

# ----- slow, lost and failed answers -----


def test_slot_that_is_granted_late_is_not_used() -> None:
    a = writing_member()

    a.answer(0.51)

    assert a.granted == [] and a.slots.waiting_shards == (0,)
    run_to(20.0, a, start=0.51)
    assert a.granted == [(0.51 + BETWEEN, 0)]
    assert stored(a)["granted"] == {"0": 2}


def test_slot_that_is_granted_just_in_time_is_used() -> None:
    a = writing_member()

    a.answer(0.5)

    assert a.granted == [(0.5, 0)]


def test_one_request_is_in_flight() -> None:
    a = reading_member()

    assert a.slots.next_timer() is None
    assert a.slots.writes(now=60.0) == []


@pytest.mark.parametrize("is_read", [True, False])
def test_failed_request_is_followed_by_a_read_after_a_delay(is_read: bool) -> None:
    a = reading_member(1.0) if is_read else writing_member(1.0)
    write = a.lose()

    a.slots.written(write, None, now=1.1)

    assert (write.value is None) is is_read
    assert a.slots.next_timer() == 1.6
    assert a.slots.writes(now=1.5) == []
    assert a.slots.writes(now=1.6) == [SlotWrite(None, 0)]


def test_write_whose_answer_was_lost_wastes_one_slot() -> None:
    a = writing_member()
    write = a.lose()
    a.store.compare_and_set("slots", write.value, write.revision)
    a.slots.written(write, None, now=1.0)

    run_to(20.0, a, start=1.0)

    assert a.granted == [(1.5 + BETWEEN, 0)]
    assert stored(a)["granted"] == {"0": 2}


def test_own_write_does_not_undo_a_later_observation() -> None:
    a = writing_member()
    write = a.lose()
    value, revision = a.store.compare_and_set("slots", write.value, write.revision)
    later, newest = a.store.compare_and_set("slots", b'{"granted": {"0": 7}}', revision)
    a.slots.observed(later, newest, now=0.1)

    a.slots.written(write, revision, now=0.2)

    assert value == write.value and a.shards == [0]
    a.join(1)
    assert a.slots.next_timer() == 0.1 + BETWEEN


def test_unknown_or_repeated_answers_raise() -> None:
    a = reading_member()
    write = a.lose()
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
