"""The version is defined once and reported everywhere."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import gateway_proto
from gateway_proto import ClientConnection, Config
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.trace import Recorder
from gateway_proto.urls import Url

ROOT = pathlib.Path(__file__).parents[1]
VERSION = gateway_proto.__version__


def test_version_is_defined_once() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    written = [
        path.name
        for folder in ("gateway_proto", "adapters")
        for path in (ROOT / folder).rglob("*.py")
        if f'"{VERSION}"' in path.read_text()
    ]

    assert written == ["_version.py"]
    assert 'dynamic = ["version", "readme"]' in pyproject
    assert 'path = "gateway_proto/_version.py"' in pyproject
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", VERSION)


def test_installed_package_has_the_version() -> None:
    assert importlib.metadata.version("gateway-proto") == VERSION


def test_command_line_prints_the_version() -> None:
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


def test_both_requests_of_a_client_have_the_version() -> None:
    config = Config(token="t", intents=0, gateway_url="ws://localhost")

    lookup = LookupConnection(config, Url.parse("http://localhost/api/gateway"), now=0.0)
    upgrade = ClientConnection(config, "ws://localhost", now=0.0)

    for connection in (lookup, upgrade):
        assert f"User-Agent: DiscordBot (gateway_proto, {VERSION})\r\n".encode() in (
            connection.data_to_send()
        )


def test_trace_starts_with_the_version() -> None:
    lines: list[str] = []

    Recorder(lines.append).close()

    assert json.loads(lines[0])["library"] == VERSION
