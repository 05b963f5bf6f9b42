"""bytes → messages, for the frames that nearly all are: whole, final, unmasked, text or binary.

wsproto takes 10 us a frame, which is more than everything else that an event costs; cutting takes
a third of one. Everything unusual is handed over to wsproto, frame by frame.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["Broken", "Cut", "Cutter", "Unusual"]

_TEXT, _BINARY = 0x81, 0x82
_WHOLE = (_TEXT, _BINARY)
_BEGIN = (0x01, 0x02)
_CONTINUE, _END = 0x00, 0x80
_PINGS = (0x89, 0x8A)
_MOST_OF_CONTROL = 125


class Unusual(msgspec.Struct, frozen=True):
    """Bytes that are wsproto's to read: a whole frame, or all that comes from here on."""

    data: bytes


class Broken(msgspec.Struct, frozen=True):
    """The peer broke HTTP or WebSocket, or a bound; nothing can be read any more."""

    code: int
    error: str


Cut: TypeAlias = str | bytes | Unusual | Broken
"""A text message, a binary message, or what is neither."""


class Cutter:
    """Cuts what a server sends into frames; `limit` bounds the bytes of one."""

    def __init__(self, limit: int) -> None:
        self.off: bool = False
        """Whether all that comes belongs to wsproto: a close frame, or one that is broken."""
        self.has_unusual: bool = False
        """Whether the last cut gave anything but messages."""
        self._limit = limit
        self._kept: list[bytes] = []  # the beginning of a frame
        self._missing = 0  # bytes, for it to be worth another look
        self._in_message = False  # between its fragments

    def cut(self, data: bytes) -> list[Cut]:
        """What is whole, in order.

        This runs for every frame, so it calls nothing and makes nothing but the message.
        """
        self.has_unusual = False
        if self._kept:
            self._kept.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = b"".join(self._kept)
            self._kept.clear()
        items: list[Cut] = []
        at, size, needed = 0, len(data), 2
        while size - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            is_odd = length > 127  # a mask
            if length == 126:
                start = at + 4
                if start > size:
                    needed = 4
                    break
                length = data[at + 2] << 8 | data[at + 3]
                is_odd = length < 126
            elif length == 127:
                start = at + 10
                if start > size:
                    needed = 10
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
                is_odd = length < 65536
            is_message = first in _WHOLE and not self._in_message
            if is_odd or not (is_message or self._fits(first, length)):
                self._leave(data[at:], items)
                return items
            if length > self._limit:
                self.has_unusual = True
                items.append(Broken(1009, f"a message has more than {self._limit} bytes"))
                return items
            end = start + length
            if end > size:
                needed = end - at
                break
            if not is_message:
                self._hand_over(first, data[at:end], items)
            elif first == _BINARY:
                items.append(data[start:end])
            else:
                try:
                    items.append(data[start:end].decode())
                except UnicodeDecodeError:
                    self._hand_over(first, data[at:end], items)
            at = end
        if at < size:
            self._kept.append(data[at:])
            self._missing = needed - (size - at)
        return items

    def _leave(self, data: bytes, items: list[Cut]) -> None:
        """From here on all is wsproto's: behind a close frame, or one that is odd."""
        self.off = self.has_unusual = True
        items.append(Unusual(data))

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
        return first in _BEGIN
