"""a trace file → the same life again, line by line, and what is different today."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gateway_cli.reading import reading
from gateway_cli.show import NOT_AS_TRACES, fail
from gateway_proto.trace import Step, TraceError, replay

__all__ = ["replay_file", "rows"]

_WIDEST = 140


def replay_file(
    file: Annotated[pathlib.Path, typer.Argument(help="A trace, as tail --record writes it.")],
    step: Annotated[
        bool, typer.Option("--step", help="Wait for Enter behind each line; q and Enter ends it.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Show the lines that differ, and no others.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """Drive the machine of a trace again, and show each transition as it went.

    Ends with 0 where it does today what it did then, with 1 where it does something else (which is
    shown below the line), and with 2 where the file is no trace.

    \b
    Example:
      gateway-proto replay trace.jsonl --step
    """
    console = Console(highlight=False, soft_wrap=True)
    count = different = 0
    try:
        with reading(file, console, quietly=step or as_json) as lines:
            for now, texts in rows(replay(lines)):
                count += 1
                different += bool(now.differences)
                if quiet and not now.differences:
                    continue
                if as_json:
                    sys.stdout.write(json.dumps(_fields(now), ensure_ascii=False) + "\n")
                else:
                    for text in texts:
                        console.print(text)
                    if step and sys.stdin.readline().strip() == "q":
                        break
    except BrokenPipeError:
        raise  # whoever read has left
    except (TraceError, OSError, UnicodeError) as error:
        fail(f"{file}: {getattr(error, 'strerror', None) or error}", status=2)
    except NOT_AS_TRACES as error:
        fail(f"{file}: a line is not as traces have it: {error!r}", status=2)
    if as_json:
        sys.stdout.write(json.dumps({"lines": count, "different": different}) + "\n")
    else:
        verdict = (
            f"{different} of {count} lines differ" if different else f"all {count} lines agree"
        )
        console.print(Text(verdict, style="bold red" if different else "bold green"))
    if different:
        raise typer.Exit(1)


def _fields(step: Step) -> dict[str, Any]:
    differences = [
        {"what": d.what, "recorded": d.recorded, "replayed": d.replayed} for d in step.differences
    ]
    return {"number": step.number, **step.line, "differences": differences}


def rows(steps: Iterable[Step]) -> Iterator[tuple[Step, list[Text]]]:
    """Each step, with the lines of text that show it."""
    shown = _Shown()
    for step in steps:
        yield step, list(shown.lines(step))


class _Shown:
    """Steps → lines of text, with what changed since the last one of the same machine."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._states: dict[int, str] = {}
        self._present: dict[int, int] = {}  # the connection of a client

    def lines(self, step: Step) -> Iterator[Text]:
        """The lines of a step."""
        line = step.line
        number = line.get("id", 0)
        self._kinds.setdefault(number, line.get("new", "connection"))
        at = line.get("at")
        head = f"{step.number:>5} {'' if at is None else f'{at:.3f}':>12}  "
        head += f"{self._kinds[number]} {number}".ljust(15)
        rows = list(self._rows(line, number))
        for row in rows:
            yield Text.assemble((head, "dim"), row)
            head = " " * len(head)
        for difference in step.differences:
            for when, value in (
                ("recorded", difference.recorded),
                ("now", difference.replayed),
            ):
                text = f"{difference.what} {when} {_compact(value)}"
                yield Text.assemble(head, (text, "red" if when == "recorded" else "bold red"))

    def _rows(self, line: dict[str, Any], number: int) -> Iterator[Text]:
        if "made" in line:
            self._kinds[line["made"]] = "connection"
            self._present[number] = line["made"]
        if "new" in line:
            yield Text(f"new {line['new']} {_of_config(line.get('config', {}))}")
        elif "config" in line:
            yield Text("is told a config")
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
    if "dialect" not in config:
        return ""
    return f"version {config['dialect']}, {config['encoding']}, {config['compression']}"


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
