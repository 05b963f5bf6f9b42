"""Sessions of a server: replay, resume and expiry."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gateway_proto import Client, Config, Dispatch, Identify, Ready, Resumed, State
from gateway_proto.server import Fault, Scenario, Server, ServerConfig
from gateway_proto.testing import Link
from tests.server.support import (
    accept_connection,
    disconnected_session,
    identify_on,
    ready_connection,
    resume_on,
    sent_payloads,
)


def test_resume_replays_missed_dispatches_and_ends_with_resumed() -> None:
    server = Server()
    session_id = disconnected_session(server)
    server.dispatch("A", 1, now=0.0)
    server.dispatch("B", 2, now=0.0)

    connection = resume_on(server, session_id, 2)

    assert [(payload["t"], payload["s"]) for payload in sent_payloads(connection)] == [
        ("B", 3),
        ("RESUMED", 4),
    ]


def test_resume_replaces_the_old_connection() -> None:
    server = Server()
    old = ready_connection(server)
    assert old.session is not None

    new = resume_on(server, old.session.id, 1)

    assert old.state is State.CLOSED
    assert new.session is old.session
    assert server.connections == {new}
    server.dispatch("X", 1, now=10**6)
    assert "X" in [payload["t"] for payload in sent_payloads(new)]


@pytest.mark.parametrize(
    "changes", [{"token": "other"}, {"token": None}, {"session_id": "x"}, {"target": "/?v=3"}]
)
def test_invalid_resume_is_answered_by_the_rules_of_its_version(changes: dict[str, Any]) -> None:
    server = Server()
    resume = {"session_id": disconnected_session(server), **changes}

    connection = resume_on(server, seq=1, **resume)

    if connection.version.number == 3:
        assert connection.close_to_send() == (4006, "Invalid session")
    else:
        assert sent_payloads(connection) == [{"t": None, "s": None, "op": 9, "d": False}]
        identify_on(connection)
        assert connection.state is State.READY


def test_version_3_resumes_without_token_and_gets_the_interval() -> None:
    server = Server()
    connection = ready_connection(server, "/")
    connection.receive_eof(now=0.0)
    assert connection.session is not None

    again = resume_on(server, connection.session.id, 1, target="/", token=None)

    (resumed,) = sent_payloads(again)
    assert (resumed["t"], resumed["d"]) == ("RESUMED", {"heartbeat_interval": 41250})


def test_resume_with_a_future_sequence_is_closed_with_4007() -> None:
    server = Server()

    connection = resume_on(server, disconnected_session(server), 99)

    assert connection.close_to_send() == (4007, "Invalid seq")


@pytest.mark.parametrize(("limit", "works"), [(2, True), (1, False), (0, False)])
def test_incomplete_replay_rejects_the_resume(limit: int, works: bool) -> None:
    server = Server(ServerConfig(replay_limit=limit))
    session_id = disconnected_session(server)
    server.dispatch("A", 1, now=0.0)
    server.dispatch("B", 2, now=0.0)

    (first, *_) = sent_payloads(resume_on(server, session_id, 1))

    assert (first.get("t") == "A") == works
    assert (first["op"] == 9) != works


def test_disconnected_session_expires_after_its_lifetime() -> None:
    server = Server(ServerConfig(session_lifetime=100.0))
    session_id = disconnected_session(server)

    assert resume_on(server, session_id, 1, now=99.0).state is State.READY
    assert server.sessions
    other = disconnected_session(server)
    server.dispatch("X", 1, now=100.0)

    assert other not in server.sessions
    assert session_id in server.sessions


@pytest.mark.parametrize("away", [False, True])
def test_expired_session_gets_no_dispatch_and_no_resume(away: bool) -> None:
    server = Server(ServerConfig(session_lifetime=100.0))
    connection = ready_connection(server)
    session = connection.session
    assert session is not None
    if away:
        connection.receive_eof(now=0.0)

    server.expire_session(session)
    server.expire_session(session)  # idempotent

    assert session.connection is None
    assert server.dispatch("X", 1, now=0.0) == 0
    connection.receive_eof(now=1.0)
    again = resume_on(server, session.id, 1, now=200.0)
    assert sent_payloads(again) == [{"t": None, "s": None, "op": 9, "d": False}]


@pytest.mark.parametrize(
    ("code", "kept"), [(1000, False), (1001, False), (4000, True), (None, True)]
)
def test_close_code_of_the_client_ends_or_keeps_the_session(code: int | None, kept: bool) -> None:
    server = Server()
    connection = ready_connection(server)

    connection.receive_close(code, now=0.0)

    assert bool(server.sessions) == kept


def test_token_may_have_the_bot_prefix() -> None:
    server = Server(ServerConfig(tokens=frozenset({"t"})))
    connection = accept_connection(server)
    identify_on(connection, token="Bot t")
    assert connection.state is State.READY
    connection.receive_eof(now=0.0)
    assert connection.session is not None

    assert resume_on(server, connection.session.id, 1, token="Bot t").state is State.READY


def test_identify_arrives_as_the_client_sent_it() -> None:
    config = Config(token="t", intents=5, api_url="http://localhost/api", shard=(1, 3))
    link = Link(Client(config), Server())

    identify = link.server.expect(Identify)

    assert identify == Identify(token="t", intents=5, shard=(1, 3), large_threshold=50)
    assert link.client.expect(Ready).shard == (1, 3)


@pytest.mark.parametrize("size", [1, 7, 150, 4000])
def test_resume_of_a_chunked_compression_stream_is_complete(size: int) -> None:
    config = Config(token="t", intents=0, api_url="http://localhost/api", compression="zlib-stream")
    server = Server()
    link = Link(Client(config), server, chop=lambda data: [data[:size], data[size:]])
    server.dispatch("X", "y" * 300, now=link.now)
    link.run()
    link.cut()
    link.run(10)

    link.client.expect(Resumed)
    names = [event.name for event in link.client.events if isinstance(event, Dispatch)]
    assert names == ["READY", "X", "RESUMED"]


def test_dispatch_during_the_close_handshake_is_kept_for_resume() -> None:
    server = Server()
    connection = ready_connection(server)
    connection.close(4000, now=0.0)
    connection.messages_to_send()

    server.dispatch("X", 1, now=0.0)

    assert connection.messages_to_send() == []
    connection.receive_eof(now=0.0)
    assert connection.session is not None
    assert "X" in [p.get("t") for p in sent_payloads(resume_on(server, connection.session.id, 1))]


def test_server_config_can_be_evolved() -> None:
    assert attrs.evolve(ServerConfig(), versions=[3]).versions == (3,)


@pytest.mark.parametrize("played", [False, True])
def test_scenario_starts_with_the_next_connection(played: bool) -> None:
    scenario = Scenario([Fault("drop", on="open")])
    server = Server(None if played else ServerConfig(scenario=scenario))
    if played:
        accept_connection(server)
        server.set_scenario(scenario)

    assert accept_connection(server).state is State.CLOSED
    assert accept_connection(server).state is State.IDENTIFYING


# ----- limits -----


def _dispatched(server: Server, count: int, size: int) -> None:
    for _ in range(count):
        server.dispatch("X", "x" * size, now=0.0)


def test_replay_is_limited_in_bytes() -> None:
    server = Server(ServerConfig(replay_bytes=100_000))
    session_id = disconnected_session(server)

    _dispatched(server, 300, 10_000)

    session = server.sessions[session_id]
    assert 50_000 < session.replay_size <= 100_000
    missed = session.dispatches_after(session.sequence - 9)
    assert missed is not None
    assert [sequence for sequence, _ in missed] == list(range(293, 302))
    assert session.dispatches_after(session.sequence - 10) is None


def test_replay_of_many_small_dispatches_is_limited() -> None:
    server = Server(ServerConfig(replay_bytes=100_000, replay_limit=10**6))
    session = server.sessions[disconnected_session(server)]

    _dispatched(server, 1000, 1)

    assert session.replay_size <= 100_000
    assert len(session.dispatches_after(session.sequence - 100) or ()) == 100


def test_dispatch_over_the_replay_limit_is_sent_but_not_stored() -> None:
    server = Server(ServerConfig(replay_bytes=1000))
    connection = ready_connection(server)
    sent_payloads(connection)

    _dispatched(server, 1, 5000)

    assert [p["t"] for p in sent_payloads(connection)] == ["X"]
    assert connection.session is not None
    assert connection.session.replay_size == 0
    assert connection.session.dispatches_after(connection.session.sequence) == []


def test_oldest_disconnected_session_is_removed_at_the_limit() -> None:
    server = Server(ServerConfig(sessions_limit=2))
    oldest, newer = disconnected_session(server), disconnected_session(server)

    ready_connection(server)

    assert oldest not in server.sessions
    assert newer in server.sessions


def test_identify_at_the_session_limit_gets_invalid_session() -> None:
    server = Server(ServerConfig(sessions_limit=1))
    first = ready_connection(server)
    second = accept_connection(server)
    sent_payloads(second)

    identify_on(second)

    assert sent_payloads(second) == [{"t": None, "s": None, "op": 9, "d": False}]
    first.close(1000, now=0.0)
    first.receive_close(1000, now=0.0)
    identify_on(second)
    assert second.state is State.READY


def test_repr_of_session_and_connection_has_no_secrets() -> None:
    server = Server()
    connection = accept_connection(server)
    identify_on(connection, token="secret", shard=[0, 2])
    session = connection.session
    assert session is not None

    text = repr([server.sessions[session.id], connection])

    assert "secret" not in text
    assert session.id not in text
    assert "shard=(0, 2)" in text
    assert "number=1, state=ready, version=10" in text
    session.connection = None
    assert "connection=None" in repr(session)
