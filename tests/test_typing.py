"""Type checkers accept all code of README and docs, and find missing cases and unknown names."""

from __future__ import annotations

import ast
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import typing
from typing import Any

import pytest

from gateway_proto import Client, Config, Dispatch, DispatchName, Event
from gateway_proto.server import Server
from gateway_proto.testing import Link
from tests.markdown_blocks import PAGES, blocks

# The checkers are no part of the test extra: `nox -s types` runs these tests.
pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "typing"
PAGE = (ROOT / "docs" / "types.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


def _members(union: Any) -> set[type]:
    arms = typing.get_args(union) or (union,)
    return {member for arm in arms for member in ({arm} if arm == union else _members(arm))}


def test_sample_has_every_member_of_the_event_union() -> None:
    text = (SAMPLES / "exhaustive.py").read_text()

    for member in _members(Event):
        assert f"{member.__name__}()" in text, member


# ----- the checkers -----

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def _missing(path: pathlib.Path) -> set[str]:
    """Return the packages that a program imports and that are not installed."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return {name for name in names if importlib.util.find_spec(name) is None}


def _of_page(page: pathlib.Path) -> dict[str, str]:
    """Return the Python of a page as modules, in which lines have their numbers in the page."""
    stem = "page_" + re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
    files: dict[str, str] = {}
    shared: list[str] = []
    for block in blocks(page, "python"):
        lines = ["\n"] * (block.line - 1)
        code = block.code.splitlines(keepends=True)
        # As in tests.markdown_blocks: programs and tests stand alone, others continue the page.
        if "GATEWAY_TOKEN" in block.code or re.search(r"^def test_", block.code, re.M):
            files[f"{stem}_{block.line}"] = "".join(lines + code)
        else:
            shared += lines[len(shared) :] + code
    return files | ({stem: "".join(shared)} if shared else {})


def _files() -> dict[str, str]:
    """Return the text of all files to check, by the name of a module."""
    # A module "requests" would hide the package.
    files = {f"sample_{path.stem}": path.read_text() for path in SAMPLES.glob("*.py")}
    for page in PAGES:
        files |= _of_page(page)
    return files | {path.stem: path.read_text() for path in EXAMPLES if not _missing(path)}


def _errors_of_mypy(paths: list[pathlib.Path]) -> list[tuple[str, str]]:
    pytest.importorskip("mypy")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", *map(str, paths)],
        cwd=paths[0].parent,  # outside of the source tree: the installed package
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    found = re.findall(r"^(\w+)\.py:(\d+: error: .*)$", result.stdout, re.M)
    assert result.returncode in (0, 1) and bool(found) == result.returncode, result
    return found


def _errors_of_pyright(paths: list[pathlib.Path]) -> list[tuple[str, str]]:
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    result = subprocess.run(
        [*command, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    try:
        report = json.loads(result.stdout)
    except ValueError:
        pytest.skip("pyright cannot be run here: it needs Node.js")
    assert report["summary"]["filesAnalyzed"] == len(paths)
    return [
        (pathlib.Path(d["file"]).stem, f"{d['range']['start']['line'] + 1}: {d['message']}")
        for d in report["generalDiagnostics"]
    ]


@pytest.fixture(
    scope="module", params=[_errors_of_mypy, _errors_of_pyright], ids=["mypy", "pyright"]
)
def errors(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Errors of each file, from one run of a checker, which takes seconds to start."""
    folder, files = tmp_path_factory.mktemp("types"), _files()
    paths = [folder / f"{name}.py" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    found: dict[str, list[str]] = {name: [] for name in files}
    for name, message in request.param(paths):
        found[name].append(message)
    return found


def test_match_with_every_case_is_accepted(errors: dict[str, list[str]]) -> None:
    assert errors["sample_exhaustive"] == []


def test_request_has_the_type_of_its_answer(errors: dict[str, list[str]]) -> None:
    assert errors["sample_requests"] == []


def test_match_with_a_missing_case_or_misspelt_name_is_rejected(
    errors: dict[str, list[str]],
) -> None:
    output = "\n".join(errors["sample_incomplete"])

    assert "MalformedPayload" in output
    assert "MESAGE_CREATE" in output


def test_code_of_readme_and_docs_type_checks(errors: dict[str, list[str]]) -> None:
    pages = {name: found for name, found in errors.items() if name.startswith("page_")}

    assert len(pages) > 30
    assert {name: found for name, found in pages.items() if found} == {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_type_checks(errors: dict[str, list[str]], path: pathlib.Path) -> None:
    if missing := _missing(path):
        pytest.skip(f"not installed: {', '.join(missing)}")

    assert errors[path.stem] == []


# ----- the page -----


@pytest.mark.parametrize(
    ("encoding", "id_"), [("json", "162701077035089920"), ("etf", 162701077035089920)]
)
def test_ids_are_decoded_from_json_and_from_etf(encoding: str, id_: int | str) -> None:
    if encoding == "etf":
        pytest.importorskip("erlpack")
    names: dict[str, Any] = {"__name__": "types_page"}
    exec(compile(BLOCKS[-1], "types.md", "exec", dont_inherit=True), names)
    server = Server()
    config = Config(token="t", intents=0, api_url="http://localhost/api", encoding=encoding)
    link = Link(Client(config), server)
    link.run(1)

    server.dispatch("MESSAGE_DELETE", {"id": id_, "channel_id": id_}, now=link.now, to=bool)
    link.run(1)

    (event,) = [e for e in link.client.events if getattr(e, "name", "") == "MESSAGE_DELETE"]
    assert isinstance(event, Dispatch)
    assert event.data["id"] == id_
    for decoded in names["deleted"](event):
        assert (decoded.id, decoded.channel_id) == (int(id_), int(id_))


def test_table_of_dispatch_names_equals_the_generated_one() -> None:
    def row(name: DispatchName) -> str:
        first, last = name.versions[0], name.versions[-1]
        versions = str(first) if first == last else f"{first} to {last}"
        intents = ", ".join(f"`{intent.name}`" for intent in name.intents) or "none needed"
        return f"| `{name}` | {versions} | {intents} |"

    table = PAGE.partition("## All names\n\n")[2].splitlines()

    assert table[2:] == [row(name) for name in DispatchName]
