"""bytes → messages, for the frames that nearly all are: whole, final, unmasked, text or binary.

wsproto takes 10 us a frame, which is more than everything else that an event costs; cutting takes
under one. Everything unusual is handed over to wsproto, frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import msgspec

__all__ = ["Broken", "Cutter", "Message"]

_TEXT, _BINARY = 0x81, 0x82  # whole ones
_BEGIN = (0x01, 0x02)
_CONTINUE, _END = 0x00, 0x80
_CLOSE = 0x88
_PINGS = (0x89, 0x8A)
_MOST_OF_CONTROL = 125


class Message(msgspec.Struct, frozen=True):
    """A whole message: text as `str`, binary as `bytes`."""

    data: str | bytes


@attrs.frozen
class Broken:
    """The peer broke HTTP or WebSocket, or a bound; nothing can be read any more."""

    code: int
    error: str


class Cutter:
    """Cuts what a server sends into frames; `limit` bounds the bytes of one."""

    def __init__(self, limit: int) -> None:
        self.off: bool = False
        """Whether all that comes belongs to wsproto: a close frame, or one that is broken."""
        self._limit = limit
        self._kept = bytearray()  # the beginning of a frame
        self._needed = 2  # bytes, for it to be worth another look
        self._in_message = False  # between its fragments

    def receive(self, data: bytes) -> Iterator[Message | Broken | bytes]:
        """Messages; and, as bytes, the frames that are wsproto's to read, whole."""
        if self._kept:
            self._kept += data
            if len(self._kept) < self._needed:
                return
            data = bytes(self._kept)
            self._kept.clear()
        size = len(data)
        at = 0
        while size - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length == 126:
                start = at + 4
                length = int.from_bytes(data[at + 2 : start], "big")
                is_odd = length < 126
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big")
                is_odd = length < 65536
            else:
                is_odd = length > 127  # a mask
            if start > size:
                break  # the head is not whole
            # Behind a close frame nothing is read.
            if is_odd or first == _CLOSE or not self._fits(first, length):
                self.off = True
                yield data[at:]
                return
            if length > self._limit:
                yield Broken(1009, f"a message has more than {self._limit} bytes")
                return
            end = start + length
            if end > size:
                self._needed = end - at
                self._kept += data[at:]
                return
            if first == _BINARY:
                yield Message(data[start:end])
            elif first == _TEXT:
                try:
                    text = str(data[start:end], "utf-8")
                except UnicodeDecodeError:
                    yield data[at:end]
                else:
                    yield Message(text)
            else:
                if first in _BEGIN or first == _END:
                    self._in_message = first != _END
                yield data[at:end]
            at = end
        self._needed = 2
        self._kept += data[at:]

    def _fits(self, first: int, length: int) -> bool:
        """Whether such a frame may come here."""
        if first in _PINGS:
            return length <= _MOST_OF_CONTROL
        if self._in_message:
            return first in (_CONTINUE, _END)
        return first in (_TEXT, _BINARY) or first in _BEGIN
