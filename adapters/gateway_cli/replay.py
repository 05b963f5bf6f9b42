"""The command `replay`: run a trace again, line by line, and show differences."""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from gateway_cli.escaping import NOT_AS_JSON, escape, json_line
from gateway_cli.progress import open_with_progress
from gateway_cli.show import MALFORMED_TRACE_ERRORS, MISUSED, console, fail
from gateway_proto.trace import Step, TraceError, replay

__all__ = ["replay_file", "rows"]

_WIDEST = 140


def replay_file(
    file: Annotated[
        pathlib.Path, typer.Argument(metavar="FILE", help="A trace, as tail --record writes it.")
    ],
    step: Annotated[
        bool, typer.Option("--step", help="Wait for Enter after each line; q and Enter ends it.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Show only the lines that differ.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
) -> None:
    """Run a trace again, and show each transition.

    The exit status is 0 if the code behaves as recorded, 1 if it differs (the difference is shown
    below the line), and 2 if the file is not a trace.

    \b
    Example:
      gateway-proto replay trace.jsonl --step
    """
    screen = console()
    count = different = 0
    with (
        open_with_progress(file, screen, quietly=step or as_json) as lines,
        # Closed before the file is, if it ends in the middle.
        contextlib.closing(_checked(file, lines)) as shown,
    ):
        for now, texts in shown:
            count += 1
            different += bool(now.differences)
            if quiet and not now.differences:
                continue
            if as_json:
                sys.stdout.write(_object(now))
            else:
                for text in texts:
                    screen.print(text)
                if step and sys.stdin.readline().strip() == "q":
                    break
    if as_json:
        sys.stdout.write(json_line({"lines": count, "different": different}))
    else:
        verdict = (
            f"{different} of {count} lines differ" if different else f"all {count} lines agree"
        )
        screen.print(Text(verdict, style="bold red" if different else "bold green"))
    if different:
        raise typer.Exit(1)


def _checked(
    file: pathlib.Path, lines: Iterable[str]
) -> Generator[tuple[Step, list[Text]], None, None]:
    """Yield the lines of a trace; report a file that is not a trace, and end the command."""
    try:
        yield from rows(replay(lines))
    except (TraceError, UnicodeError) as error:
        fail(f"{file}: {error}", status=MISUSED)
    except (*MALFORMED_TRACE_ERRORS, RecursionError) as error:
        fail(f"{file}: a line is not as traces have it: {error!r}", status=MISUSED)


def _object(step: Step) -> str:
    try:
        return json_line(_fields(step))
    except NOT_AS_JSON as error:
        return json_line({"number": step.number, "error": f"it cannot be written: {error}"})


def _fields(step: Step) -> dict[str, Any]:
    differences = [
        {"what": d.what, "recorded": d.recorded, "replayed": d.replayed} for d in step.differences
    ]
    return {"number": step.number, **step.line, "differences": differences}


def rows(steps: Iterable[Step]) -> Iterator[tuple[Step, list[Text]]]:
    """Yield each step, with the lines of text that show it."""
    shown = _Shown()
    for step in steps:
        yield step, list(shown.lines(step))


class _Shown:
    """Text of steps, with the changes since the last step of the same object."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._states: dict[int, str] = {}
        self._present: dict[int, int] = {}  # the connection of a client

    def lines(self, step: Step) -> Iterator[Text]:
        """Yield the lines of a step."""
        line = step.line
        number = line.get("id", 0)
        self._kinds.setdefault(number, line.get("new", "connection"))
        at = line.get("at")
        head = f"{step.number:>5} {'' if at is None else f'{at:.3f}':>12}  "
        head += f"{self._kinds[number]} {number}".ljust(15)
        rows = list(self._rows(line, number))
        for row in rows:
            safe = escape(row.plain)
            yield Text.assemble((head, "dim"), row if safe == row.plain else safe)
            head = " " * len(head)
        for difference in step.differences:
            for when, value in (
                ("recorded", difference.recorded),
                ("now", difference.replayed),
            ):
                text = f"{difference.what} {when} {_compact(value)}"
                yield Text.assemble(
                    head, (escape(text), "red" if when == "recorded" else "bold red")
                )

    def _rows(self, line: dict[str, Any], number: int) -> Iterator[Text]:
        if "made" in line:
            self._kinds[line["made"]] = "connection"
            self._present[number] = line["made"]
        if "new" in line:
            yield Text(f"new {line['new']} {_of_config(line.get('config', {}))}")
        elif "config" in line:
            yield Text("gets a new config")
        elif "call" in line:
            yield Text.assemble((line["call"], "cyan"), f" {_arguments(line)}{_outcome(line)}")
        for event in line.get("events", ()):
            fields = {k: v for k, v in event.items() if k != "type" and v not in (None, [], "")}
            yield Text.assemble(("event ", "dim"), (event["type"], "green"), f" {_compact(fields)}")
        for item in line.get("sent", ()):
            yield Text.assemble(("sends ", "dim"), _compact(item.get("message", item)))
        if line.get("dial") is not None:
            dial = line["dial"]
            at = "at once" if dial["at"] is None else f"at {dial['at']:.3f}"
            yield Text.assemble(("dial ", "dim"), f"{dial['purpose']} {dial['url']} {at}")
        state, owner = line.get("state"), self._present.get(number, number)
        if state is not None and self._states.get(owner) != state:
            before = self._states.get(owner, "new")
            self._states[owner] = state
            yield Text.assemble(("state ", "dim"), (f"{before} → {state}", "bold"))


def _of_config(config: dict[str, Any]) -> str:
    if "version" not in config:
        return ""
    return f"version {config['version']}, {config['encoding']}, {config['compression']}"


def _arguments(line: dict[str, Any]) -> str:
    given = line.get("with", {})
    for name in ("data", "message"):
        value = given.get(name)
        if line["call"].startswith("receive") and isinstance(value, dict):
            if "base64" in value:
                return f"{len(value['base64']) * 3 // 4} bytes"
            return _compact(next(iter(value.values())))
    return _compact(given) if given else ""


def _outcome(line: dict[str, Any]) -> str:
    if "raised" in line:
        return f" raised {line['raised']}"
    if "made" in line:
        return f" made connection {line['made']}"
    timer = line.get("timer")
    return "" if timer is None else f", timer {timer:.3f}"


def _compact(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
