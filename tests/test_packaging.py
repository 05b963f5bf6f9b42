"""Packaging: links that an index shows, placeholders, and the workflow's Pythons and sessions."""

from __future__ import annotations

import pathlib
import re
import tomllib
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = [
    value.rpartition(" ")[2]
    for value in PROJECT["project"]["classifiers"]
    if value.startswith("Programming Language :: Python :: 3.")
]
GITHUB = ROOT / ".github"
WORKFLOW = GITHUB / "workflows" / "checks.yml"
PLACEHOLDER = "gateway-proto.example"


def _yaml(path: pathlib.Path) -> Any:
    return pytest.importorskip("yaml").safe_load(path.read_text())


def _description(text: str) -> str:
    """Return text as the build shows it on an index."""
    for each in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    return text


def test_readme_on_an_index_has_only_absolute_links() -> None:
    readme = (ROOT / "README.md").read_text()

    description = _description(readme)

    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", re.sub(r"(?s)```.*?```", "", description)) == []
    blocks = re.compile(r"(?s)```.*?```")
    assert blocks.findall(description) == blocks.findall(readme)


@pytest.mark.parametrize(
    ("link", "end"),
    [
        ("[a](docs/a.md)", "/v$HFPR_VERSION/docs/a.md)"),
        ("[a](docs/a.md#b-c)", "/v$HFPR_VERSION/docs/a.md#b-c)"),
        ("[a](examples/)", "/v$HFPR_VERSION/examples/)"),
        ("![a](docs/a.svg)", "/v$HFPR_VERSION/docs/a.svg)"),
    ],
)
def test_relative_link_becomes_absolute(link: str, end: str) -> None:
    text = _description(link)

    assert text.partition("](")[2].startswith("https://")
    assert text.endswith(end)


@pytest.mark.parametrize("link", ["[a](https://b.example/c.md)", "[a](#b)", "`d[key](value)`"])
def test_other_link_is_unchanged(link: str) -> None:
    assert _description(link) == link


def test_release_checklist_names_each_file_with_placeholders() -> None:
    checklist = (ROOT / "RELEASING.md").read_text()
    paths = [
        path
        for pattern in ("*.toml", "*.md", "*.yml", ".github/**/*.yml")
        for path in ROOT.glob(pattern)
    ]

    found = {str(path.relative_to(ROOT)) for path in paths if PLACEHOLDER in path.read_text()}

    assert [name for name in found - {"RELEASING.md"} if f"`{name}`" not in checklist] == []


def test_workflow_uses_each_python_of_the_classifiers() -> None:
    jobs = _yaml(WORKFLOW)["jobs"]

    (setup,) = [
        step for step in jobs["sessions"]["steps"] if "setup-python" in step.get("uses", "")
    ]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == PYTHONS
    assert setup["with"]["python-version"].split() == PYTHONS


def test_sessions_of_the_workflow_exist() -> None:
    sessions = re.findall(
        r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE
    )

    assert {*_yaml(WORKFLOW)["jobs"]["sessions"]["strategy"]["matrix"]["session"]} <= {*sessions}


def test_fault_form_asks_for_a_trace() -> None:
    form = _yaml(GITHUB / "ISSUE_TEMPLATE" / "fault.yml")

    (trace,) = [part for part in form["body"] if part.get("id") == "trace"]

    assert trace["validations"]["required"]
    assert "gateway-proto tail --record" in trace["attributes"]["description"]
