"""Standard output, written by a thread, so that a slow reader does not block the event loop."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["INTERRUPTED", "LIMIT", "Output", "OutputFailed", "OutputFile", "discard_output"]

INTERRUPTED = 130
"""The exit status after Ctrl-C, SIGTERM or SIGHUP."""
LIMIT = 4 * 2**20
"""Characters that may wait to be written; one line more is always taken."""
_PIECE = 65536
_LAST_SECONDS = 1.0
"""Seconds to wait at the end for a reader that has stopped."""


class OutputFailed(Exception):
    """The standard output takes nothing more; `left`: since its reader has left."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to the standard output: {error.strerror or error}")
        # Windows reports a closed pipe so.
        self.left: bool = error.errno == errno.EPIPE or (
            os.name == "nt" and error.errno == errno.EINVAL
        )


class Output:
    """The standard output. `write` never waits: a thread writes, in order.

    Lines above the capacity are dropped and counted, and `dropped` makes the line that reports it;
    a caller that must not lose anything waits while `is_full`.
    """

    def __init__(
        self, stream: TextIO | None = None, *, limit: int = LIMIT, seconds: float = _LAST_SECONDS
    ) -> None:
        self._stream: TextIO = sys.stdout if stream is None else stream
        self._limit = limit
        self._seconds = seconds
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        # One for all lines: a byte order mark comes once.
        self._encode = codecs.getincrementalencoder(encoding)("backslashreplace").encode
        self._waiting: deque[tuple[str, Callable[[], None] | None]] = deque()
        self._size = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._writes = False
        self._progress = 0.0
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None
        """Error that ended writing: the reader left, the disk is full, a session was not saved."""
        self.on_error: Callable[[], None] | None = None
        """Called once, in the thread that writes."""
        self.dropped: Callable[[int], str] = "gateway-proto: {} lines were dropped\n".format
        """Function that makes the text reporting a number of dropped lines."""

    @property
    def stream(self) -> TextIO:
        """Stream that is written to."""
        return self._stream

    @property
    def is_full(self) -> bool:
        """Whether the next line would be dropped."""
        return self.error is None and self._size >= self._limit

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._waiting and not self._writes

    def write(self, text: str, then: Callable[[], None] | None = None) -> bool:
        """Queue a text, and what to do after it is written; False if it is dropped."""
        with self._changed:
            if self.error is not None:
                return False
            if self._size >= self._limit:
                self._dropped += 1
                return False
            if self._dropped:
                self._queue(self.dropped(self._dropped), None)
                self._dropped = 0
            self._queue(text, then)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="output", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

    def drain(self) -> None:
        """Wait until all is written; not for a reader that takes nothing for a second."""
        with self._changed:
            if self._dropped and self.error is None:
                self._queue(self.dropped(self._dropped), None)
                self._dropped = 0
                self._changed.notify_all()
            self._progress = time.monotonic()
            while not self.is_idle and self.error is None:
                self._changed.wait(0.1)
                if time.monotonic() - self._progress > self._seconds:
                    return

    def check(self) -> None:
        """Raise what ended the output, if something did."""
        if self.error is not None:
            raise self.error

    def _queue(self, text: str, then: Callable[[], None] | None) -> None:
        self._waiting.append((text, then))
        self._size += len(text)

    def _run(self) -> None:
        try:
            while True:
                text, then = self._next()
                try:
                    self._put(text)
                except OSError as error:
                    raise OutputFailed(error) from error
                if then is not None:
                    then()
                self._progress = time.monotonic()
        except Exception as error:
            with self._changed:
                self.error = error
                self._waiting.clear()
                self._size = 0
                self._changed.notify_all()
            if self.on_error is not None:
                self.on_error()

    def _next(self) -> tuple[str, Callable[[], None] | None]:
        with self._changed:
            self._writes = False
            self._changed.notify_all()
            while not self._waiting:
                self._changed.wait()
            text, then = self._waiting.popleft()
            self._size -= len(text)
            self._writes = True
            return text, then

    def _put(self, text: str) -> None:
        buffer = getattr(self._stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        if not isinstance(raw, io.RawIOBase):  # a stream in memory
            self._stream.write(text)
            self._stream.flush()
            return
        if os.linesep != "\n":
            text = text.replace("\n", os.linesep)
        data = memoryview(self._encode(text))
        # Past the stream's own buffer: nothing is left there whose flush could wait at the end.
        while data:
            written = raw.write(data[:_PIECE])
            if written is None:  # a terminal that another program has made non-blocking
                select.select([], [raw.fileno()], [], 1.0)
                continue
            data = data[written:]
            self._progress = time.monotonic()


class OutputFile(io.TextIOBase):
    """An `Output` as the file of a rich console."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._text: list[str] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the standard output."""
        return getattr(self._output.stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._output.stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the standard output."""
        return self._output.stream.fileno()

    def writable(self) -> bool:
        """Whether it can be written to, which is always so."""
        return True

    def write(self, text: str) -> int:
        """Keep a text until `flush`."""
        self._text.append(text)
        return len(text)

    def flush(self) -> None:
        """Queue what was kept, as one piece."""
        text = "".join(self._text)
        self._text.clear()
        if text:
            self._output.write(text)


def discard_output() -> None:
    """Discard the buffer of the standard output, since its reader has left."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere: Any = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
