"""bytes of a transport → what is written of them: as they came, or without secrets.

What comes in may hold a secret over the border of two reads, of two frames, or inside of a
compressed stream. So a read is kept back until the message that it ends in is whole. Where one
holds a secret it is framed anew, with a placeholder; after one that was compressed, all later ones
are, without compression, which an inflater takes too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from gateway_proto._layers import etf
from gateway_proto._layers.inflate import InflateError, Inflater
from gateway_proto._tracing.body import clean_answer
from gateway_proto._tracing.secrets import Secrets
from gateway_proto._tracing.values import json_of_data, json_of_message

__all__ = ["Incoming", "Outgoing"]

_HEAD_END = b"\r\n\r\n"
_SWITCHED = re.compile(rb"HTTP/1\.1 101|[^\r]+\r\n.*?^upgrade: *websocket", re.I | re.M | re.S)
_INFORMATION = re.compile(rb"HTTP/1\.1 1(?!01)")
_CONTINUED, _TEXT, _BINARY, _CLOSE, _PING = 0, 1, 2, 8, 9
_BROKEN = b"\xff"
"""Of this byte neither zlib nor zstd makes anything, at the beginning of a stream or within it."""
_ANY = "surrogateescape"

Write = Callable[[Any], None]


@attrs.frozen
class _Frame:
    bits: int
    """The first byte: whether it is final, and the op code."""
    content: bytes
    size: int
    head: int
    """Of it, before the content."""

    @property
    def code(self) -> int:
        return self.bits & 15

    @property
    def final(self) -> bool:
        return bool(self.bits & 128)


def _frame(data: bytes | bytearray) -> _Frame | None:
    """The frame at the beginning of the data; None where it is not whole."""
    if len(data) < 2:
        return None
    size, at = data[1] & 127, 2
    if size > 125:
        at = 4 if size == 126 else 10
        size = int.from_bytes(data[2:at], "big")
    mask = b""
    if data[1] & 128:
        mask = bytes(data[at : at + 4])
        at += 4
    if len(data) < at + size:
        return None
    content = bytes(data[at : at + size])
    if mask:
        key = (mask * (size // 4 + 1))[:size]
        content = (int.from_bytes(content, "big") ^ int.from_bytes(key, "big")).to_bytes(size)
    return _Frame(data[0], content, at + size, at)


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
    """Frames that never became a whole message: their heads, and zeros for what is in them."""
    out = b""
    while (frame := _frame(data)) is not None:
        out += data[: frame.head] + bytes(frame.size - frame.head)
        data = data[frame.size :]
    head = 2 + 4 * (data[1:2] >= b"\x80")
    head += {126: 2, 127: 8}.get(int.from_bytes(data[1:2], "big") & 127, 0)
    return out + data[:head] + bytes(len(data[head:]))


class Incoming:
    """What one connection receives → what is written of each read, or of each message."""

    def __init__(self, secrets: Secrets, inflater: Inflater, *, masked: bool) -> None:
        self._secrets = secrets
        self._inflater = inflater
        self._masked = masked
        self._switched = False  # the HTTP head is over, and frames come
        self._answers = False  # an HTTP body follows, up to the end
        self._rest = bytearray()  # of which no whole unit could be made yet
        self._parts = bytearray()  # of a fragmented message
        self._code = _TEXT
        self._open = False  # a text has begun, and its last message is still to come
        # Since the last time that nothing was open:
        self._raw = bytearray()
        self._whole = 0  # bytes of it up to the end of the last whole text
        self._reads: list[tuple[Write, int, bytes]] = []  # size, and what is in it framed anew
        self._messages: list[tuple[Write, str | bytes]] = []
        self._found = False
        self._inflated = False
        self._anew = False

    def receive(self, data: bytes, write: Write) -> None:
        """Bytes came; `write` is called, now or later, with what may be written of them."""
        self._raw += data
        self._rest += data
        self._reads.append((write, len(data), b"".join(self._units())))
        if self._anew or not (self._rest or self._open):
            self._let_go(bytes(self._raw))

    def receive_message(self, message: str | bytes, write: Write) -> None:
        """A message came; `write` gets None where it is left out."""
        clean = self._text(message)
        self._messages.append((write, message))
        if self._open:
            return
        messages, self._messages = self._messages, []
        anew = self._anew or self._found
        for earlier, text in messages[:-1]:
            earlier(None if anew else text)
        write(clean if anew else message)
        self._begin_again()

    def finish(self) -> None:
        """Write what is kept back, without incomplete messages: nothing more is received."""
        whole, tail = bytes(self._raw[: self._whole]), bytes(self._raw[self._whole :])
        tail = _blanked(tail) if self._switched else clean_answer(tail, self._secrets)
        self._let_go(whole + tail)
        for write, _ in self._messages:
            write(None)
        self._messages.clear()

    def _let_go(self, raw: bytes) -> None:
        anew = self._anew or self._found
        at = 0
        for write, size, clean in self._reads:
            write(clean if anew else raw[at : at + size])
            at += size
        self._reads.clear()
        self._begin_again()

    def _begin_again(self) -> None:
        # The peer's compression goes on from what is left out here.
        self._anew = self._anew or (self._found and self._inflated)
        self._found = self._inflated = False
        self._raw.clear()
        self._whole = 0

    def _units(self) -> Iterator[bytes]:
        """The whole heads and messages that wait, without secrets."""
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
            # In place: a head stays as long as it was.
            start = len(self._raw) - len(self._rest)
            self._raw[start : start + at] = clean = clean_answer(head, self._secrets)
            yield self._unit(at, clean)
        while (frame := _frame(self._rest)) is not None:
            yield self._unit(frame.size, self._framed_anew(frame))

    def _unit(self, size: int, clean: bytes) -> bytes:
        del self._rest[:size]
        if not self._open:
            self._whole = len(self._raw) - len(self._rest)
        return clean

    def _clean(self, data: bytes) -> bytes:
        return self._clean_text(data.decode("latin-1")).encode("latin-1")

    def _clean_text(self, text: str) -> str:
        clean = self._secrets.of_text(text)
        self._found = self._found or clean != text
        return clean

    def _framed_anew(self, frame: _Frame) -> bytes:
        if frame.code > _CLOSE:
            # No protocol needs what is in a ping, and several could hold the parts of a secret.
            content = b"x" * len(frame.content)
            self._found = self._found or content != frame.content
            return _framed(frame.bits, content, masked=self._masked)
        if frame.code == _CLOSE:
            return _framed(frame.bits, self._clean(frame.content), masked=self._masked)
        if frame.code != _CONTINUED:
            self._code = frame.code
        self._parts += frame.content
        self._open = True
        if not frame.final:
            return b""
        content = bytes(self._parts)
        self._parts.clear()
        clean = self._text(content.decode(errors=_ANY) if self._code == _TEXT else content)
        if clean is None:
            return b""
        code = _TEXT if isinstance(clean, str) else _BINARY
        data = clean.encode(errors=_ANY) if isinstance(clean, str) else clean
        return _framed(frame.bits & ~15 | code, data, masked=self._masked)

    def _text(self, message: str | bytes) -> str | bytes | None:
        """The text that ends with a message, without secrets; None where it is not whole."""
        try:
            text = self._inflater.receive(message)
        except InflateError:
            # The connection ends with it. Secrets may be decompressed from what is not broken.
            self._open, self._found, self._inflated = False, True, True
            return _BROKEN * len(message)
        self._open = text is None
        if isinstance(text, str):
            return self._clean_text(text)
        if text is None or text is message:
            return None if text is None else self._clean(text)
        self._inflated = True
        clean = self._clean(text)
        # A term stays binary.
        return clean if clean[:1] == etf.VERSION else clean.decode(errors=_ANY)


class Outgoing:
    """The bytes that one connection sends → what they say, each as soon as it is whole."""

    def __init__(self, inflate: Callable[[str | bytes], str | bytes | None]) -> None:
        self._inflate = inflate
        self._rest = bytearray()
        self._switched = False

    def send(self, data: bytes) -> list[dict[str, Any]]:
        """The HTTP text, messages, closes and pongs that end in these bytes."""
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
        while (frame := _frame(self._rest)) is not None:
            del self._rest[: frame.size]
            items.append(self._item(frame))
        return items

    def message(self, message: str | bytes) -> dict[str, Any]:
        """What a message says."""
        try:
            text = self._inflate(message)
        except InflateError as error:
            return {"broken": str(error)}
        return {"broken": "it is not whole"} if text is None else json_of_message(text)

    def _item(self, frame: _Frame) -> dict[str, Any]:
        size = len(frame.content)
        match frame.code:
            case code if frame.bits & 0x70 or code == _CONTINUED or not frame.final:
                # What a scenario makes of a frame.
                return {"frame": frame.bits, "size": size}
            case code if code == _CLOSE:
                reason = frame.content[2:].decode("utf-8", "replace")
                return {"close": int.from_bytes(frame.content[:2], "big"), "reason": reason}
            case code if code == _TEXT:
                return self.message(frame.content.decode(errors="replace"))
            case code if code == _BINARY:
                return self.message(frame.content)
            case _:
                return {"ping" if frame.code == _PING else "pong": json_of_data(b"x" * size)}
