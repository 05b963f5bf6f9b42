"""beats, ACKs and traffic → is the peer alive."""

from __future__ import annotations

import pytest

from gateway_proto._timing.heartbeats import Heartbeats


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
