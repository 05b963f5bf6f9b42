"""Policies of Config on heartbeats, the clock, op 9 and identify slots."""

from __future__ import annotations

import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    ClockJumped,
    Closed,
    CommandsDelayed,
    EarlyHeartbeats,
    HeartbeatLate,
    HeartbeatSent,
    IdentifySlotNeeded,
    LocalProtocolError,
    NextAction,
    SessionInvalidated,
    State,
    ZombiePolicy,
)
from gateway_proto.server import Server
from tests.client.policy_connections import (
    SESSION,
    VOICE,
    config_with,
    connection_with,
    ready_with,
    receive_hello,
    sent_ops,
)
from tests.connections import close_event, receive

# ----- time -----


def test_late_heartbeat_is_reported() -> None:
    """Rule 11: a blocked loop does not end the connection."""
    connection = ready_with()

    connection.handle_timer(now=5.9)
    assert not any(isinstance(event, HeartbeatLate) for event in connection.events())
    receive(connection, 11, now=6.0)
    connection.handle_timer(now=19.5)

    late = next(event for event in connection.events() if isinstance(event, HeartbeatLate))
    assert late.seconds == pytest.approx(3.6)
    assert connection.state is State.READY


def test_late_heartbeats_are_not_sent_in_a_burst() -> None:
    """Rule 13."""
    connection = ready_with()

    connection.handle_timer(now=95.0)

    assert sent_ops(connection) == [1]
    assert connection.next_timer() == 105.0


def test_system_suspend_causes_a_new_connection() -> None:
    """Rule 12: the monotonic clock stops during suspend, so the connection looks healthy."""
    connection = ready_with()
    connection.check_clock(1_000_000.0, now=1.0)
    connection.check_clock(1_000_003.0, now=4.0)
    assert connection.events() == []

    connection.check_clock(1_003_605.0, now=6.0)

    suspended, closed = connection.events()
    assert suspended == ClockJumped(3600.0)
    assert isinstance(closed, Closed)
    assert closed.next_action is NextAction.RESUME
    assert "suspended for 3600 s" in (closed.error or "")


@pytest.mark.parametrize("step", [4.9, -5000.0])
def test_small_or_backward_clock_step_is_ignored(step: float) -> None:
    """An NTP step must not end a working connection."""
    connection = ready_with()
    connection.check_clock(1000.0, now=1.0)

    connection.check_clock(1002.0 + step, now=3.0)
    connection.check_clock(1004.0 + step, now=5.0)

    assert connection.events() == []


def test_version_3_heartbeat_uses_last_observed_unix_time() -> None:
    config = config_with(version=3, intents=None, unix_offset=0.0)
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": 1000}, s=1, t="READY")

    connection.check_clock(1000.0, now=0.0)
    connection.check_clock(1003.5, now=0.5)
    connection.handle_timer(now=1.0)

    assert HeartbeatSent("1004000") in connection.events()


def test_closed_connection_and_server_ignore_the_clock() -> None:
    connection = ready_with()
    connection.check_clock(0.0, now=0.0)
    connection.receive_eof(now=1.0)
    connection.events()

    connection.check_clock(9e9, now=2.0)
    server = Server().accept(now=0.0)
    server.check_clock(0.0, now=0.0)
    server.check_clock(9e9, now=1.0)

    assert connection.events() == server.events() == []


def test_delayed_commands_are_reported_once() -> None:
    connection = ready_with(command_delay_threshold=3.0)
    for _ in range(125):
        connection.send(VOICE, now=1.0)
    assert len(connection.queued_commands) > 5

    for at in (4.0, 5.0, 9.0):
        receive(connection, 11, now=at)
        connection.handle_timer(now=at)

    reports = [event for event in connection.events() if isinstance(event, CommandsDelayed)]
    assert reports == [CommandsDelayed(len(connection.queued_commands), 3.0)]
    while connection.queued_commands:
        at = connection.next_timer()
        assert at is not None
        connection.handle_timer(now=at)
        receive(connection, 11, now=at)
    for _ in range(125):
        connection.send(VOICE, now=at)
    connection.handle_timer(now=at + 3.0)
    assert any(isinstance(event, CommandsDelayed) for event in connection.events())


# ----- heartbeats -----


@pytest.mark.parametrize(
    ("policy", "sent_at"),
    [
        (EarlyHeartbeats.ALWAYS, "its time"),
        (EarlyHeartbeats.AFTER_ANSWER, "the first message"),
        (EarlyHeartbeats.AFTER_READY, "RESUMED"),
    ],
)
def test_early_heartbeats_policy_sets_first_heartbeat(
    policy: EarlyHeartbeats, sent_at: str
) -> None:
    """Rule 10."""
    connection = receive_hello(connection_with(SESSION, early_heartbeats=policy))
    assert sent_ops(connection) == [6]
    heartbeats = {}

    connection.handle_timer(now=5.0)
    heartbeats["its time"] = sent_ops(connection) == [1]
    receive(connection, 0, {}, s=8, t="X", now=7.0)
    heartbeats["the first message"] = sent_ops(connection) == [1]
    receive(connection, 0, {}, s=9, t="RESUMED", now=8.0)
    heartbeats["RESUMED"] = sent_ops(connection) == [1]

    assert [when for when, is_sent in heartbeats.items() if is_sent] == [sent_at]
    assert not any(isinstance(event, HeartbeatLate) for event in connection.events())


def test_heartbeats_are_not_deferred_after_identify_by_default() -> None:
    connection = receive_hello(connection_with())
    assert sent_ops(connection) == [2]

    connection.handle_timer(now=5.0)

    assert sent_ops(connection) == [1]


def test_deferred_heartbeat_is_dropped_on_close() -> None:
    """Rule 9."""
    connection = receive_hello(connection_with(SESSION))
    sent_ops(connection)
    connection.handle_timer(now=5.0)

    receive(connection, 7, now=6.0)

    assert sent_ops(connection) == []


def test_deferred_heartbeat_can_detect_a_zombie() -> None:
    policy = {
        "early_heartbeats": EarlyHeartbeats.AFTER_READY,
        "zombie_policy": ZombiePolicy.ACK,
        "wait_for_identify_slot": True,
    }
    connection = receive_hello(connection_with(**policy))
    connection.handle_timer(now=5.0)
    connection.grant_identify(now=6.0)
    connection.handle_timer(now=15.0)
    assert connection.state is State.IDENTIFYING

    receive(connection, 0, {"session_id": "s"}, s=1, t="READY", now=16.0)

    assert "zombie" in (close_event(connection).error or "")


@pytest.mark.parametrize(
    ("policy", "survives"),
    [
        (ZombiePolicy.ACK, 1),
        (ZombiePolicy.TRAFFIC_THEN_ACK, 2),
        (ZombiePolicy.TRAFFIC, 9),
    ],
)
def test_zombie_policy_decides_on_missing_heartbeat_acks(
    policy: ZombiePolicy, survives: int
) -> None:
    """Rule 6."""
    connection = ready_with(zombie_policy=policy)
    heartbeats = 0
    for number in range(9):
        connection.handle_timer(now=5.0 + 10 * number)
        heartbeats += sent_ops(connection).count(1)
        receive(connection, 0, {}, s=number, t="X", now=6.0 + 10 * number)

    assert heartbeats == survives


# ----- op 9 -----


def test_identify_on_same_connection_follows_op_9() -> None:
    """Rules 30, 31 and 35: after a delay, and without commands for the old session."""
    connection = ready_with(identify_on_same_connection=True, random=lambda: 0.75)
    for _ in range(130):
        connection.send(VOICE, now=0.0)
    connection.messages_to_send()

    receive(connection, 9, False, now=1.0)
    assert connection.state is State.IDENTIFYING
    assert connection.session is None
    assert connection.queued_commands == ()
    with pytest.raises(LocalProtocolError, match="needs READY"):
        connection.send(VOICE, now=1.5)
    connection.handle_timer(now=4.9)
    assert 2 not in sent_ops(connection)
    connection.handle_timer(now=5.0)
    assert sent_ops(connection)[-1] == 2
    receive(connection, 0, {"session_id": "new"}, s=1, t="READY", now=6.0)

    assert connection.session is not None
    assert connection.session.id == "new"
    connection.receive_eof(now=7.0)
    assert set(close_event(connection).unsent) == {VOICE}


def test_identify_attempts_on_the_same_connection_are_bounded() -> None:
    connection = receive_hello(
        connection_with(identify_on_same_connection=True, identify_attempts=3)
    )
    while connection.state is not State.CLOSED:
        receive(connection, 9, False, now=0.0)
        connection.handle_timer(now=connection.next_timer() or 0.0)

    assert len(connection._outcome.identified_at) == 3


def test_op_9_in_answer_to_resume_ends_the_wait_for_its_answer() -> None:
    connection = receive_hello(connection_with(SESSION, identify_on_same_connection=True), 10**6)
    receive(connection, 9, False, now=1.0)
    connection.handle_timer(now=4.0)
    assert sent_ops(connection) == [6, 2]

    connection.handle_timer(now=4.0 + connection._config.ready_timeout)

    assert close_event(connection).error == "waited too long for READY or RESUMED"
    assert not connection._outcome.resume_unanswered


def test_resumable_op_9_always_causes_a_new_connection() -> None:
    connection = ready_with(identify_on_same_connection=True)

    receive(connection, 9, True)

    assert SessionInvalidated(resumable=True) in connection.events()
    assert connection.state is State.CLOSED


# ----- identify slots -----


def test_connection_requests_its_identify_slot_after_hello() -> None:
    """Rules 52, 55 and 83."""
    connection = connection_with(wait_for_identify_slot=True, shard=(5, 9), max_concurrency=4)
    receive_hello(connection)
    receive_hello(connection)
    asked = [e for e in connection.events() if isinstance(e, IdentifySlotNeeded)]
    assert asked == [IdentifySlotNeeded(5, 1)]
    assert sent_ops(connection) == []

    connection.grant_identify(now=3.0)
    connection.grant_identify(now=4.0)

    assert sent_ops(connection) == [2]
    assert connection.state is State.IDENTIFYING


def test_needed_slot_is_reported_before_its_event_is_taken() -> None:
    needed: list[tuple[ClientConnection, float]] = []
    client = Client(
        config_with(wait_for_identify_slot=True),
        on_slot_needed=lambda connection, now: needed.append((connection, now)),
    )
    connection = client.dial_succeeded(now=0.0, framing=False)
    assert isinstance(connection, ClientConnection)

    receive(connection, 10, {"heartbeat_interval": 10_000}, now=2.0)

    assert needed == [(connection, 2.0)]
    assert IdentifySlotNeeded(0, 0) in connection.events()


def test_identify_slot_after_close_is_ignored() -> None:
    connection = receive_hello(connection_with(wait_for_identify_slot=True))
    connection.receive_eof(now=1.0)

    connection.grant_identify(now=2.0)

    assert sent_ops(connection) == []


def test_granted_identify_slot_calls_on_wake() -> None:
    connection = receive_hello(connection_with(wait_for_identify_slot=True))
    woken = []
    connection.on_wake = lambda: woken.append(True)

    connection.grant_identify(now=1.0)

    assert woken == [True]


def test_resume_and_versions_without_hello_need_no_identify_slot() -> None:
    """Rule 52."""
    resuming = receive_hello(connection_with(SESSION, wait_for_identify_slot=True))
    assert sent_ops(resuming) == [6]

    config = config_with(version=4, intents=None, wait_for_identify_slot=True)
    old = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    assert sent_ops(old) == [2]
