"""Pseudo-terminals that commands run on."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence


class Terminal:
    """A command on a terminal, with all of its output."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            env={**environment, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def read(self) -> bool:
        """Read the next output; return False at the end."""
        if not select.select([self._ours], [], [], 0.2)[0]:
            return True
        try:
            self.shown += os.read(self._ours, 65536).decode(errors="replace")
        except OSError:
            return False
        return True

    def wait_for(self, pattern: str) -> None:
        """Wait until the output matches."""
        end = time.monotonic() + 60
        while not re.search(pattern, self.shown):
            assert time.monotonic() < end, f"{pattern} is not in {self.shown[-2000:]}"
            assert self.read(), f"{pattern} is not in {self.shown[-2000:]}"

    def close(self) -> None:
        """End the command."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextlib.contextmanager
def on_terminal(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command on a terminal until the end of the block."""
    terminal = Terminal(command, environment)
    try:
        yield terminal
    finally:
        terminal.close()
