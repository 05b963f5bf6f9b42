"""What stands in docs/ is so: its code runs, and its tables are whole."""

from __future__ import annotations

import inspect
import pathlib
import re

import attrs
import pytest

from gateway_proto import Fault, Scenario, Server, ServerConfig, World, _control
from gateway_proto.faults import _KINDS

DOCS = pathlib.Path(__file__).parents[1] / "docs"
SERVER = (DOCS / "server.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SERVER, re.M | re.S)


def _rows(title: str) -> list[list[str]]:
    """The cells of the table under a title."""
    section = SERVER.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*) \|$", section, re.M)
    return [row.split(" | ") for row in rows[1:]]


def test_the_world_and_the_scenario_can_be_read() -> None:
    (world,) = _blocks("json")
    (scenario,) = _blocks("yaml")

    assert World.from_json(world).guilds_of(None)[0]["name"] == "a guild"
    assert [fault.what for fault in Scenario.from_yaml(scenario).faults] == [
        *["refuse", "drop", "invalidate"],
    ]


def test_the_table_of_faults_is_whole_and_names_their_fields() -> None:
    rows = [row for row in _rows("What goes wrong") if row[0] != "---"]

    assert [row[0].strip("`") for row in rows] == list(_KINDS)
    fields = {field.name for field in attrs.fields(Fault)}
    for row in rows:
        assert set(re.findall("`([a-z_]+)`", row[-1])) <= fields, row


def test_the_control_route_does_what_its_table_says() -> None:
    requests = [row[0].strip("`").split() for row in _rows("In any language")]
    requests = [request for request in requests if request[0] in ("GET", "POST")]
    source = inspect.getsource(_control.control)
    cases = re.findall(r'case "(GET|POST)", "(\w+)"', source)

    assert len(cases) == 8
    assert [
        (method, target.removeprefix("/control/").partition("?")[0]) for method, target in requests
    ] == cases


@pytest.mark.parametrize(
    "row", [row for row in _rows("In any language") if row[0].startswith("`POST")], ids=str
)
def test_the_bodies_of_the_table_are_taken(row: list[str]) -> None:
    method, target = row[0].strip("`").split()
    body = row[1].strip("`").encode()

    path = target.removeprefix("/control")
    answer = _control.control(Server(), method, path, "", body, now=0.0)

    assert answer.status == 200


def test_the_fields_that_are_named_are_those_of_the_config() -> None:
    marker = SERVER.partition("any field of `ServerConfig`: ")[2].partition("...")[0]
    named = re.findall("`([a-z_]+)`", marker + SERVER.partition("## Which close code")[2])

    fields = {field.name for field in attrs.fields(ServerConfig)} | {"d"}
    assert len(named) >= 10
    assert set(named) <= fields


def test_every_close_code_of_the_server_has_its_row() -> None:
    import gateway_proto.server_connection as module

    codes = set(re.findall(r"_refuse\((4\d\d\d)", inspect.getsource(module))) | {"4000"}

    named = set(
        re.findall(r"4\d\d\d", " ".join(row[0] for row in _rows("Which close code for what")))
    )
    assert named == codes
