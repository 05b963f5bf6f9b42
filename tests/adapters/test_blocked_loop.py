"""Blocked event loops, slow reads, peers that do not answer or read, and limits."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from gateway_proto import (
    ClockJumped,
    Closed,
    Config,
    Dispatch,
    HeartbeatSent,
    Opened,
    Ready,
    Resumed,
)
from gateway_proto.driver.iteration import FLUSH_SECONDS
from gateway_proto.server import Server, ServerConfig
from gateway_proto.trace import Recorder
from tests.adapters.support import KITS, PATIENCE, Kit

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("kit", KITS, ids=str)]

READY = {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "abc"}}
RESUMED = {"op": 0, "t": "RESUMED", "s": 2, "d": {}}


def _frame(payload: object) -> bytes:
    data = json.dumps(payload).encode()
    if len(data) < 126:
        return bytes((0x81, len(data))) + data
    return struct.pack("!BBH", 0x81, 126, len(data)) + data


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = sock.recv(size - len(data))
        if not received:
            raise ConnectionResetError
        data += received
    return data


class Peer:
    """Gateway in a thread on a raw socket; `serve` runs after READY or RESUMED."""

    def __init__(
        self,
        serve: Callable[[Peer, socket.socket], None],
        *,
        interval: int = 41250,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.connections = 0
        self._serve, self._interval, self._tls = serve, interval, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._listen)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def config(self, **changes: Any) -> Config:
        url = f"{'ws' if self._tls is None else 'wss'}://127.0.0.1:{self.port}"
        return Config(
            **{"token": "t", "intents": 0, "gateway_url": url, "backoff_initial": 0.05, **changes}
        )

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._start(self._one, sock)

    def _one(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError, ValueError))
            sock = stack.enter_context(sock)
            sock.settimeout(PATIENCE)
            if self._tls is not None:
                sock = stack.enter_context(self._tls.wrap_socket(sock, server_side=True))
            request = b""
            while b"\r\n\r\n" not in request:
                request += sock.recv(4096)
            key = request.lower().split(b"sec-websocket-key:")[1].split(b"\r\n")[0].strip()
            key = request[request.lower().index(key) :][: len(key)]
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            sock.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            sock.sendall(_frame({"op": 10, "d": {"heartbeat_interval": self._interval}}))
            while (op := self.read(sock)) not in (2, 6):
                sock.sendall(_frame({"op": 11}))
            sock.sendall(_frame(READY if op == 2 else RESUMED))
            self._serve(self, sock)
            self.over.wait(PATIENCE)

    def read(self, sock: socket.socket) -> int | None:
        """Return the op code of the client's next payload; None for a close frame."""
        first, size = _exactly(sock, 2)
        size &= 127
        if size == 126:
            (size,) = struct.unpack("!H", _exactly(sock, 2))
        mask = _exactly(sock, 4)
        data = bytes(b ^ mask[n % 4] for n, b in enumerate(_exactly(sock, size)))
        return None if first & 15 == 8 else json.loads(data)["op"]

    def acknowledge(self, sock: socket.socket, delay: float = 0.0) -> None:
        """Answer heartbeats until the client closes."""
        while (op := self.read(sock)) is not None:
            if op == 1:
                time.sleep(delay)
                sock.sendall(_frame({"op": 11}))


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    with contextlib.ExitStack() as stack:

        def make(serve: Callable[[Peer, socket.socket], None], **options: Any) -> Peer:
            made = Peer(serve, **options)
            stack.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("blocked", [0.35, 0.8])
def test_loop_blocked_after_a_heartbeat_keeps_the_connection(
    kit: Kit, peer: Callable[..., Peer], pause: float, blocked: float
) -> None:
    made = peer(lambda self, sock: self.acknowledge(sock, 0.02), interval=300)

    async def main() -> None:
        async with kit.limit(), kit.adapter.open_gateway(made.config()) as gateway:
            heartbeats = 0
            async for event in gateway:
                assert not isinstance(event, Closed)
                if isinstance(event, HeartbeatSent):
                    heartbeats += 1
                    if heartbeats == 5:
                        break
                    await kit.sleep(pause)
                    time.sleep(blocked)

    kit.run(main)
    assert made.connections == 1


def test_slow_read_is_not_taken_for_system_suspend(
    kit: Kit, peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(self: Peer, sock: socket.socket) -> None:
        for number in range(2, 5):
            time.sleep(0.1)
            sock.sendall(_frame({"op": 0, "t": "SLOW", "s": number, "d": 1}))
        self.acknowledge(sock)

    made, reads, slow = peer(serve), [], []

    def write(line: str) -> None:
        reads.append("receive_data" in line)
        if sum(reads) == 4 and not slow:  # that of a dispatch
            slow.append(True)
            time.sleep(0.6)

    async def main() -> None:
        config = made.config(clock_jump_threshold=0.3)
        recorder = Recorder(write)
        async with kit.limit(), kit.adapter.open_gateway(config, recorder=recorder) as gateway:
            seen = 0
            async for event in gateway:
                assert not isinstance(event, ClockJumped | Closed)
                seen += type(event) is Dispatch
                if seen == 3:
                    break

    kit.run(main)
    assert slow


def test_leaving_does_not_wait_for_an_unresponsive_peer(
    kit: Kit, peer: Callable[..., Peer]
) -> None:
    made = peer(lambda self, sock: None)

    async def main() -> None:
        async with kit.limit():
            async with kit.adapter.open_gateway(made.config()) as gateway:
                while not isinstance(await anext(aiter(gateway)), Ready):
                    pass
                began = time.monotonic()
            assert time.monotonic() - began < FLUSH_SECONDS

    kit.run(main)


def test_next_dial_does_not_wait_for_the_last_close(
    kit: Kit, peer: Callable[..., Peer], tmp_path: Any
) -> None:
    """With TLS asyncio waits for the peer's close_notify, which never comes here."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def serve(self: Peer, sock: socket.socket) -> None:
        if self.connections == 1:
            sock.sendall(_frame({"op": 7, "d": None}))
        else:
            self.acknowledge(sock)

    made = peer(serve, tls=context)

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.open_gateway(made.config(), ssl_context=trusting) as gateway,
        ):
            closed_at = 0.0
            async for event in gateway:
                if isinstance(event, Closed):
                    closed_at = time.monotonic()
                if isinstance(event, Resumed):
                    break
            assert time.monotonic() - closed_at < FLUSH_SECONDS

    kit.run(main)


def test_cancelling_does_not_wait_for_an_unresponsive_peer(
    kit: Kit, peer: Callable[..., Peer]
) -> None:
    made = peer(lambda self, sock: None)

    async def main() -> None:
        began = time.monotonic()
        with contextlib.suppress(Exception):
            async with kit.limit(0.5), kit.adapter.open_gateway(made.config()) as gateway:
                async for _ in gateway:
                    pass
        assert time.monotonic() - began < 0.5 + FLUSH_SECONDS

    kit.run(main)


def test_output_limit_includes_bytes_buffered_by_the_driver(kit: Kit) -> None:
    limit = 2**20

    async def main() -> None:
        server = Server(ServerConfig(output_limit=limit, replay_limit=5))
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect((serving.host, serving.port))
                identify = json.dumps(
                    {"op": 2, "d": {"token": "x", "intents": 0, "properties": {}}}
                ).encode()
                client.sendall(
                    b"GET /?v=10&encoding=json HTTP/1.1\r\nHost: localhost\r\n"
                    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
                    + struct.pack("!BB", 0x81, 128 | len(identify))
                    + bytes(4)
                    + identify
                )
                while not server.sessions:
                    await kit.sleep(0.01)
                sent = 0
                while server.connections:
                    serving.dispatch("X", "x" * 100_000, to=lambda session: True)
                    sent += 100_000
                    assert sent < 10 * limit
                    await kit.sleep(0.001)

    kit.run(main)


def test_server_drops_clients_with_an_unfinished_tls_handshake(kit: Kit) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def main() -> None:
        server = Server(ServerConfig(handshake_timeout=0.3))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server, ssl_context=context) as serving,
        ):
            with socket.create_connection((serving.host, serving.port)) as client:
                client.setblocking(False)
                while True:
                    await kit.sleep(0.05)
                    with contextlib.suppress(BlockingIOError, ConnectionResetError):
                        if client.recv(1) == b"":
                            break

    kit.run(main)


def test_loop_blocked_during_the_upgrade_keeps_the_connection(
    kit: Kit, peer: Callable[..., Peer]
) -> None:
    made = peer(lambda self, sock: self.acknowledge(sock))

    async def main() -> None:
        config = made.config(handshake_timeout=0.4)
        async with kit.limit(), kit.adapter.open_gateway(config) as gateway:
            async for event in gateway:
                assert not isinstance(event, Closed)
                if isinstance(event, Opened):
                    time.sleep(0.7)  # HELLO waits in the socket
                if isinstance(event, Ready):
                    break

    kit.run(main)
    assert made.connections == 1
