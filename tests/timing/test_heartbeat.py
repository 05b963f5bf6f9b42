"""HeartbeatScheduler: schedule, latency and zombie detection from ACKs and traffic."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway_proto.timing.heartbeat import (
    HeartbeatAction,
    HeartbeatScheduler,
    ZombiePolicy,
    parse_interval,
)


def _begun(*, acks: bool = True) -> HeartbeatScheduler:
    heartbeats = HeartbeatScheduler(acks=acks)
    heartbeats.start(1000, 0.0, first=1.0)
    return heartbeats


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(41250, 41.25), (0.001, 0.01), (1e300, 86400.0)]
)
def test_heartbeat_interval_is_clamped(milliseconds: float, seconds: float) -> None:
    heartbeats = HeartbeatScheduler(acks=True)

    heartbeats.start(milliseconds, 0.0, first=1.0)

    assert heartbeats.interval == seconds


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
def test_heartbeat_interval_of_a_server_is_parsed_leniently(
    value: Any, expected: int | None
) -> None:
    assert parse_interval(value) == expected


def test_heartbeat_state_before_the_interval_is_empty() -> None:
    heartbeats = HeartbeatScheduler(acks=True)

    assert (heartbeats.interval, heartbeats.due, heartbeats.deferred, heartbeats.latency) == (
        0.0,
        0.0,
        False,
        None,
    )
    assert heartbeats.record_ack(1.0) is None
    assert not heartbeats.is_zombie()


def test_no_zombie_before_the_first_heartbeat() -> None:
    assert not _begun().is_zombie()


def test_no_data_for_one_heartbeat_interval_is_a_zombie() -> None:
    heartbeats = _begun()
    heartbeats.record_sent(1.0)

    assert heartbeats.is_zombie()


def test_traffic_without_ack_for_two_heartbeats_is_a_zombie() -> None:
    heartbeats = _begun()
    heartbeats.record_sent(1.0)
    heartbeats.has_traffic = True
    assert not heartbeats.is_zombie()
    heartbeats.record_sent(2.0)
    heartbeats.has_traffic = True

    assert heartbeats.is_zombie()


def test_ack_sets_heartbeat_latency_and_clears_zombie_suspicion() -> None:
    heartbeats = _begun()
    for at in (1.0, 2.0, 3.0):
        heartbeats.record_sent(at)
        heartbeats.has_traffic = True
        assert heartbeats.record_ack(at + 0.25) == 0.25
        assert not heartbeats.is_zombie()

    assert heartbeats.latency == 0.25
    assert heartbeats.record_ack(9.0) is None
    assert heartbeats.latency == 0.25


def test_ack_restarts_zombie_detection_of_heartbeats() -> None:
    heartbeats = _begun()
    for at in (1.0, 3.0, 5.0):
        heartbeats.record_sent(at)
        heartbeats.has_traffic = True
        assert not heartbeats.is_zombie()
        heartbeats.record_ack(at + 1.5)


def test_unexpected_ack_does_not_count_for_later_heartbeats() -> None:
    heartbeats = _begun()
    assert heartbeats.record_ack(0.5) is None

    heartbeats.record_sent(1.0)
    heartbeats.has_traffic = True
    assert not heartbeats.is_zombie()
    heartbeats.has_traffic = True
    assert heartbeats.is_zombie()


def test_excuse_postpones_zombie_detection_by_one_heartbeat() -> None:
    heartbeats = _begun()
    heartbeats.record_sent(1.0)
    heartbeats.reset_liveness()
    assert not heartbeats.is_zombie()
    heartbeats.record_sent(2.0)

    assert heartbeats.is_zombie()


def test_no_zombie_if_heartbeats_have_no_acks() -> None:
    heartbeats = _begun(acks=False)
    for at in (1.0, 2.0, 3.0):
        heartbeats.record_sent(at)
        assert not heartbeats.is_zombie()


def test_restart_forgets_the_unacknowledged_heartbeat() -> None:
    heartbeats = _begun()
    heartbeats.record_sent(1.0)

    heartbeats.start(1000, 1.0, first=1.0)

    assert not heartbeats.is_zombie()
    assert heartbeats.record_ack(2.0) is None


@pytest.mark.parametrize(
    ("policy", "without_traffic", "traffic"),
    [
        (ZombiePolicy.ACK, [True, True], [True, True]),
        (ZombiePolicy.TRAFFIC, [True, True], [False, False]),
        (ZombiePolicy.TRAFFIC_THEN_ACK, [True, True], [False, True]),
    ],
)
def test_zombie_policy_decides_if_heartbeats_need_acks(
    policy: ZombiePolicy, without_traffic: list[bool], traffic: list[bool]
) -> None:
    """Rule 6: after one interval, and after two."""
    for hears, expected in ((False, without_traffic), (True, traffic)):
        heartbeats = HeartbeatScheduler(acks=True, policy=policy)
        heartbeats.start(1000, 0.0, first=1.0)
        dead = []
        for at in (1.0, 2.0):
            heartbeats.record_sent(at)
            if hears:
                heartbeats.has_traffic = True
            dead.append(heartbeats.is_zombie())
        assert dead == expected


def test_heartbeat_reports_delay_and_schedules_the_next() -> None:
    """Rules 11 and 13."""
    heartbeats = HeartbeatScheduler(acks=True)
    heartbeats.start(1000, 5.0, first=0.5)
    assert heartbeats.due == 5.5

    heartbeats.record_sent(7.75)

    assert heartbeats.delay == 2.25
    assert heartbeats.due == 8.75


def test_sent_or_restarted_heartbeat_is_no_longer_deferred() -> None:
    heartbeats = _begun()
    heartbeats.deferred = True
    heartbeats.record_sent(1.0)
    assert heartbeats.deferred is False

    heartbeats.deferred = True
    heartbeats.start(1000, 2.0, first=1.0)

    assert heartbeats.deferred is False


def test_restart_clears_the_heartbeat_latency() -> None:
    """Rule 14."""
    heartbeats = _begun()
    heartbeats.record_sent(1.0)
    heartbeats.record_ack(1.5)

    heartbeats.start(1000, 2.0, first=1.0)

    assert heartbeats.latency is None


@pytest.mark.parametrize(("milliseconds", "places"), [(41_250, 3), (60_000, 2), (1000, 61)])
def test_slots_needed_is_heartbeats_per_minute_plus_one(milliseconds: int, places: int) -> None:
    """Rule 59."""
    heartbeats = HeartbeatScheduler(acks=True)
    assert heartbeats.slots_needed(60.0) == 1

    heartbeats.start(milliseconds, 0.0, first=1.0)

    assert heartbeats.slots_needed(60.0) == places


def test_disallowed_heartbeat_is_deferred_and_not_late() -> None:
    heartbeats = _begun()

    first = heartbeats.on_timer(1.0, is_allowed=False, is_reading=True)

    assert (first, heartbeats.deferred) == (HeartbeatAction.DEFER, True)
    second = heartbeats.on_timer(9.0, is_allowed=True, is_reading=True)
    assert (second, heartbeats.deferred) == (HeartbeatAction.SEND, False)
    assert (heartbeats.delay, heartbeats.due) == (0.0, 10.0)


def test_heartbeat_timer_reports_a_zombie_only_while_reading() -> None:
    heartbeats = _begun()
    heartbeats.on_timer(1.0, is_allowed=True, is_reading=True)

    paused = heartbeats.on_timer(2.0, is_allowed=True, is_reading=False)
    reading = heartbeats.on_timer(3.0, is_allowed=True, is_reading=True)

    assert (paused, reading) == (HeartbeatAction.SEND, HeartbeatAction.ZOMBIE)
