"""Fault injection on bytes and messages of one connection, without a client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway_proto import LocalProtocolError, State
from gateway_proto.server import (
    Fault,
    Scenario,
    Server,
    ServerConfig,
    ServerConnection,
    ServerMessage,
    ServerSession,
    World,
)
from gateway_proto.server.fault_injector import FaultInjector
from gateway_proto.wire.frame_events import HttpRequest
from gateway_proto.wire.server_frames import ServerFrames
from tests.messages import one_by_one
from tests.server.support import V10, send_payload, sent_payloads

UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Target:
    """Frames with a fault injector between them and the transport."""

    on_wake: Callable[[], None] | None = None
    session: ServerSession | None = None

    def __init__(self) -> None:
        self.frames = ServerFrames(limit=1000)
        self.faults = FaultInjector()
        self.state = State.READY
        (requested,) = one_by_one(self.frames.receive(UPGRADE))
        assert isinstance(requested, HttpRequest)
        one_by_one(self.frames.accept())
        self.frames.data_to_send()

    @property
    def _framed_bytes(self) -> int:
        return self.frames.buffered_bytes

    def send(self, message: str | bytes) -> None:
        start = self.frames.buffered_bytes
        self.frames.send(message)
        self.faults.message_framed(message, start, self, 0.0)

    def inject(self, what: str, size: int = 0) -> None:
        self.faults.inject(Fault(what, size=size), self, 0.0)

    def sent(self) -> bytes:
        return self.faults.shape(self.frames.data_to_send(), at_end=self.state is State.CLOSED)

    def _send_unchecked(self, message: ServerMessage, *, now: float) -> None:
        raise AssertionError(message)

    def _send_text(self, text: bytes, *, now: float) -> None:
        raise AssertionError(text)

    def _close_unchecked(self, code: int, reason: str, *, now: float) -> None:
        raise AssertionError(code)

    def drop(self, *, now: float) -> None:
        self.state = State.CLOSED


@pytest.mark.parametrize(
    ("message", "what", "size", "data"),
    [
        ("abcdef", "corrupt", 0, b"\xf1\x06abcdef"),
        (b"abcdef", "corrupt", 0, b"\xf2\x06abcdef"),
        ("abcdef", "corrupt_data", 0, b"\x81\x06ab\x9cde\x99"),
        ("abcdef", "fragment", 4, b"\x01\x04abcd\x80\x02ef"),
        ("abcdef", "fragment", 2, b"\x01\x02ab\x00\x02cd\x80\x02ef"),
        ("abc", "fragment", 0, b"\x01\x01a\x00\x01b\x80\x01c"),
        (b"abc", "fragment", 2, b"\x02\x02ab\x80\x01c"),
        ("abcdef", "fragment", 6, b"\x81\x06abcdef"),
    ],
)
def test_damage_changes_only_the_next_message(
    message: str | bytes, what: str, size: int, data: bytes
) -> None:
    target = Target()
    target.send("good")

    target.inject(what, size)
    target.send(message)
    target.send("good")

    assert target.sent() == b"\x81\x04good" + data + b"\x81\x04good"


def test_garbage_is_sent_between_messages() -> None:
    target = Target()
    target.send("a")
    target.inject("garbage")
    target.send("b")

    assert target.sent() == b"\x81\x01a\xff\xff\xffgarbage\x81\x01b"
    assert target.sent() == b""


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        (5, b"\x81\x01a\x81\x01b\x81\x01"),
        (4, b"\x81\x01a\x81\x01b\x81"),
        (6, b"\x81\x01a\x81\x01b\x81\x01c"),
    ],
)
def test_drop_after_a_size_truncates_the_output(size: int, sent: bytes) -> None:
    target = Target()
    target.send("a")
    target.inject("drop", size)

    target.send("b")
    assert target.state is State.READY
    target.send("c")

    assert target.state is State.CLOSED
    assert target.faults.buffered_bytes(target._framed_bytes) == len(sent)
    assert target.sent() == sent


def test_muted_output_ends_after_the_bytes_that_waited() -> None:
    target = Target()
    target.send("a")
    target.inject("silence")
    target.send("b")
    target.inject("corrupt")
    target.send("c")
    target.inject("garbage")

    assert target.sent() == b"\x81\x01a"
    assert not target.faults.acknowledges


def test_garbage_wakes_the_adapter() -> None:
    target, woken = Target(), []
    target.on_wake = lambda: woken.append(1)

    target.inject("garbage")

    assert woken == [1]


def test_refusal_applies_only_to_an_upgrade() -> None:
    target = Target()

    target.inject("refuse")
    target.send("a")

    assert target.sent() == b"\x81\x01a"


def test_fault_of_a_wrong_type_is_rejected() -> None:
    connection = Server().accept(now=0.0, framing=False, target=V10)

    with pytest.raises(LocalProtocolError, match="invalid fault 'drop': expected a Fault"):
        connection.inject("drop", now=0.0)  # type: ignore[arg-type]


def test_fault_is_injected_after_its_seconds() -> None:
    connection = Server().accept(now=0.0, framing=False, target=V10)

    connection.inject(Fault("drop", after=5.0), now=1.0)
    assert connection.next_timer() == 6.0
    connection.handle_timer(now=6.0)

    assert connection.state is State.CLOSED


def test_held_output_is_sent_before_later_messages() -> None:
    faults = [Fault("hold", seconds=5.0), Fault("no_acks", on="heartbeat", nth=2)]
    server = Server(ServerConfig(scenario=Scenario(faults)))
    connection = _ready(server)
    server.dispatch("N", 1, now=1.0)
    assert sent_payloads(connection) == []

    send_payload(connection, 1, 1, now=6.0)

    assert [payload["op"] for payload in sent_payloads(connection)] == [0, 11]


def test_session_invalidated_by_a_fault_on_ready_gets_no_guilds() -> None:
    faults = [Fault("invalidate", on="dispatch")]
    world = World([{"id": "1", "name": "one"}])
    server = Server(ServerConfig(world=world, scenario=Scenario(faults)))
    connection = server.accept(now=0.0, framing=False, target=V10)
    sent_payloads(connection)

    send_payload(connection, 2, {"token": "t", "intents": 1}, now=0.0)

    assert [payload["op"] for payload in sent_payloads(connection)] == [0, 9]
    assert connection.state is State.IDENTIFYING


def test_invalidated_session_that_was_forgotten_stays_forgotten() -> None:
    server = Server()
    connection = _ready(server)
    assert connection.session is not None
    server.expire_session(connection.session)

    connection.inject(Fault("invalidate", resumable=True), now=1.0)

    assert server.sessions == {}
    assert connection.session is None


def _ready(server: Server) -> ServerConnection:
    connection = server.accept(now=0.0, framing=False, target=V10)
    send_payload(connection, 2, {"token": "t", "intents": 0}, now=0.0)
    sent_payloads(connection)
    return connection
