"""The core reads no clock, has no random source and does no I/O."""

from __future__ import annotations

import ast
import pathlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import gateway_proto
from gateway_proto import Client, Config, HeartbeatSent, Ready, Resumed, UpdatePresence
from gateway_proto.server import Server, ServerConfig
from gateway_proto.testing import Link

FOLDER = pathlib.Path(gateway_proto.__file__).parent
BANNED = {
    "anyio",
    "asyncio",
    "datetime",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "socket",
    "ssl",
    "threading",
    "time",
    "trio",
}


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    "path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER))
)
def test_core_imports_no_clock_randomness_or_io(path: pathlib.Path) -> None:
    assert not BANNED & set(_imports(path.read_text()))


@pytest.mark.parametrize("path", sorted((FOLDER / "timing").glob("*.py")), ids=lambda p: p.name)
def test_timing_imports_no_other_module_of_the_package(path: pathlib.Path) -> None:
    modules = [
        node.module or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    ]

    own = [module for module in modules if module.startswith("gateway_proto")]
    assert all(module.startswith("gateway_proto.timing.") for module in own)


@pytest.mark.parametrize(
    "planted", ["import time", "from os import path", "def f():\n    import asyncio.events"]
)
def test_import_check_finds_violations(planted: str) -> None:
    assert BANNED & set(_imports(planted))


@pytest.mark.parametrize("version", [3, 10])
def test_session_runs_without_clock_randomness_and_sockets(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only exception is in wsproto: frame masks from os.urandom."""

    def forbidden(*_: object, **__: object) -> float:
        raise AssertionError("the core called a clock, randomness or a socket")

    config = Config(
        token="t", version=version, intents=0, unix_offset=0.0, api_url="http://localhost/api"
    )
    clocks = ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "sleep")
    with monkeypatch.context() as patched:
        for name in clocks:
            patched.setattr(time, name, forbidden)
        for name in ("random", "randrange", "randint", "getrandbits", "uniform", "choice"):
            patched.setattr(random, name, forbidden)
        for name in ("socket", "create_connection", "getaddrinfo"):
            patched.setattr(socket, name, forbidden)
        link = Link(Client(config), Server(ServerConfig(heartbeat_interval=1000)), delay=0.1)
        link.run(5)
        link.client.send(UpdatePresence())
        link.cut()
        link.run(60)

    link.client.expect(Ready)
    link.client.expect(HeartbeatSent)
    link.server.expect(UpdatePresence)
    link.client.expect(Resumed)


def test_import_loads_no_event_loop() -> None:
    program = "import sys, gateway_proto; print({'asyncio', 'trio'} & sys.modules.keys())"
    environment = {"PYTHONPATH": str(FOLDER.parent)}

    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert result.stdout.strip() == "set()"
