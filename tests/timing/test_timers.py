"""Named timers, with pauses."""

from __future__ import annotations

import math

from gateway_proto.timing.timers import Timer, Timers


def test_earliest_deadline_is_returned_first() -> None:
    timers = Timers()
    timers.set(Timer.HEARTBEAT, 5.0)
    timers.set(Timer.SEND, 3.0)

    assert timers.next_timer() == 3.0
    assert timers.pop_due(2.9) is None
    assert timers.pop_due(5.0) is Timer.SEND
    assert timers.pop_due(5.0) is Timer.HEARTBEAT
    assert timers.pop_due(5.0) is None
    assert timers.next_timer() is None


def test_simultaneous_deadlines_are_ordered_by_name() -> None:
    """A trace must replay in the same order, however the timers were set."""
    timers = Timers()
    for timer in (Timer.SEND, Timer.CLOSE, Timer.HEARTBEAT):
        timers.set(timer, 5.0)

    due = [timers.pop_due(5.0) for _ in range(3)]

    assert due == [Timer.CLOSE, Timer.HEARTBEAT, Timer.SEND]


def test_next_deadline_reflects_each_change() -> None:
    timers = Timers()
    assert timers.next_timer() is None

    timers.set(Timer.LIVENESS, 10.0)
    assert timers.next_timer() == 10.0
    timers.set(Timer.HEARTBEAT, 200.0)
    timers.pause(4.0)
    assert timers.next_timer() == 200.0
    timers.unpause(104.0)
    assert timers.next_timer() == 110.0
    timers.clear(Timer.LIVENESS)
    assert timers.next_timer() == 200.0
    timers.clear_all()
    assert timers.next_timer() is None


def test_paused_time_counts_from_the_first_pause() -> None:
    timers = Timers()
    assert timers.paused_for(3.0) is None

    timers.pause(4.0)
    timers.pause(7.0)

    assert timers.paused_for(10.0) == 6.0


def test_deadline_can_be_replaced_and_cleared() -> None:
    timers = Timers()
    timers.set(Timer.HEARTBEAT, 5.0)
    timers.set(Timer.HEARTBEAT, 9.0)
    assert timers.next_timer() == 9.0

    timers.clear(Timer.HEARTBEAT)
    timers.clear(Timer.HEARTBEAT)

    assert timers.next_timer() is None


def test_clear_all_removes_every_deadline() -> None:
    timers = Timers()
    timers.set(Timer.HEARTBEAT, 5.0)
    timers.set(Timer.CLOSE, 6.0)

    timers.clear_all()

    assert timers.next_timer() is None


def test_pause_suspends_only_deadlines_of_the_peer() -> None:
    timers = Timers()
    timers.set(Timer.LIVENESS, 10.0)
    timers.set(Timer.HEARTBEAT, 20.0)

    timers.pause(4.0)
    timers.pause(7.0)  # a second pause has no effect

    assert timers.is_paused
    assert timers.next_timer() == 20.0
    assert timers.pop_due(15.0) is None
    timers.unpause(104.0)
    assert not timers.is_paused
    assert timers.next_timer() == 20.0
    assert timers.pop_due(200.0) is Timer.HEARTBEAT
    assert timers.next_timer() == 110.0


def test_suspended_deadline_is_not_due_with_others() -> None:
    timers = Timers()
    for timer in (Timer.LIVENESS, Timer.SEND):
        timers.set(timer, 20.0)
    timers.pause(4.0)

    assert [timers.pop_due(20.0) for _ in range(2)] == [Timer.SEND, None]


def test_unpause_without_pause_has_no_effect() -> None:
    timers = Timers()
    timers.set(Timer.LIVENESS, 10.0)

    timers.unpause(100.0)

    assert timers.next_timer() == 10.0


def test_earliest_deadline_is_infinite_if_none_is_set() -> None:
    timers = Timers()
    assert timers.earliest == math.inf

    timers.set(Timer.HEARTBEAT, 5.0)
    timers.set(Timer.HEARTBEAT, None)
    assert timers.earliest == math.inf
    assert timers.next_timer() is None

    timers.set(Timer.HEARTBEAT, 5.0)
    timers.clear_all()
    assert timers.earliest == math.inf
