"""Pairs of WebSocket endpoints and raw frames for the tests of this folder."""

from __future__ import annotations

import struct

from gateway_proto.wire.fast_frames import ProtocolViolation
from gateway_proto.wire.frame_events import HttpRequest, Upgraded
from gateway_proto.wire.frames import ClientFrames
from gateway_proto.wire.server_frames import ServerFrames
from tests.messages import one_by_one

LIMIT = 1000
UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def client_frames() -> ClientFrames:
    return ClientFrames(host="h", target="/x", user_agent="ua", limit=LIMIT)


def http_response(status: int, body: bytes, *more: bytes) -> bytes:
    """Return a response as the server writes it, the last of its connection."""
    length = b"Content-Length: %d" % len(body)
    head = [b"HTTP/1.1 %d " % status, b"Content-Type: text/plain", length, b"Connection: close"]
    return b"\r\n".join([*head, *more, b"", body])


def open_pair() -> tuple[ClientFrames, ServerFrames]:
    client, server = client_frames(), ServerFrames(limit=LIMIT)
    (requested,) = one_by_one(server.receive(client.data_to_send()))
    assert isinstance(requested, HttpRequest)
    assert one_by_one(server.accept()) == [Upgraded()]
    assert one_by_one(client.receive(server.data_to_send())) == [Upgraded()]
    return client, server


def library_reason(broken: ProtocolViolation, *, after: str) -> str:
    """Return the reason that wsproto or h11 gives after our own words; its text may change."""
    assert broken.error.startswith(after)
    reason = broken.error.removeprefix(after)
    assert reason not in ("", "None")
    return reason


def server_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return a frame without mask, as a server sends it."""
    assert len(payload) < 65536
    size = bytes([len(payload)]) if len(payload) < 126 else struct.pack("!BH", 126, len(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + size + payload
