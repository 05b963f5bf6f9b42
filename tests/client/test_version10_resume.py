"""Version 10: resume, op 7, op 9 and close codes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Config,
    DialPurpose,
    Dispatch,
    Identify,
    Initiator,
    NextAction,
    Ready,
    ReconnectRequested,
    Resume,
    Resumed,
    SessionInvalidated,
)
from gateway_proto.server import Server
from gateway_proto.testing import Link
from gateway_proto.versions import VERSIONS
from tests.client.version10_connections import (
    CONFIG,
    SESSION,
    after_hello_v10,
    linked,
    ready_v10,
    unframed_v10,
)
from tests.connections import close_event, receive, sent_payloads


def test_resume_uses_the_resume_url_and_sends_the_token() -> None:
    client = Client(CONFIG, session=SESSION)
    dial = client.next_dial()
    assert dial is not None
    assert dial.url == "ws://localhost:77/resume?x=1&v=10&encoding=json"
    connection = client.dial_succeeded(now=0.0, framing=False)
    assert isinstance(connection, ClientConnection)

    receive(connection, 10, {"heartbeat_interval": 40_000})

    assert sent_payloads(connection) == [
        {"op": 6, "d": {"token": "t0ken", "session_id": "s1", "seq": 7}}
    ]


def test_missed_dispatches_are_replayed_before_resumed() -> None:
    server = Server()
    link = Link(Client(CONFIG), server, now=0.0)
    link.client.expect(Ready)
    link.cut()
    for number in range(3):
        server.dispatch("N", number, now=link.now)

    link.run(10)

    numbers = [e.data for e in link.client.events if isinstance(e, Dispatch) and e.name == "N"]
    assert numbers == [0, 1, 2]
    assert isinstance(link.client.events[-1], Resumed)


def test_session_keeps_id_and_url_over_several_resumes() -> None:
    link = linked()
    first = link.client.connection.session  # type: ignore[union-attr]

    for _ in range(3):
        link.cut()
        link.run(10)
        link.client.expect(Resumed)

    last = link.client.connection.session  # type: ignore[union-attr]
    assert (last.id, last.resume_url) == (first.id, first.resume_url)
    assert last.sequence > first.sequence


@pytest.mark.parametrize("before_hello", [True, False])
def test_op_7_closes_with_4000_and_causes_resume(
    before_hello: bool,
) -> None:
    connection = unframed_v10(session=SESSION)
    if not before_hello:
        receive(connection, 10, {"heartbeat_interval": 40_000})

    receive(connection, 7)

    assert connection.close_to_send() == (4000, "reconnect requested")
    closed = close_event(connection)
    assert (closed.initiator, closed.next_action) == (Initiator.SELF, NextAction.RESUME)


def test_op_7_url_is_ignored_in_version_10() -> None:
    connection = ready_v10()

    receive(connection, 7, {"url": "ws://localhost/elsewhere"})

    assert connection._outcome.redirect is None
    assert ReconnectRequested(None) in connection.events()


def test_first_op_7_resumes_at_once_and_repeated_ones_back_off() -> None:
    link = linked()
    link.server.send(ReconnectRequested())
    assert link.client.expect(Resumed)
    assert link.now == 100.0

    link.server.send(ReconnectRequested())

    assert link.server.connection is not None
    with pytest.raises(AssertionError):
        link.client.expect(Resumed)
    link.run(10)
    link.client.expect(Resumed)


def test_op_9_true_resumes_after_1_to_5_seconds() -> None:
    link = linked()

    link.server.send(SessionInvalidated(resumable=True))

    planned = link.client.events[-1]
    assert planned.purpose is DialPurpose.RESUME
    assert planned.delay == 2.0  # 1 + random * 4
    link.run(3)
    link.server.expect(Resume)


def test_op_9_false_identifies_on_the_main_url() -> None:
    link = linked()

    link.server.send(SessionInvalidated(resumable=False))
    link.run(6)

    planned = link.dials[-1]
    assert planned.purpose is DialPurpose.IDENTIFY
    assert sum(isinstance(event, Identify) for event in link.server.events) == 2
    link.client.expect(Ready)


@pytest.mark.parametrize("d", ["true", 1, None, {}, [True]])
def test_op_9_with_other_values_than_true_means_false(d: Any) -> None:
    connection = ready_v10()

    receive(connection, 9, d)

    assert SessionInvalidated(False) in connection.events()
    assert connection.session is None


def test_op_9_after_identify_waits_at_least_five_seconds() -> None:
    connection = after_hello_v10()

    receive(connection, 9, False)

    closed = close_event(connection)
    assert closed.retry_after == 5.0
    assert closed.next_action is NextAction.IDENTIFY


def test_resume_of_an_unknown_session_falls_back_to_identify() -> None:
    link = Link(Client(CONFIG, session=msgspec.structs.replace(SESSION, resume_url=None)), Server())

    link.run(20)

    link.server.expect(Resume)
    link.client.expect(SessionInvalidated(False))
    link.client.expect(Ready)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_close_code_has_the_next_action_of_the_version(version: int) -> None:
    protocol = VERSIONS[version]
    codes = [
        (code, after.action_if_resuming or after.next_action)
        for code, after in protocol.close_policies.items()
    ]
    for code, then in [*codes, (4999, NextAction.RESUME), (None, NextAction.RESUME)]:
        config = Config(
            token="t0ken",
            version=version,
            intents=0,
            unix_offset=0.0,
            gateway_url="ws://localhost",
        )
        connection = unframed_v10(config, session=SESSION)
        receive(connection, 10, {"heartbeat_interval": 1000})

        connection.receive_close(code, "why", now=0.0)

        closed = close_event(connection)
        assert (closed.code, closed.reason, closed.initiator) == (code, "why", Initiator.PEER)
        assert closed.next_action is then
        assert (connection.session is None) == (then is not NextAction.RESUME)


def test_resumable_close_without_a_session_identifies() -> None:
    connection = after_hello_v10()

    connection.receive_close(4000, now=0.0)

    assert close_event(connection).next_action is NextAction.IDENTIFY
