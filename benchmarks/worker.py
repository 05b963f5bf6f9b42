"""Worker processes that answer lines with JSON, until they are closed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["Worker", "run_worker"]


class Worker:
    """A process that runs one module of this folder."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self) -> Any:
        """Return the next line of the process; end the run if it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"this ended too early: {self._process.args!r}")
        return json.loads(line)

    def request(self) -> Any:
        """Send a line, and return the answer."""
        self._send("")
        return self.read()

    def ask(self, *words: object) -> Any:
        """Send a line with a JSON array, and return the answer."""
        self.begin(*words)
        return self.read()

    def begin(self, *words: object) -> None:
        """Send a line with a JSON array; `read` returns the answer later."""
        self._send(json.dumps(words))

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def run_worker(module: str, *arguments: object) -> Iterator[Worker]:
    """Run a module of this folder; leaving closes its input, at which it ends."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    try:
        yield Worker(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
