"""Builders for tests of adapters and commands: event loops, configs, processes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import attrs
import pytest
import trio

import gateway_asyncio
import gateway_cli
import gateway_trio
from gateway_cli.start import ending_signals
from gateway_proto import Config, Dispatch, Event, GaveUpError
from gateway_proto.server import Server, ServerConfig
from gateway_pytest import RunningGateway

PATIENCE = 60.0
"""Seconds to wait for what takes milliseconds on an idle system."""
not_with_uvloop = pytest.mark.skipif(
    os.environ.get("GATEWAY_TEST_LOOP") == "uvloop", reason="uvloop does not report this"
)


class BugError(Exception):
    """Exception of a callback, stream or store of the caller."""


class NotAnException(BaseException):
    """Exception as of `pytest.fail` in a callback of a test."""


@attrs.frozen
class Kit:
    """Functions of an event loop and its adapter for one test."""

    name: str
    adapter: Any
    run: Callable[[Callable[[], Awaitable[None]]], None]
    sleep: Callable[[float], Awaitable[None]]
    limit: Callable[..., Any]
    """A context with a time limit; by default one for what takes milliseconds if nothing hangs."""
    together: Callable[[Callable[[], Awaitable[None]]], Any]

    def __str__(self) -> str:
        return self.name


def _limit_asyncio(seconds: float = PATIENCE) -> asyncio.Timeout:
    return asyncio.timeout(seconds)


@contextlib.asynccontextmanager
async def _limit_trio(seconds: float = PATIENCE) -> AsyncIterator[None]:
    with trio.fail_after(seconds):
        yield


def _run_asyncio(main: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await main()
        async with asyncio.timeout(PATIENCE):
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0.01)

    asyncio.run(whole(), debug=True)


@contextlib.asynccontextmanager
async def _together_asyncio(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    running = asyncio.ensure_future(task())
    yield
    await running


@contextlib.asynccontextmanager
async def _together_trio(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        yield


KITS = [
    Kit("asyncio", gateway_asyncio, _run_asyncio, asyncio.sleep, _limit_asyncio, _together_asyncio),
    Kit("trio", gateway_trio, lambda main: trio.run(main), trio.sleep, _limit_trio, _together_trio),
]
VERSIONS = [3, 10]


def adapter_config(serving: Any, version: int = 10, **changes: Any) -> Config:
    given = {
        "token": "secret",
        "version": version,
        "intents": 0,
        "api_url": serving.api_url,
        "backoff_initial": 0.05,
        **changes,
    }
    return Config(**given)


async def events_until_gave_up(gateway: Any) -> list[Event]:
    events: list[Event] = []
    with pytest.raises(GaveUpError) as raised:
        async for event in gateway:
            events.append(event)
    assert raised.value.reason == gateway.gave_up
    return events


async def wait_for_event(gateway: Any, type_: type[Any]) -> Any:
    async for event in gateway:
        if isinstance(event, type_):
            return event
    raise AssertionError(f"the events ended without {type_.__name__}")


ROOT = pathlib.Path(__file__).parent.parent.parent
DEMO_TRACE = ROOT / "docs" / "traces" / "demo.jsonl"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")]),
    "GATEWAY_TOKEN": "secret-token",
    "COLUMNS": "200",
}
COMMAND = [sys.executable, "-W", "error::ResourceWarning", "-m", "gateway_cli"]


def run_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in its own process."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process, which takes a tenth of the time."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    logger = logging.getLogger("gateway_proto")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {**ENVIRONMENT, **environment}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["gateway-proto", *arguments])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        patch.setattr(logger, "propagate", logger.propagate)
        patch.setattr(logger, "handlers", list(logger.handlers))
        for number in ending_signals():
            stack.callback(signal.signal, number, signal.getsignal(number))
        with pytest.raises(SystemExit) as ended:
            gateway_cli.main()
    texts = []
    for stream in (out, errors):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    status = ended.value.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(arguments, status, *texts)


class ServeProcess:
    """A process that runs `gateway-proto serve`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.api_line = self.process.stdout.readline()
        self.api = self.api_line.split()[-1]
        self.gateway = self.process.stdout.readline().split()[-1]

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output


@contextlib.contextmanager
def serve_process(*arguments: str) -> Iterator[ServeProcess]:
    serving = ServeProcess(*arguments)
    try:
        yield serving
    finally:
        serving.process.kill()
        serving.process.communicate()


def short_trace(path: pathlib.Path) -> pathlib.Path:
    """Write the beginning of the demo trace, which is replayed at once."""
    path.write_text("".join(DEMO_TRACE.read_text().splitlines(keepends=True)[:100]))
    return path


def json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    # An incomplete last line was interrupted by the kill.
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wait_until(what: str, condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def tail_process(
    out: pathlib.Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    with out.open("ab") as file:
        process = subprocess.Popen(
            [*COMMAND, "tail", *arguments],
            env={**ENVIRONMENT, **environment},
            stdout=file,
            stderr=subprocess.PIPE,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def request_json(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": "Bot any"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def shards_config(serving: Any, **changes: Any) -> Config:
    given = {"token": "t", "intents": 0, "gateway_url": serving.url, "backoff_initial": 0.05}
    return Config(**{**given, **changes})


def lookup_config(serving: Any, **changes: Any) -> Config:
    return shards_config(serving, gateway_url=None, api_url=serving.api_url, **changes)


async def events_of_shards(shards: Any, type_: type[Any], *shard_ids: int) -> dict[int, Any]:
    """Take events until each of the shards has received one of the type, and return these."""
    found: dict[int, Any] = {}
    async for shard_id, event in shards:
        if isinstance(event, type_) and shard_id in shard_ids:
            found[shard_id] = event
        if set(found) == {*shard_ids}:
            return found
    raise AssertionError(f"the events ended; {type_.__name__} was received by {sorted(found)} only")


@contextlib.asynccontextmanager
async def running_shards(
    kit: Kit, count: int = 3, *, ids: Any = None, before_dial: Any = None, **changes: Any
) -> Any:
    server = Server(ServerConfig(shards=count, max_concurrency=16))
    async with (
        kit.limit(),
        kit.adapter.serve_gateway(server) as serving,
        kit.adapter.open_shards(
            lookup_config(serving, **changes), ids=ids, before_dial=before_dial
        ) as shards,
    ):
        yield serving, shards


DOCTOR_CONFIG = Config(
    token="the-doctor-has-none",
    intents=0,
    wait_for_identify_slot=True,
    gateway_url="ws://127.0.0.1:1",
    handshake_timeout=PATIENCE,
    hello_timeout=PATIENCE,
    close_timeout=PATIENCE,
)


def client_config(running: RunningGateway, **fields: Any) -> Config:
    given = {"token": running.token, "api_url": running.api_url, "intents": 512, **fields}
    return Config(**given)


class ClientThread:
    """A client in its own thread that ends after a dispatch "STOP"."""

    def __init__(self, running: RunningGateway, **fields: Any) -> None:
        self.names: list[str] = []
        self._running = running
        self._config = client_config(running, **fields)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> ClientThread:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.dispatch("STOP", None, to=lambda session: True)
        self._thread.join(PATIENCE)

    async def _run(self) -> None:
        async with asyncio.timeout(PATIENCE), gateway_asyncio.open_gateway(self._config) as gateway:
            async for event in gateway:
                if isinstance(event, Dispatch):
                    self.names.append(event.name)
                    if event.name == "STOP":
                        return
