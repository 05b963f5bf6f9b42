"""bytes → messages, for the frames that nearly all are: whole, final, unmasked, text or binary.

wsproto takes 10 us a frame, which is more than everything else that an event costs; cutting takes
a third of one. Fragments are joined here too: in wsproto, a message in fragments of two bytes took
13 s per MB. Everything unusual is handed over to wsproto, frame by frame.
"""

from __future__ import annotations

import codecs
from typing import TypeAlias

import msgspec

__all__ = ["Broken", "Cut", "Cutter", "HeaderGuard", "Messages", "Unusual"]

_TEXT, _BINARY = 0x81, 0x82
_WHOLE = (_TEXT, _BINARY)
_ODD = -1
"""The length of a frame with a mask, or whose length is written longer than it must be, or is
beyond what RFC 6455, 5.2, allows."""
_BEGIN = (0x01, 0x02)
_CONTINUE, _END = 0x00, 0x80
_FRAGMENTS = (*_BEGIN, _CONTINUE, _END)
_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_PINGS = (0x89, 0x8A)
_MOST_OF_CONTROL = 125


class Messages(msgspec.Struct, frozen=True):
    """Whole messages, one behind the other; a text is `str`, or bytes that are checked UTF-8."""

    data: list[str | bytes]
    is_text: bool


class Unusual(msgspec.Struct, frozen=True):
    """Bytes that are wsproto's to read: a whole frame, or all that comes from here on."""

    data: bytes


class Broken(msgspec.Struct, frozen=True):
    """The peer broke HTTP or WebSocket, or a bound; nothing can be read any more."""

    code: int
    error: str


Cut: TypeAlias = Messages | Unusual | Broken


class Cutter:
    """Cuts what a server sends into frames; `limit` bounds the bytes of one."""

    __slots__ = ("_kept", "_limit", "_message", "_missing", "_utf8", "has_unusual", "off")

    def __init__(self, limit: int) -> None:
        self.off: bool = False
        """Whether all that comes belongs to wsproto: a close frame, or one that is broken."""
        self.has_unusual: bool = False
        """Whether the last cut gave anything but messages."""
        self._limit = limit
        self._kept = bytearray()  # the beginning of a frame
        self._missing = 0  # bytes, for it to be worth another look
        self._message: bytearray | None = None  # the fragments of one so far
        self._utf8: codecs.IncrementalDecoder | None = None  # None: its fragments are binary

    def cut(self, data: bytes) -> list[Cut]:
        """What is whole, in order."""
        self.has_unusual = False
        items: list[Cut] = []
        at = 0
        while self._kept:
            # The frame that was begun is made whole by itself: to copy all that came behind it
            # took as long as to cut it.
            end = at + self._missing
            self._kept += data[at:end]
            if end > len(data):
                self._missing = end - len(data)
                return items
            begun = bytes(self._kept)
            self._kept.clear()
            at = end
            if not self._cut(begun, 0, items):
                if self.off and at < len(data):
                    items.append(Unusual(data[at:]))
                return items
        self._cut(data, at, items)
        return items

    def _cut(self, data: bytes, at: int, items: list[Cut]) -> bool:
        """Cut what lies behind `at`; False: nothing may be cut any more."""
        # This runs for every frame: one of the same kind as the last needs no further look.
        kind: int | None = None
        is_message = is_text = False
        run: list[str | bytes] = []
        size, limit, needed = len(data), self._limit, 2
        room = limit
        while size - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length == 126:
                start = at + 4
                if start > size:
                    needed = 4
                    break
                length = data[at + 2] << 8 | data[at + 3]
                if length < 126:
                    length = _ODD
            elif length == 127:
                start = at + 10
                if start > size:
                    needed = 10
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
                if length < 65536 or length >= 1 << 63:
                    length = _ODD
            elif length > 127:  # a mask
                length = _ODD
            if first != kind or length == _ODD:
                if length == _ODD or not self._fits(first, length):
                    # Behind a close frame too, and behind one that is odd, all is wsproto's.
                    self.off = self.has_unusual = True
                    items.append(Unusual(self._begun() + data[at:]))
                    return False
                kind, is_message, is_text = None, first in _WHOLE, first == _TEXT
                room = limit if is_message else self._room(first)
            if length > room:
                self.has_unusual = True
                items.append(Broken(1009, f"a message has more than {limit} bytes"))
                return False
            end = start + length
            if end > size:
                needed = end - at
                break
            # Bytes are what the decoder wants: to make a `str` of each took a sixth of the time.
            message = data[start:end]
            if is_message and (not is_text or message.isascii() or _is_utf8(message)):
                if kind is None:
                    kind, run = first, []
                    items.append(Messages(run, is_text))
                run.append(message)
            elif first in _FRAGMENTS:
                kind = None
                if not self._join(first, message, items):
                    return False
            else:
                kind = None
                self.has_unusual = True
                items.append(Unusual(data[at:end]))
            at = end
        if at < size:
            self._kept += data[at:]
            self._missing = needed - (size - at)
        return True

    def _room(self, first: int) -> int:
        """Return how many bytes a fragment or a control frame may have."""
        if self._message is None or first not in _FRAGMENTS:
            return self._limit
        return self._limit - len(self._message)

    def _join(self, first: int, fragment: bytes, items: list[Cut]) -> bool:
        """Add a fragment to its message. Return False if the message is not valid UTF-8."""
        if self._message is None:
            self._message = bytearray()
            self._utf8 = _utf8_decoder() if first == _BEGIN[0] else None
        utf8, is_last = self._utf8, first == _END
        if utf8 is not None:
            try:
                utf8.decode(fragment, is_last)
            except UnicodeDecodeError as error:
                # RFC 6455, 8.1: fail the connection as soon as the error is known.
                self.has_unusual = True
                items.append(Broken(1007, f"broken WebSocket frame: {error}"))
                return False
        self._message += fragment
        if is_last:
            items.append(Messages([bytes(self._message)], utf8 is not None))
            self._message = self._utf8 = None
        return True

    def _begun(self) -> bytes:
        """Return an empty fragment that puts wsproto into the state after those joined here."""
        if self._message is None:
            return b""
        return bytes([_BEGIN[1] if self._utf8 is None else _BEGIN[0], 0])

    def _fits(self, first: int, length: int) -> bool:
        """Whether such a frame may come here."""
        if first in _PINGS:
            return length <= _MOST_OF_CONTROL
        if self._message is not None:
            return first in (_CONTINUE, _END)
        return first in _WHOLE or first in _BEGIN


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


class HeaderGuard:
    """Finds the frame header that makes a message larger than `limit`, before its payload comes.

    wsproto reads the frames; it returns a payload as it arrives and never shows how much was
    announced. `masked`: whether the peer is a client. A header that wsproto will reject ends the
    watch.
    """

    __slots__ = ("_close", "_head", "_limit", "_masked", "_off", "_size", "_skip")

    def __init__(self, limit: int, *, masked: bool) -> None:
        self._close: bytearray | None = None  # mask and payload of the close frame
        self._limit = limit
        self._masked = masked
        self._head = bytearray()
        self._skip = 0  # bytes of the frame's mask and payload that are still to come
        self._size = 0  # of the message so far
        self._off = False

    def check(self, data: bytes) -> int | None:
        """Return the offset of the header that announces too much; None if there is none."""
        at, size = 0, len(data)
        while at < size and not self._off:
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
        """Return the payload of the peer's close frame, as far as it has come."""
        data = bytes(self._close or b"")
        if not self._masked:
            return data
        mask, payload = data[:4], data[4:]
        return bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))

    def _missing(self) -> int:
        """Return how many bytes of the header are still to come."""
        head = self._head
        if len(head) < 2:
            return 2 - len(head)
        short = head[1] & 0x7F
        return 2 + (2 if short == 126 else 8 if short == 127 else 0) - len(head)

    def _is_too_large(self) -> bool:
        """Take the header that is complete."""
        head = self._head
        first, masked, short = head[0], head[1] >= 0x80, head[1] & 0x7F
        length = short if short < 126 else int.from_bytes(head[2:], "big")
        head.clear()
        if masked is not self._masked or length >= 1 << 63:
            self._off = True
            return False
        self._skip = length + (4 if masked else 0)
        if first == 0x88 and length <= 125:
            self._close = bytearray()
        if first & 0x0F >= 8:  # a control frame, of at most 125 bytes (RFC 6455, 5.5)
            return False
        if first & 0x0F:
            self._size = 0
        self._size += length
        if self._size > self._limit:
            return True
        if first >= 0x80:
            self._size = 0
        return False
