"""Load server: sends READY and all dispatches of the corpus without a pause.

    python -m benchmarks.load_server [--shards N] DISPATCHES COMPRESSION...

With more than one shard, each gets all dispatches, once all shards of a process have identified. It
runs in a process of its own, prints the port of each compression, and sends bytes that were
encoded before, so that no client waits for more than its own reading. Heartbeats before Identify
are answered (the streams of connections with one are encoded too); those that come while it sends
are not, since the interval is longer than a run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import threading
import time
from typing import Any

from benchmarks.encoder import accept, compression_of, conversation, op_of, opened, raw_dispatches

_CLOSE, _HEARTBEAT, _IDENTIFY = 8, 1, 2
_START_SECONDS = 60.0
"""Time limit for the start of all shards of a client."""
_READY_SECONDS = 0.1
"""Time for a client to take READY of its last shard, before the dispatches."""
_USER = {"id": "80351110224678912", "username": "bench", "discriminator": "0", "avatar": None}
_APPLICATION: dict[str, Any] = {
    "id": _USER["id"],
    "name": "bench",
    "description": "",
    "icon": None,
    "rpc_origins": [],
    "bot_public": False,
    "bot_require_code_grant": False,
    "owner": _USER,
    "summary": "",
    "verify_key": "",
    "flags": 0,
}


class LoadServer:
    """Data for clients of one compression, by the number of heartbeats before Identify."""

    def __init__(self, compression: str, raw: list[tuple[str, bytes]], shards: int = 1) -> None:
        self._compression = compression
        self._shards = shards
        self._identified = threading.Barrier(shards, timeout=_START_SECONDS)
        self._sent = [conversation(compression, raw, early=early) for early in (0, 1)]
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Each connection in a thread of its own; only those of one client are ever busy."""
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                data = connection.recv(65536)
                if not data:
                    return
                request += data
            if b"sec-websocket-key" in request.lower():
                self._speak(connection, request)
            else:
                connection.sendall(self._http(request))

    def _http(self, request: bytes) -> bytes:
        """Answer of the lookup that some clients make."""
        path = request.split(b" ", 2)[1]
        answer: Any = _USER
        if b"/gateway" in path:
            limit = {"total": 1000, "remaining": 1000, "reset_after": 0}
            answer = {
                "url": f"ws://127.0.0.1:{self.port}",
                "shards": self._shards,
                "session_start_limit": {**limit, "max_concurrency": self._shards},
            }
        elif b"/applications" in path:
            answer = _APPLICATION
        body = json.dumps(answer).encode()
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )

    def _speak(self, connection: socket.socket, request: bytes) -> None:
        if compression_of(request) != self._compression:
            connection.sendall(b"HTTP/1.1 400 Another Compression\r\nContent-Length: 0\r\n\r\n")
            return
        early, identified = 0, False
        connection.sendall(accept(request) + self._sent[0][0])
        data = bytearray()
        while True:
            received = connection.recv(65536)
            if not received:
                return
            data += received
            for opcode, message in opened(data):
                if opcode == _CLOSE:
                    connection.sendall(b"\x88" + bytes([len(message)]) + message)
                    return
                op = op_of(message)
                if op == _HEARTBEAT and not identified and early == 0:
                    early = 1
                    connection.sendall(self._sent[1][1][0])
                elif op == _IDENTIFY and not identified:
                    identified = True
                    _, _, ready, dispatches = self._sent[early]
                    connection.sendall(ready)
                    if self._shards > 1:
                        self._identified.wait()
                        time.sleep(_READY_SECONDS)
                    connection.sendall(dispatches)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dispatches", type=int)
    parser.add_argument("compressions", nargs="+")
    parser.add_argument("--shards", type=int, default=1)
    parsed = parser.parse_args()
    raw = raw_dispatches(parsed.dispatches)
    servers = {name: LoadServer(name, raw, parsed.shards) for name in parsed.compressions}
    del raw
    for server in servers.values():
        threading.Thread(target=server.serve, daemon=True).start()
    print(json.dumps({name: server.port for name, server in servers.items()}))
    sys.stdout.flush()
    sys.stdin.read()  # until the parent process ends, or closes it
