"""Output lines: coloured and wrapped on a terminal, plain in a pipe, or as JSON."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway_cli.escaping import NOT_AS_JSON, escape, json_line
from gateway_cli.output import Output, OutputFile
from gateway_cli.words import colour_of, fields_of, plain

__all__ = [
    "MALFORMED_TRACE_ERRORS",
    "MISUSED",
    "Screen",
    "complain",
    "console",
    "fail",
    "mark",
    "print_verdict",
]

MISUSED = 2
"""The exit status if options or files cannot be used."""
MALFORMED_TRACE_ERRORS = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)
"""Exceptions of a JSON line that is not a line of a trace."""

_COLOURS = {"client": "cyan", "server": "magenta"}
_WIDE = 100
"""Columns from which on a table has lines between its own."""
_NARROWEST = 20
"""Columns below which a text is not wrapped."""


def fail(message: str, *, status: int = 1) -> NoReturn:
    """Write an error to the standard error, and end."""
    complain(message)
    raise typer.Exit(status)


def complain(message: str) -> None:
    """Write a line to the standard error."""
    with contextlib.suppress(OSError, ValueError):
        made = console(stderr=True)
        made.print(Text(f"gateway-proto: {escape(message)}"))


def console(output: Output | None = None, *, stderr: bool = False) -> Console:
    """Return a console that wraps at words on a terminal, and never in a pipe."""
    made = Console(
        stderr=stderr,
        file=None if output is None else OutputFile(output),  # type: ignore[arg-type]
        highlight=False,
        markup=False,
        emoji=False,
    )
    made.soft_wrap = not made.is_terminal
    return made


def mark(console: Console, good: bool) -> str | None:
    """Return a tick or a cross and a space; None in a pipe, or in an encoding without them."""
    text = "\N{CHECK MARK} " if good else "\N{BALLOT X} "
    try:
        text.encode(console.encoding)
    except (LookupError, UnicodeEncodeError):
        return None
    return text if console.is_terminal else None


def print_verdict(console: Console, text: str, *, good: bool) -> None:
    """Print the last line, with a tick in green or a cross in red."""
    style = "bold green" if good else "bold red"
    console.print(Text(f"{mark(console, good) or ''}{escape(text)}", style=style))


class Screen:
    """Lines with a time and a speaker: coloured on a terminal, plain in a pipe, or as JSON."""

    def __init__(self, *, as_json: bool = False, output: Output | None = None) -> None:
        self.output: Output = output or Output()
        """Output of the lines."""
        self.output.dropped = self._dropped
        self._console = console(self.output)
        self._began = time.monotonic()
        self._as_json = as_json

    @property
    def as_json(self) -> bool:
        """Whether the lines are for programs."""
        return self._as_json

    @property
    def has_footer(self) -> bool:
        """Whether something may be below the lines: on a terminal that can move the cursor."""
        # Not where colour is forced in a pipe, which a console takes for a terminal.
        can_move = self.output.stream.isatty() and not self._console.is_dumb_terminal
        return can_move and not self._as_json

    def line(
        self, who: str, text: str, *, colour: str = "", then: Callable[[], None] | None = None
    ) -> None:
        """Queue a line; `colour` is that of its text, `then` is called after it is written."""
        if self._as_json:
            self._json({"who": who, "text": text})
        else:
            head = f"{who:7} " if len(who) < 8 else f"{who} "
            style = _COLOURS.get(who, "bold")
            seconds = f"{self._seconds:6.2f}  "
            body = self._wrapped(escape(text), len(seconds) + len(head))
            parts = (seconds, "dim"), (escape(head), style), (body, colour)
            self._console.print(Text.assemble(*parts))
        if then is not None:
            self.output.write("", then)

    def event(self, who: str, event: Any, text: str) -> None:
        """Queue an event: as a line, or with all its fields."""
        if self._as_json:
            name = type(event).__name__
            self._json({"who": who, "event": name, "text": text, **fields_of(event)})
        else:
            self.line(who, text, colour=colour_of(event))

    def object(self, fields: dict[str, Any], *, then: Callable[[], None] | None = None) -> None:
        """Queue an object as it is; `then` is called after it is written."""
        self.output.write(json_line(fields, default=plain), then)

    def warn(self, text: str) -> None:
        """Queue a line about the output itself."""
        self.line("output", text)

    @contextlib.contextmanager
    def footer(self, draw: Callable[[], Table]) -> Iterator[Callable[[], None]]:
        """Keep a table below the lines, also at the end; yield a function that draws it again."""

        def fitting() -> Table:
            table = draw()
            if self._console.width < _WIDE:
                table.box, table.pad_edge = None, False
            return table

        live = Live(
            fitting(),
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

        def update() -> None:
            if self.output.is_idle:  # a terminal that is stopped gets the latest when it goes on
                live.update(fitting(), refresh=True)

        with live:
            # So that it is there however the process ends.
            self._console.show_cursor(True)
            yield update

    def verdict(self, text: str, *, good: bool, steps: Sequence[tuple[bool, str]] = ()) -> None:
        """Queue the results of the steps, if any, and the last line."""
        if self._as_json:
            self._json({"who": "verdict", "text": text, "good": good})
            return
        if steps:
            self._console.print()
        for step_good, step in steps:
            marked = mark(self._console, step_good) or ("ok: " if step_good else "not ok: ")
            colour = "green" if step_good else "red"
            self._console.print(Text.assemble((marked, colour), escape(step)))
        print_verdict(self._console, text, good=good)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _wrapped(self, text: str, indent: int) -> str:
        width = self._console.width - indent
        if not self._console.is_terminal or width < _NARROWEST:
            return text
        lines = Text(text).wrap(self._console, width)  # measures wide characters
        return f"\n{' ' * indent}".join(line.plain.rstrip() for line in lines)

    def _json(self, fields: dict[str, Any]) -> None:
        line = {"seconds": round(self._seconds, 3), **fields}
        try:
            text = json_line(line, default=plain)
        except NOT_AS_JSON as error:
            kept = {
                name: line[name] for name in ("seconds", "who", "event", "text") if name in line
            }
            text = json_line({**kept, "error": f"its fields cannot be written as JSON: {error}"})
        self.output.write(text)

    def _dropped(self, count: int) -> str:
        text = f"{count} lines were dropped: they were not read in time"
        if self._as_json:
            fields = {"event": "LinesDropped", "count": count, "text": text}
            return json_line({"seconds": round(self._seconds, 3), "who": "output", **fields})
        return f"gateway-proto: {text}\n"
