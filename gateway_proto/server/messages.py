"""Messages of a server: checked as a caller gives them, and encoded as payloads."""

from __future__ import annotations

from typing import Any

from gateway_proto._checks import BOOL, COUNT, TEXT, WORD, integer, optional, shown
from gateway_proto.encoding.raw_value import value_of_caller
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    Dispatch,
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    ReconnectRequested,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.versions import Encoding, Opcode, ProtocolVersion
from gateway_proto.wire.payload_encoding import encode_control, encode_dispatch

__all__ = ["check_message", "encode_message"]

_SEQUENCE = optional(integer(0, 2**63 - 1))
_URL = optional(TEXT)


def check_message(message: Any, encoding: Encoding) -> None:
    """Check a message of the caller; raises `LocalProtocolError` if it cannot be sent."""
    if not isinstance(message, ServerMessage):
        raise LocalProtocolError(f"invalid message {shown(message)}: expected a ServerMessage")
    match message:
        case Dispatch(name=name, sequence=sequence):
            WORD.named("Dispatch.name", name)
            _SEQUENCE.named("Dispatch.sequence", sequence)
            encode_dispatch(message.raw, sequence, name, encoding)
            value_of_caller(message.raw)
        case Hello(heartbeat_interval):
            COUNT.named("Hello.heartbeat_interval", heartbeat_interval)
        case ReconnectRequested(url):
            _URL.named("ReconnectRequested.url", url)
        case SessionInvalidated(resumable):
            BOOL.named("SessionInvalidated.resumable", resumable)
        case _:
            pass


def encode_message(message: ServerMessage, version: ProtocolVersion, encoding: Encoding) -> bytes:
    """Return the payload of a message, in a protocol version and an encoding.

    <https://docs.discord.com/developers/events/gateway-events#payload-structure>
    """
    match message:
        case Dispatch(name=name, sequence=sequence):
            return encode_dispatch(message.raw, sequence, name, encoding)
        case Hello(heartbeat_interval):
            op, d = Opcode.HELLO, {"heartbeat_interval": heartbeat_interval}
            return encode_control(op, d, encoding)
        case HeartbeatRequested():
            return encode_control(Opcode.HEARTBEAT, None, encoding)
        case HeartbeatAcked():
            return encode_control(Opcode.HEARTBEAT_ACK, None, encoding)
        case ReconnectRequested(url):
            # Version 3 redirects: `d` has the URL of another gateway.
            # <https://github.com/DiscordAPI/docs/blob/b8c8a7ca43b39a4d1d2871a6d3901ee378bbbae5/docs/reference/websockets/general.rst>
            return encode_control(Opcode.RECONNECT, None if url is None else {"url": url}, encoding)
        case _:
            resumable = message.resumable if version.invalid_session_has_flag else None
            return encode_control(Opcode.INVALID_SESSION, resumable, encoding)
