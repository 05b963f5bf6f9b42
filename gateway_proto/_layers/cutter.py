"""bytes → messages, for the frames that nearly all are: whole, final, unmasked, text or binary.

wsproto takes 10 us a frame, which is more than everything else that an event costs; cutting takes
a third of one. Everything unusual is handed over to wsproto, frame by frame.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["Broken", "Cut", "Cutter", "Messages", "Unusual"]

_TEXT, _BINARY = 0x81, 0x82
_WHOLE = (_TEXT, _BINARY)
_ODD = -1
"""The length of a frame with a mask, or whose length is written longer than it must be."""
_BEGIN = (0x01, 0x02)
_CONTINUE, _END = 0x00, 0x80
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

    __slots__ = ("_in_message", "_kept", "_limit", "_missing", "has_unusual", "off")

    def __init__(self, limit: int) -> None:
        self.off: bool = False
        """Whether all that comes belongs to wsproto: a close frame, or one that is broken."""
        self.has_unusual: bool = False
        """Whether the last cut gave anything but messages."""
        self._limit = limit
        self._kept = bytearray()  # the beginning of a frame
        self._missing = 0  # bytes, for it to be worth another look
        self._in_message = False  # between its fragments

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
                if length < 65536:
                    length = _ODD
            elif length > 127:  # a mask
                length = _ODD
            if first != kind or length == _ODD:
                if length == _ODD or not self._fits(first, length):
                    # Behind a close frame too, and behind one that is odd, all is wsproto's.
                    self.off = self.has_unusual = True
                    items.append(Unusual(data[at:]))
                    return False
                kind, is_message, is_text = None, first in _WHOLE, first == _TEXT
            if length > limit:
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
            else:
                kind = None
                self._hand_over(first, data[at:end], items)
            at = end
        if at < size:
            self._kept += data[at:]
            self._missing = needed - (size - at)
        return True

    def _hand_over(self, first: int, frame: bytes, items: list[Cut]) -> None:
        if first in _BEGIN or first == _END:
            self._in_message = first != _END
        self.has_unusual = True
        items.append(Unusual(frame))

    def _fits(self, first: int, length: int) -> bool:
        """Whether such a frame may come here."""
        if first in _PINGS:
            return length <= _MOST_OF_CONTROL
        if self._in_message:
            return first in (_CONTINUE, _END)
        return first in _WHOLE or first in _BEGIN


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
