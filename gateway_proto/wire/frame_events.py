"""Contents of frames, and the WebSocket of another library in place of frames.

This module needs neither h11 nor wsproto: connections without framing do not import them.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway_proto.wire.fast_frames import MessageBatch, ProtocolViolation

__all__ = [
    "CloseReceived",
    "ExternalWebSocket",
    "FrameEvent",
    "HttpRequest",
    "UpgradeRejected",
    "Upgraded",
]


class Upgraded(msgspec.Struct, frozen=True):
    """Client: the server accepted the upgrade."""


class UpgradeRejected(msgspec.Struct, frozen=True):
    """Client: the server answered the upgrade with an HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpRequest(msgspec.Struct, frozen=True):
    """Server: a request, to be answered by `accept` or `respond`."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    upgrade: bool


class CloseReceived(msgspec.Struct, frozen=True):
    """The peer's close frame; `code` is None where it carried none."""

    code: int | None
    reason: str


FrameEvent: TypeAlias = (
    Upgraded | UpgradeRejected | HttpRequest | MessageBatch | CloseReceived | ProtocolViolation
)


class ExternalWebSocket:
    """Messages without frames: another library has the WebSocket."""

    def __init__(self) -> None:
        self._messages: list[str | bytes] = []
        self._size = 0
        self._close: tuple[int, str] | None = None
        self._is_closed = False

    def send(self, message: str | bytes) -> None:
        """Add a message to those that wait."""
        self._messages.append(message)
        self._size += len(message)

    def send_text(self, text: bytes) -> None:
        """Add a text message that is encoded already."""
        self.send(text.decode())

    def close(self, code: int, reason: str) -> None:
        """Add a close to what waits; there is one, and nothing follows it."""
        if not self._is_closed:
            self._is_closed = True
            self._close = (code, reason)

    @property
    def buffered_bytes(self) -> int:
        """Bytes, or characters of text, that wait to be sent."""
        return self._size

    def messages_to_send(self) -> list[str | bytes]:
        """Return the messages that wait."""
        messages = self._messages
        self._messages = []
        self._size = 0
        return messages

    def close_to_send(self) -> tuple[int, str] | None:
        """Return the close that waits, once."""
        close = self._close
        self._close = None
        return close
