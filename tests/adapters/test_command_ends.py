"""End of commands: signals, blocked readers, closed streams."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import cast

import pytest

from gateway_cli import start
from gateway_cli.output import Output
from gateway_cli.running import run
from gateway_cli.start import ending_signals
from tests.adapters.support import (
    COMMAND,
    ENVIRONMENT,
    PATIENCE,
    run_command,
    serve_process,
    short_trace,
    tail_process,
    wait_until,
)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_tail_with_130_and_keeps_the_session(
    number: signal.Signals, tmp_path: pathlib.Path
) -> None:
    file, out = tmp_path / "session", tmp_path / "out"
    with (
        serve_process() as serving,
        tail_process(out, "--gateway", serving.gateway, "--session", str(file)) as tail,
    ):
        wait_until("a session", file.exists)
        tail.send_signal(number)
        _, errors = tail.communicate(timeout=PATIENCE)

    assert (tail.returncode, errors) == (130, b"")
    assert json.loads(file.read_text())["sequence"] >= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "session"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["demo --adapter asyncio", "demo --adapter trio", "simulate --years 100"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_other_commands_with_130(words: str, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*COMMAND, *words.split()],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, errors) == (130, "")


def test_tail_does_not_wait_for_an_unanswered_close(tmp_path: pathlib.Path) -> None:
    """A second signal is not needed either."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        out = tmp_path / "out"
        with tail_process(out, "--gateway", f"ws://127.0.0.1:{port}") as tail:
            accepted, _ = listener.accept()
            accepted.recv(4096)  # and no answer to the upgrade, ever
            began = time.monotonic()
            tail.send_signal(signal.SIGTERM)
            tail.communicate(timeout=PATIENCE)
            seconds = time.monotonic() - began
            accepted.close()

    assert tail.returncode == 130
    assert seconds < 15, "the handshake timeout is 20 s"


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_full_pipe_blocks_neither_heartbeats_nor_signals(
    words: list[str], tmp_path: pathlib.Path
) -> None:
    # Enough to fill the pipe, the output buffer and the event queue.
    with serve_process("--tick", "0.001", "--heartbeat-interval", "1200", "--json") as serving:
        api = json.loads(serving.api_line)["text"].split()[-1]
        lines: list[str] = []

        def read() -> None:
            assert serving.process.stdout is not None
            lines.extend(serving.process.stdout)

        def count(text: str) -> int:
            return sum(text in line for line in list(lines))

        reader = threading.Thread(target=read)
        reader.start()
        ours, theirs = os.pipe()
        tail = subprocess.Popen(
            [*COMMAND, "tail", "--api", api, *words],
            env=ENVIRONMENT,
            stdout=theirs,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        try:
            # Thousands of ticks are sent before the fourth.
            wait_until("heartbeats", lambda: count('"Heartbeat"') >= 4)
            tail.send_signal(signal.SIGINT)
            tail.communicate(timeout=PATIENCE)
        finally:
            tail.kill()
            os.close(ours)
            serving.process.terminate()
            reader.join()

    assert tail.returncode == 130
    assert count("4009") == 0


def test_standard_streams_escape_what_they_cannot_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("stdin", "stdout", "stderr")
    for name in names:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
        monkeypatch.setattr(sys, name, stream)

    start._open_standard_streams()

    assert [getattr(sys, name).errors for name in names] == ["backslashreplace"] * 3
    print("done \U0001f389", flush=True)
    assert cast("io.BytesIO", sys.stdout.buffer).getvalue() == b"done \\U0001f389\n"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_output_works_in_every_encoding(
    encoding: str, words: list[str], tmp_path: pathlib.Path
) -> None:
    world, out = tmp_path / "world.json", tmp_path / "out"
    name = "well done \U0001f389 \u202e"
    world.write_text(json.dumps({"guilds": [{"id": "5", "name": name}]}))
    options = ["--intents", "guilds", *words]
    with (
        serve_process("--world", str(world)) as serving,
        tail_process(out, "--gateway", serving.gateway, *options, PYTHONIOENCODING=encoding),
    ):
        wait_until("the guild", lambda: b"well done" in out.read_bytes())

    text = out.read_bytes().decode(encoding)
    assert ("\U0001f389" in text) == (encoding == "utf-8")
    assert "\u202e" not in text
    if words:
        objects = [json.loads(line) for line in text.splitlines()]
        (guild,) = [line["data"] for line in objects if line["name"] == "GUILD_CREATE"]
        assert guild["name"] == name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--version", 0),
        ("replay TRACE", 0),
        ("tail --fly", 2),
        ("tail --gateway ws://127.0.0.1:1", 1),
        ("demo", 0),
    ],
)
@pytest.mark.parametrize(
    "closed",
    [
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("<&-", ">&-", "2>&-")),
        "<&- >&- 2>&-",
    ],
)
def test_closed_streams_do_not_change_the_status(
    words: str, status: int, closed: str, tmp_path: pathlib.Path
) -> None:
    trace = short_trace(tmp_path / "trace.jsonl")
    command = " ".join([*COMMAND, words.replace("TRACE", str(trace)), closed])

    result = subprocess.run(
        ["sh", "-c", command], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )

    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_signals_are_handled_while_the_output_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers are not those that the closed event loop leaves: SIGTERM would kill."""
    output, seen = Output(io.StringIO()), []
    before = [signal.getsignal(number) for number in ending_signals()]

    def drain() -> None:
        seen.extend(signal.getsignal(number) for number in ending_signals())

    async def main() -> str:
        return "result"

    monkeypatch.setattr(output, "drain", drain)
    with contextlib.ExitStack() as stack:
        for number, handler in zip(ending_signals(), before, strict=True):
            stack.callback(signal.signal, number, handler)
            signal.signal(number, _interrupt)

        assert run(output, main) == "result"

    assert seen == [_interrupt] * len(before)


def test_closed_terminal_does_not_cancel_a_drain() -> None:
    """A terminal that is closed sends SIGHUP, and takes no more lines."""
    output, called = Output(io.StringIO()), []

    async def main() -> str:
        signal.raise_signal(signal.SIGHUP)
        assert output.on_error is not None
        output.on_error()
        await asyncio.sleep(0.05)
        return "drained"

    before = signal.getsignal(signal.SIGHUP)
    assert run(output, main, on_signal=lambda: called.append("signal"), grace=60) == "drained"

    assert called == ["signal"]
    assert signal.getsignal(signal.SIGHUP) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_before_the_command_is_imported_is_status_130(
    number: signal.Signals, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "typer.py").write_text(
        f"import signal, time\nsignal.raise_signal({int(number)})\ntime.sleep(60)\n"
    )
    path = f"{tmp_path}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"

    result = subprocess.run(
        [*COMMAND, "demo"],
        env={**ENVIRONMENT, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stderr) == (130, "")


def test_hangup_that_is_ignored_stays_ignored() -> None:
    """As `nohup` has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_command("--version")

        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert ending_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_error_of_the_system_is_not_one_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("gateway_cli.doctor.run", full)

    result = run_command("doctor", "--gateway", "ws://127.0.0.1:1")

    assert result.returncode == 1
    assert result.stderr == f"gateway-proto: {os.strerror(errno.EMFILE)}\n"


def test_group_without_a_command_shows_its_help() -> None:
    result = run_command("fleet")

    assert result.returncode == 2
    assert "Ask a member to give its shards away.\n" in result.stderr
    assert not result.stderr.startswith("gateway-proto: ")


def test_gateway_proto_module_runs_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway_proto", "--version"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout == run_command("--version").stdout


@pytest.mark.slow
@pytest.mark.parametrize("module", ["gateway_proto", "gateway_cli"])
@pytest.mark.parametrize("missing", ["typer", "rich", "trio", "trustme"])
def test_command_without_its_extra_names_the_extra(
    module: str, missing: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    path = f"{tmp_path}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"
    words, needs = ["--version"], "the command line"
    if missing == "rich":
        words = ["demo"]
    if missing == "trio":
        words, needs = ["demo", "--adapter", "trio"], "--adapter trio"
    if missing == "trustme":
        words = ["serve", "--port", "0", "--tls"]

    result = subprocess.run(
        [sys.executable, "-m", module, *words],
        env={**ENVIRONMENT, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 2
    assert result.stderr == (
        f"gateway-proto: {needs} needs {missing}: install gateway-proto[cli]\n"
    )


def test_interrupted_simulation_is_reported() -> None:
    process = subprocess.Popen(
        [*COMMAND, "simulate", "--years", "100", "--jobs", "2"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)

    assert first == "simulating 100 years; Ctrl-C ends it\n"
    assert output.splitlines()[-1].endswith("interrupted before the first history ended")
    assert (process.returncode, errors) == (130, "")


def test_tail_requests_all_events_in_version_6_without_intents(tmp_path: pathlib.Path) -> None:
    with serve_process("--json") as serving:
        api = json.loads(serving.api_line)["text"].split()[-1]
        out = tmp_path / "out"
        with tail_process(out, "--api", api, "--api-version", "6"):
            wait_until("READY", lambda: "READY" in out.read_text())
        _, output = serving.stop()

    identify = next(
        line for line in map(json.loads, output.splitlines()) if line.get("event") == "Identify"
    )
    assert identify["intents"] is None


def test_token_of_another_server_is_not_sent_to_discord() -> None:
    result = run_command("tail")

    assert result.returncode == 2
    assert "GATEWAY_TOKEN has no token of a bot of Discord" in result.stderr
    assert "secret-token" not in result.stderr
