"""The version stands in one place, and whoever names it names the same."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import gateway_proto
from gateway_proto import ClientConnection, Config, LookupConnection, Url
from gateway_proto.trace import Recorder

ROOT = pathlib.Path(__file__).parents[1]
VERSION = gateway_proto.__version__


def test_it_is_written_once() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    written = [
        path.name
        for folder in ("gateway_proto", "adapters")
        for path in (ROOT / folder).rglob("*.py")
        if f'"{VERSION}"' in path.read_text()
    ]

    assert written == ["_version.py"]
    assert 'dynamic = ["version"]' in pyproject
    assert 'path = "gateway_proto/_version.py"' in pyproject
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", VERSION)


def test_the_installed_package_has_it() -> None:
    assert importlib.metadata.version("gateway-proto") == VERSION


def test_the_command_says_it() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway_cli", "--version"],
        cwd=ROOT / "adapters",
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert result.stdout.split(",")[0] == f"gateway_proto {VERSION}"


def test_both_requests_of_a_client_carry_it() -> None:
    config = Config(token="t", intents=0, gateway_url="ws://localhost")

    lookup = LookupConnection(config, Url.parse("http://localhost/api/gateway"), now=0.0)
    upgrade = ClientConnection(config, "ws://localhost", now=0.0)

    for connection in (lookup, upgrade):
        assert f"User-Agent: DiscordBot (gateway_proto, {VERSION})\r\n".encode() in (
            connection.data_to_send()
        )


def test_a_trace_begins_with_it() -> None:
    lines: list[str] = []

    Recorder(lines.append).close()

    assert json.loads(lines[0])["library"] == VERSION
