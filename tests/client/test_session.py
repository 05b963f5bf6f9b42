"""Sessions of a client: resume by another process, mismatches, intervals."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Config,
    DialScheduled,
    Dispatch,
    Encoding,
    LocalProtocolError,
    NextAction,
    Resumed,
    Session,
    SessionIgnored,
    State,
    UrlRejected,
)
from gateway_proto.server import Server
from gateway_proto.session import session_after, token_fingerprint
from gateway_proto.testing import Link
from tests.client.support import CONFIG, SESSION, config_with, hosts_dialled
from tests.encodings import ENCODINGS, NEEDS_ETF


def test_new_process_resumes_after_the_last_handled_event() -> None:
    server = Server()
    link = Link(Client(CONFIG), server)
    for number in range(5):
        server.dispatch("N", number, now=link.now)
    link.run()
    handled: list[int] = []
    session: Session | None = None
    for event in link.client.events:
        session = session_after(session, event)
        if isinstance(event, Dispatch) and event.name == "N":
            handled.append(event.data)
            if len(handled) == 3:
                break
    assert session is not None
    link.cut()

    stored = session.to_json()
    again = Link(Client(CONFIG, session=Session.from_json(stored)), server)

    again.client.expect(Resumed)
    replayed = [e.data for e in again.client.events if isinstance(e, Dispatch) and e.name == "N"]
    assert handled + replayed == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "expected_text"),
    [
        ({"token": "other"}, "another token: expected that of Config.token"),
        ({"shard": (0, 2)}, "another shard None: expected (0, 2)"),
        ({"version": 3, "unix_offset": 0.0, "api_url": None}, "another version 10: expected 3"),
        pytest.param({"encoding": "etf"}, "another encoding json: expected etf", marks=NEEDS_ETF),
    ],
)
def test_session_that_does_not_match_is_ignored_and_reported(
    changes: dict[str, object], expected_text: str
) -> None:
    config = config_with(**changes)

    client = Client(config, session=SESSION)

    ignored, planned = client.events()
    assert ignored == SessionIgnored(f"session has {expected_text}")
    assert isinstance(planned, DialScheduled)
    assert client.session is None
    assert session_after(SESSION, ignored) is None
    with pytest.raises(LocalProtocolError, match="cannot be resumed: session has another"):
        SESSION.check_fits(config)


def test_session_with_a_long_id_is_ignored() -> None:
    client = Client(CONFIG, session=msgspec.structs.replace(SESSION, id="x" * 257))

    ignored = client.events()[0]

    assert ignored == SessionIgnored("session id has 257 characters: expected at most 256")
    assert client.session is None


def test_matching_session_is_resumed_without_a_report() -> None:
    client = Client(CONFIG, session=SESSION)

    assert client.session == SESSION
    assert SESSION.misfit(CONFIG) is None
    SESSION.check_fits(CONFIG)  # does not raise
    assert not any(isinstance(event, SessionIgnored) for event in client.events())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_session_stores_the_encoding_of_its_connection(encoding: str) -> None:
    client = Client(config_with(encoding=encoding))

    Link(client, Server()).run()

    assert client.session is not None
    assert client.session.encoding == Encoding(encoding)
    assert Session.from_json(client.session.to_json()) == client.session


@pytest.mark.parametrize("session_id", ["", "a\ud800"])
def test_session_id_unusable_for_resume_ends_the_connection(session_id: str) -> None:
    connection = ClientConnection(CONFIG, "ws://localhost", now=0.0, framing=False)
    _receive(connection, 10, {"heartbeat_interval": 30000})

    _receive(connection, 0, {"session_id": session_id}, s=1, t="READY")

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert "READY names an invalid session id" in (closed.error or "")
    assert connection.session is None


def test_resume_url_with_a_lone_surrogate_is_rejected() -> None:
    connection = ClientConnection(CONFIG, "ws://localhost", now=0.0, framing=False)
    _receive(connection, 10, {"heartbeat_interval": 30000})
    d = {"session_id": "s", "resume_gateway_url": "wss://\ud800"}

    _receive(connection, 0, d, s=1, t="READY")

    assert connection.session is not None
    assert connection.session.resume_url is None
    assert Session.from_json(connection.session.to_json()) == connection.session
    refused = [event for event in connection.events() if isinstance(event, UrlRejected)]
    assert refused == [UrlRejected(r"wss://\ud800", "it has a lone surrogate")]


def test_absurd_heartbeat_interval_in_ready_can_be_stored() -> None:
    connection = _old(version=3)

    _receive(connection, 0, {"session_id": "s", "heartbeat_interval": 1e300}, s=1, t="READY")

    assert connection.session is not None
    assert connection.session.heartbeat_interval == 2**48
    assert Session.from_json(connection.session.to_json()) == connection.session


def test_connection_validates_the_fields_of_a_session() -> None:
    session = msgspec.structs.replace(SESSION, sequence=-1)

    with pytest.raises(LocalProtocolError, match=r"invalid Session\.sequence -1"):
        ClientConnection(CONFIG, "ws://localhost", now=0.0, session=session)


def test_client_session_has_the_last_received_sequence() -> None:
    server = Server()
    client = Client(CONFIG)
    link = Link(client, server)
    server.dispatch("N", 1, now=0.0)
    link.run()

    assert client.session is not None
    assert client.session.sequence == 2
    link.cut()
    assert client.session.sequence == 2


def test_untrusted_resume_url_is_reported_once() -> None:
    client = Client(
        config_with(api_url=None, gateway_url="ws://localhost"),
        session=msgspec.structs.replace(SESSION, resume_url="ws://evil.example"),
    )

    assert hosts_dialled(client, 2) == ["localhost"] * 2

    assert client.session == msgspec.structs.replace(SESSION, resume_url=None)
    assert sum(isinstance(event, UrlRejected) for event in client.events()) == 1


# ----- intervals of versions without HELLO -----


def _old(session: Session | None = None, *, version: int = 3) -> ClientConnection:
    config = Config(token="t0ken", version=version, gateway_url="ws://localhost", unix_offset=0.0)
    return ClientConnection(config, "ws://localhost", now=0.0, session=session, framing=False)


def _receive(connection: ClientConnection, op: int, d: Any, now: float = 0.0, **r: Any) -> None:
    connection.receive_message(json.dumps({"op": op, "d": d, **r}), now=now)


def _old_session(version: int, **changes: Any) -> Session:
    values = {
        "id": "s1",
        "sequence": 7,
        "version": version,
        "token_fingerprint": token_fingerprint("t0ken"),
    }
    return Session(**{**values, **changes})


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("d", [None, {"_trace": []}, {"heartbeat_interval": None}, "?"])
def test_resumed_without_interval_keeps_that_of_ready(version: int, d: Any) -> None:
    first = _old(version=version)
    _receive(first, 0, {"session_id": "s1", "heartbeat_interval": 45000}, s=1, t="READY")
    session = first.session
    assert session is not None and session.heartbeat_interval == 45000
    second = _old(Session.from_json(session.to_json()), version=version)

    _receive(second, 0, d, now=10.0, s=2, t="RESUMED")

    assert second.state is State.READY
    assert second.next_timer() == 55.0


@pytest.mark.parametrize("version", [3, 4])
def test_hello_of_old_version_sets_heartbeat_interval_of_resume(version: int) -> None:
    connection = _old(_old_session(version), version=version)

    _receive(connection, 10, {"heartbeat_interval": 30000})
    _receive(connection, 0, {}, now=1.0, s=8, t="RESUMED")

    assert connection.state is State.READY
    assert connection.next_timer() == 31.0
    assert connection.session is not None
    assert connection.session.heartbeat_interval == 30000


def test_hello_of_old_version_sets_heartbeat_interval_of_ready() -> None:
    connection = _old()

    _receive(connection, 10, {"heartbeat_interval": 30000})
    _receive(connection, 0, {"session_id": "s"}, now=1.0, s=1, t="READY")

    assert connection.next_timer() == 31.0


@pytest.mark.parametrize("d", [None, {"heartbeat_interval": 0}, "?"])
def test_unusable_hello_of_old_version_keeps_heartbeat_interval(d: Any) -> None:
    connection = _old(_old_session(3, heartbeat_interval=45000))

    _receive(connection, 10, d)
    _receive(connection, 0, {}, now=1.0, s=8, t="RESUMED")

    assert connection.state is State.READY
    assert connection.next_timer() == 46.0


@pytest.mark.parametrize("interval", [None, 0])
def test_resumed_without_any_heartbeat_interval_ends_connection(interval: int | None) -> None:
    connection = _old(_old_session(3, heartbeat_interval=interval))

    _receive(connection, 0, {}, s=8, t="RESUMED")

    closed = connection.events()[-1]
    assert isinstance(closed, Closed) and closed.next_action is NextAction.RESUME
    assert "RESUMED has no usable heartbeat_interval" in (closed.error or "")


def test_heartbeat_interval_in_resumed_replaces_that_of_session() -> None:
    connection = _old(_old_session(3, heartbeat_interval=45000))

    _receive(connection, 0, {"heartbeat_interval": "30000.7"}, s=8, t="RESUMED")

    assert connection.session is not None
    assert connection.session.heartbeat_interval == 30000
    assert connection.next_timer() == 30.0


def test_resumed_before_hello_has_no_effect() -> None:
    config = Config(token="t0ken", intents=0, gateway_url="ws://localhost")
    connection = ClientConnection(config, "ws://localhost", now=0.0, session=SESSION, framing=False)
    connection.events()

    _receive(connection, 0, {}, t="RESUMED")

    assert connection.state is State.AWAITING_HELLO
    assert connection.events() == []
