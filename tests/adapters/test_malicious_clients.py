"""Ten thousand malicious connections over loopback, and one normal client meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pathlib
import random
import socket
import struct
import subprocess
import sys

import pytest

from gateway_asyncio import open_gateway
from gateway_proto import Config, Dispatch, Ready

ROOT = pathlib.Path(__file__).parents[2]
COUNT = 10_000
AT_ONCE = 400
SPARE = AT_ONCE * 2**19
"""Bytes that the server may have grown by: for each of those at once, half a mebibyte."""
_PATIENCE = 15
_SERVER = """
import asyncio, sys
from gateway_asyncio import serve_gateway
from gateway_proto.server import Server, ServerConfig
import resource

async def main():
    config = ServerConfig(handshake_timeout=2, identify_timeout=2, close_timeout=1)
    async with serve_gateway(Server(config)) as serving:
        print(serving.url, flush=True)
        loop = asyncio.get_running_loop()
        tick = 0
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line == "tick\\n":
                tick += 1
                print(serving.dispatch("TICK", tick), flush=True)
            else:
                pages = int(open("/proc/self/statm").read().split()[1])
                print(pages * resource.getpagesize(), len(serving.server.connections),
                      len(serving.server.sessions), flush=True)

asyncio.run(main())
"""
_UPGRADE = (
    b"GET /?v=10&encoding=json HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def _frame(data: bytes, first: int = 0x81) -> bytes:
    """Return a masked frame whose mask is zero."""
    if len(data) < 126:
        head = struct.pack("!BB", first, 0x80 | len(data))
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, len(data))
    return head + b"\0\0\0\0" + data


_GARBAGE = random.Random(4).randbytes(3000)
# Chunks of each connection; after them most wait until the server closes.
_HOSTILE: dict[str, list[bytes]] = {
    "nothing at all": [],
    "garbage": [_GARBAGE],
    "half a request": [_UPGRADE[:40]],
    "a byte at a time": [bytes([byte]) for byte in _UPGRADE[:60]],
    "a header without end": [b"GET / HTTP/1.1\r\nX: ", *[b"x" * 10_000] * 20],
    "a body without end": [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n",
        *[b"x" * 50_000] * 4,
    ],
    "an upgrade, and nothing": [_UPGRADE],
    "an upgrade, and garbage": [_UPGRADE, _GARBAGE],
    "a frame that promises a terabyte": [_UPGRADE, struct.pack("!BBQ", 0x81, 0xFF, 2**40) + b"x"],
    "a message too large": [_UPGRADE, _frame(b"x" * 100_000)],
    "fragments without end": [_UPGRADE, _frame(b"x", 0x01), *[_frame(b"y" * 9000, 0)] * 9],
    "a payload nested too deeply": [_UPGRADE, _frame(b'{"op":2,"d":' + b"[" * 50_000)],
    "a thousand commands": [_UPGRADE, _frame(b'{"op":3,"d":null}') * 1000],
    "pings alone": [_UPGRADE, _frame(b"", 0x89) * 2000],
}


async def _attack(port: int, pieces: list[bytes], *, patient: bool) -> None:
    """Send the chunks; then wait for the server to close, or close immediately."""
    with contextlib.suppress(OSError):  # TimeoutError is a subclass
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if patient:
                # The system drops handshakes if its queue is full, without notice.
                async with asyncio.timeout(_PATIENCE):
                    while await reader.read(65536):
                        pass
            else:
                # A reset, which drops data in transit.
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
        finally:
            writer.close()


class _Server:
    """Run the server in its own process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, line: str) -> list[int]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return [int(word) for word in (await self.line()).split()]

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()


@contextlib.asynccontextmanager
async def _serving():  # type: ignore[no-untyped-def]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SERVER),
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield _Server(process)
    finally:
        process.kill()
        await process.wait()


async def _main() -> None:
    async with _serving() as server:
        url = await server.line()
        port = int(url.rpartition(":")[2])
        config = Config(token="good", intents=0, gateway_url=url)
        async with open_gateway(config) as good:
            events = aiter(good)
            while not isinstance(await anext(events), Ready):
                pass
            before, _, _ = await server.ask("memory")
            peak, ticks = before, 0
            kinds = itertools.cycle(_HOSTILE.values())
            waiting: set[asyncio.Task[None]] = set()
            for number in range(COUNT):
                # One in forty stays until the server closes it.
                attack = _attack(port, next(kinds), patient=number % 40 == 0)
                waiting.add(asyncio.create_task(attack))
                if len(waiting) >= AT_ONCE:
                    _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if number % 500 == 0:
                    assert await server.ask("tick") == [1]
                    ticks += 1
                    peak = max(peak, (await server.ask("memory"))[0])
            await asyncio.wait(waiting)
            received_data = []
            while len(received_data) < ticks:
                event = await anext(events)
                assert not isinstance(event, Ready)
                if isinstance(event, Dispatch) and event.name == "TICK":
                    received_data.append(event.data)
            assert received_data == list(range(1, ticks + 1))
            assert peak - before < SPARE
            # At the end only the normal client is left.
            while True:
                _, connections, sessions = await server.ask("memory")
                if connections == 1:
                    break
                await asyncio.sleep(0.1)
            assert sessions == 1


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="memory is read there")
def test_many_malicious_connections_do_not_disturb_a_good_one() -> None:
    async def bounded() -> None:
        async with asyncio.timeout(280):
            await _main()

    asyncio.run(bounded())
