"""now ↔ deadlines."""

from __future__ import annotations

from gateway_proto._timing.deadlines import Deadlines, Timer


def test_the_earliest_deadline_is_next_and_due_first() -> None:
    deadlines = Deadlines()
    deadlines.set(Timer.HEARTBEAT, 5.0)
    deadlines.set(Timer.SEND, 3.0)

    assert deadlines.next() == 3.0
    assert deadlines.pop_due(2.9) is None
    assert deadlines.pop_due(5.0) is Timer.SEND
    assert deadlines.pop_due(5.0) is Timer.HEARTBEAT
    assert deadlines.pop_due(5.0) is None
    assert deadlines.next() is None


def test_of_those_due_at_once_the_order_is_that_of_their_names() -> None:
    """So that a trace replays, whoever was set first."""
    deadlines = Deadlines()
    for timer in (Timer.SEND, Timer.CLOSE, Timer.HEARTBEAT):
        deadlines.set(timer, 5.0)

    due = [deadlines.pop_due(5.0) for _ in range(3)]

    assert due == [Timer.CLOSE, Timer.HEARTBEAT, Timer.SEND]


def test_each_change_is_seen_by_whoever_asked_before() -> None:
    deadlines = Deadlines()
    assert deadlines.next() is None

    deadlines.set(Timer.LIVENESS, 10.0)
    assert deadlines.next() == 10.0
    deadlines.set(Timer.HEARTBEAT, 200.0)
    deadlines.pause(4.0)
    assert deadlines.next() == 200.0
    deadlines.unpause(104.0)
    assert deadlines.next() == 110.0
    deadlines.clear(Timer.LIVENESS)
    assert deadlines.next() == 200.0
    deadlines.clear_all()
    assert deadlines.next() is None


def test_how_long_they_have_stood_still_is_told_from_the_first_pause() -> None:
    deadlines = Deadlines()
    assert deadlines.stood_still(3.0) is None

    deadlines.pause(4.0)
    deadlines.pause(7.0)

    assert deadlines.stood_still(10.0) == 6.0


def test_setting_a_deadline_again_replaces_it_and_clearing_forgets_it() -> None:
    deadlines = Deadlines()
    deadlines.set(Timer.HEARTBEAT, 5.0)
    deadlines.set(Timer.HEARTBEAT, 9.0)
    assert deadlines.next() == 9.0

    deadlines.clear(Timer.HEARTBEAT)
    deadlines.clear(Timer.HEARTBEAT)

    assert deadlines.next() is None


def test_clear_all_forgets_every_deadline() -> None:
    deadlines = Deadlines()
    deadlines.set(Timer.HEARTBEAT, 5.0)
    deadlines.set(Timer.CLOSE, 6.0)

    deadlines.clear_all()

    assert deadlines.next() is None


def test_while_paused_what_waits_for_the_peer_stands_still_and_the_rest_runs() -> None:
    deadlines = Deadlines()
    deadlines.set(Timer.LIVENESS, 10.0)
    deadlines.set(Timer.HEARTBEAT, 20.0)

    deadlines.pause(4.0)
    deadlines.pause(7.0)  # a second pause is none

    assert deadlines.paused
    assert deadlines.next() == 20.0
    assert deadlines.pop_due(15.0) is None
    deadlines.unpause(104.0)
    assert not deadlines.paused
    assert deadlines.next() == 20.0
    assert deadlines.pop_due(200.0) is Timer.HEARTBEAT
    assert deadlines.next() == 110.0


def test_while_paused_what_waits_for_the_peer_is_not_due_beside_what_is() -> None:
    deadlines = Deadlines()
    for timer in (Timer.LIVENESS, Timer.SEND):
        deadlines.set(timer, 20.0)
    deadlines.pause(4.0)

    assert [deadlines.pop_due(20.0) for _ in range(2)] == [Timer.SEND, None]


def test_unpause_without_a_pause_changes_nothing() -> None:
    deadlines = Deadlines()
    deadlines.set(Timer.LIVENESS, 10.0)

    deadlines.unpause(100.0)

    assert deadlines.next() == 10.0
