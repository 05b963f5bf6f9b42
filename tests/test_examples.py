"""Each file in examples/ runs against a gateway that drops its connection."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_asyncio import open_gateway
from gateway_proto import (
    Activity,
    Config,
    Dispatch,
    Identify,
    Intents,
    Opened,
    Ready,
    RequestGuildMembers,
    Resume,
    Resumed,
    SessionInvalidated,
    UpdatePresence,
)
from gateway_proto.server import World
from gateway_proto.session import GuildBackfill
from gateway_pytest import RunningGateway

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CHAT = [
    "on_threads.py",
    "on_selectors.py",
    "on_trio.py",
    "on_asyncio.py",
    "on_anyio.py asyncio",
    "on_anyio.py trio",
    "on_twisted.py",
    "on_tk.py",
    "over_aiohttp.py",
    "over_picows.py",
    "record.py",
    "from_address.py",
    "from_address.py trio",
]
"""They print messages until one says stop, whatever happens meanwhile."""
OTHERS = ["proxy.py", "test_a_bot.py", "two_processes.py"]


def _start(example: str, **env: str) -> subprocess.Popen[str]:
    name, *arguments = example.split()
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    if name == "on_tk.py" and not os.environ.get("DISPLAY"):
        command = ["xvfb-run", "--auto-servernum", *command]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _skip_without_its_library(example: str) -> None:
    name = example.split()[0]
    library = {"on_tk.py": "tkinter"}.get(name, name.partition("_")[2].partition(".")[0])
    if name.startswith(("on_", "over_")) and library not in ("threads", "selectors"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    if name == "on_tk.py" and not os.environ.get("DISPLAY") and not shutil.which("xvfb-run"):
        pytest.skip("neither a display nor xvfb-run is available")


@pytest.fixture
def start() -> Iterator[Any]:
    """Start an example, and end it with the test at the latest."""
    started: list[subprocess.Popen[str]] = []

    def starter(example: str, **env: str) -> subprocess.Popen[str]:
        started.append(_start(example, **env))
        return started[-1]

    yield starter
    for process in started:
        # Children of xvfb-run would keep the pipes open.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def test_every_example_is_tested() -> None:
    files = {path.name for path in EXAMPLES.glob("*.py")}

    assert files == {example.split()[0] for example in CHAT + OTHERS}


@pytest.mark.parametrize("example", CHAT)
def test_example_prints_every_dispatch_across_a_drop(
    example: str, gateway_server: RunningGateway, start: Any, tmp_path: pathlib.Path
) -> None:
    _skip_without_its_library(example)
    process = start(
        example,
        GATEWAY_TOKEN=gateway_server.token,
        GATEWAY_API=f"{gateway_server.api_url}/v10",
        GATEWAY_URL=gateway_server.url,
        SESSION_FILE=str(tmp_path / "session.json"),
        TRACE_FILE=str(tmp_path / "trace.jsonl"),
    )

    gateway_server.wait_for(Identify, timeout=60)
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "hello"})
    gateway_server.drop()
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "while you were away"})
    gateway_server.wait_for(Resume, timeout=60)
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "!stop"})
    out, errors = process.communicate(timeout=60)

    assert errors == ""
    assert process.returncode == 0
    printed = ["hello", "while you were away", "!stop"]
    assert out.splitlines() == printed + ["0 differences"] * (example == "record.py")
    if example == "on_trio.py":
        assert any(isinstance(event, UpdatePresence) for event in gateway_server.received)


@pytest.mark.parametrize("example", CHAT)
def test_example_dials_again_after_a_reset(
    example: str, start: Any, tmp_path: pathlib.Path
) -> None:
    _skip_without_its_library(example)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        authority = f"127.0.0.1:{listener.getsockname()[1]}"
        start(
            example,
            GATEWAY_TOKEN="t",
            GATEWAY_API=f"http://{authority}",
            GATEWAY_URL=f"ws://{authority}",
            SESSION_FILE=str(tmp_path / "session.json"),
            TRACE_FILE=str(tmp_path / "trace.jsonl"),
        )

        for _ in range(2):
            connection, _ = listener.accept()
            assert connection.recv(65536).startswith(b"GET /")
            # With SO_LINGER 0, close() sends a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


def test_stored_session_is_resumed_by_the_next_process(
    gateway_server: RunningGateway, start: Any, tmp_path: pathlib.Path
) -> None:
    env = {
        "GATEWAY_TOKEN": gateway_server.token,
        "GATEWAY_API": f"{gateway_server.api_url}/v10",
        "SESSION_FILE": str(tmp_path / "session.json"),
    }
    first = start("on_asyncio.py", **env)
    gateway_server.wait_for(Identify, timeout=60)
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "!stop"})
    assert first.communicate(timeout=60) == ("!stop\n", "")

    for content in ("between the processes", "!stop"):
        gateway_server.dispatch("MESSAGE_CREATE", {"content": content})
    second = start("on_asyncio.py", **env)

    gateway_server.wait_for(Resume, timeout=60)
    assert second.communicate(timeout=60) == ("between the processes\n!stop\n", "")


SOMEBODY = {"user": {"id": "4000", "username": "somebody"}, "roles": []}
GUILD = {"id": "1000", "name": "a guild", "channels": [], "members": [SOMEBODY]}


@pytest.fixture
def proxy(gateway_server: RunningGateway, start: Any, tmp_path: pathlib.Path) -> dict[str, str]:
    """Return the environment of a bot that connects to the proxy."""
    token = gateway_server.token
    intents = Intents.GUILDS | Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
    api_url = f"{gateway_server.api_url}/v10"
    env = {"INTENTS": str(int(intents)), "PORT": "0"}
    process = start("proxy.py", GATEWAY_TOKEN=token, GATEWAY_API=api_url, **env)
    session = str(tmp_path / "session.json")
    api_url = process.stdout.readline().strip()
    assert api_url.startswith("http://127.0.0.1:")
    gateway_server.wait_until_ready(timeout=60)
    return {"GATEWAY_TOKEN": token, "GATEWAY_API": f"{api_url}/v10", "SESSION_FILE": session}


def _stop(bot: subprocess.Popen[str], gateway_server: RunningGateway) -> list[str]:
    """Dispatch until the bot prints something, then stop it once, and return the printed lines.

    Of several `!stop`, those that wait would be replayed to the next process, and end it early.
    """
    assert bot.stdout is not None
    while not select.select([bot.stdout], [], [], 0.2)[0]:
        gateway_server.dispatch("MESSAGE_CREATE", {"content": "hello"})
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "!stop"})
    out, errors = bot.communicate(timeout=60)
    assert errors == ""
    return out.splitlines()


@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_restarts_a_bot_without_identify_upstream(
    gateway_server: RunningGateway, start: Any, proxy: dict[str, str]
) -> None:
    first = start("on_trio.py", **proxy)
    presence = gateway_server.wait_for(UpdatePresence, timeout=60)
    assert _stop(first, gateway_server)[-1] == "!stop"  # and its session has ended
    second = start("on_selectors.py", **proxy)
    assert _stop(second, gateway_server)[-1] == "!stop"

    assert [activity.name for activity in presence.activities] == ["chess"]
    came = [type(event) for event in gateway_server.received]
    assert came.count(Identify) == came.count(Opened) == 1
    assert Resume not in came


@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_replays_missed_dispatches_on_resume(
    gateway_server: RunningGateway, start: Any, proxy: dict[str, str]
) -> None:
    _stop(start("on_asyncio.py", **proxy), gateway_server)
    for content in ("between the processes", "!stop"):
        gateway_server.dispatch("MESSAGE_CREATE", {"content": content})

    printed = _stop(start("on_asyncio.py", **proxy), gateway_server)

    assert printed[-2:] == ["between the processes", "!stop"]
    assert [type(event) for event in gateway_server.received].count(Identify) == 1


@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_sends_existing_guilds_to_a_new_bot(
    gateway_server: RunningGateway, proxy: dict[str, str]
) -> None:
    gateway_server.dispatch("GUILD_UPDATE", {"id": "1000", "name": "another name"})
    gateway_server.dispatch("GUILD_CREATE", {"id": "2000", "name": "a new one"})
    gateway_server.dispatch("GUILD_DELETE", {"id": "2000"})

    async def guilds() -> list[str]:
        config = Config(
            token=proxy["GATEWAY_TOKEN"],
            api_url=proxy["GATEWAY_API"],
            intents=Intents.GUILDS,
            presence=UpdatePresence([Activity("go")]),
        )
        async with open_gateway(config) as gateway:
            backfill, names = GuildBackfill(), []
            async for event in gateway:
                backfill = backfill.after(event)
                if isinstance(event, Dispatch) and event.name == "GUILD_CREATE":
                    names.append(event.data["name"])
                if backfill.done:
                    break
            members = RequestGuildMembers("1000", user_ids=["4000"])
            answer = await gateway.request(members, timeout=60)
            return names + [member["user"]["username"] for member in answer.members]

    async def seen() -> list[str]:
        names = await guilds()
        while "a guild" in names or "a new one" in names:  # the proxy has not read all of them
            names = await guilds()
        return names

    assert asyncio.run(asyncio.wait_for(seen(), 60)) == ["another name", "somebody"]
    assert gateway_server.wait_for(UpdatePresence).activities == (Activity("go"),)


@pytest.mark.gateway(shards=4, identify_seconds=0.5)
def test_two_processes_share_the_identify_slots(gateway_server: RunningGateway, start: Any) -> None:
    process = start(
        "two_processes.py",
        GATEWAY_TOKEN=gateway_server.token,
        GATEWAY_API=gateway_server.api_url,
        SHARDS="4",
        SLOT_SECONDS="2",
        # Both processes write to one pipe: each line is one write if the stream is buffered.
        PYTHONUNBUFFERED="",
    )

    assert process.stdout is not None
    ready = [process.stdout.readline() for _ in range(4)]
    for shard_id in range(2):
        message = {"guild_id": str(shard_id << 22), "content": "!stop"}
        gateway_server.dispatch("MESSAGE_CREATE", message)
    out, errors = process.communicate(timeout=60)

    assert sorted(ready) == [f"process {n % 2}: shard {n} is ready\n" for n in (0, 2, 1, 3)]
    assert sorted(out.splitlines()) == ["process 0: !stop", "process 1: !stop"]
    assert errors == ""
    identifies = [e for e in gateway_server.received if isinstance(e, Identify)]
    assert len(identifies) == 4, "all are spaced"


@pytest.mark.slow
@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_invalidates_bots_on_a_new_upstream_session(
    gateway_server: RunningGateway, proxy: dict[str, str]
) -> None:
    async def main() -> list[str]:
        config = Config(
            token=proxy["GATEWAY_TOKEN"], api_url=proxy["GATEWAY_API"], intents=Intents.GUILDS
        )
        names = []
        async with open_gateway(config) as away:
            async for event in away:
                if isinstance(event, Ready):
                    away.handled()
                    break
        async with open_gateway(config) as gateway:
            async for event in gateway:
                names.append(type(event).__name__)
                if isinstance(event, Ready):
                    if names.count("Ready") == 2:
                        break
                    gateway_server.send(SessionInvalidated())
            async with open_gateway(config, session=away.session) as back:
                async for event in back:
                    names.append(type(event).__name__)
                    if isinstance(event, Ready | Resumed):
                        return names
        return names

    names = asyncio.run(asyncio.wait_for(main(), 60))

    assert names.count("SessionInvalidated") == 2, names
    assert names.count("Ready") == 3, names
    assert "Resumed" not in names


@pytest.mark.slow
def test_unit_tests_of_the_example_bot_pass() -> None:
    plugins = importlib.metadata.entry_points(group="pytest11")
    is_installed = any(point.value == "gateway_pytest" for point in plugins)
    options = ["-W", "error", *(() if is_installed else ("-p", "gateway_pytest"))]

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "test_a_bot.py"],
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "3 passed" in result.stdout, result.stdout + result.stderr


def _node_with_websocket() -> list[str] | None:
    node = shutil.which("node")
    if node is None:
        return None
    # Node 22 supports it without the flag, and accepts the flag.
    command = [node, "--experimental-websocket"]
    found = subprocess.run([*command, "-e", "WebSocket"], capture_output=True, check=False)
    return command if found.returncode == 0 else None


@pytest.mark.skipif(_node_with_websocket() is None, reason="no Node.js that has WebSocket")
def test_bot_in_javascript_is_tested_by_the_control_route() -> None:
    command = _node_with_websocket()
    assert command is not None
    folder = pathlib.Path(sys.executable).parent

    result = subprocess.run(
        [*command, "--test", str(EXAMPLES / "test_a_bot.test.mjs")],
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "# pass 2" in result.stdout
