"""Features of all commands: help, completion, statuses, JSON, crashes, progress."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from rich.console import Console

import gateway_cli.app
from gateway_cli.app import app
from gateway_cli.client_table import ClientTable
from gateway_proto import Dispatch, State
from tests.adapters.support import run_command, short_trace
from tests.adapters.terminals import on_terminal
from tests.command_list import every_command

ROOT = pathlib.Path(__file__).parents[2]
TRACE = ROOT / "docs" / "traces" / "demo.jsonl"
PAGE = (ROOT / "docs" / "command-line.md").read_text()
BIN = pathlib.Path(sys.executable).parent
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")]),
    "GATEWAY_TOKEN": "secret-token",
    "COLUMNS": "120",
}
COMMAND = [sys.executable, "-m", "gateway_cli"]
COMMANDS = every_command()


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(*words, **{"COLUMNS": ENVIRONMENT["COLUMNS"], **environment})


# ----- help -----


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_can_be_copied(name: str) -> None:
    result = _run(*name.split(), "--help", COLUMNS="60")

    (example,) = re.findall(r"Example:\n +(.*)", result.stdout)
    words = example.removeprefix("GATEWAY_TOKEN=any ").split()
    assert " ".join(words).startswith(f"gateway-proto {name} ")
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_main_help_shows_the_full_summary_of_each_command() -> None:
    result = _run("--help", COLUMNS="80")

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert f"{name:9} {command.short_help}\n" in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_json_option(name: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[name].params for option in parameter.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_value_of_an_option_is_named_in_the_help(name: str) -> None:
    """Else the help names the types of Python and of its libraries."""
    valued = [each for each in COMMANDS[name].params if not getattr(each, "is_flag", False)]

    assert all((each.metavar or "").isupper() for each in valued)


# ----- statuses -----


def _statuses(text: str) -> dict[int, str]:
    return {int(number): words for number, words in re.findall(r"^\W*(\d+)\W+(.*)$", text, re.M)}


def test_exit_statuses_of_help_and_docs_are_equal() -> None:
    table = PAGE.partition("## How it ends")[2].partition("\n## ")[0]
    helped = _run("--help").stdout.partition("Exit status")[2]

    assert list(_statuses(table)) == list(_statuses(helped)) == [0, 1, 2, 70, 130]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--version", 0),
        (f"replay --quiet {TRACE}", 0),
        ("tail", 2),
        ("doctor --gateway ws://127.0.0.1:1", 1),
        ("demo --api-version 99", 2),
        ("", 2),
        ("fly", 2),
        ("tail --fly", 2),
        ("serve --port high", 2),
        (f"replay {ROOT / 'README.md'}", 2),
        (f"timeline {ROOT / 'README.md'}", 2),
        ("replay /no/such/file", 2),
    ],
)
def test_command_ends_with_the_documented_status(words: str, status: int) -> None:
    assert _run(*words.split()).returncode == status


@pytest.mark.parametrize(
    "words",
    [
        "replay TRACE",
        "replay --json TRACE",
        "timeline --json TRACE",
        "doctor --gateway ws://127.0.0.1:1",
        "demo",
    ],
)
def test_closed_pipe_ends_a_command_without_output(words: str, tmp_path: pathlib.Path) -> None:
    words = words.replace("TRACE", str(short_trace(tmp_path / "trace.jsonl")))
    reads, writes = os.pipe()
    os.close(reads)

    result = subprocess.run(
        [*COMMAND, *words.split()],
        env=ENVIRONMENT,
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writes)

    assert (result.returncode, result.stderr) == (1, "")


# ----- crashes -----


def test_crash_report_has_instructions_and_no_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "token").write_text("the-third\n")
    words = [
        "serve",
        "--api-version",
        "9",
        "--encoding=etf",
        "--token",
        "the-second",
        "--token=fourth",
    ]
    words += ["--token-file", str(tmp_path / "token"), "--proxy", "http://me:fifth-one@host"]

    def broken(**_: object) -> None:
        raise RuntimeError("secret-token, the-second, the-third, fourth, fifth-one, sixth-one")

    monkeypatch.setenv("GATEWAY_TOKEN", "secret-token")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:sixth-one@host")
    monkeypatch.setattr(sys, "argv", ["gateway-proto", *words])
    monkeypatch.setattr(gateway_cli.app, "app", broken)

    with pytest.raises(SystemExit) as ended:
        gateway_cli.main()

    report = capsys.readouterr().err
    assert ended.value.code == 70
    assert f"RuntimeError: {', '.join(['[token]'] * 6)}\n" in report
    assert "command  serve --api-version 9 --encoding etf\n" in report
    assert "versions gateway_proto 0." in report
    assert "Python 3." in report
    assert "tail --record trace.jsonl" in report
    for secret in ("secret-token", "the-second", "the-third", "fourth", "fifth", "sixth"):
        assert secret not in report


def test_crash_report_without_token_is_unchanged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.delenv("GATEWAY_TOKEN", raising=False)
    words = ["gateway-proto", "--token-file", "/no/such", "demo"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(gateway_cli.app, "app", broken)

    with pytest.raises(SystemExit):
        gateway_cli.main()

    report = capsys.readouterr().err
    assert "RuntimeError: it broke" in report
    assert "command  (no --api-version: 10, or all)\n" in report


# ----- JSON -----


def test_demo_has_json_output() -> None:
    result = _run("demo", "--json")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert {line["who"] for line in lines} == {"client", "server", "demo", "verdict"}
    assert lines[-1]["good"] is True
    assert lines[-1]["text"].startswith("success")


# ----- shards -----


@contextlib.contextmanager
def _serving(*words: str) -> Iterator[str]:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *words],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_tail_shows_a_table_of_its_shards_on_a_terminal() -> None:
    with (
        _serving("--tick", "0.05", "--heartbeat-interval", "1000") as api,
        on_terminal([*COMMAND, "tail", "--api", api, "--shards", "2"], ENVIRONMENT) as terminal,
    ):
        terminal.wait_for(r"2 of 2 shards ready, \d+\.\d dispatches/s")
        terminal.wait_for(r"│ 1 +│ \S*ready")
        terminal.wait_for(r"shard 1 \S*TICK")
        terminal.wait_for(r"ready[^│]*│ +\d+\.\d ms │ +(1\d|2\d)\.\d │")


def test_tail_shows_one_row_and_the_events_of_one_connection() -> None:
    with (
        _serving("--tick", "0.1", "--control") as api,
        on_terminal([*COMMAND, "tail", "--api", api], ENVIRONMENT) as terminal,
    ):
        terminal.wait_for(r"│ - +│ \S*ready")
        control = api.removesuffix("/api") + "/control/drop"
        urllib.request.urlopen(control, b"{}", timeout=60).close()
        # connections, resumes
        terminal.wait_for(r"│ +2 │ +1 │")


def test_table_of_many_shards_shows_those_with_problems() -> None:
    def gateway(state: State | None) -> Any:
        return types.SimpleNamespace(state=state, latency=None, queued_commands=())

    gateways = {n: gateway(State.READY) for n in range(30)} | {29: gateway(None)}
    table = ClientTable(gateways, now=0.0)
    table.count(29, Dispatch.of("X", None, sequence=7))
    table.measure(2.0)
    console = Console(width=120, file=io.StringIO())

    console.print(table.table())

    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert shown[0].rstrip() == "29 of 30 shards ready, 0.5 dispatches/s"
    cells = [cell.strip() for cell in shown[4].split("│")]
    assert cells == ["", "29", "none", "", "0.5", "1", "7", "0", "0", "0", ""]
    assert "and 10 more" in shown[-1]


def test_tail_json_output_has_the_shard_of_each_event() -> None:
    with _serving("--tick", "0.05") as api:
        process = subprocess.Popen(
            [*COMMAND, "tail", "--api", api, "--shards", "0", "--json"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for text in process.stdout:
            line = json.loads(text)
            if line["name"] == "TICK":
                break
        process.kill()
        process.communicate()

    assert line["shard"] == 0


def test_session_file_is_limited_to_one_connection(tmp_path: pathlib.Path) -> None:
    words = ["--gateway", "ws://127.0.0.1:1", "--shards", "2", "--session", str(tmp_path / "x")]

    result = _run("tail", *words)

    assert result.returncode == 2
    assert "--session is for one connection" in result.stderr


def test_shards_in_a_version_without_shards_are_rejected() -> None:
    result = _run("tail", "--gateway", "ws://127.0.0.1:1", "--shards", "2", "--api-version", "3")

    assert result.returncode == 2
    assert result.stderr == "gateway-proto: invalid --shards 2: version 3 has no shards\n"


# ----- progress -----


@pytest.mark.parametrize("words", ["replay --quiet", "timeline --json"])
def test_progress_is_shown_on_a_terminal_and_not_in_a_pipe(
    words: str, tmp_path: pathlib.Path
) -> None:
    with on_terminal([*COMMAND, *words.split(), str(TRACE)], ENVIRONMENT) as terminal:
        terminal.wait_for(r"demo\.jsonl .*[━╸]")
    piped = _run(*words.split(), str(TRACE))

    assert piped.returncode == 0
    assert "━" not in piped.stdout + piped.stderr


# ----- completion -----


def _needs(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not here")
    if not (BIN / "gateway-proto").exists():
        pytest.skip("the command is not installed here")
    return found


LINES = {
    "gateway-proto do": "doctor",
    "gateway-proto tail --api-version 1": "10",
    "gateway-proto demo --adapter t": "trio",
    "gateway-proto tail --intents guilds,guild_members,guild_pr": (
        "guilds,guild_members,guild_presences"
    ),
    "gateway-proto tail --encoding e": "etf",
    "gateway-proto serve --heart": "--heartbeat-interval",
}
"""What is typed, and what its last word becomes."""


@pytest.mark.slow
def test_bash_completes() -> None:
    script = 'eval "$(_GATEWAY_PROTO_COMPLETE=source_bash gateway-proto)"\n'
    script += "complete -p gateway-proto\n"
    for line in LINES:
        words = line.split()
        script += f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        script += '_gateway_proto_completion gateway-proto; echo "${COMPREPLY[@]}"\n'

    result = subprocess.run(
        [_needs("bash"), "--norc", "-c", script],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )

    registered, *completed = result.stdout.splitlines()
    assert registered.endswith("-F _gateway_proto_completion gateway-proto")
    assert completed == list(LINES.values())


@pytest.mark.slow
def test_fish_completes(tmp_path: pathlib.Path) -> None:
    script = "_GATEWAY_PROTO_COMPLETE=source_fish gateway-proto | source\n"
    script += "".join(f'complete --do-complete "{line}"\n' for line in LINES)

    result = subprocess.run(
        [_needs("fish"), "--no-config", "-c", script],
        env={**ENVIRONMENT, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )

    completed = [row.partition("\t")[0] for row in result.stdout.splitlines()]
    assert completed == list(LINES.values())


@pytest.mark.slow
def test_zsh_completes() -> None:
    with on_terminal([_needs("zsh"), "-f", "-i"], ENVIRONMENT) as terminal:
        terminal.type("autoload -U compinit; compinit -u -D; PS1='> '\r")
        terminal.type('eval "$(_GATEWAY_PROTO_COMPLETE=source_zsh gateway-proto)"; echo re""ady\r')
        terminal.wait_for("ready")
        for line, word in LINES.items():
            terminal.type(f"{line}\t")
            terminal.wait_for(re.escape(line.rpartition(" ")[0][1:] + " " + word))
            terminal.type("\x15")  # takes the line away
