"""INVALID_SESSION and closes that end a session."""

from __future__ import annotations

import pytest

from gateway_proto import SessionInvalidated, State
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, ServerConnection
from tests.server.support import (
    accept_connection,
    identify_on,
    ready_connection,
    resume_on,
    send_payload,
    sent_close_code,
    sent_payloads,
)


def _invalidated(server: Server, *, resumable: bool) -> tuple[ServerConnection, str]:
    connection = ready_connection(server)
    assert connection.session is not None
    session_id = connection.session.id
    connection.send(SessionInvalidated(resumable), now=1.0)
    assert sent_payloads(connection)[-1] == {"t": None, "s": None, "op": 9, "d": resumable}
    return connection, session_id


@pytest.mark.parametrize("resumable", [False, True])
def test_invalidated_session_receives_no_dispatch(resumable: bool) -> None:
    server = Server()
    connection, session_id = _invalidated(server, resumable=resumable)

    count = server.dispatch("X", 1, now=2.0, to=lambda session: True)

    assert count == (1 if resumable else 0)
    assert sent_payloads(connection) == []
    assert (session_id in server.sessions) == resumable


@pytest.mark.parametrize("by_fault", [False, True])
def test_connection_may_resume_after_a_resumable_op_9(by_fault: bool) -> None:
    fault = [Fault("invalidate", on="ready", resumable=True)] if by_fault else []
    server = Server(ServerConfig(scenario=Scenario(fault)))
    connection = accept_connection(server)
    identify_on(connection)
    (session_id,) = server.sessions
    if not by_fault:
        connection.send(SessionInvalidated(True), now=1.0)
    sent_payloads(connection)
    server.dispatch("X", 1, now=2.0, to=lambda session: True)

    send_payload(connection, 6, {"token": "t", "session_id": session_id, "seq": 1}, now=3.0)

    assert [payload["t"] for payload in sent_payloads(connection)] == ["X", "RESUMED"]
    assert connection.state is State.READY


def test_connection_may_identify_after_op_9() -> None:
    server = Server()
    connection = ready_connection(server)
    (session_id,) = server.sessions
    connection.send(SessionInvalidated(False), now=1.0)
    sent_payloads(connection)

    send_payload(connection, 6, {"token": "t", "session_id": session_id, "seq": 1}, now=2.0)
    assert [payload["op"] for payload in sent_payloads(connection)] == [9]
    identify_on(connection)

    assert sent_payloads(connection)[0]["t"] == "READY"
    assert session_id not in server.sessions


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("still_connected", [False, True])
def test_op_9_in_answer_to_resume_replaces_resumed(resumable: bool, still_connected: bool) -> None:
    fault = Fault("invalidate", on="resume", resumable=resumable, connection=2)
    server = Server(ServerConfig(scenario=Scenario([fault])))
    first = ready_connection(server)
    (session_id,) = server.sessions
    if not still_connected:
        first.drop(now=1.0)

    connection = resume_on(server, session_id, 1, now=2.0)

    assert [payload["op"] for payload in sent_payloads(connection)] == [9]
    assert connection.state is State.IDENTIFYING
    assert (session_id in server.sessions) == resumable
    assert (first.state is State.CLOSED) == (not (still_connected and resumable))
    send_payload(connection, 6, {"token": "t", "session_id": session_id, "seq": 1}, now=3.0)
    (again,) = sent_payloads(connection)
    assert (again["op"], again["t"]) == ((0, "RESUMED") if resumable else (9, None))


def test_op_9_in_answer_to_resume_of_no_session_is_sent_once() -> None:
    fault = Fault("invalidate", on="resume")
    server = Server(ServerConfig(scenario=Scenario([fault])))

    connection = resume_on(server, "unknown", 1, now=2.0)

    assert [payload["op"] for payload in sent_payloads(connection)] == [9]


def test_op_9_in_answer_to_identify_opens_no_session() -> None:
    fault = Fault("invalidate", on="identify")
    server = Server(ServerConfig(scenario=Scenario([fault])))
    connection = accept_connection(server)

    identify_on(connection)

    assert sent_payloads(connection)[-1]["op"] == 9
    assert server.sessions == {}
    identify_on(connection)
    assert sent_payloads(connection)[0]["t"] == "READY"


def test_connection_without_identify_after_op_9_is_closed() -> None:
    server = Server(ServerConfig(identify_timeout=10.0, heartbeat_interval=100_000))
    connection = ready_connection(server)
    connection.send(SessionInvalidated(False), now=1.0)

    connection.handle_timer(now=11.0)

    assert sent_close_code(connection) == 4009


def test_op_9_of_version_5_always_ends_the_session() -> None:
    server = Server()
    connection = accept_connection(server, "/?v=5&encoding=json")
    send_payload(connection, 2, {"token": "t", "properties": {}})

    connection.send(SessionInvalidated(True), now=1.0)

    assert server.sessions == {}


@pytest.mark.parametrize(
    ("code", "kept"), [(4000, True), (4007, False), (4009, True), (4014, False)]
)
def test_close_code_decides_if_the_session_is_kept(code: int, kept: bool) -> None:
    server = Server()
    connection = ready_connection(server)
    (session_id,) = server.sessions

    connection.close(code, now=1.0)
    connection.receive_close(code, now=1.0)

    assert (session_id in server.sessions) == kept
    again = resume_on(server, session_id, 1, now=2.0)
    assert [payload["t"] for payload in sent_payloads(again)] == ["RESUMED" if kept else None]


@pytest.mark.parametrize(("code", "op"), [(4000, 0), (4001, 9), (4007, 9), (4009, 0)])
def test_close_code_ends_the_session_before_it_is_answered(code: int, op: int) -> None:
    server = Server()
    connection = ready_connection(server)
    (session_id,) = server.sessions
    connection.close(code, now=1.0)
    assert connection.state is State.CLOSING

    again = resume_on(server, session_id, 1, now=1.0)

    assert [payload["op"] for payload in sent_payloads(again)] == [op]
    assert (session_id in server.sessions) == (op == 0)
    assert server.dispatch("X", 1, now=2.0, to=lambda session: True) == (1 if op == 0 else 0)
    assert [payload["t"] for payload in sent_payloads(again)] == (["X"] if op == 0 else [])


@pytest.mark.parametrize("target", ["/?v=&encoding=json", "/?encoding=json&v="])
def test_empty_version_is_rejected(target: str) -> None:
    connection = Server().accept(now=0.0)
    connection.receive_data(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode(),
        now=0.0,
    )

    answer = connection.data_to_send()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"version ''" in answer


@pytest.mark.parametrize("size", [4096, 4097])
def test_payload_limit_counts_the_whole_payload(size: int) -> None:
    connection = ready_connection()
    text = '{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false},"x":"\u00e9"}'
    text = text.replace("\u00e9", "\u00e9" * ((size - len(text) + 1) // 2), 1)
    text += " " * (size - len(text.encode()))

    connection.receive_message(text, now=1.0)

    assert len(text.encode()) == size
    assert sent_close_code(connection) == (None if size == 4096 else 4002)
