"""Helper processes that answer lines with JSON, until they are closed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["Helper", "helper"]


class Helper:
    """A process that runs one module of this folder."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def hear(self) -> Any:
        """Return the next line of the process; end the run if it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"this ended too early: {self._process.args!r}")
        return json.loads(line)

    def ask(self) -> Any:
        """Send a line, and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.hear()


@contextlib.contextmanager
def helper(module: str, *arguments: object) -> Iterator[Helper]:
    """Run a module of this folder; leaving closes its input, at which it ends."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    try:
        yield Helper(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
