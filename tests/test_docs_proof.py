"""docs/verification.md: its commands run, and its tables list every target."""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tests.fuzzing.targets import CORPUS, TARGETS, corpus

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "verification.md").read_text()
COMMANDS = [
    line
    for block in re.findall("^```sh\n(.*?)^```", PAGE, re.M | re.S)
    for line in block.split("\n")
]
SCRIPTS = [command for command in COMMANDS if command.startswith("python -m tests.")]


def test_commands_of_the_page_are_known() -> None:
    known = (
        "python -m tests.",
        "python -m pytest -q tests/test_reference_client.py",
        "pip install atheris",
    )

    assert SCRIPTS
    assert all(command.startswith(known) for command in COMMANDS if command)


@pytest.mark.parametrize("command", SCRIPTS)
def test_options_of_a_command_are_supported(command: str) -> None:
    module, *given = shlex.split(command)[2:]
    options = [word for word in given if word.startswith("--")]

    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert all(option in done.stdout for option in options)
    assert all(word in TARGETS for word in given if word.isalpha() and module == "tests.fuzzing")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the sdist has no fuzz corpus")
def test_command_of_the_page_runs_a_file_through_a_target() -> None:
    (command,) = [command for command in SCRIPTS if "fuzz-findings" in command]
    path = corpus("frames")[0]
    words = [str(path) if "fuzz-findings" in word else word for word in shlex.split(command)[1:]]

    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == f"{path}: nothing is wrong\n"


def test_both_tables_list_every_target() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == [*TARGETS, *TARGETS]
