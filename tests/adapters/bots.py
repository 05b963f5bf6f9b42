"""Processes of bots: they print a line for each event, and read a command from each line."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
from typing import Any

from tests.adapters.support import PATIENCE

__all__ = ["Bot"]


class Bot:
    """A process that prints a line for each event.

    A line that starts with "error" fails the test, unless the pattern `expected` is found in it.
    """

    def __init__(self, command: list[str], *, expected: str = r"\Z.", **options: Any) -> None:
        self._expected = re.compile(expected)
        self._lines: queue.Queue[str] = queue.Queue()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, text=True, **pipes, **options)  # type: ignore[call-overload]
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def expect(self, *wanted: str, timeout: float = PATIENCE) -> None:
        """Wait for lines in any order; no other may report an error."""
        missing = set(wanted)
        while missing:
            try:
                line = self._lines.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(f"missing lines: {missing}") from None
            assert not self._is_error(line), line
            missing.discard(line)

    def order(self, command: str) -> None:
        """Write a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """End the process; no line that is left may report an error."""
        self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stdin is not None
        self.process.stdin.close()
        left = list(self._lines.queue)
        assert not [line for line in left if self._is_error(line)], left

    def _is_error(self, line: str) -> bool:
        return line.startswith(("error", "Traceback")) and not self._expected.search(line)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._lines.put(line.strip())
