"""what happened → lines of JSON, in order, without secrets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_proto._tracing.secrets import Secrets

__all__ = ["Line", "Log"]


class Line:
    """One line, open until all that it will have is there."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields: dict[str, Any] = fields
        self.open: int = 1
        """How much is still to come; a line waits, and all behind it."""


class Log:
    """Lines in order, and what is common to all machines of a trace.

    Without `secrets` nothing is replaced, which is for a replay, that has none.
    """

    def __init__(self, write: Callable[[str], object], secrets: Secrets | None) -> None:
        self._write = write
        self.secrets: Secrets | None = secrets
        self._lines: deque[Line] = deque()
        self._drawn: list[float] = []
        self.unfinished: dict[int, Callable[[], None]] = {}
        """By the number of a connection that is not CLOSED: lets go of what is kept back of it."""
        self.count: int = 0
        """Machines that have a number."""
        self.inside: bool = False
        """Whether a watched call has not returned yet: what it calls is its own business."""
        self.calls: int = 0
        """How many have not returned."""
        self.now: float | None = None
        """Of the last call that had one."""

    def number(self) -> int:
        """The number of one more machine."""
        self.count += 1
        return self.count

    def hide(self, token: str) -> str:
        """What stands for a token."""
        return token if self.secrets is None else self.secrets.add(token)

    def watched(self, draw: Callable[[], float]) -> Callable[[], float]:
        """The same chance; what is drawn is written on the line that is open."""

        def drawn() -> float:
            number = draw()
            self._drawn.append(number)
            return number

        return drawn

    def outside(self, callback: Callable[..., object]) -> Callable[..., None]:
        """A callback out of a call, whose own calls are somebody else's: they are written too."""

        def call(*args: Any) -> None:
            self.inside = False
            try:
                callback(*args)
            finally:
                self.inside = True

        return call

    def begin(self, **fields: Any) -> Line:
        """A line that is not whole yet."""
        line = Line(fields)
        self._lines.append(line)
        return line

    def end(self, line: Line) -> None:
        """What a line tells of is over; what was drawn since the last was drawn in it."""
        if self._drawn:
            line.fields["drew"], self._drawn = self._drawn, []
        self.add(line)

    def add(self, line: Line) -> None:
        """Something of a line has come; once it has all, it is written, if those before it are."""
        line.open -= 1
        while self._lines and not self._lines[0].open:
            self._write(self._text(self._lines.popleft().fields) + "\n")

    def _text(self, fields: dict[str, Any]) -> str:
        """Return the line without secrets.

        Received bytes are written without secrets already. Their base64 is left alone: a token
        begins with the base64 of the user's id, which is in the base64 of much else.
        """
        if self.secrets is None:
            return msgspec.json.encode(fields).decode()
        given = fields.get("with", {})
        for name in ("data", "message"):
            data = given.get(name)
            if isinstance(data, dict) and data.keys() == {"base64"}:
                rest = {**fields, "with": {name: {"base64": ""}, **_without(given, name)}}
                text = self.secrets.of_text(msgspec.json.encode(rest).decode())
                # The first one is that of `with`: no text comes before it.
                return text.replace('"base64":""', f'"base64":"{data["base64"]}"', 1)
        return self.secrets.of_text(msgspec.json.encode(fields).decode())

    def close(self) -> None:
        """Write what waits, and nothing more."""
        for finish in list(self.unfinished.values()):
            finish()
        self._write = _nowhere

    def line(self, **fields: Any) -> None:
        """A line that is whole."""
        self.end(self.begin(**fields))


def _without(given: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}


def _nowhere(_line: str) -> None:
    pass
