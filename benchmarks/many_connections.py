"""Many idle connections in one process, and their cost.

    python -m benchmarks.many_connections KIND COMPRESSION DISPATCHES COUNT[,COUNT...] PORT...

KIND is `gateway` (the asyncio adapter and a task that iterates), `streams` (bare asyncio streams
with a decompressor, and a task that reads) or `decompressor` (a decompressor alone, without a
socket). Each connection has read DISPATCHES dispatches before it is idle. When a COUNT is reached,
a line of JSON is printed: connections, seconds of the processor, bytes of memory that no other
process shares. A line without the bytes answers each line on its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from benchmarks.baseline import Envelope, decompressor
from benchmarks.clients.stopwatch import IDENTIFY
from benchmarks.encoder import GatewayEncoder, raw_dispatches
from gateway_asyncio import open_gateway
from gateway_proto import Config, Dispatch, Ready

_AT_ONCE = 50
"""Handshakes."""
_WARM_UP = 10
"""Connections before the first is counted, to exclude the fixed cost of a process."""
Reached = Callable[[], None]


async def _gateway(port: int, compression: str, dispatches: int, reached: Reached) -> None:
    part = random.random()
    config = Config(
        token=f"t.{part}",
        intents=513,
        gateway_url=f"ws://127.0.0.1:{port}",
        compression=compression,
        random=lambda: part,
    )
    count = 0
    async with open_gateway(config) as gateway:
        async for event in gateway:
            if isinstance(event, Ready) and dispatches == 0:
                reached()
            elif type(event) is Dispatch:
                count += 1
                if count == dispatches:
                    reached()


async def _streams(port: int, compression: str, dispatches: int, reached: Reached) -> None:
    decompress = decompressor(compression)
    decode = msgspec.json.Decoder(Envelope).decode
    compress = "" if compression == "none" else f"&compress={compression}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET /?v=10{compress} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x81\xfe" + len(IDENTIFY).to_bytes(2, "big") + b"\0\0\0\0" + IDENTIFY)
    count = -1  # READY does not count
    while True:
        length = (await reader.readexactly(2))[1]
        if length >= 126:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        message = await reader.readexactly(length)
        payload = decode(message if decompress is None else decompress(message))
        if payload.t is not None:
            count += 1
            if count == dispatches:
                reached()


class _Decompressors:
    """Contexts alone, fed with what a connection is sent."""

    def __init__(self, compression: str, dispatches: int) -> None:
        writer = GatewayEncoder(compression)
        frames = [writer.hello(), writer.ready("ws://127.0.0.1")]
        raw = raw_dispatches(dispatches)
        frames += [writer.dispatch(name, n, d) for n, (name, d) in enumerate(raw, start=2)]
        self._messages = [frame[{126: 4, 127: 10}.get(frame[1], 2) :] for frame in frames]
        self._kept: list[Any] = []

    async def one(self, port: int, compression: str, dispatches: int, reached: Reached) -> None:
        decompress = decompressor(compression)
        for message in self._messages:
            if decompress is not None:
                decompress(message)
        self._kept.append(decompress)
        reached()


def _give_back() -> None:
    """Return free memory to the system, if glibc supports it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _report(connections: int, *, memory: bool) -> None:
    line = {"connections": connections, "cpu": time.process_time()}
    if memory:
        import psutil  # only where memory is measured

        gc.collect()
        _give_back()
        line["bytes"] = psutil.Process().memory_full_info().uss
    print(json.dumps(line), flush=True)


async def main() -> None:
    """Open the connections, report their cost, and stay idle until the input closes."""
    kind, compression, dispatches = sys.argv[1], sys.argv[2], int(sys.argv[3])
    counts, ports = [int(n) for n in sys.argv[4].split(",")], [int(port) for port in sys.argv[5:]]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kinds: dict[str, Callable[[int, str, int, Reached], Coroutine[Any, Any, None]]] = {
        "gateway": _gateway,
        "streams": _streams,
        "decompressor": _Decompressors(compression, dispatches).one,
    }
    slots = asyncio.Semaphore(_AT_ONCE)
    done = asyncio.Semaphore(0)
    tasks: set[asyncio.Task[None]] = set()

    def reached() -> None:
        slots.release()
        done.release()

    def failed(task: asyncio.Task[None]) -> None:
        if task.exception() is not None or kind != "decompressor":
            print(f"a connection has ended: {task.exception()!r}", file=sys.stderr)
            os._exit(1)

    for count in [_WARM_UP, *counts]:
        new = count - len(tasks)
        for _ in range(new):
            await slots.acquire()
            port = ports[len(tasks) % len(ports)] if ports else 0
            task = asyncio.create_task(kinds[kind](port, compression, dispatches, reached))
            task.add_done_callback(failed)
            tasks.add(task)
        for _ in range(new):
            await done.acquire()
        if count != _WARM_UP:
            _report(count, memory=True)
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        _report(len(tasks), memory=False)  # that would stop it for too long
    os._exit(0)


asyncio.run(main())
