"""bytes, now → bytes, later or never: what a scenario does to them on the way out."""

from __future__ import annotations

__all__ = ["Wire"]


_LEAST_SECONDS = 0.001
"""Between two pieces: time must go on."""


class Wire:
    """Passes bytes on, whole and at once, unless a fault has come over it."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._until_silence: int | None = None  # bytes
        self._merging = 0  # messages
        self._before = 0  # bytes, ahead of the first of them
        self._piece = 0  # bytes
        self._seconds = 0.0
        self._room = 0
        self.next_at: float | None = None
        """When the next piece may go."""

    @property
    def waiting(self) -> int:
        """Bytes that are kept back."""
        return len(self._kept)

    def fall_silent(self, waiting: int) -> None:
        """Pass on what waits, so many bytes beside those kept, and nothing after it."""
        self._until_silence = waiting

    def merge(self, messages: int, waiting: int) -> None:
        """Pass on what waits, and keep back what comes until so many messages have come."""
        self._merging, self._before = messages, waiting + len(self._kept)

    def trickle(self, size: int, seconds: float, *, now: float) -> None:
        """Pass on so many bytes at a time, and so many seconds between them."""
        self._piece, self._seconds = max(1, size), max(_LEAST_SECONDS, seconds)
        self.next_at = now

    def count_message(self) -> None:
        """A message was framed."""
        self._merging -= self._merging > 0

    def handle_timer(self, now: float) -> None:
        """Make room for the next piece, if it is due."""
        if self.next_at is not None and self.next_at <= now:
            self._room = self._piece
            self.next_at = now + self._seconds

    def pass_on(self, data: bytes, *, at_end: bool) -> bytes:
        """What goes out now of what was kept and of `data`; at the end that is all of it."""
        if self._until_silence is not None:
            data = data[: self._until_silence]
            self._until_silence -= len(data)
        if not self._kept and not self._merging and self.next_at is None:
            return data
        self._kept += data
        size = len(self._kept)
        if self._merging:
            size = min(size, self._before)
            self._before -= size
        elif self.next_at is not None:
            size = self._room
            self._room = 0
        if at_end:
            size = len(self._kept)
        data = bytes(self._kept[:size])
        del self._kept[:size]
        return data
