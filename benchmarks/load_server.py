"""Load server: sends READY and all dispatches of the corpus without a pause.

    python -m benchmarks.load_server DISPATCHES COMPRESSION...

It runs in a process of its own, prints the port of each compression, and sends bytes that were
encoded before, so that no client waits for more than its own reading. Heartbeats before Identify
are answered (the streams of connections with one are encoded too); those that come while it sends
are not, since the interval is longer than a run.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from typing import Any

from benchmarks.encoder import accept, compression_of, conversation, op_of, opened, raw_dispatches

_CLOSE, _HEARTBEAT, _IDENTIFY = 8, 1, 2
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

    def __init__(self, compression: str, raw: list[tuple[str, bytes]]) -> None:
        self._compression = compression
        self._sent = [conversation(compression, raw, early=early) for early in (0, 1)]
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Each connection in a thread of its own; there is never more than one that is busy."""
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
            limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
            url = f"ws://127.0.0.1:{self.port}"
            answer = {"url": url, "shards": 1, "session_start_limit": limit}
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
                    connection.sendall(dispatches)


if __name__ == "__main__":
    raw = raw_dispatches(int(sys.argv[1]))
    servers = {compression: LoadServer(compression, raw) for compression in sys.argv[2:]}
    del raw
    for server in servers.values():
        threading.Thread(target=server.serve, daemon=True).start()
    print(json.dumps({compression: server.port for compression, server in servers.items()}))
    sys.stdout.flush()
    sys.stdin.read()  # until the parent process ends, or closes it
