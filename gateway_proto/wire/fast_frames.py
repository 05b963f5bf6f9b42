"""bytes → messages: the parser of frame headers, and a fast parser for complete frames.

The fast parser handles final, unmasked text and binary frames, which are the common case. wsproto
takes 10 us a frame, more than the rest of an event costs; the fast parser takes a third of 1 us.
It joins fragments too: wsproto takes 13 s per MB for a message in fragments of two bytes. All
other frames are passed to wsproto one by one.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

__all__ = [
    "FastFrameParser",
    "FrameHeader",
    "HeaderGuard",
    "MessageBatch",
    "ParseResult",
    "Passthrough",
    "ProtocolViolation",
    "apply_mask",
    "header_size",
    "read_header",
]

# First bytes of frames without reserved bits: the FIN bit and the op code (RFC 6455, 5.2).
_TEXT, _BINARY = 0x81, 0x82
_WHOLE = (_TEXT, _BINARY)
_BEGIN_TEXT, _BEGIN_BINARY = 0x01, 0x02
_BEGIN = (_BEGIN_TEXT, _BEGIN_BINARY)
_CONTINUE, _END = 0x00, 0x80
_FRAGMENTS = (*_BEGIN, _CONTINUE, _END)
_PING, _PONG = 0x89, 0x8A
_CLOSE = 0x88

_INVALID_LENGTH = -1
"""The length of a masked frame, or a length that RFC 6455, 5.2, does not allow: not in the shortest
form, or 2**63 and more."""
_MAX_CONTROL_PAYLOAD = 125
"""Bytes (RFC 6455, 5.5)."""
_MASK_SIZE = 4
_read_pair = struct.Struct(">HH").unpack_from
"""The first four bytes of a frame as two numbers; the second one is a length of 16 bits."""


class FrameHeader(msgspec.Struct, frozen=True):
    """The header of one frame (RFC 6455, 5.2), with or without a mask."""

    first: int
    """The first byte: the FIN bit, three reserved bits and the op code."""
    is_masked: bool
    size: int
    """Bytes of the header, without the mask."""
    length: int
    """Bytes of the payload."""

    @property
    def opcode(self) -> int:
        """The WebSocket op code."""
        return self.first & 0x0F

    @property
    def is_final(self) -> bool:
        """Whether the frame ends its message."""
        return self.first >= 0x80

    @property
    def payload_at(self) -> int:
        """The offset of the payload in the frame."""
        return self.size + _MASK_SIZE * self.is_masked

    @property
    def end(self) -> int:
        """The size of the whole frame."""
        return self.payload_at + self.length

    def payload(self, data: bytes | bytearray, at: int = 0) -> bytes:
        """Return the payload, without its mask, of a whole frame that begins at `at`."""
        begin = at + self.payload_at
        payload = bytes(data[begin : begin + self.length])
        return (
            apply_mask(payload, bytes(data[at + self.size : begin])) if self.is_masked else payload
        )


def header_size(second: int) -> int:
    """Return the size of a header without the mask, by its second byte."""
    length = second & 0x7F
    return 4 if length == 126 else 10 if length == 127 else 2


def read_header(data: bytes | bytearray, at: int = 0) -> FrameHeader | None:
    """Return the frame header at an offset, or None if it is incomplete.

    A length in a longer form than needed, or of 2**63 and more, is returned as it is.
    """
    if len(data) < at + 2:
        return None
    second = data[at + 1]
    size = header_size(second)
    if len(data) < at + size:
        return None
    length = second & 0x7F if size == 2 else int.from_bytes(data[at + 2 : at + size], "big")
    return FrameHeader(data[at], second >= 0x80, size, length)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask a payload (RFC 6455, 5.3)."""
    size = len(payload)
    key = (mask * (size // _MASK_SIZE + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class MessageBatch(msgspec.Struct, frozen=True):
    """Complete messages in order; a text message is `str`, or bytes that may be invalid UTF-8."""

    data: list[str | bytes]
    is_text: bool


class Passthrough(msgspec.Struct, frozen=True):
    """Bytes for wsproto: a whole frame, or all further bytes."""

    data: bytes


class ProtocolViolation(msgspec.Struct, frozen=True):
    """A violation of HTTP, WebSocket or a limit by the peer. Nothing after it is read."""

    code: int
    error: str


ParseResult: TypeAlias = MessageBatch | Passthrough | ProtocolViolation


class FastFrameParser:
    """Fast parser for the frames of a server; `limit` is the maximum size of a message in bytes."""

    __slots__ = (
        "_buffer",
        "_is_text",
        "_limit",
        "_message",
        "_missing",
        "delegating",
        "has_passthrough",
    )

    def __init__(self, limit: int) -> None:
        self.delegating: bool = False
        """Whether all further bytes go to wsproto, after a close frame or an invalid frame."""
        self.has_passthrough: bool = False
        """Whether the last call returned anything other than messages."""
        self._limit = limit
        self._buffer: bytes | bytearray = b""  # an incomplete frame
        self._missing = 0  # bytes needed before the incomplete frame is parsed again
        self._message: bytearray | None = None  # fragments of an incomplete message
        self._is_text = False  # of these fragments

    def feed(self, data: bytes) -> list[ParseResult]:
        """Return the complete messages and frames, in order."""
        self.has_passthrough = False
        items: list[ParseResult] = []
        at = 0
        while self._buffer:
            # Only the incomplete frame is completed: copying all data that follows it would take
            # as long as parsing it.
            end = at + self._missing
            if end > len(data):
                # A bytearray only now: most frames end with the next read, and memory that grows
                # and shrinks with each large frame is mapped and cleared by the system each time.
                if isinstance(self._buffer, bytes):
                    self._buffer = bytearray(self._buffer)
                self._buffer += data[at:]
                self._missing = end - len(data)
                return items
            frame = b"".join((self._buffer, data[at:end]))
            self._buffer = b""
            at = end
            if not self._parse(frame, 0, items):
                if self.delegating and at < len(data):
                    items.append(Passthrough(data[at:]))
                return items
        self._parse(data, at, items)
        return items

    def _parse(self, data: bytes, at: int, items: list[ParseResult]) -> bool:
        """Parse frames from offset `at`. Return False once the fast parser has to stop."""
        # The header is parsed inline: a call of read_header() takes longer than the rest of the
        # loop. A test compares both.
        # `kind` is the first byte of the last frame if that was a message: another frame with the
        # same first byte needs no further check and joins the same run.
        kind: int | None = None
        is_message = is_text = False
        run: list[str | bytes] = []
        size, limit, needed = len(data), self._limit, 2
        capacity = limit
        while size - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length == 126:
                start = at + 4
                if start > size:
                    needed = 4
                    break
                length = data[at + 2] << 8 | data[at + 3]
                if length < 126:
                    length = _INVALID_LENGTH
            elif length == 127:
                start = at + 10
                if start > size:
                    needed = 10
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
                if length < 65536 or length >= 1 << 63:
                    length = _INVALID_LENGTH
            elif length > 127:  # masked
                length = _INVALID_LENGTH
            if first != kind or length == _INVALID_LENGTH:
                if length == _INVALID_LENGTH or not self._is_allowed(first, length):
                    # All bytes after a close frame or an invalid frame go to wsproto.
                    self.delegating = self.has_passthrough = True
                    items.append(Passthrough(self._empty_fragment() + data[at:]))
                    return False
                kind, is_message, is_text = None, first in _WHOLE, first == _TEXT
                capacity = limit if is_message else self._capacity(first)
            if length > capacity:
                self.has_passthrough = True
                items.append(ProtocolViolation(1009, f"a message has more than {limit} bytes"))
                return False
            end = start + length
            if end > size:
                needed = end - at
                break
            # UTF-8 is not checked here, where it took a fifth of the time of all that is done for
            # an event: `Dispatch.data` checks it, and `_process_payload_text` if nothing else does.
            message = data[start:end]
            if is_message:
                if kind is None:
                    kind, run = first, []
                    items.append(MessageBatch(run, is_text))
                run.append(message)
                at = end
                # Most frames have the same first two bytes as the one before, and a length of 16
                # bits. They take 0.62 us here, and 0.73 in the outer loop, which parses the first
                # frame that differs, is invalid or is incomplete.
                alike = first << 8 | 126
                while length >= 126 and size - at >= 4:
                    pair, length = _read_pair(data, at)
                    start = at + 4
                    end = start + length
                    if pair != alike or end > size or length < 126 or length > limit:
                        break
                    run.append(data[start:end])
                    at = end
                continue
            if first in _FRAGMENTS:
                kind = None
                self._join(first, message, items)
            else:
                kind = None
                self.has_passthrough = True
                items.append(Passthrough(data[at:end]))
            at = end
        if at < size:
            self._buffer = data[at:]
            self._missing = needed - (size - at)
        return True

    def _capacity(self, first: int) -> int:
        """Return the maximum length of the payload of a fragment or of a control frame."""
        if self._message is None or first not in _FRAGMENTS:
            return self._limit
        return self._limit - len(self._message)

    def _join(self, first: int, fragment: bytes, items: list[ParseResult]) -> None:
        """Add a fragment to its message."""
        if self._message is None:
            self._message = bytearray()
            self._is_text = first == _BEGIN_TEXT
        self._message += fragment
        if first == _END:
            items.append(MessageBatch([bytes(self._message)], self._is_text))
            self._message = None

    def _empty_fragment(self) -> bytes:
        """Return an empty fragment that puts wsproto into the state after the joined fragments."""
        if self._message is None:
            return b""
        return bytes([_BEGIN_TEXT if self._is_text else _BEGIN_BINARY, 0])

    def _is_allowed(self, first: int, length: int) -> bool:
        """Whether a frame with this first byte and length is valid at this point.

        False for a close frame too: wsproto handles it and all bytes after it.
        """
        if first in (_PING, _PONG):
            return length <= _MAX_CONTROL_PAYLOAD
        if self._message is not None:
            return first in (_CONTINUE, _END)
        return first in _WHOLE or first in _BEGIN


class HeaderGuard:
    """Detector of a header that makes a message larger than `limit`, before the payload arrives.

    wsproto parses the frames, but it returns a payload as it arrives and does not expose the
    announced length. `masked` is true if the peer is a client. The guard stops at a header that
    wsproto will reject.
    """

    __slots__ = (
        *("_close", "_head", "_is_in_message", "_is_stopped", "_limit", "_masked", "_size"),
        "_skip",
    )

    def __init__(self, limit: int, *, masked: bool) -> None:
        self._close: bytearray | None = None  # mask and payload of the close frame
        self._limit = limit
        self._masked = masked
        self._head = bytearray()
        self._skip = 0  # bytes of the frame's mask and payload not yet received
        self._size = 0  # of the message so far
        self._is_in_message = False
        self._is_stopped = False

    @property
    def is_between_messages(self) -> bool:
        """Whether the next byte begins a frame, outside of a message in fragments."""
        return not (self._skip or self._head or self._is_in_message or self._is_stopped)

    def stop(self) -> None:
        """Check nothing more: wsproto has rejected a frame."""
        self._is_stopped = True

    def check(self, data: bytes) -> int | None:
        """Return the offset of the header that exceeds the limit, or None."""
        at, size = 0, len(data)
        while at < size and not self._is_stopped:
            if self._skip:
                step = min(self._skip, size - at)
                if self._close is not None:
                    self._close += data[at : at + step]
                self._skip -= step
                at += step
                continue
            begin = at
            missing = self._missing()
            while missing and at < size:
                self._head += data[at : at + missing]
                at = min(at + missing, size)
                missing = self._missing()
            if not missing and self._is_too_large():
                return begin
        return None

    def close_payload(self) -> bytes:
        """Return the received part of the payload of the peer's close frame."""
        data = bytes(self._close or b"")
        if not self._masked:
            return data
        return apply_mask(data[_MASK_SIZE:], data[:_MASK_SIZE])

    def _missing(self) -> int:
        """Return the number of header bytes not yet received."""
        head = self._head
        return (2 if len(head) < 2 else header_size(head[1])) - len(head)

    def _is_too_large(self) -> bool:
        """Whether the complete header exceeds the limit. Prepare for the next one."""
        header = read_header(self._head)
        assert header is not None
        self._head.clear()
        if header.is_masked is not self._masked or header.length >= 1 << 63:
            self._is_stopped = True
            return False
        self._skip = header.end - header.size
        if header.first == _CLOSE and header.length <= _MAX_CONTROL_PAYLOAD:
            self._close = bytearray()
        if header.opcode >= 8:  # a control frame is not part of a message (RFC 6455, 5.5)
            return False
        if header.opcode:
            self._size = 0
        self._size += header.length
        if self._size > self._limit:
            return True
        self._is_in_message = not header.is_final
        if header.is_final:
            self._size = 0
        return False
