"""Sliding window of a rate limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway_proto.timing.rate_limit import SlidingWindow


def test_rate_limit_frees_a_slot_after_its_window() -> None:
    window = SlidingWindow(2, 10.0)
    window.record(0.0)
    assert window.next_slot_at(1.0) == 1.0
    window.record(4.0)

    assert window.next_slot_at(5.0) == 10.0
    assert window.next_slot_at(10.0) == 10.0


def test_reserved_rate_limit_slots_are_not_free() -> None:
    window = SlidingWindow(3, 10.0)
    window.record(0.0)
    window.record(1.0)

    assert window.next_slot_at(2.0) == 2.0
    assert window.next_slot_at(2.0, reserve=1) == 10.0
    assert window.next_slot_at(2.0, reserve=2) == 11.0


def test_sends_over_the_rate_limit_delay_later_sends() -> None:
    window = SlidingWindow(1, 10.0)
    window.record(0.0)
    window.record(5.0)

    assert window.next_slot_at(6.0) == 15.0


def test_rate_limit_records_a_bounded_number_of_sends() -> None:
    window = SlidingWindow(3, 10.0)

    for number in range(1000):
        window.record(number / 1000)

    assert len(window._sent) == 3
    assert window.next_slot_at(1.0) == 0.997 + 10.0
    assert window.next_slot_at(1.0, reserve=2) == 0.999 + 10.0


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 5))
def test_no_rate_limit_window_exceeds_the_limit(steps: list[float], limit: int) -> None:
    window = SlidingWindow(limit, 10.0)
    now, sent = 0.0, []
    for step in steps:
        now = max(window.next_slot_at(now + step), now + step)
        window.record(now)
        sent.append(now)

    for at in sent:
        assert sum(at <= other < at + 10.0 for other in sent) <= limit
