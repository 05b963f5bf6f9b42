"""Output of the command line: escaping, blocked readers, lines and rates."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
import time
from typing import Any

import pytest
from rich.console import Console

from gateway_cli import doctor
from gateway_cli.doctor_checks import Finding
from gateway_cli.escaping import escape, escape_lines, json_line
from gateway_cli.output import Output, OutputFailed
from gateway_cli.rate import Rate
from gateway_cli.show import Screen, complain
from gateway_cli.words import data_of, describe
from gateway_proto import (
    Closed,
    Config,
    Dispatch,
    Identify,
    IdentifySlotNeeded,
    Initiator,
    NextAction,
    SessionStartLimit,
    UnknownPayload,
)

# ----- escaping -----

HARMFUL = {
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "\x7f": r"\x7f",
    "a\nb\r\tc": r"a\nb\r\tc",
    "\u202etxt": r"\u202etxt",
    "\u2028": r"\u2028",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
}


@pytest.mark.parametrize(("text", "shown"), HARMFUL.items())
def test_terminal_control_characters_are_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown
    assert escape(f"before {text} \U0001f389 ä") == f"before {shown} \U0001f389 ä"


@pytest.mark.parametrize("text", HARMFUL)
def test_terminal_control_characters_are_escaped_in_json(text: str) -> None:
    line = json_line({text: [text]})

    assert json.loads(line) == {text: [text]}
    assert escape(line.removesuffix("\n")) == line.removesuffix("\n")


def test_every_line_of_a_command_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    harmful = "\x1b]0;title\x07\nforged line"
    stream = io.StringIO()
    screen = Screen(output=Output(stream))
    page = doctor._Page(Config(token="t", intents=0), screen.output, as_json=False)

    screen.line(f"tail{harmful}", harmful)
    screen.warn(harmful)
    screen.verdict(harmful, good=False, steps=[(True, harmful)])
    page.report(Finding("lookup", good=False, text=harmful, hint=harmful, milliseconds=1.0))
    screen.output.drain()
    complain(harmful)

    written = stream.getvalue() + capsys.readouterr().err
    assert written.count(escape(harmful)) == 8
    assert not {"\x1b", "\x07"} & set(written)
    assert not any(line.startswith("forged") for line in written.splitlines())


def test_line_breaks_of_a_traceback_are_kept() -> None:
    assert escape_lines("a\x1b\nb") == "a\\x1b\nb"


# ----- blocked readers -----


class Stopped(io.RawIOBase):
    """A pipe that accepts data only after `may` is set."""

    def __init__(self, error: OSError | None = None) -> None:
        self.may = threading.Event()
        self.entered = threading.Event()
        self.taken = b""
        self._error = error

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.entered.set()
        self.may.wait(20)
        if self._error is not None:
            raise self._error
        self.taken += bytes(data)
        return len(data)


def _stream(raw: io.RawIOBase, encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding)


def test_lines_for_a_blocked_reader_are_dropped_and_counted() -> None:
    pipe = Stopped()
    output = Output(_stream(pipe), limit=30)

    kept = [output.write("line 0000\n")]
    assert pipe.entered.wait(20)
    kept += [output.write(f"line {number:04}\n") for number in range(1, 100)]
    assert output.is_full
    pipe.may.set()
    output.drain()
    output.write("the last\n")
    output.drain()

    count = kept.count(False)
    assert count > 90
    assert kept == [True] * (100 - count) + [False] * count
    lines = pipe.taken.decode().splitlines()
    assert lines[:-2] == [f"line {number:04}" for number in range(100 - count)]
    assert lines[-2] == f"gateway-proto: {count} lines were dropped"
    assert lines[-1] == "the last"


def test_dropped_lines_are_reported_once() -> None:
    pipe = Stopped()
    output = Output(_stream(pipe), limit=60)
    output.write("first line\n")
    assert pipe.entered.wait(20)
    assert output.write("x" * 59 + "\n")
    assert not output.write("third line\n")
    pipe.may.set()
    while not output.is_idle:
        time.sleep(0.001)

    output.write("a\n")
    output.write("b\n")
    output.drain()

    report = "gateway-proto: 1 lines were dropped"
    assert pipe.taken.decode().splitlines()[2:] == [report, "a", "b"]


def test_drain_waits_a_limited_time_for_a_blocked_reader() -> None:
    pipe = Stopped()
    output = Output(_stream(pipe), seconds=0.1)
    began = time.monotonic()

    output.write("a line\n")
    output.drain()

    assert time.monotonic() - began < 5
    assert not output.is_idle
    pipe.may.set()


@pytest.mark.parametrize(("number", "left"), [(errno.EPIPE, True), (errno.ENOSPC, False)])
def test_failing_output_reports_its_error_once(number: int, left: bool) -> None:
    pipe = Stopped(OSError(number, os.strerror(number)))
    output, calls = Output(_stream(pipe)), []
    output.on_error = lambda: calls.append(1)
    pipe.may.set()

    output.write("a line\n")
    output.drain()

    assert not output.write("another\n")
    with pytest.raises(OutputFailed, match=os.strerror(number)) as failed:
        output.check()
    assert failed.value.left is left
    assert calls == [1]


def test_callback_of_a_line_runs_after_it_is_written() -> None:
    pipe, done = Stopped(), []
    output = Output(_stream(pipe))

    output.write("a line\n", lambda: done.append(pipe.taken))
    assert not done
    pipe.may.set()
    output.drain()

    assert done == [b"a line\n"]


def test_cp1252_stream_gets_escapes() -> None:
    pipe = Stopped()
    pipe.may.set()
    output = Output(_stream(pipe, "cp1252"))

    output.write("ä \U0001f389\n")
    output.drain()

    assert pipe.taken == b"\xe4 \\U0001f389\n"


def test_dropped_objects_are_reported_as_an_object() -> None:
    pipe = Stopped()
    screen = Screen(as_json=True, output=Output(_stream(pipe), limit=200))

    for number in range(50):
        screen.line("serve", str(number))
    pipe.may.set()
    screen.output.drain()

    lines = [json.loads(line) for line in pipe.taken.splitlines()]
    dropped = [line["count"] for line in lines if line.get("event") == "LinesDropped"]
    assert dropped
    assert sum(dropped) + len(lines) - len(dropped) == 50


# ----- lines -----


def _shown(width: int, text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    pipe = Stopped()
    pipe.may.set()
    monkeypatch.setattr(Console, "is_terminal", True)
    screen = Screen(output=Output(_stream(pipe)))

    screen.line("client", text)
    screen.output.drain()

    return pipe.taken.decode().splitlines()


def test_long_line_is_wrapped_between_words_and_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "will identify at ws://127.0.0.1:42287/?v=10&encoding=json (the lookup named it)"

    first, second = _shown(80, words, monkeypatch)

    assert first.endswith("ws://127.0.0.1:42287/?v=10&encoding=json (the")
    assert second == " " * 16 + "lookup named it)"


def test_terminal_too_narrow_for_words_gets_unbroken_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "RESUMED, sequence 6" in " ".join(_shown(20, "RESUMED, sequence 6", monkeypatch))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            Identify(token="secret", intents=512, shard=(1, 4)),
            "Identify, intents 512, shard 1 of 4",
        ),
        (IdentifySlotNeeded(1, 0), "waiting for an identify slot of key 0"),
        (UnknownPayload(99, b"1", None), "unknown payload, op 99, no message"),
        (
            SessionStartLimit(10, 5, 0),
            "session start limit, total 10, remaining 5, ",
        ),
        (
            Closed(code=200, initiator=Initiator.SELF, next_action=NextAction.IDENTIFY),
            "HTTP exchange complete, next: identify",
        ),
        (
            Closed(
                code=404,
                initiator=Initiator.PEER,
                next_action=NextAction.IDENTIFY,
                error="no such path",
            ),
            "HTTP exchange ended with status 404 (no such path)",
        ),
        (
            Closed(code=4000, initiator=Initiator.PEER, next_action=NextAction.RESUME),
            "connection closed with 4000 by peer, next: resume",
        ),
    ],
)
def test_event_is_described_in_words(event: Any, words: str) -> None:
    assert describe(event).startswith(words)
    assert "secret" not in describe(event)
    assert type(event).__name__ + "(" not in describe(event)


class _Undecodable(Dispatch, frozen=True, eq=False):
    @property
    def data(self) -> Any:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def test_undecodable_data_is_reported_in_the_line() -> None:
    event = _Undecodable("X", 2)

    assert data_of(event)[0] is None
    assert describe(event).startswith("X #2 the data cannot be decoded: ")


# ----- rates -----


def test_rate_is_that_of_the_last_ten_seconds() -> None:
    rate = Rate()
    shown = []

    for step in range(100):  # 5 a second, measured each half second
        rate.measure(step * 5 // 2, step / 2)
        shown.append(rate.value)
    before, count = rate.value, 99 * 5 // 2
    for step in range(100, 141):  # and then no more events
        rate.measure(count, step / 2)

    assert all(abs(value - 5) <= 0.1 for value in shown[21:])
    assert before > 0
    assert rate.value == 0


def test_restarted_count_has_no_negative_rate() -> None:
    rate = Rate()

    rate.measure(100, 0.0)
    rate.measure(0, 1.0)
    rate.measure(2, 2.0)

    assert rate.value == 2
