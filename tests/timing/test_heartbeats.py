"""beats, ACKs and traffic → is the peer alive."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway_proto._timing.heartbeats import Heartbeats, ZombiePolicy, milliseconds


def _begun(*, acks: bool = True) -> Heartbeats:
    beats = Heartbeats(acks=acks)
    beats.begin(1000, 0.0, first=1.0)
    return beats


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(41250, 41.25), (0.001, 0.01), (1e300, 86400.0)]
)
def test_an_interval_is_kept_between_bounds(milliseconds: float, seconds: float) -> None:
    beats = Heartbeats(acks=True)

    beats.begin(milliseconds, 0.0, first=1.0)

    assert beats.interval == seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (41250, 41250),
        (41250.9, 41250),
        ("41250", 41250),
        (0.5, 1),
        (10**17, 2**48),
        *((value, None) for value in (0, -1, True, None, "", "soon", "nan", math.inf, 10**400, [])),
    ],
)
def test_interval_of_a_server_is_read_leniently(value: Any, expected: int | None) -> None:
    assert milliseconds(value) == expected


def test_before_the_beginning_nothing_is_known() -> None:
    beats = Heartbeats(acks=True)

    assert (beats.interval, beats.due, beats.held, beats.latency) == (0.0, 0.0, False, None)
    assert beats.acked(1.0) is None
    assert not beats.is_zombie()


def test_before_the_first_beat_nobody_is_a_zombie() -> None:
    assert not _begun().is_zombie()


def test_silence_for_one_interval_is_a_zombie() -> None:
    beats = _begun()
    beats.sent(1.0)

    assert beats.is_zombie()


def test_traffic_without_an_ack_is_one_for_two_intervals() -> None:
    beats = _begun()
    beats.sent(1.0)
    beats.heard()
    assert not beats.is_zombie()
    beats.sent(2.0)
    beats.heard()

    assert beats.is_zombie()


def test_an_ack_gives_the_latency_and_ends_the_doubt() -> None:
    beats = _begun()
    for at in (1.0, 2.0, 3.0):
        beats.sent(at)
        beats.heard()
        assert beats.acked(at + 0.25) == 0.25
        assert not beats.is_zombie()

    assert beats.latency == 0.25
    assert beats.acked(9.0) is None
    assert beats.latency == 0.25


def test_after_an_ack_the_doubt_begins_anew() -> None:
    beats = _begun()
    for at in (1.0, 3.0, 5.0):
        beats.sent(at)
        beats.heard()
        assert not beats.is_zombie()
        beats.acked(at + 1.5)


def test_an_excuse_forgives_what_was_not_heard_but_not_for_ever() -> None:
    beats = _begun()
    beats.sent(1.0)
    beats.excuse()
    assert not beats.is_zombie()
    beats.sent(2.0)

    assert beats.is_zombie()


def test_where_there_are_no_acks_nobody_is_a_zombie() -> None:
    beats = _begun(acks=False)
    for at in (1.0, 2.0, 3.0):
        beats.sent(at)
        assert not beats.is_zombie()


def test_a_new_beginning_forgets_the_beat_that_was_awaited() -> None:
    beats = _begun()
    beats.sent(1.0)

    beats.begin(1000, 1.0, first=1.0)

    assert not beats.is_zombie()
    assert beats.acked(2.0) is None


@pytest.mark.parametrize(
    ("policy", "silent", "traffic"),
    [
        (ZombiePolicy.ACK, [True, True], [True, True]),
        (ZombiePolicy.TRAFFIC, [True, True], [False, False]),
        (ZombiePolicy.TRAFFIC_THEN_ACK, [True, True], [False, True]),
    ],
)
def test_what_proves_life_is_a_policy(
    policy: ZombiePolicy, silent: list[bool], traffic: list[bool]
) -> None:
    """Rule 6: after one interval, and after two."""
    for hears, expected in ((False, silent), (True, traffic)):
        beats = Heartbeats(acks=True, policy=policy)
        beats.begin(1000, 0.0, first=1.0)
        dead = []
        for at in (1.0, 2.0):
            beats.sent(at)
            if hears:
                beats.heard()
            dead.append(beats.is_zombie())
        assert dead == expected


def test_a_beat_tells_how_late_it_was_and_the_next_is_an_interval_later() -> None:
    """Rules 11 and 13."""
    beats = Heartbeats(acks=True)
    beats.begin(1000, 5.0, first=0.5)
    assert beats.due == 5.5

    assert beats.sent(7.75) == 2.25
    assert beats.due == 8.75


def test_a_beat_that_goes_out_and_a_new_beginning_are_held_no_more() -> None:
    beats = _begun()
    beats.held = True
    beats.sent(1.0)
    assert beats.held is False

    beats.held = True
    beats.begin(1000, 2.0, first=1.0)

    assert beats.held is False


def test_a_new_beginning_forgets_the_latency() -> None:
    """Rule 14."""
    beats = _begun()
    beats.sent(1.0)
    beats.acked(1.5)

    beats.begin(1000, 2.0, first=1.0)

    assert beats.latency is None


@pytest.mark.parametrize(("milliseconds", "places"), [(41_250, 3), (60_000, 2), (1000, 61)])
def test_the_places_that_a_minute_needs_are_its_beats_and_one(
    milliseconds: int, places: int
) -> None:
    """Rule 59."""
    beats = Heartbeats(acks=True)
    assert beats.places(60.0) == 1

    beats.begin(milliseconds, 0.0, first=1.0)

    assert beats.places(60.0) == places
