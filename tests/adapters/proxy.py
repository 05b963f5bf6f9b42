"""TCP relay that drops and delays connections at bytes chosen from a seed."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Proxy"]

_RESET = struct.pack("ii", 1, 0)
_LONGEST_DELAY = 0.005
"""Seconds."""


class Proxy:
    """Relay that listens at `port` and forwards to the server's port.

    The seed and the number of a connection decide: after how many bytes of each direction it is
    dropped, whether with a reset, and in which chunks and after which delays data is forwarded.
    """

    def __init__(self, server_port: int, *, seed: int, mean_bytes: float) -> None:
        self._server_port = server_port
        self._seed = seed
        self._mean_bytes = mean_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        """Connections that were cut."""
        self.cutting = True
        """Whether it still cuts; what is open then goes on."""
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # otherwise accept() never returns
        for sock in list(self._open):
            _wake(sock)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            for number in itertools.count(1):
                client, _ = self._listener.accept()
                self._start(self._connect, client, number)

    def _connect(self, client: socket.socket, number: int) -> None:
        chances = [random.Random(f"{self._seed} {number} {way}") for way in ("up", "down")]
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port), 5)
            except OSError:
                return
            server.settimeout(None)
            with server:
                self._open |= {client, server}
                other = self._start(self._pass, server, client, chances[1])
                self._pass(client, server, chances[0])
                other.join()
                self._open -= {client, server}

    def _pass(self, source: socket.socket, sink: socket.socket, rng: random.Random) -> None:
        left = int(rng.expovariate(1 / self._mean_bytes)) if self.cutting else None
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while data:
                    piece = data[: rng.choice([1, 3, 200, 5000, 65536, 65536])]
                    if left is not None and len(piece) > left and self.cutting:
                        sink.sendall(piece[:left])
                        self.cuts += 1
                        if rng.random() < 0.5:
                            for end in (source, sink):
                                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        break
                    if rng.random() < 0.3:
                        time.sleep(rng.random() * _LONGEST_DELAY)
                    sink.sendall(piece)
                    data = data[len(piece) :]
                    left = None if left is None else max(0, left - len(piece))
                else:
                    continue
                break
        for end in (source, sink):
            _wake(end)


def _wake(sock: socket.socket) -> None:
    """Shut the socket down so that its reader ends."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
