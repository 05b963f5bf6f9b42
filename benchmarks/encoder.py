"""Encoded dispatches of a gateway: one encoding for each compression.

The keys are in the order that Discord sends (t, s, op, d). What is plain goes in text frames,
what is compressed in binary ones, one context for all of a connection.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from benchmarks.corpus import dispatches
from gateway_proto.encoding import etf

try:
    from compression import zstd  # Python 3.14 and later
except ImportError:
    try:
        from backports import zstd
    except ImportError:
        zstd = None

__all__ = [
    "COMPRESSIONS",
    "INTERVAL",
    "GatewayEncoder",
    "accept",
    "compression_of",
    "conversation",
    "op_of",
    "opened",
    "raw_dispatches",
    "zstd",
]

COMPRESSIONS = ("none", "zlib-stream", *(("zstd-stream",) if zstd is not None else ()))
INTERVAL = 41_250
"""Milliseconds, as Discord has it."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class GatewayEncoder:
    """Encoder of payloads into the frames of one connection."""

    def __init__(self, compression: str, encoding: str = "json") -> None:
        self._encoding = encoding
        self._compress: Callable[[bytes], bytes] | None = None
        if compression == "zlib-stream":
            stream = zlib.compressobj()
            self._compress = lambda text: stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)
        elif compression == "zstd-stream":
            block = zstd.ZstdCompressor.FLUSH_BLOCK
            context = zstd.ZstdCompressor()
            self._compress = lambda text: context.compress(text, mode=block)

    def frame(self, text: bytes) -> bytes:
        """The frame of a payload's text, which is JSON: not masked, not in fragments."""
        if self._encoding == "etf":
            # Erlang writes a small map in the order of its keys: d, op, s, t.
            text = etf.pack(dict(sorted(msgspec.json.decode(text).items())))
        message = text if self._compress is None else self._compress(text)
        first = 0x81 if self._compress is None and self._encoding == "json" else 0x82
        length = len(message)
        if length < 126:
            return bytes((first, length)) + message
        if length < 65536:
            return bytes((first, 126)) + length.to_bytes(2, "big") + message
        return bytes((first, 127)) + length.to_bytes(8, "big") + message

    def hello(self, interval: int = INTERVAL) -> bytes:
        """HELLO; `interval` is milliseconds."""
        return self.frame(b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":%d}}' % interval)

    def ack(self) -> bytes:
        """HEARTBEAT_ACK."""
        return self.frame(b'{"t":null,"s":null,"op":11,"d":null}')

    def ready(self, url: str) -> bytes:
        """READY, with the URL to resume at."""
        user = {"id": "80351110224678912", "username": "bench", "discriminator": "0", "bot": True}
        d = {
            "v": 10,
            "user": {**user, "avatar": None, "global_name": None, "flags": 0, "verified": True},
            "session_type": "normal",
            "session_id": "0123456789abcdef0123456789abcdef",
            "resume_gateway_url": url,
            "guilds": [],
            "application": {"id": "80351110224678912", "flags": 0},
        }
        return self.dispatch("READY", 1, msgspec.json.encode(d))

    def dispatch(self, name: str, sequence: int, d: bytes) -> bytes:
        """A dispatch."""
        return self.frame(b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), sequence, d))


def conversation(
    compression: str,
    raw: Iterable[tuple[str, bytes]],
    *,
    early: int = 0,
    interval: int = INTERVAL,
    encoding: str = "json",
) -> tuple[bytes, list[bytes], bytes, bytes]:
    """Return HELLO, the ACKs of heartbeats before Identify, READY and the dispatches."""
    writer = GatewayEncoder(compression, encoding)
    hello = writer.hello(interval)
    acks = [writer.ack() for _ in range(early)]
    ready = writer.ready("ws://127.0.0.1")
    frames = (writer.dispatch(name, n, d) for n, (name, d) in enumerate(raw, start=2))
    return hello, acks, ready, b"".join(frames)


def raw_dispatches(count: int) -> list[tuple[str, bytes]]:
    """The corpus as names and the JSON text of each `d`."""
    return [(name, msgspec.json.encode(d)) for name, d in dispatches(count)]


def accept(request: bytes) -> bytes:
    """The answer to a request for an upgrade."""
    found = re.search(rb"sec-websocket-key: *(\S+)", request, re.IGNORECASE)
    if found is None:
        raise ValueError(f"not an upgrade request: {request[:200]!r}")
    key = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
    )


def compression_of(request: bytes) -> str:
    """Which compression a request for an upgrade asks for."""
    found = re.search(rb"[?&]compress=([\w-]+)", request.split(b"\r\n", 1)[0])
    return found[1].decode() if found else "none"


def opened(data: bytearray) -> list[tuple[int, bytes]]:
    """Cut the whole frames of a client off its bytes: op codes, and messages without the mask."""
    messages = []
    while len(data) >= 6:
        length, head = data[1] & 0x7F, 2
        if length == 126:
            length, head = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(data[2:10], "big"), 10
        end = head + 4 + length
        if len(data) < end:
            break
        mask = data[head : head + 4]
        message = bytes(b ^ mask[n & 3] for n, b in enumerate(data[head + 4 : end]))
        messages.append((data[0] & 0x0F, message))
        del data[:end]
    return messages


def op_of(message: bytes) -> Any:
    """The op code of a client's payload."""
    return msgspec.json.decode(message)["op"]
