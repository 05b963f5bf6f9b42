"""Idle server: READY, some dispatches, then only ACKs; measures late heartbeats.

    python -m benchmarks.idle_server COMPRESSION DISPATCHES INTERVAL

It runs in a process of its own and prints its port. INTERVAL is milliseconds. What every connection
is sent is the same, so it was encoded once, the ACKs too. A line on its input is answered by one of
JSON: how many connections there are, and how late each heartbeat since the last line was. Where a
client has the token "t.0.25", its first heartbeat is due 0.25 intervals after its Identify, which
it sends as soon as it has read HELLO; each other one an interval after the last.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import msgspec

from benchmarks.encoder import GatewayEncoder, accept, compression_of, opened, raw_dispatches

_CLOSE, _HEARTBEAT, _IDENTIFY = 8, 1, 2
_ACKS = 64


class Script:
    """Data for one connection."""

    def __init__(self, compression: str, dispatches: int, interval: int) -> None:
        writer = GatewayEncoder(compression)
        self.compression = compression
        self.interval = interval / 1000
        self.hello = writer.hello(interval)
        raw = raw_dispatches(dispatches)
        self.ready = writer.ready("ws://127.0.0.1") + b"".join(
            writer.dispatch(name, n, d) for n, (name, d) in enumerate(raw, start=2)
        )
        self.acks = [writer.ack() for _ in range(_ACKS)]
        self.connections = 0
        self.late: list[float] = []


class IdleServerProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._data = bytearray()
        self._open = False
        self._beats = 0
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._open:
            if b"\r\n\r\n" not in self._data:
                return
            request, self._open = bytes(self._data), True
            self._data.clear()
            if compression_of(request) != self._script.compression:
                self._transport.abort()
                return
            self._transport.write(accept(request) + self._script.hello)
            return
        now = time.monotonic()
        for opcode, message in opened(self._data):
            if opcode == _CLOSE:
                self._transport.close()
                return
            self._payload(msgspec.json.decode(message), now)

    def _payload(self, payload: dict[str, object], now: float) -> None:
        script = self._script
        if payload["op"] == _IDENTIFY:
            script.connections += 1
            d = payload["d"]
            assert isinstance(d, dict)
            part = float(d["token"].partition(".")[2] or "1")
            self._due = now + part * script.interval
            self._transport.write(script.ready)
        elif payload["op"] == _HEARTBEAT:
            script.late.append(now - self._due)
            self._due = now + script.interval
            self._transport.write(script.acks[self._beats])
            self._beats += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._script.connections -= 1


async def main() -> None:
    """Serve, and answer the parent process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    script = Script(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: IdleServerProtocol(script), "127.0.0.1", 0, backlog=1024
    )
    print(listener.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        late, script.late = script.late, []
        print(json.dumps({"connections": script.connections, "late": late}), flush=True)


asyncio.run(main())
