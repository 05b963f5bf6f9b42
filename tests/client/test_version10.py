"""Version 10, by the official documentation: handshake, heartbeats, presence, errors."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
import pytest

from gateway_proto import (
    Activity,
    Client,
    DialPurpose,
    HeartbeatAcked,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    Initiator,
    NextAction,
    State,
    UnknownPayload,
    UpdatePresence,
    UrlRejected,
)
from tests.client.version10_connections import (
    CONFIG,
    SESSION,
    after_hello_v10,
    linked,
    ready_v10,
    unframed_v10,
)
from tests.connections import close_event, receive, sent_payloads


def test_nothing_is_sent_before_hello() -> None:
    connection = unframed_v10()

    assert connection.state is State.AWAITING_HELLO
    assert sent_payloads(connection) == []


def test_identify_follows_hello_with_the_documented_fields() -> None:
    config = attrs.evolve(CONFIG, shard=(1, 2), presence=UpdatePresence([Activity("chess")]))

    (identify,) = sent_payloads(after_hello_v10(config=config))

    assert identify["op"] == 2
    assert identify["d"] == {
        "token": "t0ken",
        "properties": {"os": "", "browser": "gateway_proto", "device": "gateway_proto"},
        "intents": 5,
        "compress": False,
        "large_threshold": 50,
        "shard": [1, 2],
        "presence": {
            "since": None,
            "activities": [{"name": "chess", "type": 0}],
            "status": "online",
            "afk": False,
        },
    }


def test_first_heartbeat_is_jittered_and_then_periodic() -> None:
    connection = ready_v10()
    times = []

    for _ in range(3):
        at = connection.next_timer()
        assert at is not None
        connection.handle_timer(now=at)
        times.append(at)
        receive(connection, 11, now=at)

    assert times == [10.0, 50.0, 90.0]


def test_heartbeat_has_null_and_later_the_last_sequence() -> None:
    connection = after_hello_v10()
    connection.messages_to_send()
    receive(connection, 1)
    assert sent_payloads(connection) == [{"op": 1, "d": None}]

    receive(connection, 0, {"session_id": "s"}, s=41, t="READY")
    receive(connection, 0, {}, s=42, t="X")
    receive(connection, 11)
    receive(connection, 1)

    assert sent_payloads(connection) == [{"op": 1, "d": 42}]


def test_ack_sets_latency_of_scheduled_heartbeat() -> None:
    connection = ready_v10()
    connection.handle_timer(now=10.0)

    receive(connection, 11, now=10.125)

    assert connection.latency == 0.125
    acked = connection.events()[-1]
    assert isinstance(acked, HeartbeatAcked)
    assert acked.latency == 0.125


def test_unrequested_heartbeat_ack_sets_no_latency() -> None:
    connection = ready_v10()

    receive(connection, 11)

    (acked,) = connection.events()
    assert isinstance(acked, HeartbeatAcked)
    assert acked.latency is None
    assert connection.latency is None


def test_requested_heartbeat_keeps_schedule_and_latency() -> None:
    connection = ready_v10()
    connection.handle_timer(now=10.0)

    receive(connection, 1, now=10.5)
    receive(connection, 11, now=11.0)

    assert [event for event in connection.events() if isinstance(event, HeartbeatRequested)]
    assert connection.latency == 1.0
    assert connection.next_timer() == 50.0


def test_silent_connection_is_dropped_after_one_interval() -> None:
    connection = ready_v10()
    connection.handle_timer(now=10.0)

    connection.handle_timer(now=50.0)

    closed = close_event(connection)
    assert (closed.initiator, closed.next_action) == (Initiator.SELF, NextAction.RESUME)
    assert closed.error is not None
    assert "zombie" in closed.error
    assert connection.close_to_send() == (4000, "heartbeat not acknowledged")


def test_traffic_replaces_a_heartbeat_ack_for_one_interval() -> None:
    connection = ready_v10()
    connection.handle_timer(now=10.0)
    receive(connection, 0, {}, s=2, t="X", now=20.0)
    connection.handle_timer(now=50.0)
    assert connection.state is State.READY
    receive(connection, 0, {}, s=3, t="X", now=60.0)

    connection.handle_timer(now=90.0)

    assert connection.state is State.CLOSED


def test_heartbeat_ack_keeps_the_connection_open() -> None:
    connection = ready_v10()
    for at in (10.0, 50.0, 90.0, 130.0):
        connection.handle_timer(now=at)
        receive(connection, 11, now=at + 39)

    assert connection.state is State.READY


def test_paused_connection_sends_heartbeats_and_is_not_a_zombie() -> None:
    connection = ready_v10()
    connection.handle_timer(now=10.0)
    connection.pause(now=11.0)
    connection.messages_to_send()

    for at in (50.0, 90.0, 130.0):
        connection.handle_timer(now=at)

    assert connection.state is State.READY
    assert len(sent_payloads(connection)) == 3
    connection.unpause(now=140.0)
    connection.handle_timer(now=170.0)
    assert connection.state is State.READY
    connection.handle_timer(now=210.0)
    assert connection.state is State.CLOSED


def test_late_heartbeat_delays_the_next_one() -> None:
    connection = ready_v10()
    receive(connection, 11)

    connection.handle_timer(now=39.0)

    assert connection.next_timer() == 79.0
    assert len(sent_payloads(connection)) == 1


def test_presence_is_received_by_the_server_unchanged() -> None:
    link = linked()
    presence = UpdatePresence(
        [Activity("x", 1, url="https://twitch.tv/x", state="s")], 5, status="dnd", afk=True
    )

    link.client.send(presence)

    link.server.expect(presence)


def test_presence_rate_limit_keeps_only_the_last_one() -> None:
    connection = ready_v10()
    for number in range(9):
        connection.send(UpdatePresence([Activity(str(number))]), now=1.0)
    sent = [payload["d"]["activities"][0]["name"] for payload in sent_payloads(connection)]
    assert sent == ["0", "1", "2", "3", "4"]

    connection.handle_timer(now=21.0)

    sent = [p["d"]["activities"][0]["name"] for p in sent_payloads(connection) if p["op"] == 3]
    assert sent == ["8"]


def test_presence_set_before_ready_is_sent_with_identify() -> None:
    connection = unframed_v10()
    connection.send(UpdatePresence([Activity("early")]), now=0.0)
    assert sent_payloads(connection) == []

    receive(connection, 10, {"heartbeat_interval": 40_000})

    (identify,) = sent_payloads(connection)
    assert identify["d"]["presence"]["activities"][0]["name"] == "early"


def test_untrusted_resume_url_is_replaced_by_the_main_url() -> None:
    session = msgspec.structs.replace(SESSION, resume_url="ws://evil.example")
    config = attrs.evolve(CONFIG, api_url=None, gateway_url="ws://localhost:1")

    client = Client(config, session=session)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.host, dial.port, dial.purpose) == ("localhost", 1, DialPurpose.RESUME)
    assert any(isinstance(event, UrlRejected) for event in client.events())


def test_second_hello_restarts_the_heartbeats() -> None:
    connection = ready_v10()

    receive(connection, 10, {"heartbeat_interval": 1000}, now=5.0)

    assert connection.events() == [Hello(1000)]
    assert connection.next_timer() == 5.25
    assert sent_payloads(connection) == []


@pytest.mark.parametrize("op", [12, 99, 1.5, -1])
def test_unknown_op_is_reported_and_ignored(op: float) -> None:
    connection = ready_v10()

    receive(connection, op, {"a": 1})  # type: ignore[arg-type]

    (unknown,) = connection.events()
    assert isinstance(unknown, UnknownPayload)
    assert unknown.op == op
    assert json.loads(unknown.raw) == {"a": 1}


def test_error_text_instead_of_an_op_is_reported() -> None:
    connection = ready_v10()

    connection.receive_message('{"message": "something broke"}', now=0.0)

    assert connection.events() == [UnknownPayload(None, b"null", "something broke")]


@pytest.mark.parametrize(
    ("hello", "error_text"),
    [
        ({"heartbeat_interval": 0}, "above zero"),
        ({"heartbeat_interval": -5}, "above zero"),
        ({}, "heartbeat_interval"),
        (None, "HELLO"),
        ({"heartbeat_interval": "x"}, "heartbeat_interval"),
    ],
)
def test_unusable_hello_ends_the_connection_with_a_reason(hello: Any, error_text: str) -> None:
    connection = unframed_v10()

    receive(connection, 10, hello)

    closed = close_event(connection)
    assert closed.error is not None
    assert error_text in closed.error


def test_float_or_tiny_heartbeat_interval_is_accepted() -> None:
    connection = unframed_v10()

    receive(connection, 10, {"heartbeat_interval": 0.0001})

    assert connection.next_timer() == 0.0025  # a quarter of the shortest interval


@pytest.mark.parametrize("d", [None, {}, {"session_id": None}, []])
def test_ready_without_a_session_ends_the_connection(d: Any) -> None:
    connection = after_hello_v10()

    receive(connection, 0, d, s=1, t="READY")

    closed = close_event(connection)
    assert closed.next_action is NextAction.IDENTIFY
    assert closed.error is not None
    assert "READY" in closed.error


def test_ready_in_response_to_resume_starts_a_new_session() -> None:
    connection = after_hello_v10(session=SESSION)

    receive(connection, 0, {"session_id": "new"}, s=1, t="READY")

    assert connection.session is not None
    assert (connection.session.id, connection.session.sequence) == ("new", 1)
    assert connection.session.resume_url is None


def test_sequence_of_an_unusable_dispatch_counts() -> None:
    connection = ready_v10()

    receive(connection, 0, "no resumed", s=9, t="RESUMED")

    assert connection.session is not None
    assert connection.session.sequence == 9


def test_sent_heartbeat_is_an_event() -> None:
    connection = ready_v10()

    connection.handle_timer(now=10.0)

    assert connection.events() == [HeartbeatSent(1)]
