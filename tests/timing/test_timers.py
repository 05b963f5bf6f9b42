"""Deadlines of timers, with pauses."""

from __future__ import annotations

from gateway_proto.timing.timers import Timer, Timers


def test_earliest_deadline_is_returned_first() -> None:
    deadlines = Timers()
    deadlines.set(Timer.HEARTBEAT, 5.0)
    deadlines.set(Timer.SEND, 3.0)

    assert deadlines.next_timer() == 3.0
    assert deadlines.pop_due(2.9) is None
    assert deadlines.pop_due(5.0) is Timer.SEND
    assert deadlines.pop_due(5.0) is Timer.HEARTBEAT
    assert deadlines.pop_due(5.0) is None
    assert deadlines.next_timer() is None


def test_simultaneous_deadlines_are_ordered_by_name() -> None:
    """A trace must replay in the same order, however the timers were set."""
    deadlines = Timers()
    for timer in (Timer.SEND, Timer.CLOSE, Timer.HEARTBEAT):
        deadlines.set(timer, 5.0)

    due = [deadlines.pop_due(5.0) for _ in range(3)]

    assert due == [Timer.CLOSE, Timer.HEARTBEAT, Timer.SEND]


def test_next_deadline_reflects_each_change() -> None:
    deadlines = Timers()
    assert deadlines.next_timer() is None

    deadlines.set(Timer.LIVENESS, 10.0)
    assert deadlines.next_timer() == 10.0
    deadlines.set(Timer.HEARTBEAT, 200.0)
    deadlines.pause(4.0)
    assert deadlines.next_timer() == 200.0
    deadlines.unpause(104.0)
    assert deadlines.next_timer() == 110.0
    deadlines.clear(Timer.LIVENESS)
    assert deadlines.next_timer() == 200.0
    deadlines.clear_all()
    assert deadlines.next_timer() is None


def test_paused_time_counts_from_the_first_pause() -> None:
    deadlines = Timers()
    assert deadlines.paused_for(3.0) is None

    deadlines.pause(4.0)
    deadlines.pause(7.0)

    assert deadlines.paused_for(10.0) == 6.0


def test_deadline_can_be_replaced_and_cleared() -> None:
    deadlines = Timers()
    deadlines.set(Timer.HEARTBEAT, 5.0)
    deadlines.set(Timer.HEARTBEAT, 9.0)
    assert deadlines.next_timer() == 9.0

    deadlines.clear(Timer.HEARTBEAT)
    deadlines.clear(Timer.HEARTBEAT)

    assert deadlines.next_timer() is None


def test_clear_all_removes_every_deadline() -> None:
    deadlines = Timers()
    deadlines.set(Timer.HEARTBEAT, 5.0)
    deadlines.set(Timer.CLOSE, 6.0)

    deadlines.clear_all()

    assert deadlines.next_timer() is None


def test_pause_suspends_only_deadlines_of_the_peer() -> None:
    deadlines = Timers()
    deadlines.set(Timer.LIVENESS, 10.0)
    deadlines.set(Timer.HEARTBEAT, 20.0)

    deadlines.pause(4.0)
    deadlines.pause(7.0)  # a second pause has no effect

    assert deadlines.is_paused
    assert deadlines.next_timer() == 20.0
    assert deadlines.pop_due(15.0) is None
    deadlines.unpause(104.0)
    assert not deadlines.is_paused
    assert deadlines.next_timer() == 20.0
    assert deadlines.pop_due(200.0) is Timer.HEARTBEAT
    assert deadlines.next_timer() == 110.0


def test_suspended_deadline_is_not_due_with_others() -> None:
    deadlines = Timers()
    for timer in (Timer.LIVENESS, Timer.SEND):
        deadlines.set(timer, 20.0)
    deadlines.pause(4.0)

    assert [deadlines.pop_due(20.0) for _ in range(2)] == [Timer.SEND, None]


def test_unpause_without_pause_has_no_effect() -> None:
    deadlines = Timers()
    deadlines.set(Timer.LIVENESS, 10.0)

    deadlines.unpause(100.0)

    assert deadlines.next_timer() == 10.0
