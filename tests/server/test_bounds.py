"""Limits on the memory that misbehaving clients use on a server."""

from __future__ import annotations

import pytest

from gateway_proto import Closed, LocalProtocolError, State
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, ServerConnection
from tests.server.support import accept_connection, ready_connection

UPGRADE = (
    b"GET /?v=10&encoding=json HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
IDENTIFY = b'{"op":2,"d":{"token":"t","intents":0,"properties":{}}}'
PING = b"\x89\x80\0\0\0\0"


def _frame(data: bytes) -> bytes:
    """Return a masked text frame whose mask is zero."""
    return bytes((0x81, 0x80 | len(data))) + bytes(4) + data


def _connected(server: Server) -> ServerConnection:
    connection = server.accept(now=0.0)
    connection.receive_data(UPGRADE + _frame(IDENTIFY), now=0.0)
    assert connection.state is State.READY
    return connection


@pytest.mark.parametrize("target", ["/?v=x", "/?v=10&encoding=xml", "/?v=10&compress=x", "/?v="])
def test_upgrade_rejected_by_an_exception_leaves_no_connection(target: str) -> None:
    server = Server()

    with pytest.raises(LocalProtocolError):
        accept_connection(server, target)

    assert server.connections == set()
    assert server.open_connections == []


@pytest.mark.parametrize(
    "request_",
    [
        UPGRADE.replace(b"v=10", b"v=x"),
        UPGRADE.replace(b"A==", b"!"),
        UPGRADE.replace(b"websocket\r", b"websockets\r"),
        UPGRADE.replace(b"Version: 13", b"Version: 12"),
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"GET", b"POST"),
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
)
def test_rejected_request_leaves_no_connection(request_: bytes) -> None:
    server = Server()
    connection = server.accept(now=0.0)

    connection.receive_data(request_, now=0.0)

    assert connection.state is State.CLOSED
    assert connection.next_timer() is None
    assert server.connections == set()


def test_rejection_by_a_scenario_leaves_no_connection() -> None:
    server = Server(ServerConfig(scenario=Scenario([Fault("refuse", on="upgrade")])))
    connection = server.accept(now=0.0)

    connection.receive_data(UPGRADE, now=0.0)

    assert server.connections == set()
    assert connection.next_timer() is None


@pytest.mark.parametrize("fault", [Fault("hold", seconds=10**6), Fault("merge", size=10**6)])
def test_messages_delayed_by_a_fault_count_as_output(fault: Fault) -> None:
    server = Server(ServerConfig(output_limit=100_000, scenario=Scenario([fault])))
    connection = _connected(server)

    for _ in range(200):
        server.dispatch("X", "x" * 1000, now=1.0)
        connection.data_to_send()

    assert connection.state is State.CLOSED
    assert isinstance(connection.events()[-1], Closed)
    assert len(server.sessions) == 1


def test_held_messages_are_counted_until_they_are_sent() -> None:
    scenario = Scenario([Fault("hold", seconds=1.0)])
    connection = _connected(server := Server(ServerConfig(scenario=scenario)))
    connection.data_to_send()

    server.dispatch("X", "x" * 1000, now=0.5)
    held = connection.buffered_bytes
    connection.handle_timer(now=1.0)

    assert held >= 1000
    assert len(connection.data_to_send()) >= 1000
    assert connection.buffered_bytes == 0


def test_delayed_pongs_count_as_output() -> None:
    fault = Fault("trickle", size=1, seconds=1000.0)
    server = Server(ServerConfig(output_limit=1000, scenario=Scenario([fault])))
    connection = _connected(server)

    for _ in range(1000):
        connection.receive_data(PING * 16, now=1.0)
        connection.data_to_send()

    assert connection.state is State.CLOSED


def test_disconnected_session_keeps_only_its_replay() -> None:
    server = Server(ServerConfig(replay_bytes=10_000))
    connection = ready_connection(server)
    connection.receive_eof(now=0.0)

    for _ in range(100):
        server.dispatch("X", "x" * 1000, now=0.0)

    (session,) = server.sessions.values()
    assert session.replay_size <= 10_000
