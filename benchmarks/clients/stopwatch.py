"""Stopwatch from READY to the last dispatch; prints one line of JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import NoReturn

__all__ = ["IDENTIFY", "Stopwatch"]

_PROPERTIES = {"os": "linux", "browser": "bench", "device": "bench"}
IDENTIFY = json.dumps(
    {"op": 2, "d": {"token": "t.1", "intents": 513, "properties": _PROPERTIES}}
).encode()
"""For clients that have none of their own."""


class Stopwatch:
    """The command line of a client, and its clock."""

    def __init__(self) -> None:
        self.port = int(sys.argv[1])
        self.compression = sys.argv[2]
        self.total = int(sys.argv[3])
        self.data = "data" in sys.argv[4:]
        """Whether whole payloads are to be decoded."""
        self.half = "half" in sys.argv[4:]
        """Whether the payload of each second dispatch is to be decoded."""
        self.typed = "typed" in sys.argv[4:]
        """Whether a few fields are to be decoded."""
        self._began = self._began_cpu = 0.0
        self._taken: tuple[float, float] | None = None

    @property
    def url(self) -> str:
        """Of the gateway, with the query that asks for the compression."""
        compress = "" if self.compression == "none" else f"&compress={self.compression}"
        return f"ws://127.0.0.1:{self.port}/?v=10&encoding=json{compress}"

    def start(self) -> None:
        """READY is here."""
        self._began, self._began_cpu = time.perf_counter(), time.process_time()

    def pause(self) -> None:
        """The work is done; what follows only checks it."""
        self._taken = time.perf_counter() - self._began, time.process_time() - self._began_cpu

    def stop(self, count: int, last: int | None) -> NoReturn:
        """The application has been handed the last dispatch; `last` is its sequence."""
        if self._taken is None:
            self.pause()
        assert self._taken is not None
        seconds, cpu = self._taken
        print(json.dumps({"seconds": seconds, "cpu": cpu, "count": count, "last": last}))
        sys.stdout.flush()
        os._exit(0)  # how fast it closes is not measured
