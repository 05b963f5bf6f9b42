"""Pages for contributors and the command line: paths, commands and options exist."""

from __future__ import annotations

import pathlib
import re
import shlex

from tests.command_list import every_command, names_of

ROOT = pathlib.Path(__file__).parents[1]
COMMANDS = every_command()


def _page(name: str) -> str:
    return (ROOT / name).read_text()


def test_paths_of_the_project_map_exist() -> None:
    tree = _page("CONTRIBUTING.md").partition("## Source tree")[2].partition("```\n")[2]
    folder = ROOT
    paths = []
    for line in tree.partition("```")[0].splitlines():
        names = re.findall(r"(?<![\w/])_?[a-z]\w*(?:\.py|/)", line.partition("   ")[0] or line)
        folder = ROOT if not line.startswith(" ") else folder
        for name in names:
            paths.append((ROOT if not line.startswith(" ") else folder) / name)
        if not line.startswith(" "):
            folder = ROOT / names[0]

    assert paths
    for path in paths:
        assert path.exists(), path


def test_named_tests_exist() -> None:
    page = _page("CONTRIBUTING.md") + _page("RELEASING.md")

    named = set(re.findall(r"\b(?:tests|\.ci|docs|benchmarks|gateway_proto)/[\w./]*\w", page))

    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def test_commands_of_the_page_have_valid_options() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", _page("docs/command-line.md"), re.M | re.S)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]

    assert lines
    for line in lines:
        words = [word for word in shlex.split(line) if "=" not in word or word.startswith("--")]
        assert words[0] == "gateway-proto"
        if words[1] == "--install-completion":
            continue
        name = next(name for name in names_of(words) if name in COMMANDS)
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_page_lists_every_command() -> None:
    commands, _, machines = _page("docs/command-line.md").partition("## For machines")

    for part in (commands, machines):
        rows = " ".join(re.findall(r"^\| (`[^|]*) \|", part, re.M))
        assert set(re.findall(r"`([\w ]+)`", rows)) >= COMMANDS.keys()


def test_page_lists_the_steps_of_doctor() -> None:
    section = _page("docs/command-line.md").partition("| step |")[2].partition("\n\n")[0]
    folder = ROOT / "adapters" / "gateway_cli"
    source = (folder / "doctor_checks.py").read_text() + (folder / "opening.py").read_text()

    steps = set(re.findall(r'(?:_good|_bad|_next|step =)\(?\s*"?(\w+)"', source))
    steps |= set(re.findall(r'step = "(\w+)"', source))

    assert set(re.findall(r"^\| `(\w+)` ", section, re.M)) == steps


def test_changelog_starts_with_the_unreleased_section() -> None:
    headings = re.findall(r"^## (.*)$", _page("CHANGELOG.md"), re.M)

    assert headings[0] == "Unreleased"
    for heading in headings[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d{2}-\d{2}\)", heading)
