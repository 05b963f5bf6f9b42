"""Requests of the control route that wait for an entry, and reset."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import Activity, Client, Closed, Ready, State, UpdatePresence
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, World
from gateway_proto.testing import Link
from tests.server.control_requests import CONFIG, ask, connected, post


def _waiting(server: Server, query: str, *, now: float = 0.0) -> Any:
    connection = server.accept(now=now)
    head = f"GET /control/wait{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connection.receive_data(head.encode(), now=now)
    return connection


def _answer(connection: Any) -> tuple[int, Any]:
    status, _, text = connection.data_to_send().partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(text)


def test_wait_returns_an_existing_entry_at_once() -> None:
    _, server = connected()

    status, entry = ask(server, "GET /control/wait?event=Identify")

    assert (status, entry["event"], entry["number"]) == (200, "Identify", 2)
    assert ask(server, "GET /control/wait?after=2&event=Ready&connection=1")[1]["number"] == 3


def test_wait_returns_when_the_entry_is_added() -> None:
    link, server = connected()
    waiting = _waiting(server, "?event=UpdatePresence&after=3&timeout=60", now=link.now)
    woken = []
    waiting.on_wake = lambda: woken.append(1)
    assert waiting.data_to_send() == b""

    link.client.send(UpdatePresence([Activity("chess")]))
    link.run(1)

    assert woken
    status, entry = _answer(waiting)
    assert (status, entry["event"]) == (200, "UpdatePresence")
    assert waiting.state is State.CLOSED
    assert waiting not in server.connections
    assert isinstance(waiting.events()[-1], Closed)


def test_wait_returns_408_after_its_timeout() -> None:
    link, server = connected()
    waiting = _waiting(server, "?event=Resume&timeout=2.5", now=link.now)

    assert waiting.next_timer() == link.now + 2.5
    waiting.handle_timer(now=link.now + 2.5)

    status, body = _answer(waiting)
    assert (status, body["message"]) == (408, "no event Resume after entry 0 within 2.5 s")
    assert waiting.next_timer() is None


def test_wait_is_for_entries_above_its_number() -> None:
    server = Server(ServerConfig(control="/control"))
    waiting = _waiting(server, "?after=1")

    ask(server, "GET /api/v10/gateway")
    assert waiting.data_to_send() == b""
    ask(server, "GET /api/v10/gateway")

    assert _answer(waiting)[1]["number"] == 2


def test_wait_may_take_longer_than_the_handshake_timeout() -> None:
    server = Server(ServerConfig(control="/control", handshake_timeout=1.0))
    waiting = _waiting(server, "?timeout=3")

    waiting.handle_timer(now=2.9)
    assert waiting.state is not State.CLOSED
    waiting.handle_timer(now=3.0)

    assert _answer(waiting)[0] == 408


def test_wait_has_a_default_timeout_of_ten_seconds() -> None:
    server = Server(ServerConfig(control="/control"))
    waiting = _waiting(server, "")
    waiting.handle_timer(now=9.9)
    assert waiting.data_to_send() == b""

    waiting.handle_timer(now=10.0)

    assert _answer(waiting) == (408, {"message": "no entry after entry 0 within 10 s"})


def test_wait_with_timeout_zero_returns_at_once() -> None:
    server = Server(ServerConfig(control="/control"))

    assert ask(server, "GET /control/wait?timeout=0")[0] == 408


def test_wait_selects_by_fields() -> None:
    link, server = connected()
    waiting = _waiting(server, "?event=HttpRequested&method=GET&status=404", now=link.now)
    ask(server, "GET /api/v10/gateway", now=link.now)
    assert waiting.data_to_send() == b""

    ask(server, "GET /api/v10/nonsense", now=link.now)

    assert _answer(waiting)[1]["status"] == 404


def test_client_that_disconnects_ends_its_wait() -> None:
    link, server = connected()
    waiting = _waiting(server, "?event=Resume", now=link.now)
    waiting.receive_data(b"more", now=link.now)

    waiting.receive_eof(now=link.now)
    link.cut()
    link.run(5)

    assert server._context._waits == {}
    assert waiting.data_to_send() == b""


@pytest.mark.parametrize(
    ("query", "error_text"),
    [
        ("event=Identifi", "invalid event 'Identifi': expected one of Heartbeat, Identify"),
        ("evnt=Identify", "invalid parameter 'evnt': expected one of after, timeout, event"),
        ("timeout=x", "invalid timeout 'x': expected seconds from 0 to 600"),
        ("timeout=-1", "invalid timeout '-1': expected seconds"),
        ("timeout=601", "invalid timeout '601': expected seconds"),
        ("timeout=nan", "invalid timeout 'nan': expected seconds"),
        ("timeout=", "invalid timeout '': expected seconds"),
        ("after=-1", "invalid after '-1': expected the number of an entry"),
        ("event=Ready&event=Resume", "invalid event ['Ready', 'Resume']: expected one value"),
    ],
)
def test_wait_with_an_invalid_parameter_is_rejected(query: str, error_text: str) -> None:
    _, server = connected()

    status, body = ask(server, f"GET /control/wait?{query}")

    assert status == 400
    assert body["message"].startswith(error_text)


def test_resumed_session_adds_an_entry() -> None:
    link, server = connected()
    link.cut()
    link.run(5)

    status, entry = ask(server, "GET /control/wait?event=Resumed")

    assert (status, entry["connection"]) == (200, 2)
    assert entry["session"] in server.sessions


def test_waits_for_another_event_go_on() -> None:
    server = Server(ServerConfig(control="/control", received_log_limit=100))
    for _ in range(100):
        server._context.log_received("Opened", 1)
    waiting = [_waiting(server, "?event=Resume") for _ in range(100)]

    for _ in range(100):
        server._context.log_received("Opened", 1)

    assert all(connection.state is State.CONNECTING for connection in waiting)


# ----- reset -----


def test_reset_restores_the_initial_state() -> None:
    faults = Scenario([Fault("close", code=4009, on="ready", after=3600.0)])
    world = World([{"id": "5", "name": "five"}])
    link, server = connected(
        scenario=faults, world=world, identifies_per_day=1, identify_seconds=3600.0
    )
    post(link, server, "dispatch", {"t": "GUILD_CREATE", "d": {"id": "6", "name": "six"}})
    server.set_scenario(Scenario())
    link.cut()
    link.run(2)

    assert ask(server, "POST /control/reset", now=link.now) == (200, {})

    assert server.sessions == {}
    assert server.open_connections == []
    assert ask(server, "GET /control/received", now=link.now) == (200, [])
    assert server.config.scenario == faults
    assert server.world.guild("6") is None
    other = Link(Client(CONFIG), server)
    other.client.expect(Ready)
    _, entries = ask(server, "GET /control/received", now=link.now)
    assert (entries[0]["number"], entries[0]["connection"]) == (1, 1)


def test_reset_keeps_waiting_requests() -> None:
    link, server = connected()
    waiting = _waiting(server, "?event=Ready&after=3", now=link.now)

    server.reset(now=link.now)

    assert waiting.state is State.CONNECTING
    assert waiting in server.connections


def test_reset_with_fields_is_rejected() -> None:
    _, server = connected()

    status, _ = ask(server, "POST /control/reset", {"log": True})

    assert status == 400
    assert len(server.open_connections) == 1


def test_invalid_field_is_reported_with_its_value() -> None:
    _, server = connected()

    _, body = ask(server, "POST /control/close", {"code": "4000"})

    assert body["message"] == "invalid body: Expected `int`, got `str` - at `$.code`, not '4000'"
