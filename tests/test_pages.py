"""Every page of the documentation: its code runs, its links resolve, the index links to it."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
from types import ModuleType

import pytest
import yaml

from gateway_proto import State
from gateway_proto.state import TRANSITIONS, Input
from tests.markdown_blocks import (
    DOCS,
    PAGES,
    ROOT,
    anchors,
    blocks,
    check_commands,
    links,
    named,
    run_program,
    run_python,
    run_tests,
)

_SLOW = {"simulation", "testing", "whole-bot"}
_WITH_CODE = [
    pytest.param(page, marks=[pytest.mark.slow] if page.stem in _SLOW else [])
    for page in PAGES
    if blocks(page, "python") and page.parent != ROOT
]
_WITH_COMMANDS = [page for page in PAGES if blocks(page, "sh") and page.parent != ROOT]


@pytest.mark.parametrize("page", _WITH_CODE, ids=named)
def test_python_of_a_page_runs(
    page: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run_python(page, tmp_path)


@pytest.mark.parametrize("page", _WITH_COMMANDS, ids=named)
def test_commands_of_a_page_exist(page: pathlib.Path) -> None:
    check_commands(page)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_data_blocks_of_a_page_are_valid(
    page: pathlib.Path,
) -> None:
    for block in blocks(page):
        match block.language:
            case "json":
                json.loads(block.code)
            case "yaml":
                yaml.safe_load(block.code)
            case language:
                assert language in ("", "javascript", "mermaid", "python", "sh", "text"), str(block)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_of_a_page_resolve(page: pathlib.Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path} does not exist"
        assert target.is_relative_to(ROOT), path
        if anchor:
            assert anchor in anchors(target), f"{path} has no title #{anchor}"


def test_index_links_to_every_page() -> None:
    linked = {(DOCS / path).resolve() for path, _ in links(DOCS / "README.md") if path}
    for part in (DOCS / "versions", DOCS / "reference" / "api"):
        linked |= {(part / path).resolve() for path, _ in links(part / "README.md")}

    assert {page for page in PAGES if page.parent != ROOT} - linked == {DOCS / "README.md"}


def test_navigation_of_the_site_has_every_page() -> None:
    listed = re.findall(r"[ :-] ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)

    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


# ----- checks of the checks -----


def _page(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, text: str) -> pathlib.Path:
    monkeypatch.setattr("tests.markdown_blocks.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_check_finds_failing_code(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = _page(
        tmp_path, monkeypatch, "# T\n\n```python\nx = 1\n```\n\n```python\n1 / (x - 1)\n```\n"
    )

    with pytest.raises(ZeroDivisionError):
        run_python(page, tmp_path)


def test_check_finds_a_failing_program(tmp_path: pathlib.Path) -> None:
    code = """
import asyncio
import os
from gateway_asyncio import open_gateway
from gateway_proto import Config, Dispatch
async def main():
    token, api_url = os.environ["GATEWAY_TOKEN"], os.environ["GATEWAY_API"]
    async with open_gateway(Config(token=token, api_url=api_url, intents=512)) as gateway:
        async for event in gateway:
            if type(event) is Dispatch:
                raise ValueError("of the program")
asyncio.run(main())
"""
    with pytest.raises(AssertionError, match="of the program"):
        run_program(code, tmp_path)


def test_check_finds_a_failing_test(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AssertionError, match="1 failed"):
        run_tests("def test_it():\n    assert False\n", tmp_path)


@pytest.mark.parametrize(
    "line", ["gateway-proto nothing", "gateway-proto serve --nothing", "rm -rf here"]
)
def test_check_finds_an_unknown_command(
    line: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = _page(tmp_path, monkeypatch, f"# T\n\n```sh\n{line}\n```\n")

    with pytest.raises(AssertionError):
        check_commands(page)


def test_titles_and_links_in_code_are_ignored(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "# A title: `x`\n\n[a](b.md#c) [d](https://e) `[f](g)`\n\n```sh\n# no title [h](i)\n```\n"
    )
    page = _page(tmp_path, monkeypatch, text)

    assert anchors(page) == {"a-title-x"}
    assert list(links(page)) == [("b.md", "c")]


# ----- generated pages -----


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_of_versions_equal_the_generated_ones() -> None:
    written = _generator().pages()

    assert set(written) == set((DOCS / "versions").glob("*.md"))
    for page, text in written.items():
        assert page.read_text(encoding="utf-8") == text, f"run python docs/generate.py: {page}"


def _cells(page: str) -> dict[tuple[State, Input], State]:
    """Return the transitions in the last table of a page."""
    lines = (DOCS / "versions" / page).read_text(encoding="utf-8").splitlines()
    head = max(number for number, line in enumerate(lines) if line.startswith("| input |"))
    states = [State[name] for name in lines[head].strip("| ").split(" | ")[1:]]
    shown = {}
    for line in lines[head + 2 :]:
        name, *afters = line.strip("| ").split(" | ")
        for state, after in zip(states, afters, strict=True):
            if after != "-":
                shown[state, Input(name)] = state if after == "stays" else State[after.strip("*")]
    return shown


def _arrows(page: str) -> set[tuple[State, State]]:
    """Return the arrows between two states in the diagram of a page."""
    (picture,) = blocks(DOCS / "versions" / page, "mermaid")
    found = re.findall(r"^ +([A-Z_]+) --> ([A-Z_]+):", picture.code, re.M)
    return {(State[before], State[after]) for before, after in found}


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("3.md", "client_without_hello"),
        ("4.md", "client_without_hello"),
        ("5.md", "client_with_hello"),
        ("10.md", "client_with_hello"),
        ("README.md", "server"),
    ],
)
def test_tables_and_diagrams_equal_the_transitions(page: str, table: str) -> None:
    transitions = TRANSITIONS[table]

    assert _cells(page) == dict(transitions)
    assert _arrows(page) == {
        (before, after) for (before, _), after in transitions.items() if before is not after
    }
