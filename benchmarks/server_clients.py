"""Clients of a measured server: raw sockets that only count frames.

    python -m benchmarks.server_clients

A request is a line with a JSON array on standard input, and its answer a line of JSON: the time at
which it was fulfilled, or the number of bytes of counted frames. Frames of the client have a mask
of zeros, which leaves their bytes as they are.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import sys
import time
from typing import Any

from benchmarks.server_requests import INTENTS

__all__ = ["IDENTIFY", "UPGRADE", "frame"]

_READ = 262_144
_AT_ONCE = 1000
"""Connections in a handshake: a listener queues no more than its backlog."""
_SECONDS = 120.0
"""Time limit of a request."""
UPGRADE = (
    "GET /?v=10&encoding=json{} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n"
)
_PROPERTIES = {"os": "linux", "browser": "bench", "device": "bench"}


def frame(payload: dict[str, Any]) -> bytes:
    text = json.dumps(payload).encode()
    size = len(text)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


IDENTIFY = frame({"op": 2, "d": {"token": "t", "intents": INTENTS, "properties": _PROPERTIES}})


class Client:
    """One connection: the upgrade, one frame (HELLO), a first payload, then frames to count."""

    def __init__(self, port: int, upgrade: bytes, first: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(upgrade)
        self.socket.setblocking(False)
        self._first: bytes | None = first
        self._is_upgraded = False
        self._rest = b""  # before the frame's end is known
        self._left = 0  # bytes of the frame that has begun
        self.frames = 0
        """Frames after HELLO."""
        self.size = 0
        """Bytes of these frames."""

    def read(self) -> None:
        """Read what is there."""
        data = self.socket.recv(_READ)
        if not data:
            raise SystemExit("the server closed a connection")
        if not self._is_upgraded:
            self._rest += data
            head, end, data = self._rest.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"the server rejected the upgrade: {head!r:.200}")
            self._is_upgraded, self._rest = True, b""
        frames = self._count(data)
        if self._first is not None and frames:
            self.socket.sendall(self._first)
            self._first = None
            frames -= 1
            self.size = 0
        self.frames += frames

    def _count(self, data: bytes) -> int:
        """Return the number of frames that end in this data."""
        self.size += len(data)
        at, count = self._left, 0
        if at > len(data):
            self._left = at - len(data)
            return 0
        if at:
            count = 1
        elif self._rest:
            data = self._rest + data
        size = len(data)
        while size - at >= 2:
            length, head = data[at + 1], 2
            if length == 126:
                length, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif length == 127:
                length, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if size - at < head:
                break
            end = at + head + length
            if end > size:
                self._left, self._rest = end - size, b""
                return count
            count += 1
            at = end
        self._left, self._rest = 0, data[at:]
        return count


class Clients:
    """All connections of the process."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []

    def open(self, count: int, port: int, compression: str, first: bytes) -> float:
        """Open connections, and wait for the first dispatch of each."""
        query = "" if compression == "none" else f"&compress={compression}"
        upgrade = UPGRADE.format(query, port).encode()
        began = time.monotonic()
        while len(self._clients) < count:
            for _ in range(min(_AT_ONCE, count - len(self._clients))):
                client = Client(port, upgrade, first)
                self._clients.append(client)
                self._selector.register(client.socket, selectors.EVENT_READ, client)
            self.wait(1)
        return began

    def wait(self, frames: int) -> float:
        """Wait until each connection has this number of frames; return the time."""
        missing = sum(client.frames < frames for client in self._clients)
        end = time.monotonic() + _SECONDS
        while missing:
            for key, _ in self._selector.select(1.0):
                client = key.data
                before = client.frames
                client.read()
                missing -= before < frames <= client.frames
            if time.monotonic() > end:
                raise SystemExit(f"{missing} clients did not receive {frames} frames")
        return time.monotonic()

    def check(self, frames: int) -> None:
        """End the process if a connection has received more frames."""
        if any(client.frames > frames for client in self._clients):
            raise SystemExit(f"a client received more than {frames} frames")

    def size(self) -> int:
        """Return the bytes that were counted."""
        return sum(client.size for client in self._clients)

    def close(self) -> None:
        """Close all connections without a close frame."""
        for client in self._clients:
            self._selector.unregister(client.socket)
            client.socket.close()
        self._clients.clear()


def main() -> None:
    """Answer the parent process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = Clients()
    for line in sys.stdin:
        answer: float | None = None
        match json.loads(line):
            case ["identify", count, port, compression]:
                began = clients.open(count, port, compression, IDENTIFY)
                answer = time.monotonic() - began
            case ["resume", port, compression, session_id, seq]:
                d = {"token": "t", "session_id": session_id, "seq": seq}
                answer = clients.open(1, port, compression, frame({"op": 6, "d": d}))
            case ["wait", frames]:
                answer = clients.wait(frames)
                clients.check(frames)
            case ["size"]:
                answer = clients.size()
            case ["close"]:
                clients.close()
        print(json.dumps(answer))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
