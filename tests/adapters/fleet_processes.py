"""Processes of `gateway-proto fleet run`, with what they print."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.adapters.support import COMMAND, ENVIRONMENT, PATIENCE, json_lines, wait_until


class FleetProcess:
    """A member that runs in its own process; its output is in a file."""

    def __init__(self, out: pathlib.Path, *words: str) -> None:
        self._out = out
        with out.open("ab") as file:
            self.process = subprocess.Popen(
                [*COMMAND, "fleet", "run", "--json", *words],
                env=ENVIRONMENT,
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )

    @property
    def lines(self) -> list[dict[str, Any]]:
        return json_lines(self._out)

    @property
    def texts(self) -> list[str]:
        return [line["text"] for line in self.lines]

    def shards_of(self, event: str) -> list[int]:
        """Return the shards of the lines with this event, in order."""
        return [int(x["who"].split()[1]) for x in self.lines if x.get("event") == event]

    def until(self, event: str, count: int) -> None:
        """Wait until at least `count` shards have had this event."""
        wait_until(f"{count} {event}", lambda: len(set(self.shards_of(event))) >= count)

    def ended(self) -> tuple[int, str]:
        """Wait for the end, and return the status and what is on the standard error."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors


@contextlib.contextmanager
def fleet_process(
    out: pathlib.Path, store: str, api: str, member: str, *words: str
) -> Iterator[FleetProcess]:
    """Run a member with short times until the end of the block."""
    given = ["--store", store, "--api", api, "--member", member, "--ttl", "2", *words]
    running = FleetProcess(out / f"{member}.jsonl", *given)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()
