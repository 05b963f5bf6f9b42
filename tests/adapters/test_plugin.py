"""The pytest plugin in a separate pytest process, as a third-party project uses it."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
_HEAD = """
import pytest, urllib.request
from gateway_proto import *
from gateway_proto.server import *
import gateway_asyncio, asyncio, threading

def start(server, seconds=60, **config):
    async def main():
        given = {"token": server.token, "intents": 513, "api_url": server.api_url, **config}
        async with asyncio.timeout(seconds), gateway_asyncio.open_gateway(
            Config(backoff_initial=0.05, **given)
        ) as gateway:
            async for event in gateway:
                seen.append(event)
                if isinstance(event, Dispatch) and event.name == "STOP":
                    return
    seen = []
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    return thread, seen
"""


def _pytest(tmp_path: pathlib.Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_it.py").write_text(_HEAD + body)
    plugin = () if _is_installed() else ("-p", "gateway_pytest")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", *plugin, *options, "test_it.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(point.value == "gateway_pytest" for point in entry_points(group="pytest11"))


def test_bot_is_tested_with_the_fixture(tmp_path: pathlib.Path) -> None:
    result = _pytest(
        tmp_path,
        """
def test_a_bot(gateway_server):
    thread, seen = start(gateway_server)
    assert gateway_server.wait_for(Identify).intents == 513
    assert gateway_server.dispatch("MESSAGE_CREATE", {"content": "hello"}) == 1
    gateway_server.drop()
    gateway_server.dispatch("MISSED", 1)
    resume = gateway_server.wait_for(Resume)
    gateway_server.send(HeartbeatRequested())
    gateway_server.wait_for(Heartbeat)
    gateway_server.close(4000)
    gateway_server.wait_for(Resume)
    gateway_server.dispatch("STOP", None, to=lambda session: True)
    thread.join(60)
    names = [event.name for event in seen if isinstance(event, Dispatch)]
    assert names[:4] == ["READY", "GUILD_CREATE", "MESSAGE_CREATE", "MISSED"]
    assert gateway_server.url.startswith("ws://127.0.0.1:")
    assert any(isinstance(event, Opened) for event in gateway_server.received)
""",
    )

    assert result.returncode == 0, result.stdout + result.stderr


def test_faults_and_world_are_set_by_marker(tmp_path: pathlib.Path) -> None:
    result = _pytest(
        tmp_path,
        """
pytestmark = pytest.mark.gateway(world=World([{"id": "5", "name": "five"}]))

@pytest.mark.gateway(faults=[Fault("close", code=4009, on="dispatch", nth=1)])
def test_a_fault(gateway_server):
    thread, seen = start(gateway_server)
    gateway_server.wait_for(Resume)
    gateway_server.dispatch("STOP", None)
    thread.join(60)
    assert any(isinstance(e, Closed) and e.code == 4009 for e in seen)
    assert any(isinstance(e, Dispatch) and e.name == "GUILD_CREATE" for e in seen)

def test_each_test_has_a_server_of_its_own(gateway_server):
    assert gateway_server.received == []
    thread, seen = start(gateway_server)
    gateway_server.wait_for(Identify)
    gateway_server.dispatch("STOP", None)
    thread.join(60)
""",
    )

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "expected_text"),
    [
        (
            "def test_it(gateway_server):\n    gateway_server.wait_for(Identify, timeout=0.1)\n",
            "no Identify was received in 0.1 s; received instead:",
        ),
        (
            "@pytest.mark.gateway(5)\ndef test_it(gateway_server): pass\n",
            "the marker gateway takes keywords alone",
        ),
        (
            "@pytest.mark.gateway(versions=(99,))\ndef test_it(gateway_server): pass\n",
            "one or more of 3, 4",
        ),
        (
            "@pytest.mark.gateway(fault=[])\ndef test_it(gateway_server): pass\n",
            "the marker gateway has no fault: use faults, allowed_intents",
        ),
        (
            "@pytest.mark.gateway(faults=['drop'])\ndef test_it(gateway_server): pass\n",
            "the marker gateway: invalid Scenario.faults 'drop': expected a Fault",
        ),
    ],
)
def test_failure_is_explained_in_the_output(
    tmp_path: pathlib.Path, body: str, expected_text: str
) -> None:
    result = _pytest(tmp_path, body)

    assert result.returncode == 1
    assert expected_text in result.stdout


def test_unknown_route_fails_the_test(tmp_path: pathlib.Path) -> None:
    result = _pytest(
        tmp_path,
        """
def test_it(gateway_server):
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{gateway_server.api_url}/v10/nowhere")
""",
        "-W",
        "ignore",
    )

    assert result.returncode == 1
    assert "routes that the server does not have: GET /api/v10/nowhere (404)" in result.stdout


def test_wrong_token_is_rejected_as_by_the_real_gateway(tmp_path: pathlib.Path) -> None:
    result = _pytest(
        tmp_path,
        """
def test_it(gateway_server):
    thread, seen = start(gateway_server, token="wrong")
    closed = gateway_server.wait_for(Closed)
    while closed.code != 4004:
        closed = gateway_server.wait_for(Closed)
    thread.join(60)
    assert isinstance(seen[-1], GaveUp)
""",
    )

    assert result.returncode == 0, result.stdout + result.stderr


def test_example_test_of_the_page_passes(tmp_path: pathlib.Path) -> None:
    page = ROOT / "docs" / "server.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    (block,) = [block for block in blocks if "gateway_server" in block]

    result = _pytest(tmp_path, block)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout
