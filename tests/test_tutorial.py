"""docs/tutorial.md: its commands run in order and print the shown output."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.markdown_blocks import DOCS, ROOT, blocks

PAGE = DOCS / "tutorial.md"


class Terminals:
    """A shell in a folder; long-running commands run in the background."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        commands = {"python": "", "gateway-proto": "-m gateway_cli"}
        for name, arguments in commands.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            path.chmod(0o755)
        self._env = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}",
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, lines: str) -> str:
        """Run to the end and return the output."""
        return subprocess.check_output(
            lines, shell=True, cwd=self._folder, env=self._env, text=True, timeout=60
        )

    def start(self, line: str) -> pathlib.Path:
        """Run in the background and return the file of its output."""
        log = self._folder / f"{len(self._running)}.log"
        with log.open("wb") as file:
            # Without `exec` only the shell would be terminated, not its child.
            self._running.append(
                subprocess.Popen(
                    f"exec env {line}",
                    shell=True,
                    cwd=self._folder,
                    env=self._env,
                    stdout=file,
                    stderr=file,
                )
            )
        return log

    def wait(self, number: int) -> int:
        """Wait for a background command to end."""
        return self._running[number].wait(30)

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture
def terminals(tmp_path: pathlib.Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()


def _wait_for(log: pathlib.Path, text: str) -> str:
    """Wait until a log contains a text, and return the log."""
    for _ in range(300):
        if text in (output := log.read_text()):
            return output
        time.sleep(0.1)
    raise AssertionError(f"{text!r} is missing in the output:\n{output}")


def test_tutorial_runs_to_its_end(terminals: Terminals, tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    install, serve, run, dispatch, drop, stop = (
        block.code.strip().replace("8080", port) for block in blocks(PAGE, "sh")
    )
    listens, is_ready, message, missed = (
        [re.sub(r"^ +[\d.]+ ", "", line) for line in block.code.splitlines()]
        for block in blocks(PAGE, "text")
    )
    program, test = (block.code for block in blocks(PAGE, "python"))
    (tmp_path / "first.py").write_text(program)
    assert "pip install" in install  # already done to run the tests

    server = terminals.start(serve)
    for line in listens:
        _wait_for(server, line.strip().replace("8080", port))
    bot = terminals.start(run)
    output = _wait_for(bot, "ready, session").splitlines()
    assert output[0] == is_ready[0]
    assert [line.partition("session")[0] for line in output] == [
        line.partition("session")[0] for line in is_ready
    ]
    assert terminals.run(f"{dispatch} 2>/dev/null") == '{"count":1}'
    _wait_for(bot, message[0])
    terminals.run(drop)
    _wait_for(bot, missed[-1])
    terminals.run(stop)

    assert terminals.wait(1) == 0
    assert bot.read_text().splitlines()[2:] == [*message, *missed, "message: !stop"]
    names: dict[str, object] = {}
    exec(compile(test, "tutorial.md", "exec"), names)
    assert callable(names["test_nothing_is_missed"])
    names["test_nothing_is_missed"]()
