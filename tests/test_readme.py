"""Code in the README: each block runs or compiles, and the files that it names exist."""

from __future__ import annotations

import ast
import asyncio
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import gateway_proto
from gateway_asyncio import serve_gateway
from gateway_proto import Identify, UpdatePresence
from gateway_proto.server import Server, ServerConnection, ServerEvent
from tests.markdown_blocks import ROOT, blocks

README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return [block.code for block in blocks(ROOT / "README.md", language)]


class ServerThread:
    """A server that sends two messages to each client that identifies."""

    def __init__(self) -> None:
        self.api_url = ""
        self.received: list[ServerEvent] = []
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._listening.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        def on_event(connection: ServerConnection, event: ServerEvent) -> None:
            self.received.append(event)
            if isinstance(event, Identify):
                for content in ("hello", "!stop"):
                    serving.dispatch("MESSAGE_CREATE", {"content": content})

        async with serve_gateway(Server(), on_event=on_event) as serving:
            self.api_url = f"{serving.api_url}/v10"
            self._listening.set()
            await self._stop.wait()


@pytest.fixture
def server() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.close()


_LOOPS = [block for block in _blocks("python") if "GATEWAY_TOKEN" in block]


def _loop(code: str) -> str:
    """Return the module of the event loop that an example uses."""
    return next(name for name in ("trio", "asyncio", "selectors") if f"import {name}" in code)


def test_examples_cover_asyncio_trio_and_selectors() -> None:
    assert {_loop(code) for code in _LOOPS} == {"trio", "asyncio", "selectors"}


@pytest.mark.parametrize("code", _LOOPS, ids=_loop)
def test_example_connects_prints_messages_and_ends(code: str, server: ServerThread) -> None:
    path = [str(ROOT), str(ROOT / "adapters")]
    program = f"import sys; sys.path[:0] = {path!r}\n{code}"

    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"GATEWAY_TOKEN": "secret", "GATEWAY_API": server.api_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.stderr == ""
    assert result.stdout.split() == ["hello", "!stop"]
    if "UpdatePresence" in code:
        assert any(isinstance(event, UpdatePresence) for event in server.received)


def test_selectors_example_dials_again_after_a_reset() -> None:
    (code,) = (code for code in _LOOPS if "import selectors" in code)
    program = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'adapters')]!r}\n{code}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        api_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        env = {"GATEWAY_TOKEN": "secret", "GATEWAY_API": api_url}
        process = subprocess.Popen([sys.executable, "-c", program], env=env)
        try:
            for _ in range(2):
                connection, _ = listener.accept()
                assert connection.recv(65536).startswith(b"GET /")
                # With SO_LINGER 0, close() sends a reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        finally:
            process.kill()
            process.wait()


def test_unit_test_of_the_readme_passes() -> None:
    (code,) = (block for block in _blocks("python") if "testing import Link" in block)
    names: dict[str, object] = {}

    exec(compile(code, "README.md", "exec"), names)

    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    for test in tests:
        assert callable(test)
        test()


def test_files_named_in_the_readme_exist() -> None:
    for name in re.findall(r"`((?:gateway_proto|adapters)/[\w/.]*)`", README):
        assert (ROOT / name).exists(), name


def test_short_examples_compile_with_existing_names() -> None:
    short = [
        block
        for block in _blocks("python")
        if "GATEWAY_TOKEN" not in block
        and "gateway_server" not in block
        and ("await" in block or "async" in block)
    ]
    for block in short:
        tree = compile(block, "README", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for name in names:
            assert name[0].islower() or hasattr(gateway_proto, name), name
