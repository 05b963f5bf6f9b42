"""What stands in docs/traces.md is so: its code runs in order, and its commands and tables hold."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest

from gateway_cli.app import app
from gateway_proto.trace import FORMAT, VERSION, read, replay

PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "traces.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def test_the_code_runs_in_order(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}

    for block in _blocks("python"):
        exec(compile(block, "traces.md", "exec"), names)
    test = names["test_the_bug_of_last_week"]
    assert callable(test)
    test()

    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    assert len(list(replay(lines))) > 50
    assert capsys.readouterr().out == ""  # nothing differs


def test_the_commands_have_the_options_that_are_shown() -> None:
    import typer.main

    commands = typer.main.get_command(app)
    shown = [line.partition("#")[0] for block in _blocks("sh") for line in block.splitlines()]
    assert len(shown) == 7
    for line in shown:
        words = [word for word in shlex.split(line) if "GATEWAY_TOKEN" not in word]
        command = commands.commands[words[1]]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_the_table_of_the_lines_names_the_fields_that_there_are() -> None:
    kept = (pathlib.Path(__file__).parents[1] / "docs" / "traces" / "demo.jsonl").read_text()
    fields = {key for line in read(kept.splitlines()) for key in line}
    section = PAGE.partition("## The lines")[2]

    assert f'"format": "{FORMAT}", "version": {VERSION}' in section
    for field in fields - {"events", "bytes", "session", "gateway", "only_look_up"}:
        assert f"`{field}`" in section or f'"{field}"' in section, field
