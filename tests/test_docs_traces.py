"""docs/traces.md: its code runs in order, its commands and its table are valid."""

from __future__ import annotations

import pathlib

import pytest

from gateway_proto.trace import FORMAT, VERSION, read, replay
from tests.markdown_blocks import DOCS, check_commands, run_python

PAGE = DOCS / "traces.md"


def test_code_of_the_page_makes_a_reproducible_trace(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    run_python(PAGE, tmp_path)

    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    assert len(list(replay(lines))) > 50
    assert capsys.readouterr().out == ""


def test_commands_of_the_page_have_valid_options() -> None:
    assert check_commands(PAGE)


def test_table_of_lines_has_every_field() -> None:
    kept = (DOCS / "traces" / "demo.jsonl").read_text()
    fields = {key for line in read(kept.splitlines()) for key in line}
    section = PAGE.read_text().partition("## The lines")[2]

    assert f'"format": "{FORMAT}", "version": {VERSION}' in section
    for field in fields - {"events", "bytes", "session", "gateway", "lookup_only"}:
        assert f"`{field}`" in section or f'"{field}"' in section, field
