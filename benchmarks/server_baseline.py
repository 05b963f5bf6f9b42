"""Baseline of the server role: a bare loop over aiohttp's WebSocket, on its server.

    python -m benchmarks.server_baseline

It does what the protocol needs and no more: HELLO, Identify, READY, numbered dispatches that are
filtered by intents, a bounded buffer to replay, Resume, ACKs, and the compression of a connection.
No checks, no limits, no timers, no world. It encodes the data of a dispatch once for all sessions.
It prints its port, and answers requests on standard input (`server_requests.py`).
"""

from __future__ import annotations

import asyncio
import resource
import secrets
import sys
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from benchmarks.encoder import INTERVAL, zstd
from benchmarks.server_requests import REPLAY, answer

_ALL = 0x3FFFFFF
_TOKEN = "t"
_HELLO = b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":%d}}' % INTERVAL
_ACK = b'{"t":null,"s":null,"op":11,"d":null}'
_USER = {"id": "80351110224678912", "username": "gateway_proto", "discriminator": "0", "bot": True}
_REPLAY_BYTES = 64 * 2**20


class Identify(msgspec.Struct):
    """`d` of op 2."""

    token: str
    intents: int


class Resume(msgspec.Struct):
    """`d` of op 6."""

    token: str
    session_id: str
    seq: int


class Payload(msgspec.Struct):
    """Payload of a client."""

    op: int
    d: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(Payload).decode
_decode_identify = msgspec.json.Decoder(Identify).decode
_decode_resume = msgspec.json.Decoder(Resume).decode


def _compressor(compression: str) -> Callable[[bytes], bytes] | None:
    if compression == "zlib-stream":
        stream = zlib.compressobj()
        return lambda text: stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)
    if compression == "zstd-stream":
        context = zstd.ZstdCompressor()
        block = zstd.ZstdCompressor.FLUSH_BLOCK
        return lambda text: context.compress(text, mode=block)
    return None


class Connection:
    """One WebSocket and its compression."""

    def __init__(self, socket: web.WebSocketResponse, compression: str) -> None:
        self.socket = socket
        self._compress = _compressor(compression)

    async def send(self, text: bytes) -> None:
        """Send a payload; bytes as text, which saves decoding and encoding them."""
        if self._compress is None:
            await self.socket.send_frame(text, WSMsgType.TEXT)
        else:
            await self.socket.send_frame(self._compress(text), WSMsgType.BINARY)


class Session:
    """Sequence and replay of one client."""

    def __init__(self, intents: int) -> None:
        self.id = secrets.token_hex(16)
        self.intents = intents
        self.sequence = 0
        self.connection: Connection | None = None
        self._replay: deque[tuple[int, bytes]] = deque()
        self._size = 0

    async def dispatch(self, start: bytes, end: bytes) -> None:
        """Number, keep and send a dispatch."""
        self.sequence += 1
        text = b"%b%d%b" % (start, self.sequence, end)
        self._replay.append((self.sequence, text))
        self._size += len(text)
        while len(self._replay) > REPLAY or self._size > _REPLAY_BYTES:
            self._size -= len(self._replay.popleft()[1])
        if self.connection is not None:
            await self.connection.send(text)

    async def replay(self, after: int, connection: Connection) -> None:
        """Send the dispatches after a sequence, then RESUMED."""
        self.connection = connection
        for sequence, text in self._replay:
            if sequence > after:
                await connection.send(text)
        self.sequence += 1
        await connection.send(b'{"t":"RESUMED","s":%d,"op":0,"d":{"_trace":[]}}' % self.sequence)


class Bare:
    """The server."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Handle one connection."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=65536)
        await socket.prepare(request)
        connection = Connection(socket, request.query.get("compress", "none"))
        session: Session | None = None
        await connection.send(_HELLO)
        async for message in socket:
            payload = _decode(message.data)
            if payload.op == 1:
                await connection.send(_ACK)
            elif payload.op == 2:
                identify = _decode_identify(payload.d)
                if identify.token != _TOKEN:
                    await socket.close(code=4004)
                    break
                session = Session(identify.intents)
                session.connection = connection
                self.sessions[session.id] = session
                start, end = _parts("READY", self._ready(session, str(request.url.origin())))
                await session.dispatch(start, end)
            elif payload.op == 6:
                resume = _decode_resume(payload.d)
                session = self.sessions[resume.session_id]
                await session.replay(resume.seq, connection)
        if session is not None and session.connection is connection:
            session.connection = None
        return socket

    def _ready(self, session: Session, url: str) -> dict[str, Any]:
        return {
            "v": 10,
            "user": {**_USER, "avatar": None, "global_name": None, "flags": 0, "verified": True},
            "session_id": session.id,
            "private_channels": [],
            "guilds": [],
            "relationships": [],
            "user_settings": {},
            "application": {"id": _USER["id"], "flags": 0},
            "resume_gateway_url": url,
        }

    # ----- for the requests -----

    async def dispatch(self, name: str, data: Any) -> None:
        start, end = _parts(name, data)
        for session in self.sessions.values():
            if session.intents & _ALL:
                await session.dispatch(start, end)

    async def breathe(self) -> None:
        await asyncio.sleep(0)  # aiohttp waits by itself while much waits to be sent

    def session_id(self) -> str:
        (session,) = self.sessions.values()
        return session.id

    def reset(self) -> None:
        self.sessions.clear()


def _parts(name: str, data: Any) -> tuple[bytes, bytes]:
    """The text of a dispatch before and after its sequence."""
    return b'{"t":"%b","s":' % name.encode(), b',"op":0,"d":%b}' % msgspec.json.encode(data)


async def main() -> None:
    """Serve, and answer the parent process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bare = Bare()
    application = web.Application()
    application.router.add_get("/", bare.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    port = runner.addresses[0][1]
    loop = asyncio.get_running_loop()
    await answer(bare, port, lambda: loop.run_in_executor(None, sys.stdin.readline))


if __name__ == "__main__":
    asyncio.run(main())
