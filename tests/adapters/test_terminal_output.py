"""Output of demo, tail and simulate on a terminal of 80 columns: lines, colours, verdicts."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from gateway_cli.show import print_verdict
from gateway_cli.words import colour_of
from gateway_proto import (
    Closed,
    Dispatch,
    GaveUp,
    HeartbeatLate,
    Initiator,
    NextAction,
    Ready,
    Resumed,
)
from tests.adapters.support import COMMAND, ENVIRONMENT, serve_process
from tests.adapters.terminals import Terminal, on_terminal

NARROW = {**ENVIRONMENT, "COLUMNS": "80", "LINES": "24", "PYTHONUTF8": "1"}
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
GREEN, BOLD_GREEN = "\x1b[32m", "\x1b[1;32m"


def _run(*words: str, **environment: str) -> Terminal:
    with on_terminal([*COMMAND, *words], {**NARROW, **environment}) as terminal:
        while terminal.read():
            pass
        terminal.process.wait(60)
        return terminal


def _lines(shown: str) -> list[str]:
    return [STYLE.sub("", line) for line in shown.splitlines()]


def test_demo_ends_with_ticks_and_a_green_verdict() -> None:
    terminal = _run("demo")

    assert terminal.process.returncode == 0
    *lines, verdict = terminal.shown.splitlines()
    assert verdict.startswith(f"{BOLD_GREEN}\N{CHECK MARK} success: version 10, asyncio, json")
    steps = [line for line in lines if line.startswith(f"{GREEN}\N{CHECK MARK} ")]
    assert len(steps) == 5
    assert lines[-5:] == steps


def test_lines_of_the_demo_fit_and_break_between_words() -> None:
    lines = _lines(_run("demo").shown)

    assert max(map(len, lines)) <= 80
    joined = re.sub(r"\n {16}", " ", "\n".join(lines))
    lost = "connection closed without a close code by transport, next: resume "
    assert f"{lost}(the transport ended without a close frame)" in joined
    assert not re.search(r"None|True|False|<|=[A-Z]", joined), "a repr"


def test_no_color_leaves_the_ticks() -> None:
    shown = _run("demo", NO_COLOR="1").shown

    assert "\N{CHECK MARK} success" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown)


def test_tail_shows_the_loss_of_a_connection_in_colour() -> None:
    with serve_process() as serving:
        command = [*COMMAND, "tail", "--gateway", serving.gateway]
        with on_terminal(command, NARROW) as terminal:
            terminal.wait_for(r"\x1b\[32mREADY, session")
            serving.stop()
            terminal.wait_for(r"\x1b\[33mconnection closed")


def test_simulate_shows_progress_at_once_and_its_verdict_last() -> None:
    terminal = _run("simulate", "--seed", "5", "--days", "0.2")

    lines = _lines(terminal.shown)
    began = lines.index("simulating 1 histories; Ctrl-C ends it")
    assert "0.00 of 0.2 days, 0 histories, 0 events" in lines[began + 1]
    assert re.search(r"0\.1\d of 0\.2 days", terminal.shown), "within the history"
    assert f"{BOLD_GREEN}\N{CHECK MARK} nothing broken: " in terminal.shown.splitlines()[-1]


def _console(encoding: str, *, terminal: bool = True) -> tuple[Console, Any]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    colours: Any = "standard" if terminal else None
    return Console(file=stream, force_terminal=terminal, color_system=colours), raw


@pytest.mark.parametrize(
    ("encoding", "terminal", "good", "text"),
    [
        ("utf-8", True, True, "\x1b[1;32m\N{CHECK MARK} done\x1b[0m\n"),
        ("utf-8", True, False, "\x1b[1;31m\N{BALLOT X} done\x1b[0m\n"),
        ("cp1252", True, True, "\x1b[1;32mdone\x1b[0m\n"),
        ("utf-8", False, True, "done\n"),
    ],
)
def test_verdict_has_a_mark_where_it_can_be_shown(
    encoding: str, terminal: bool, good: bool, text: str
) -> None:
    console, raw = _console(encoding, terminal=terminal)

    print_verdict(console, "done", good=good)

    assert raw.getvalue().decode(encoding) == text


@pytest.mark.parametrize(
    ("event", "colour"),
    [
        (Ready("READY", 1, session_id="s", version=10), "green"),
        (Resumed("RESUMED", 2), "green"),
        (Dispatch.of("X", 1), ""),
        (HeartbeatLate(3.0), "yellow"),
        (GaveUp("no way"), "red"),
        (Closed(code=1000, initiator=Initiator.PEER, next_action=NextAction.STOP), ""),
        (Closed(code=4000, initiator=Initiator.PEER, next_action=NextAction.RESUME), "yellow"),
        (Closed(code=None, initiator=Initiator.TRANSPORT, next_action=NextAction.RESUME), "yellow"),
        (Closed(code=200, initiator=Initiator.PEER, next_action=NextAction.IDENTIFY), ""),
    ],
)
def test_colour_of_an_event_shows_its_severity(event: Any, colour: str) -> None:
    assert colour_of(event) == colour
