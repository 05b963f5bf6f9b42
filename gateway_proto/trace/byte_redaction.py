"""Redaction of secrets in the bytes of a transport.

A secret can span two reads, two frames, or lie inside a compressed stream. So a read is held back
until the message in which it ends is complete. A message with a secret is framed again with a
placeholder. If it was compressed, all later messages are framed again without compression, which a
decompressor accepts too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.trace.body import clean_answer
from gateway_proto.trace.redactor import Redactor
from gateway_proto.trace.serialize import bytes_to_json, message_to_json
from gateway_proto.wire.compression import DecompressionError, Decompressor
from gateway_proto.wire.fast_frames import FrameHeader, read_header

__all__ = ["IncomingRedactor", "OutgoingDecoder"]

_HEAD_END = b"\r\n\r\n"
_SWITCHED = re.compile(rb"HTTP/1\.1 101|[^\r]+\r\n.*?^upgrade: *websocket", re.I | re.M | re.S)
_INFORMATION = re.compile(rb"HTTP/1\.1 1(?!01)")
_CONTINUED, _TEXT, _BINARY, _CLOSE, _PING = 0, 1, 2, 8, 9
_BROKEN = b"\xff"
"""A byte that is invalid in zlib and zstd, at the beginning of a stream and within it."""
_ANY = "surrogateescape"

Write = Callable[[Any], None]


def _whole_frame(data: bytes | bytearray) -> tuple[FrameHeader, bytes] | None:
    """Return the first frame's header and payload, or None if the frame is incomplete."""
    header = read_header(data)
    return None if header is None or len(data) < header.end else (header, header.payload(data))


def _framed(bits: int, content: bytes, *, masked: bool) -> bytes:
    size, flag = len(content), 128 if masked else 0
    if size < 126:
        head = bytes([bits, flag | size])
    elif size < 65536:
        head = bytes([bits, flag | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([bits, flag | 127]) + size.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + content


def _blanked(data: bytes) -> bytes:
    """Return the frames of an incomplete message, with zeros in place of their payloads."""
    blank = bytearray()
    while (header := read_header(data, len(blank))) is not None:
        begin = len(blank)
        size = min(header.end, len(data) - begin)
        kept = min(header.payload_at, size)
        blank += data[begin : begin + kept] + bytes(size - kept)
    return bytes(blank + data[len(blank) :])


class IncomingRedactor:
    """Redactor of the reads or messages that one connection receives."""

    def __init__(self, secrets: Redactor, decompressor: Decompressor, *, masked: bool) -> None:
        self._secrets = secrets
        self._decompressor = decompressor
        self._masked = masked
        self._switched = False  # the HTTP head is complete; frames follow
        self._answers = False  # an HTTP body follows, up to the end of the transport
        self._rest = bytearray()  # bytes of an incomplete head or frame
        self._parts = bytearray()  # fragments of an incomplete message
        self._opcode = _TEXT
        self._open = False  # a payload is incomplete
        # All since the last time that no message was incomplete:
        self._raw = bytearray()
        self._whole = 0  # bytes of it up to the end of the last complete payload
        self._reads: list[tuple[Write, int, bytes]] = []  # size, and its redacted frames
        self._messages: list[tuple[Write, str | bytes]] = []
        self._found = False
        self._decompressed = False
        self._reframes = False

    def receive(self, data: bytes, write: Write) -> None:
        """Take received bytes. `write` gets the redacted bytes, now or later."""
        self._raw += data
        self._rest += data
        self._reads.append((write, len(data), b"".join(self._units())))
        if self._reframes or not (self._rest or self._open):
            self._flush(bytes(self._raw))

    def receive_message(self, message: str | bytes, write: Write) -> None:
        """Take a received message. `write` gets None if the message is left out."""
        clean = self._text(message)
        self._messages.append((write, message))
        if self._open:
            return
        messages, self._messages = self._messages, []
        reframes = self._reframes or self._found
        for earlier, text in messages[:-1]:
            earlier(None if reframes else text)
        write(clean if reframes else message)
        self._reset()

    def finish(self) -> None:
        """Write what is held back, with incomplete messages blanked. Nothing more is received."""
        whole, tail = bytes(self._raw[: self._whole]), bytes(self._raw[self._whole :])
        tail = _blanked(tail) if self._switched else clean_answer(tail, self._secrets)
        self._flush(whole + tail)
        for write, _ in self._messages:
            write(None)
        self._messages.clear()

    def _flush(self, raw: bytes) -> None:
        reframes = self._reframes or self._found
        at = 0
        for write, size, clean in self._reads:
            write(clean if reframes else raw[at : at + size])
            at += size
        self._reads.clear()
        self._reset()

    def _reset(self) -> None:
        # Later compressed data of the peer refers to the data that was replaced here.
        self._reframes = self._reframes or (self._found and self._decompressed)
        self._found = self._decompressed = False
        self._raw.clear()
        self._whole = 0

    def _units(self) -> Iterator[bytes]:
        """Yield the complete heads and messages that wait, redacted."""
        while not self._switched:
            if self._answers:
                return
            at = self._rest.find(_HEAD_END) + len(_HEAD_END)
            head = bytes(self._rest[:at])
            more_heads = _INFORMATION.match(head) is not None
            self._answers = at >= len(_HEAD_END) and not (more_heads or _SWITCHED.match(head))
            if at < len(_HEAD_END) or self._answers:
                return
            self._switched = not more_heads
            # In place: redaction keeps the length of a head.
            start = len(self._raw) - len(self._rest)
            self._raw[start : start + at] = clean = clean_answer(head, self._secrets)
            yield self._unit(at, clean)
        while (frame := _whole_frame(self._rest)) is not None:
            yield self._unit(frame[0].end, self._clean_frame(*frame))

    def _unit(self, size: int, clean: bytes) -> bytes:
        del self._rest[:size]
        if not self._open:
            self._whole = len(self._raw) - len(self._rest)
        return clean

    def _clean(self, data: bytes) -> bytes:
        return self._clean_text(data.decode("latin-1")).encode("latin-1")

    def _clean_text(self, text: str) -> str:
        clean = self._secrets.redact_text(text)
        self._found = self._found or clean != text
        return clean

    def _clean_frame(self, header: FrameHeader, payload: bytes) -> bytes:
        if header.opcode > _CLOSE:
            # No protocol needs the payload of a ping, and several pings could hold a secret.
            content = b"x" * len(payload)
            self._found = self._found or content != payload
            return _framed(header.first, content, masked=self._masked)
        if header.opcode == _CLOSE:
            return _framed(header.first, self._clean(payload), masked=self._masked)
        if header.opcode != _CONTINUED:
            self._opcode = header.opcode
        self._parts += payload
        self._open = True
        if not header.is_final:
            return b""
        content = bytes(self._parts)
        self._parts.clear()
        clean = self._text(content.decode(errors=_ANY) if self._opcode == _TEXT else content)
        if clean is None:
            return b""
        opcode = _TEXT if isinstance(clean, str) else _BINARY
        data = clean.encode(errors=_ANY) if isinstance(clean, str) else clean
        return _framed(header.first & ~15 | opcode, data, masked=self._masked)

    def _text(self, message: str | bytes) -> str | bytes | None:
        """Return the redacted text that ends with a message, or None if it is incomplete."""
        try:
            text = self._decompressor.receive(message)
        except DecompressionError:
            # The connection ends with it. Secrets may be decompressed from what is not broken.
            self._open, self._found, self._decompressed = False, True, True
            return _BROKEN * len(message)
        self._open = text is None
        if isinstance(text, str):
            return self._clean_text(text)
        if text is None or text is message:
            return None if text is None else self._clean(text)
        self._decompressed = True
        clean = self._clean(text)
        # A term stays binary.
        return clean if clean[:1] == ETF_VERSION else clean.decode(errors=_ANY)


class OutgoingDecoder:
    """Decoder of the bytes that one connection sends: each item as soon as it is complete."""

    def __init__(self, decompress: Callable[[str | bytes], str | bytes | None]) -> None:
        self._decompress = decompress
        self._rest = bytearray()
        self._switched = False

    def send(self, data: bytes) -> list[dict[str, Any]]:
        """Return the HTTP text, messages, closes and pongs that end in these bytes."""
        self._rest += data
        items = []
        if not self._switched:
            at = self._rest.find(_HEAD_END) + len(_HEAD_END)
            if at < len(_HEAD_END):
                return []
            self._switched = _SWITCHED.match(self._rest[:at]) is not None
            size = at if self._switched else len(self._rest)
            items.append({"http": self._rest[:size].decode("latin-1")})
            del self._rest[:size]
        while (frame := _whole_frame(self._rest)) is not None:
            del self._rest[: frame[0].end]
            items.append(self._item(*frame))
        return items

    def message(self, message: str | bytes) -> dict[str, Any]:
        """Return a message as JSON data."""
        try:
            text = self._decompress(message)
        except DecompressionError as error:
            return {"broken": str(error)}
        return {"broken": "it is not whole"} if text is None else message_to_json(text)

    def _item(self, header: FrameHeader, payload: bytes) -> dict[str, Any]:
        size = len(payload)
        match header.opcode:
            case opcode if header.first & 0x70 or opcode == _CONTINUED or not header.is_final:
                # A fault of the scenario: no connection sends such a frame.
                return {"frame": header.first, "size": size}
            case opcode if opcode == _CLOSE:
                reason = payload[2:].decode("utf-8", "replace")
                return {"close": int.from_bytes(payload[:2], "big"), "reason": reason}
            case opcode if opcode == _TEXT:
                return self.message(payload.decode(errors="replace"))
            case opcode if opcode == _BINARY:
                return self.message(payload)
            case opcode:
                return {"ping" if opcode == _PING else "pong": bytes_to_json(b"x" * size)}
