"""Writer of a trace: JSON lines, in order and redacted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gateway_proto.trace.redactor import Redactor
from gateway_proto.trace.serialize import line_to_json

__all__ = ["TraceLine", "TraceWriter"]


class TraceLine:
    """A line of a trace, which is open until all of its fields are complete."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields: dict[str, Any] = fields
        self.open: int = 1
        """The number of incomplete fields. The line and all following lines wait for them."""


class TraceWriter:
    """The ordered lines of a trace, and the state that all recorded objects share.

    Without `secrets` nothing is redacted: a replay has no secrets.
    """

    def __init__(self, write: Callable[[str], object], secrets: Redactor | None) -> None:
        self._write = write
        self.secrets: Redactor | None = secrets
        self._lines: deque[TraceLine] = deque()
        self._drawn: list[float] = []
        self.unfinished: dict[int, Callable[[], None]] = {}
        """Functions that write the held back data of an open connection, by its number."""
        self.count: int = 0
        """The number of recorded objects."""
        self.inside: bool = False
        """Whether a recorded call is running. The calls that it makes are not recorded."""
        self.calls: int = 0
        """The number of recorded calls that are running."""
        self.now: float | None = None
        """The `now` of the last call that had one."""

    def number(self) -> int:
        """Return the number of a new recorded object."""
        self.count += 1
        return self.count

    def redact_token(self, token: str) -> str:
        """Return the placeholder for a token."""
        return token if self.secrets is None else self.secrets.add(token)

    def record_random(self, draw: Callable[[], float]) -> Callable[[], float]:
        """Return the random source with recording: its numbers are written on the open line."""

        def drawn() -> float:
            number = draw()
            self._drawn.append(number)
            return number

        return drawn

    def record_callback(self, callback: Callable[..., object]) -> Callable[..., None]:
        """Return a callback whose own calls are recorded, although a recorded call makes it."""

        def call(*args: Any) -> None:
            self.inside = False
            try:
                callback(*args)
            finally:
                self.inside = True

        return call

    def begin(self, **fields: Any) -> TraceLine:
        """Begin a line that is not complete yet."""
        line = TraceLine(fields)
        self._lines.append(line)
        return line

    def end(self, line: TraceLine) -> None:
        """End a line; add the random numbers that were generated since the last line."""
        if self._drawn:
            line.fields["drew"], self._drawn = self._drawn, []
        self.add(line)

    def add(self, line: TraceLine) -> None:
        """Note that a field of a line is complete. Write all complete lines, in order."""
        line.open -= 1
        while self._lines and not self._lines[0].open:
            self._write(self._text(self._lines.popleft().fields) + "\n")

    def _text(self, fields: dict[str, Any]) -> str:
        """Return the redacted line.

        Received bytes are redacted already. Their base64 is left alone: a token
        begins with the base64 of the user's id, which is in the base64 of much else.
        """
        if self.secrets is None:
            return line_to_json(fields)
        given = fields.get("with", {})
        for name in ("data", "message"):
            data = given.get(name)
            if isinstance(data, dict) and data.keys() == {"base64"}:
                rest = {**fields, "with": {name: {"base64": ""}, **_without(given, name)}}
                text = self.secrets.redact_text(line_to_json(rest))
                # The first match is that of `with`: no text precedes it.
                return text.replace('"base64":""', f'"base64":"{data["base64"]}"', 1)
        return self.secrets.redact_text(line_to_json(fields))

    def close(self) -> None:
        """Write all waiting lines, and no line after that."""
        for finish in list(self.unfinished.values()):
            finish()
        self._write = _nowhere

    def line(self, **fields: Any) -> None:
        """Write a complete line."""
        self.end(self.begin(**fields))


def _without(given: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}


def _nowhere(_line: str) -> None:
    pass
