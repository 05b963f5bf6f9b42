"""Closing connections: no method sends data after the close frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Config,
    HeartbeatRequested,
    Initiator,
    LocalProtocolError,
    RequestChannelInfo,
    RequestSoundboardSounds,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server, ServerConnection
from gateway_proto.server.faults import Fault
from gateway_proto.shards import ShardManager
from gateway_proto.testing import Link
from tests.client.support import CONFIG

OP_CLOSE = 0x88
HELLO = {"op": 10, "d": {"heartbeat_interval": 41250}}
READY = {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "s"}}
DIRECT = attrs.evolve(CONFIG, api_url=None, gateway_url="ws://localhost")
Connection = ClientConnection | ServerConnection


def _pair(
    config: Config = DIRECT, *, framing: bool = True
) -> tuple[ClientConnection, ServerConnection]:
    client = ClientConnection(
        config, "ws://localhost/?v=10&encoding=json", now=0.0, framing=framing
    )
    server = Server().accept(now=0.0, framing=framing, target="/?v=10&encoding=json")
    return client, server


def _carry(source: Connection, target: Connection, now: float) -> None:
    target.receive_data(source.data_to_send(), now=now)


def _opened(config: Config = DIRECT) -> tuple[ClientConnection, ServerConnection]:
    """Return a client and a server with an open WebSocket; the client has received HELLO."""
    client, server = _pair(config)
    _carry(client, server, 0.0)
    _carry(server, client, 0.0)
    return client, server


def _made_ready(config: Config = DIRECT) -> tuple[ClientConnection, ServerConnection]:
    client, server = _opened(config)
    _carry(client, server, 0.0)
    _carry(server, client, 0.0)
    assert client.state is State.READY and server.state is State.READY
    return client, server


def _unframed(*payloads: dict[str, Any], config: Config = DIRECT) -> ClientConnection:
    client, _ = _pair(config, framing=False)
    for payload in payloads:
        client.receive_message(json.dumps(payload), now=0.0)
    client.messages_to_send()
    client.events()
    return client


# ----- identify slots -----


@pytest.mark.parametrize("after", ["close", "closed"])
def test_identify_slot_of_a_closing_connection_is_ignored(after: str) -> None:
    client, _ = _opened(attrs.evolve(DIRECT, wait_for_identify_slot=True))
    client.data_to_send()
    client.close(4000, now=1.0)
    if after == "closed":
        client.receive_eof(now=1.0)
    sent = client.data_to_send()

    client.grant_identify(now=1.5)

    assert sent[0] == OP_CLOSE
    assert client.data_to_send() == b""
    assert client._outcome.identified_at == []


def test_identify_slot_of_a_closing_shard_goes_to_the_next() -> None:
    manager = ShardManager(DIRECT, count=2)
    manager.start(now=0.0)
    connections = []
    for client in manager.clients.values():
        connection = client.dial_succeeded(now=0.0, framing=False)
        assert isinstance(connection, ClientConnection)
        connection.receive_message(json.dumps(HELLO), now=0.0)
        connections.append(connection)
    first, second = connections
    first.receive_message(json.dumps(READY), now=0.0)  # it has identified
    assert manager.queue.waiting_shards == (1,)

    second.close(4000, now=1.0)
    manager.handle_timer(now=6.0)

    assert manager.queue.waiting_shards == ()
    assert second._outcome.identified_at == []


def test_ready_ends_a_second_wait_for_an_identify_slot() -> None:
    config = attrs.evolve(DIRECT, wait_for_identify_slot=True, identify_on_same_connection=True)
    client = _unframed(HELLO, config=config)
    client.grant_identify(now=0.0)
    client.receive_message(json.dumps({"op": 9, "d": False}), now=0.0)
    client.handle_timer(now=5.0)  # the slot is needed again

    client.receive_message(json.dumps(READY), now=6.0)
    client.messages_to_send()
    client.grant_identify(now=7.0)

    assert client.state is State.READY
    assert client.messages_to_send() == []


def test_ready_before_the_next_identify_cancels_it() -> None:
    client = _unframed(HELLO, config=attrs.evolve(DIRECT, identify_on_same_connection=True))
    client.receive_message(json.dumps({"op": 9, "d": False}), now=0.0)

    client.receive_message(json.dumps(READY), now=1.0)
    client.handle_timer(now=10.0)

    assert client.state is State.READY
    assert client.messages_to_send() == []


def test_invalid_session_ends_the_wait_for_an_identify_slot() -> None:
    config = attrs.evolve(DIRECT, wait_for_identify_slot=True, identify_on_same_connection=True)
    client = _unframed(HELLO, config=config)
    client.grant_identify(now=0.0)
    client.receive_message(json.dumps({"op": 9, "d": False}), now=0.0)
    client.handle_timer(now=5.0)
    client.receive_message(json.dumps({"op": 9, "d": False}), now=5.0)
    client.messages_to_send()

    client.grant_identify(now=6.0)

    assert client.messages_to_send() == []


def test_wait_for_the_slot_after_invalid_session_has_no_limit() -> None:
    config = attrs.evolve(DIRECT, wait_for_identify_slot=True, identify_on_same_connection=True)
    client = _unframed({"op": 10, "d": {"heartbeat_interval": 10**7}}, config=config)
    client.grant_identify(now=0.0)
    client.receive_message(json.dumps({"op": 9, "d": False}), now=0.0)
    client.handle_timer(now=5.0)

    client.handle_timer(now=1000.0)

    assert client.awaiting_identify_slot


# ----- pauses and timers -----


def test_unpause_of_a_closing_connection_sets_no_timer() -> None:
    client, _ = _made_ready()
    client.request(RequestChannelInfo("1", ["status"]), now=0.0, timeout=3.0)
    for number in range(200):
        client.send(RequestSoundboardSounds([str(number)]), now=0.0)
    client.pause(now=58.0)
    client.close(4000, now=58.5)
    client.data_to_send()

    client.unpause(now=59.0)

    assert client.next_timer() == 58.5 + DIRECT.close_timeout
    for now in (60.5, 61.0, 61.5, 62.0, 64.0):
        client.handle_timer(now=now)
        assert client.data_to_send() == b""
    assert client.state is State.CLOSED


def _ping(client: ClientConnection) -> None:
    client.receive_data(b"\x89\x01x", now=1.0)


def _request_heartbeat(client: ClientConnection) -> None:
    client.receive_data(b'\x81\x08{"op":1}', now=1.0)


def _answer_close(client: ClientConnection) -> None:
    client.receive_data(b"\x88\x02\x0f\xa0", now=1.0)


def _suspend(client: ClientConnection) -> None:
    client.check_clock(0.0, now=1.0)
    client.check_clock(100.0, now=1.0)


@pytest.mark.parametrize(
    "call",
    [
        _ping,
        _request_heartbeat,
        _answer_close,
        _suspend,
        lambda client: client.handle_timer(now=1e6),
        lambda client: client.close(4001, now=1.0),
        lambda client: client.receive_eof(now=1.0),
        lambda client: client.receive_data(b"\xff\xff", now=1.0),
    ],
)
def test_client_sends_no_data_after_its_close_frame(
    call: Callable[[ClientConnection], None],
) -> None:
    client, _ = _made_ready()
    client.close(4000, "bye", now=1.0)
    sent = client.data_to_send()
    client.events()

    call(client)

    assert sent[0] == OP_CLOSE
    assert client.data_to_send() == b""


def test_close_is_sent_once_without_framing() -> None:
    client = _unframed(HELLO, READY)
    client.close(4000, "bye", now=1.0)
    assert client.close_to_send() == (4000, "bye")

    client.receive_close(4000, now=1.5)

    assert client.close_to_send() is None
    assert client.state is State.CLOSED


@pytest.mark.parametrize("path", ["send", "send_garbage", "fault", "timer"])
def test_server_sends_no_data_after_its_close_frame(path: str) -> None:
    client, server = _made_ready()
    server.data_to_send()
    server.close(4000, now=1.0)
    sent = server.data_to_send()

    match path:
        case "send":
            server._send_unchecked(HeartbeatRequested(), now=1.0)
        case "send_garbage":
            server.inject(Fault("garbage"), now=1.0)
        case "fault":
            server.inject(Fault("bomb", size=100), now=1.0)
        case _:
            client.send(UpdatePresence(status="dnd"), now=1.0)
            _carry(client, server, 1.0)
            server.handle_timer(now=3.0)

    assert sent[0] == OP_CLOSE
    assert server.data_to_send() == b""


# ----- invalid close arguments, close codes of libraries -----


@pytest.mark.parametrize("framing", [True, False])
@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("reason", ["cut \ud83d", "x" * 124, b"bytes"])
def test_close_with_invalid_reason_has_no_effect(role: str, reason: Any, framing: bool) -> None:
    if framing:
        client, server = _made_ready()
    else:
        client, server = _unframed(HELLO, READY), _pair(framing=False)[1]
        server.receive_message('{"op":2,"d":{"token":"t","intents":0,"properties":{}}}', now=0.0)
        server.messages_to_send()
    connection: Connection = client if role == "client" else server
    timer = connection.next_timer()

    with pytest.raises(LocalProtocolError, match="invalid close reason"):
        connection.close(4000, reason, now=1.0)

    assert connection.state is State.READY
    assert connection.next_timer() == timer
    assert connection.data_to_send() == b"" if framing else connection.close_to_send() is None


def test_close_of_lookup_with_invalid_code_has_no_effect() -> None:
    connection = Client(CONFIG).dial_succeeded(now=0.0)

    with pytest.raises(LocalProtocolError, match="invalid close code"):
        connection.close(1006, now=0.0)

    assert connection.state is State.CONNECTING


@pytest.mark.parametrize(
    ("code", "expected", "by"),
    [
        (None, None, Initiator.PEER),
        (1005, None, Initiator.PEER),
        (1006, None, Initiator.TRANSPORT),
        (1011, 1011, Initiator.PEER),
    ],
)
def test_close_code_of_websocket_libraries_is_normalized(
    code: int | None, expected: int | None, by: Initiator
) -> None:
    client = _unframed(HELLO, READY)

    client.receive_close(code, None, now=1.0)

    (closed,) = client.events()
    assert isinstance(closed, Closed)
    assert (closed.code, closed.initiator, closed.reason) == (expected, by, "")
    assert client.close_to_send() == (None if code == 1006 else (expected or 1000, ""))


@pytest.mark.parametrize(("code", "reason"), [(1015, ""), (0, ""), ("x", ""), (1000, b"bytes")])
def test_close_code_not_allowed_in_a_frame_has_no_effect(code: Any, reason: Any) -> None:
    client = _unframed(HELLO, READY)

    with pytest.raises(LocalProtocolError, match="invalid close"):
        client.receive_close(code, reason, now=1.0)

    assert client.state is State.READY
    assert client.events() == []


def test_queued_presence_is_listed_last() -> None:
    link = Link(Client(CONFIG), Server())
    link.run(1)
    presences = [UpdatePresence(status="dnd", since=n) for n in range(7)]

    for presence in presences:
        link.client.send(presence)

    client = link.client.connection
    assert isinstance(client, ClientConnection)
    assert client.queued_commands == (presences[-1],)
