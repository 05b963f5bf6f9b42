"""Client: a bare blocking loop that reads what must be read; see `benchmarks/baseline.py`."""

from __future__ import annotations

import socket

from benchmarks.baseline import Baseline
from benchmarks.clients.stopwatch import IDENTIFY, Stopwatch

_RECEIVE = 65536


def main() -> None:
    """Shake hands by hand, identify after HELLO, and count."""
    watch = Stopwatch()
    baseline = Baseline(watch.compression, full=watch.data)
    with socket.create_connection(("127.0.0.1", watch.port)) as sock:
        path = watch.url.split(str(watch.port))[1]
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(_RECEIVE)
        head = b"\x81\xfe" + len(IDENTIFY).to_bytes(2, "big") + b"\0\0\0\0"  # a mask of zeros
        sock.sendall(head + IDENTIFY)
        count = baseline.feed(answer.partition(b"\r\n\r\n")[2])
        while count < 1:
            chunk = sock.recv(_RECEIVE)
            watch.start()
            count += baseline.feed(chunk)
        total = watch.total + 1  # with READY
        while count < total:
            count += baseline.feed(sock.recv(_RECEIVE))
    watch.stop(count - 1, None)


main()
