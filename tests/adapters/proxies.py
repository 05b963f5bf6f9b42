"""Small proxies on loopback in threads: HTTP CONNECT, SOCKS 4 and 5, with errors."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from tests.adapters.support import PATIENCE

__all__ = ["HttpProxy", "SocksProxy", "running"]

Answer = Callable[[bytes], bytes]


@attrs.define
class _Listening:
    """Proxy that relays connections for which `_open` has opened a tunnel."""

    user: tuple[str, str] | None = None
    """User and password that it wants."""
    tls: ssl.SSLContext | None = None
    unresponsive: bool = False
    """Whether it reads, and never answers."""
    in_bytes: bool = False
    """Whether it sends its answers byte by byte."""
    names: dict[str, str] = attrs.Factory(dict)
    """Names that it alone can resolve, and their addresses."""
    asked: list[tuple[str, int]] = attrs.Factory(list)
    """What it was asked to connect to."""
    opened: list[socket.socket] = attrs.Factory(list)
    problems: list[BaseException] = attrs.Factory(list)
    port: int = 0
    over: threading.Event = attrs.Factory(threading.Event)

    def serve(self, sock: socket.socket) -> None:
        """Open a tunnel, and relay until either side ends."""
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.callback(sock.close)
            sock.settimeout(PATIENCE)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                stack.callback(sock.close)
            beyond = self._open(sock)
            if beyond is not None:
                with beyond:
                    _relay(sock, beyond, self.over)

    def _open(self, sock: socket.socket) -> socket.socket | None:
        raise NotImplementedError

    def _connect(self, host: str, port: int) -> socket.socket | None:
        self.asked.append((host, port))
        try:
            beyond = socket.create_connection((self.names.get(host, host), port), timeout=PATIENCE)
        except OSError:
            return None
        self.opened.append(beyond)
        return beyond

    def _say(self, sock: socket.socket, data: bytes) -> None:
        if self.unresponsive:
            self.over.wait(PATIENCE)
            raise OSError
        for piece in [data[i : i + 1] for i in range(len(data))] if self.in_bytes else [data]:
            sock.sendall(piece)
            if self.in_bytes:
                time.sleep(0.001)


@attrs.define
class HttpProxy(_Listening):
    """HTTP CONNECT proxy; `answer` replaces its response."""

    answer: bytes | None = None
    early: bytes = b""
    """Sent right after the answer that opens a tunnel."""
    heads: list[bytes] = attrs.Factory(list)

    def url(self, user: str = "") -> str:
        """Return the URL, with `user` before the host."""
        return f"http{'s' if self.tls else ''}://{user}127.0.0.1:{self.port}"

    def _open(self, sock: socket.socket) -> socket.socket | None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(65536)
            if not data:
                return None
            head += data
        self.heads.append(head)
        if self.answer is not None:
            self._say(sock, self.answer)
            return None
        method, target, _ = head.split(b"\r\n")[0].split(b" ")
        assert method == b"CONNECT"
        if self.user is not None:
            wanted = base64.b64encode(":".join(self.user).encode())
            if b"Proxy-Authorization: Basic " + wanted not in head:
                self._say(sock, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return None
        host, _, port = target.decode().rpartition(":")
        beyond = self._connect(host.strip("[]"), int(port))
        if beyond is None:
            self._say(sock, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        else:
            self._say(sock, b"HTTP/1.1 200 Connection established\r\n\r\n" + self.early)
        return beyond


@attrs.define
class SocksProxy(_Listening):
    """SOCKS proxy: 5 (RFC 1928, RFC 1929), 4 and 4a; `reply` replaces its last reply."""

    reply: bytes | None = None
    versions: list[int] = attrs.Factory(list)

    def url(self, user: str = "", scheme: str = "socks5h") -> str:
        """Return the URL, with `user` before the host."""
        return f"{scheme}://{user}127.0.0.1:{self.port}"

    def _open(self, sock: socket.socket) -> socket.socket | None:
        version = _exactly(sock, 1)[0]
        self.versions.append(version)
        return self._open_4(sock) if version == 4 else self._open_5(sock)

    def _open_4(self, sock: socket.socket) -> socket.socket | None:
        _, port, address = struct.unpack("!BH4s", _exactly(sock, 7))
        _until_zero(sock)  # the user's id
        is_name = address[:3] == b"\0\0\0" and address[3]
        host = _until_zero(sock).decode() if is_name else socket.inet_ntoa(address)
        beyond = self._connect(host, port)
        granted = b"\0\x5b" if beyond is None else b"\0\x5a"
        self._say(sock, granted + bytes(6))
        return beyond

    def _open_5(self, sock: socket.socket) -> socket.socket | None:
        methods = _exactly(sock, _exactly(sock, 1)[0])
        if self.user is None:
            self._say(sock, b"\x05\x00")
        elif 2 not in methods:
            self._say(sock, b"\x05\xff")
            return None
        else:
            self._say(sock, b"\x05\x02")
            _, size = _exactly(sock, 2)
            user = _exactly(sock, size).decode()
            password = _exactly(sock, _exactly(sock, 1)[0]).decode()
            granted = (user, password) == self.user
            self._say(sock, b"\x01\x00" if granted else b"\x01\x01")
            if not granted:
                return None
        kind = _exactly(sock, 4)[3]
        if kind == 3:
            host = _exactly(sock, _exactly(sock, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, _exactly(sock, 4 if kind == 1 else 16))
        (port,) = struct.unpack("!H", _exactly(sock, 2))
        if self.reply is not None:
            self._say(sock, self.reply)
            return None
        beyond = self._connect(host, port)
        self._say(sock, bytes([5, 0 if beyond else 5, 0, 1]) + bytes(6))
        return beyond


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError
        data += piece
    return data


def _until_zero(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\0"):
        data += _exactly(sock, 1)
    return data[:-1]


def _relay(one: Any, other: Any, over: threading.Event) -> None:
    peers = {one: other, other: one}
    while not over.is_set():
        held = isinstance(one, ssl.SSLSocket) and one.pending()
        for sock in [one] if held else select.select(list(peers), [], [], 0.05)[0]:
            data = sock.recv(65536)
            if not data:
                return
            peers[sock].sendall(data)


@contextlib.contextmanager
def running(proxy: Any) -> Iterator[Any]:
    """Run a proxy on a free port until the end of the block."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    proxy.port = listener.getsockname()[1]
    threads: list[threading.Thread] = []

    def one(sock: socket.socket) -> None:
        try:
            proxy.serve(sock)
        except BaseException as error:
            proxy.problems.append(error)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(sock,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
        for beyond in proxy.opened:
            beyond.close()
    assert not proxy.problems, proxy.problems
