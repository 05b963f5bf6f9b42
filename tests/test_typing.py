"""Type checkers find missing cases and unknown names, as in docs/types.md."""

from __future__ import annotations

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


def _checked_by_mypy(path: pathlib.Path) -> tuple[bool, str]:
    pytest.importorskip("mypy")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(path)],
        cwd=path.parent,  # outside of the source tree: the installed package
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return result.returncode == 0, result.stdout + result.stderr


def _checked_by_pyright(path: pathlib.Path) -> tuple[bool, str]:
    pytest.importorskip("pyright")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    result = subprocess.run(
        [*command, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    try:
        found = json.loads(result.stdout)["generalDiagnostics"]
    except ValueError:
        pytest.skip("pyright cannot be run here: it needs Node.js")
    return not found, "\n".join(one["message"] for one in found)


CHECKERS = [_checked_by_mypy, _checked_by_pyright]


@pytest.mark.parametrize("check", CHECKERS)
def test_match_with_every_case_is_accepted(check: Any) -> None:
    accepted, output = check(SAMPLES / "exhaustive.py")

    assert accepted, output


@pytest.mark.parametrize("check", CHECKERS)
def test_request_has_the_type_of_its_answer(check: Any) -> None:
    accepted, output = check(SAMPLES / "requests.py")

    assert accepted, output


@pytest.mark.parametrize("check", CHECKERS)
def test_match_with_a_missing_case_or_misspelt_name_is_rejected(check: Any) -> None:
    accepted, output = check(SAMPLES / "incomplete.py")

    assert not accepted
    assert "MalformedPayload" in output
    assert "MESAGE_CREATE" in output


@pytest.mark.parametrize("check", CHECKERS)
def test_page_about_typing_type_checks(check: Any, tmp_path: pathlib.Path) -> None:
    for number, block in enumerate(BLOCKS):
        path = tmp_path / f"block_{number}.py"
        path.write_text(block)

        accepted, output = check(path)

        assert accepted, output


TRANSPORTS = sorted((ROOT / "examples").glob("over_*.py"))
HOW_TO = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "howto" / "transport.md").read_text(), re.M | re.S
)


@pytest.mark.parametrize("check", CHECKERS)
@pytest.mark.parametrize("path", TRANSPORTS, ids=lambda path: path.stem)
def test_transport_of_messages_type_checks(check: Any, path: pathlib.Path) -> None:
    pytest.importorskip(path.stem.removeprefix("over_"))

    accepted, output = check(path)

    assert accepted, output


@pytest.mark.parametrize("check", CHECKERS)
def test_page_about_transports_type_checks(check: Any, tmp_path: pathlib.Path) -> None:
    assert HOW_TO
    for number, block in enumerate(HOW_TO):
        path = tmp_path / f"transport_{number}.py"
        path.write_text(block)

        accepted, output = check(path)

        assert accepted, output


# ----- the page -----


def test_page_about_typing_runs() -> None:
    assert BLOCKS
    for block in BLOCKS:
        exec(compile(block, "types.md", "exec", dont_inherit=True), {"__name__": "types_page"})


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
