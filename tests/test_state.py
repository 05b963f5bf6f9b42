"""Every entry of TRANSITIONS, checked with connections of both roles and all versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway_proto import ClientConnection, Config, Session, State
from gateway_proto.connection import BaseConnection
from gateway_proto.server import Server, ServerConnection
from gateway_proto.session import token_fingerprint
from gateway_proto.state import TRANSITIONS, Input
from gateway_proto.versions import VERSIONS

AnyConnection = BaseConnection[Any, Any, Any]
NOW = 10.0


def _text(op: int, d: Any = None, s: int | None = None, t: str | None = None) -> str:
    return json.dumps({"op": op, "d": d, "s": s, "t": t})


HELLO = _text(10, {"heartbeat_interval": 60_000})
READY = _text(0, {"session_id": "s", "heartbeat_interval": 60_000}, 1, "READY")
RESUMED = _text(0, {"heartbeat_interval": 60_000}, 2, "RESUMED")
IDENTIFY = _text(2, {"token": "t", "intents": 0, "properties": {}})


def _client(version: int, state: State, **policy: Any) -> ClientConnection:
    config = Config(
        token="t",
        version=version,
        intents=0,
        unix_offset=0.0,
        gateway_url="ws://localhost",
        **policy,
    )
    session = None
    if state is State.RESUMING:
        session = Session(
            id="s", sequence=1, version=version, token_fingerprint=token_fingerprint("t")
        )
    framing = state is State.CONNECTING
    client = ClientConnection(config, "ws://localhost", now=NOW, session=session, framing=framing)
    if not framing:
        if state is not State.AWAITING_HELLO and config.version.sends_hello:
            client.receive_message(HELLO, now=NOW)
        if state is State.READY:
            client.receive_message(READY, now=NOW)
        if state is State.CLOSING:
            client.close(4000, now=NOW)
        if state is State.CLOSED:
            client.receive_eof(now=NOW)
    assert client.state is state
    client.events()
    return client


@pytest.mark.parametrize("version", [v for v, d in VERSIONS.items() if d.invalid_session_has_flag])
@pytest.mark.parametrize("state", [State.IDENTIFYING, State.RESUMING, State.READY])
def test_invalid_session_on_same_connection_follows_the_table(version: int, state: State) -> None:
    """Rule 30: Identify on the same connection, if configured."""
    client = _client(version, state, identify_on_same_connection=True)
    table = TRANSITIONS[_NAMES[version]]

    client.receive_message(_text(9, False), now=NOW)
    assert client.state is table[(state, Input.INVALID_SESSION_SAME_CONNECTION)]
    client.handle_timer(now=NOW + 5)

    assert client.state is table[(State.IDENTIFYING, Input.IDENTIFY)]
    assert len(client._outcome.identified_at) == (1 if state is State.RESUMING else 2)


def _upgrade(connection: ClientConnection) -> None:
    server = Server().accept(now=NOW)
    server.receive_data(connection.data_to_send(), now=NOW)
    answer = server.data_to_send()
    # The response alone, without the messages after it.
    connection.receive_data(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", now=NOW)


def _say(text: str) -> Callable[[AnyConnection], None]:
    return lambda connection: connection.receive_message(text, now=NOW)


_RECEIVED_BY_CLIENT: dict[Input, str] = {
    Input.HELLO: HELLO,
    Input.READY: READY,
    Input.RESUMED: RESUMED,
    Input.DISPATCH: _text(0, {}, 3, "X"),
    Input.HEARTBEAT: _text(1),
    Input.ACK: _text(11),
    Input.RECONNECT: _text(7),
    Input.INVALID_SESSION: _text(9, False),
    Input.UNKNOWN: _text(99),
}
_CLIENT_STATES = {
    version: [s for s in State if protocol.sends_hello or s is not State.AWAITING_HELLO]
    for version, protocol in VERSIONS.items()
}
_DONE: dict[Input, Callable[[AnyConnection], None]] = {
    Input.CLOSE: lambda connection: connection.close(4000, now=NOW),
    Input.END: lambda connection: connection.receive_eof(now=NOW),
}
_NAMES = {
    version: "client_with_hello" if protocol.sends_hello else "client_without_hello"
    for version, protocol in VERSIONS.items()
}


@pytest.mark.parametrize(
    ("version", "state", "input_"),
    [
        (version, state, input_)
        for version, states in _CLIENT_STATES.items()
        for state in states
        # Before the WebSocket is open, there are no payloads to receive.
        if state is not State.CONNECTING
        for input_ in [*_RECEIVED_BY_CLIENT, *_DONE]
        # Versions 3 and 4 have no such payloads; they are unknown there.
        if VERSIONS[version].sends_hello or input_ not in (Input.HELLO, Input.ACK)
    ],
    ids=str,
)
def test_client_state_follows_the_table(version: int, state: State, input_: Input) -> None:
    client = _client(version, state)

    act = _DONE.get(input_) or _say(_RECEIVED_BY_CLIENT[input_])
    act(client)

    after = TRANSITIONS[_NAMES[version]].get((state, input_), state)
    if (state, input_) == (State.AWAITING_HELLO, Input.HELLO):
        # HELLO is answered at once: Identify is the next input, in the same call.
        after = TRANSITIONS[_NAMES[version]][(after, Input.IDENTIFY)]
    assert client.state is after


@pytest.mark.parametrize("version", [3, 10])
@pytest.mark.parametrize("input_", [Input.CLOSE, Input.END])
def test_upgrading_client_state_follows_the_table(version: int, input_: Input) -> None:
    client = _client(version, State.CONNECTING)

    _DONE[input_](client)

    assert client.state is TRANSITIONS[_NAMES[version]][(State.CONNECTING, input_)]


@pytest.mark.parametrize("resume", [False, True])
def test_opened_websocket_leads_to_hello_identify_or_resume(resume: bool) -> None:
    with_hello = _client(10, State.CONNECTING)
    _upgrade(with_hello)
    assert with_hello.state is TRANSITIONS["client_with_hello"][(State.CONNECTING, Input.OPENED)]
    sent_input = Input.RESUME if resume else Input.IDENTIFY
    wanted = State.RESUMING if resume else State.IDENTIFYING

    not_greeted = _client(3, wanted)
    assert not_greeted.state is TRANSITIONS["client_without_hello"][(State.CONNECTING, sent_input)]
    with_hello = _client(10, wanted)
    assert with_hello.state is TRANSITIONS["client_with_hello"][(State.AWAITING_HELLO, sent_input)]


def _server(version: int, state: State) -> ServerConnection:
    server = Server()
    if state is State.CONNECTING:
        return server.accept(now=NOW)
    query = "?v=10" if version == 10 else ""
    connection = server.accept(now=NOW, framing=False, target=f"/{query}")
    if state is State.READY:
        connection.receive_message(IDENTIFY, now=NOW)
    if state is State.CLOSING:
        connection.close(4000, now=NOW)
    if state is State.CLOSED:
        connection.receive_eof(now=NOW)
    assert connection.state is state
    return connection


_RECEIVED_BY_SERVER: dict[Input, str] = {
    Input.HEARTBEAT: _text(1, None),
    Input.IDENTIFY: IDENTIFY,
    Input.COMMAND: _text(4, {"guild_id": "1", "channel_id": None}),
    Input.UNKNOWN: _text(99),
}
_SERVER_STATES = [State.IDENTIFYING, State.READY, State.CLOSING, State.CLOSED]


@pytest.mark.parametrize("version", [3, 10])
@pytest.mark.parametrize("state", _SERVER_STATES)
@pytest.mark.parametrize("input_", [*_RECEIVED_BY_SERVER, *_DONE])
def test_server_state_follows_the_table_or_closes(
    version: int, state: State, input_: Input
) -> None:
    connection = _server(version, state)

    act = _DONE.get(input_) or _say(_RECEIVED_BY_SERVER[input_])
    act(connection)

    table = TRANSITIONS["server"]
    otherwise = state if state in (State.CLOSING, State.CLOSED) else State.CLOSING
    assert connection.state is table.get((state, input_), otherwise)


@pytest.mark.parametrize("input_", [Input.CLOSE, Input.END])
def test_upgrading_server_state_follows_the_table(input_: Input) -> None:
    connection = _server(10, State.CONNECTING)

    _DONE[input_](connection)

    assert connection.state is TRANSITIONS["server"][(State.CONNECTING, input_)]


def test_accepted_resume_follows_the_table() -> None:
    server = Server()
    first = server.accept(now=NOW, framing=False, target="/?v=10")
    first.receive_message(IDENTIFY, now=NOW)
    (session_id,) = server.sessions
    second = server.accept(now=NOW, framing=False, target="/?v=10")

    resume = {"token": "t", "session_id": session_id, "seq": 1}
    second.receive_message(_text(6, resume), now=NOW)

    assert second.state is TRANSITIONS["server"][(State.IDENTIFYING, Input.RESUME)]
    assert first.state is State.CLOSED


def test_closed_state_has_no_transitions() -> None:
    for name, table in TRANSITIONS.items():
        assert not [cell for cell in table if cell[0] is State.CLOSED], name


def test_every_state_with_transitions_can_be_reached() -> None:
    for name, table in TRANSITIONS.items():
        reached = {State.CONNECTING, *table.values()}
        assert {state for state, _ in table} <= reached, name
