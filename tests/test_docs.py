"""docs/server.md and docs/simulation.md: complete tables, valid blocks and commands."""

from __future__ import annotations

import inspect
import re
import shlex

import attrs
import pytest
import typer.testing

from gateway_cli.app import app
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, World, control_routes
from gateway_proto.server.faults import FAULT_ACTIONS
from gateway_proto.server.http_routes import HttpResponse
from gateway_proto.testing import FAULT_KINDS, FLEET_FAULT_KINDS
from gateway_proto.testing.simulation.fleet.invariants import FLEET_INVARIANTS
from gateway_proto.testing.simulation.invariants import INVARIANTS
from tests.markdown_blocks import DOCS, blocks

SERVER = (DOCS / "server.md").read_text()
SIMULATION = (DOCS / "simulation.md").read_text()


def _rows(title: str, page: str = SERVER) -> list[list[str]]:
    """Return the table cells of a section."""
    section = re.split(r"\n##+ ", page.partition(f"# {title}\n")[2])[0]
    rows = re.findall(r"^\| (.*) \|$", section, re.M)
    return [row.split(" | ") for row in rows[1:]]


def test_world_and_scenario_of_the_page_are_valid() -> None:
    (world,) = blocks(DOCS / "server.md", "json")
    (scenario,) = blocks(DOCS / "server.md", "yaml")

    assert World.from_json(world.code).guilds_of(None)[0]["name"] == "a guild"
    assert [fault.what for fault in Scenario.from_yaml(scenario.code).faults] == [
        *["refuse", "drop", "invalidate"],
    ]


def test_table_of_faults_has_every_fault_and_field() -> None:
    rows = [row for row in _rows("Faults") if row[0] != "---"]

    assert [row[0].strip("`") for row in rows] == list(FAULT_ACTIONS)
    fields = {field.name for field in attrs.fields(Fault)}
    for row in rows:
        assert set(re.findall("`([a-z_]+)`", row[-1])) <= fields, row


def test_table_of_control_requests_matches_the_routes() -> None:
    requests = [row[0].strip("`").split() for row in _rows("In any language")]
    requests = [request for request in requests if request[0] in ("GET", "POST")]
    source = inspect.getsource(control_routes.handle_control_request)
    cases = re.findall(r'case "(GET|POST)", "(\w+)"', source)

    assert [
        (method, target.removeprefix("/control/").partition("?")[0]) for method, target in requests
    ] == cases


@pytest.mark.parametrize(
    "row", [row for row in _rows("In any language") if row[0].startswith("`POST")], ids=str
)
def test_bodies_in_the_table_are_accepted(row: list[str]) -> None:
    method, target = row[0].strip("`").split()
    body = row[1].strip("`").encode()

    path = target.removeprefix("/control")
    answer = control_routes.handle_control_request(Server(), method, path, "", body, now=0.0)

    assert isinstance(answer, HttpResponse)
    assert answer.status == 200


def test_named_fields_exist_in_server_config() -> None:
    marker = SERVER.partition("any field of `ServerConfig`: ")[2].partition("...")[0]
    named = re.findall("`([a-z_]+)`", marker + SERVER.partition("## Causes of close codes")[2])

    fields = {field.name for field in attrs.fields(ServerConfig)} | {"d"}
    assert named
    assert set(named) <= fields


def test_table_of_close_codes_has_every_code_of_the_server() -> None:
    import gateway_proto.server.connection as connection
    import gateway_proto.server.context as context
    import gateway_proto.server.limits as limits

    closes = re.findall(r"_close_unchecked\((4\d\d\d)", inspect.getsource(connection))
    errors = re.findall(
        r"return \(?(4\d\d\d), ", inspect.getsource(context) + inspect.getsource(limits)
    )
    codes = {*closes, *errors, "4000"}

    named = set(re.findall(r"4\d\d\d", " ".join(row[0] for row in _rows("Causes of close codes"))))
    assert named == codes


# ----- simulation.md -----


@pytest.mark.slow
def test_commands_of_the_simulation_page_are_valid() -> None:
    (block,) = blocks(DOCS / "simulation.md", "sh")
    commands = [shlex.split(line, comments=True) for line in block.code.splitlines()]

    for command in commands:
        assert command[:2] == ["gateway-proto", "simulate"]
        arguments = [*command[2:], "--days", "0.01"]
        if "--years" in arguments:
            arguments[arguments.index("--years") + 1] = "0.0001"
        result = typer.testing.CliRunner().invoke(app, ["simulate", *arguments])
        assert result.exit_code == 0, result.output


def test_tables_have_every_fault_kind_and_invariant() -> None:
    kinds = {row[0].strip("`"): row[1] for row in _rows("Simulated faults", SIMULATION)}
    invariants = {row[0].strip("`"): row[1] for row in _rows("Invariants", SIMULATION)}

    assert kinds == dict(FAULT_KINDS)
    assert invariants == {
        kind.__name__: (inspect.getdoc(kind) or "").splitlines()[0] for kind in INVARIANTS
    }


def test_fleet_tables_have_every_fault_kind_and_invariant() -> None:
    kinds = {row[0].strip("`"): row[1] for row in _rows("Faults of a fleet", SIMULATION)}
    invariants = {row[0].strip("`"): row[1] for row in _rows("Invariants of a fleet", SIMULATION)}

    assert kinds == dict(FLEET_FAULT_KINDS)
    assert invariants == {
        kind.__name__: (inspect.getdoc(kind) or "").splitlines()[0] for kind in FLEET_INVARIANTS
    }
