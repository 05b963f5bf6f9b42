"""Each file in examples/ runs against a gateway that drops its connection."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
from typing import Any

import pytest

from gateway_proto import Identify, Resume, UpdatePresence
from gateway_pytest import RunningGateway
from tests.markdown_blocks import blocks

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
RESTARTS = ROOT / "docs" / "howto" / "restarts.md"
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
    "over_websockets.py",
    "record.py",
    "from_address.py",
    "from_address.py trio",
    "typed_dispatches.py",
]
"""They print messages until one says stop, whatever happens meanwhile."""
OTHERS = ["proxy.py", "test_a_bot.py", "test_discord_py.py", "two_processes.py"]
ADA = {"id": "5", "username": "ada"}


def _skip_without_its_library(example: str) -> None:
    name = example.split()[0]
    library = {"on_tk.py": "tkinter"}.get(name, name.partition("_")[2].partition(".")[0])
    if name.startswith(("on_", "over_")) and library not in ("threads", "selectors"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    if name == "on_tk.py" and not os.environ.get("DISPLAY") and not shutil.which("xvfb-run"):
        pytest.skip("neither a display nor xvfb-run is available")


def _environment(gateway_server: RunningGateway, folder: pathlib.Path) -> dict[str, str]:
    return {
        "GATEWAY_TOKEN": gateway_server.token,
        "GATEWAY_API": f"{gateway_server.api_url}/v10",
        "GATEWAY_URL": gateway_server.url,
        "SESSION_FILE": str(folder / "session.json"),
        "TRACE_FILE": str(folder / "trace.jsonl"),
    }


def test_every_example_is_tested() -> None:
    files = {path.name for path in EXAMPLES.glob("*.py")}

    assert files == {example.split()[0] for example in CHAT + OTHERS}


@pytest.mark.parametrize("example", CHAT)
def test_example_prints_every_dispatch_across_a_drop(
    example: str, gateway_server: RunningGateway, start_example: Any, tmp_path: pathlib.Path
) -> None:
    _skip_without_its_library(example)
    process = start_example(example, **_environment(gateway_server, tmp_path))

    gateway_server.wait_for(Identify, timeout=60)
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "hello", "author": ADA})
    gateway_server.drop()
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "while you were away", "author": ADA})
    gateway_server.wait_for(Resume, timeout=60)
    if example == "on_trio.py":
        gateway_server.wait_for(UpdatePresence, timeout=60)
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "!stop", "author": ADA})
    out, errors = process.communicate(timeout=60)

    assert errors == ""
    assert process.returncode == 0
    author = "ada, to me alone: " if example == "typed_dispatches.py" else ""
    printed = [f"{author}hello", f"{author}while you were away", f"{author}!stop"]
    assert out.splitlines() == printed + ["0 differences"] * (example == "record.py")


@pytest.mark.slow
@pytest.mark.parametrize("example", [*CHAT, "proxy.py", "two_processes.py"])
def test_rejected_token_ends_an_example_with_the_reason(
    example: str, gateway_server: RunningGateway, start_example: Any, tmp_path: pathlib.Path
) -> None:
    _skip_without_its_library(example)
    env = _environment(gateway_server, tmp_path)
    env |= {"GATEWAY_TOKEN": "wrong", "INTENTS": "512", "PORT": "0", "SHARDS": "2"}

    process = start_example(example, **env)
    out, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert out == ("0 differences\n" if example == "record.py" else "")
    last = errors.rstrip().splitlines()[-1]  # the line ends of two processes may follow it
    # Shards look up /gateway/bot, which needs the token.
    assert ("HTTP 401" if example == "two_processes.py" else "4004") in last
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("example", CHAT)
def test_example_dials_again_after_a_reset(
    example: str, start_example: Any, tmp_path: pathlib.Path
) -> None:
    _skip_without_its_library(example)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        authority = f"127.0.0.1:{listener.getsockname()[1]}"
        start_example(
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
    gateway_server: RunningGateway, start_example: Any, tmp_path: pathlib.Path
) -> None:
    env = {
        "GATEWAY_TOKEN": gateway_server.token,
        "GATEWAY_API": f"{gateway_server.api_url}/v10",
        "SESSION_FILE": str(tmp_path / "session.json"),
    }
    first = start_example("on_asyncio.py", **env)
    gateway_server.wait_for(Identify, timeout=60)
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "!stop"})
    assert first.communicate(timeout=60) == ("!stop\n", "")

    for content in ("between the processes", "!stop"):
        gateway_server.dispatch("MESSAGE_CREATE", {"content": content})
    second = start_example("on_asyncio.py", **env)

    gateway_server.wait_for(Resume, timeout=60)
    assert second.communicate(timeout=60) == ("between the processes\n!stop\n", "")


@pytest.mark.slow
def test_program_of_the_restarts_page_receives_stop_once(
    gateway_server: RunningGateway, tmp_path: pathlib.Path
) -> None:
    code = next(block.code for block in blocks(RESTARTS, "python") if "!stop" in block.code)
    env = {
        "GATEWAY_TOKEN": gateway_server.token,
        "GATEWAY_API": f"{gateway_server.api_url}/v10",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }

    def output_of_run(*contents: str) -> str:
        program = [sys.executable, "-c", code]
        with subprocess.Popen(
            program, cwd=tmp_path, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                gateway_server.wait_until_ready(timeout=60)
                for content in contents:
                    gateway_server.dispatch("MESSAGE_CREATE", {"content": content})
                return process.communicate(timeout=60)[0]
            finally:
                process.kill()

    assert output_of_run("one", "!stop") == "one\n!stop\n"
    assert output_of_run("two", "!stop") == "two\n!stop\n"


@pytest.mark.slow
@pytest.mark.gateway(shards=4, identify_seconds=0.5)
def test_two_processes_share_the_identify_slots(
    gateway_server: RunningGateway, start_example: Any
) -> None:
    process = start_example(
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


def test_typed_example_prints_the_case_of_each_dispatch(
    gateway_server: RunningGateway, start_example: Any, tmp_path: pathlib.Path
) -> None:
    process = start_example("typed_dispatches.py", **_environment(gateway_server, tmp_path))
    gateway_server.wait_for(Identify, timeout=60)

    for name, data in (
        ("MESSAGE_CREATE", {"content": "in a guild", "author": ADA, "guild_id": "1"}),
        ("MESSAGE_CREATE", {"content": "of a bot", "author": {**ADA, "bot": True}}),
        ("MESSAGE_CREATE", {"content": 5, "author": ADA}),
        ("TYPING_START", {"user_id": "5"}),
        ("MESSAGE_DELETE", {"id": "9"}),
        ("MESSAGE_CREATE", {"content": "!stop", "author": ADA, "guild_id": "1"}),
    ):
        gateway_server.dispatch(name, data, allow_none=True)
    out, errors = process.communicate(timeout=60)

    first, wrong, *others = out.splitlines()
    assert first == "ada: in a guild"
    assert "$.content" in wrong
    assert others == ["message 9 was deleted", "ada: !stop"]
    assert errors == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_a_bot.py", "test_discord_py.py"])
def test_unit_tests_of_an_example_bot_pass(name: str) -> None:
    if name == "test_discord_py.py":
        pytest.importorskip("discord", reason="discord.py is not installed")
    plugins = importlib.metadata.entry_points(group="pytest11")
    is_installed = any(point.value == "gateway_pytest" for point in plugins)
    # The project's own options, such as several processes and warnings as errors, do not apply.
    options = ["-c", os.devnull, *(() if is_installed else ("-p", "gateway_pytest"))]
    warnings = ["-W", "error", "-W", "ignore:'audioop' is deprecated:DeprecationWarning"]

    result = subprocess.run(
        [sys.executable, *("-m", "pytest", "-p", "no:cacheprovider"), *options, *warnings, name],
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
