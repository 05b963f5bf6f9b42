"""Write the corpus: small inputs of every kind, from conversations of the two roles.

To write it again: `python -m tests.fuzzing --seeds`.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from gateway_proto import (
    ClientConnection,
    Config,
    HeartbeatRequested,
    ReconnectRequested,
    RequestGuildMembers,
    SessionInvalidated,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server, ServerConfig, World
from gateway_proto.wire.compressors import make_compressor
from tests import record_golden_traces
from tests.fuzzing.chunks import joined
from tests.fuzzing.connection import FORMS
from tests.fuzzing.frames import ACCEPTED, REQUEST
from tests.fuzzing.inflate import COMPRESSIONS
from tests.fuzzing.targets import CORPUS

__all__ = ["seeds", "write"]

_TRACES = [(3, "json", "none"), (10, "json", "zlib-stream"), (10, "etf", "zstd-stream")]
_LINES = 24
_DEEP = 2000
"""Lists in lists, more than a reader takes."""
_SCENARIO = """\
- {what: refuse, on: upgrade, status: 429, retry_after: 0.5}
- {what: drop, connection: 2, nth: 3, on: dispatch, after: 1.5, size: 7}
- {what: invalidate, resumable: true, connection: null}
- what: resume_url
  url: wss://elsewhere
"""
_FOUND = (
    b'{"url":"wss://gateway.discord.gg","shards":2,"session_start_limit":{"total":1000,'
    b'"remaining":999,"reset_after":14400000,"max_concurrency":1}}'
)


def write() -> None:
    """Write every seed, and remove other files."""
    found = list(seeds())
    shutil.rmtree(CORPUS, ignore_errors=True)
    for name, data in found:
        path = CORPUS / name / hashlib.sha256(data).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield names of targets with an input each."""
    plain: list[str | bytes] = []
    for number, form in enumerate(FORMS):
        down, up = _conversation(*form)
        yield "connection", bytes([0, number]) + joined(map(_bytes, down))
        yield "connection", bytes([1, number]) + joined(map(_bytes, up))
        if form == (10, "json", "none"):
            plain = [*down, *up]
        if form[2] == "none" and form[0] in (3, 10):
            for message in {*down, *up}:
                data = _bytes(message)
                yield ("etf", data[1:]) if form[1] == "etf" else ("json", data)
    # The least 64-bit integer; the one below it was once returned as text.
    yield "etf", b"n\x08\x01" + b"\0" * 7 + b"\x80"
    texts = [_bytes(text) for text in plain][:8]
    for number, kind in enumerate(COMPRESSIONS):
        out = make_compressor(kind)
        messages = [_bytes(out.send(text, large=True)) for text in texts]
        halves = [half for m in messages for half in (m[: len(m) // 2], m[len(m) // 2 :])]
        yield "inflate", bytes([number]) + joined(messages)
        yield "inflate", bytes([number]) + joined(halves)
    yield "inflate", b"\0" + joined([zlib.compress(b" " * 30_000)])
    yield from _framed(texts)
    yield from _http()
    for kind, text in enumerate(
        [
            '[{"what":"drop","on":"dispatch","nth":3},{"what":"hold","seconds":0.5}]',
            _SCENARIO,
            '{"user":{"id":"1"},"guilds":[{"id":"7","members":[]}]}',
            '{"id":"s","sequence":7,"resume_url":"wss://h","shard":[0,1],"version":10}',
        ]
    ):
        yield "scenario", bytes([kind]) + text.encode()
    for kind, start in enumerate(['[{"what":', "- what: ", '{"guilds":[{"id":', '{"more":']):
        yield "scenario", bytes([kind]) + start.encode() + b"[" * _DEEP
    for trace in _TRACES:
        lines = record_golden_traces.read(trace)
        yield "trace", b"\0" + "\n".join(lines[:_LINES]).encode()
    head = record_golden_traces.read((10, "json", "none"))[0].encode()
    yield "trace", b"\0" + head + b'\n{"new":"server","id":1}'
    for number in range(3):
        yield "trace", b"\1" + bytes(range(number, 60, number + 1))


def _conversation(
    version: int, encoding: str, compression: str
) -> tuple[list[str | bytes], list[str | bytes]]:
    """Return all messages of a conversation, from and to the server."""
    config = Config(
        token="t0ken",
        version=version,
        encoding=encoding,
        compression=compression,
        intents=0 if version >= 6 else None,
        unix_offset=0.0,
        gateway_url="ws://localhost",
    )
    guild = {"id": "7", "name": "g", "members": [{"user": {"id": "1", "username": "u"}}]}
    server = Server(ServerConfig(world=World([guild]), random=lambda: 0.5))
    target = f"/?v={version}&encoding={encoding}"
    if compression != "none":
        target += f"&compress={compression}"
    down, up = [], []
    session = None
    for end in (ReconnectRequested(), SessionInvalidated(False)):
        client = ClientConnection(config, "ws://localhost", now=0.0, framing=False, session=session)
        connection = server.accept(now=0.0, framing=False, target=target)

        def exchange(client: Any, connection: Any, now: float) -> None:
            for _ in range(4):
                there, back = client.messages_to_send(), connection.messages_to_send()
                up.extend(there)
                down.extend(back)
                for message in there:
                    connection.receive_message(message, now=now)
                for message in back:
                    client.receive_message(message, now=now)

        exchange(client, connection, 0.0)
        assert client.state is State.READY
        session = client.session
        client.send(UpdatePresence(since=1), now=1.0)
        client.request(RequestGuildMembers("7", query="u", limit=5), now=1.0)
        server.dispatch("MESSAGE_CREATE", {"content": "h\u00e9llo", "n": [1.5, None]}, now=1.0)
        connection.send(HeartbeatRequested(), now=1.0)
        exchange(client, connection, 1.0)
        client.handle_timer(now=50.0)
        exchange(client, connection, 50.0)
        connection.send(end, now=51.0)
        exchange(client, connection, 51.0)
    return down, up


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def _frame(first: int, data: bytes, mask: bytes = b"") -> bytes:
    high = 0x80 if mask else 0
    head = (
        struct.pack("!BB", first, high | len(data))
        if len(data) < 126
        else struct.pack("!BBH", first, high | 126, len(data))
    )
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)) if mask else data
    return head + mask + masked


def _framed(texts: list[bytes]) -> Iterator[tuple[str, bytes]]:
    fragments = [(0x01, b"frag"), (0x89, b"ping"), (0x00, b"men"), (0x80, b"t")]
    ends = [(0x88, b""), (0x88, struct.pack("!H", 4000) + b"over"), (0x83, b"?"), (0x81, b"\xff")]
    for mask, kinds in ((b"", (0, 1)), (b"mask", (3, 2))):
        whole = b"".join(_frame(0x81, text, mask) for text in texts if len(text) < 900)
        whole += _frame(0x82, b"x" * 126, mask)
        whole += b"".join(_frame(first, data, mask) for first, data in fragments)
        for first, data in ends:
            came = whole + _frame(first, data, mask)
            yield "frames", bytes([kinds[0]]) + joined([came])
            yield "frames", bytes([kinds[0]]) + joined([came[:7], came[7:300], came[300:]])
        head = REQUEST if mask else ACCEPTED
        yield "frames", bytes([kinds[1]]) + joined([head + whole])
        yield "frames", bytes([kinds[1]]) + joined([head[:50], head[50:], whole])


def _http() -> Iterator[tuple[str, bytes]]:
    def response(status: bytes, body: bytes, *more: bytes) -> bytes:
        headers = b"\r\n".join([b"HTTP/1.1 " + status, *more])
        return headers + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    answers = [
        response(b"200 OK", _FOUND),
        response(b"200 OK", b'{"url":"wss://us-1.discord.gg/?x=1"}'),
        response(b"429 Too Many Requests", b"{}", b"Retry-After: 1.5"),
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + _FOUND,
    ]
    for answer in answers:
        yield "endpoint", b"\0" + joined([answer])
        yield "endpoint", b"\1" + joined([answer[:20], answer[20:]])
    for url in (b"wss://us-1.discord.gg:443/?x=1", b"wss://a\0.discord.gg", b"ws://[::1]/"):
        yield "endpoint", b"\3" + joined([url])
    bodies = {
        "dispatch": b'{"t":"A","d":{"n":1}}',
        "send": b'{"op":7,"d":null,"connection":1}',
        "close": b'{"code":4009,"reason":"r"}',
        "drop": b"{}",
        "scenario": b'[{"what":"close","code":4000}]',
    }
    host = b" HTTP/1.1\r\nHost: h\r\n"
    asked = [b"GET /api/v10/gateway/bot" + host + b"Authorization: Bot t0ken\r\n\r\n"]
    asked += [
        b"GET /control/received?after=0" + host + b"\r\n",
        b"HEAD /api/gateway" + host + b"\r\n",
    ]
    for name, body in bodies.items():
        head = b"POST /control/" + name.encode() + host
        asked.append(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    for request in [*asked, REQUEST]:
        yield "endpoint", b"\2" + joined([request])
