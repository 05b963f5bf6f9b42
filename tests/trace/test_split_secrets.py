"""Redaction of secrets that are split, encoded or truncated."""

from __future__ import annotations

import base64
import itertools
import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from gateway_proto.encoding import etf
from gateway_proto.server import Server
from gateway_proto.testing import Link
from gateway_proto.trace import Recorder, read
from gateway_proto.trace.redactor import Redactor
from gateway_proto.wire.compression import zstd
from tests.trace.support import (
    API,
    HELLO,
    READY,
    TOKEN,
    Trace,
    assert_hides,
    config_with,
    differences,
)

OTHER = "aW50ZXJhY3Rpb24.of-an-interaction"


def _answered(made: Trace, answer: bytes, *, reads: int = 1) -> None:
    """Give a lookup an answer in reads of equal size."""
    lookup = made.recorder.lookup(config_with(use_gateway_bot=True), f"{API}/gateway/bot", now=0.0)
    lookup.data_to_send()
    size = -(-len(answer) // reads)
    for at in range(0, len(answer), size):
        lookup.receive_data(answer[at : at + size], now=1.0)
    lookup.receive_eof(now=2.0)
    lookup.events()


def _written(lines: list[str]) -> bytes:
    """Return all bytes and texts that the lines hold."""
    out = []
    for line in lines:
        out.append(line.encode())
        data = json.loads(line).get("with", {}).get("data", {})
        out.append(base64.b64decode(data.get("base64", "")) + data.get("utf8", "").encode())
    return b"\n".join(out)


def _chunked(body: bytes, sizes: list[int], *, extension: bytes = b"") -> bytes:
    out, at = b"HTTP/1.1 401 No\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0
    out = out.replace(b"gzip, ", b"")
    for size in (*sizes, len(body) - sum(sizes)):
        out += b"%x%s\r\n%s\r\n" % (size, extension, body[at : at + size])
        at += size
    return out + b"0\r\n\r\n"


@pytest.mark.parametrize("reads", [1, 3, 40])
@pytest.mark.parametrize("seed", range(8))
def test_token_split_by_chunks_of_an_answer_is_redacted(seed: int, reads: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.randint(1, 30) for _ in range(3)]
    body = b'{"message": "no ' + TOKEN.encode() + b' here"}'
    made = Trace()

    _answered(made, _chunked(body, sizes, extension=b";of=it"), reads=reads)

    lines = made.close()
    assert differences(lines) == []
    written = _written(lines)
    bounds = [0, *itertools.accumulate(sizes), len(body)]
    start = body.index(TOKEN.encode())
    for low, high in itertools.pairwise(bounds):
        part = body[max(low, start) : min(high, start + len(TOKEN))]
        assert len(part) < 4 or part not in written


def test_token_in_a_truncated_chunked_answer_is_redacted() -> None:
    answer = _chunked(b"a" * 10 + TOKEN.encode(), [20])
    made = Trace()

    _answered(made, answer[:-20])

    assert TOKEN[:10].encode() not in _written(made.close())


def test_redacted_token_keeps_its_escaped_length() -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in TOKEN[:3]) + json.dumps(TOKEN[3:])[1:-1]
    body = b'{"a": "\\"' + escaped.replace("/", "\\/").encode() + b'"}'
    answer = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    made = Trace()

    _answered(made, answer)

    lines = made.close()
    assert_hides(lines, TOKEN, escaped)
    assert TOKEN[5:20].encode() not in _written(lines)


@pytest.mark.parametrize("shift", range(3))
def test_received_base64_is_not_taken_for_part_of_the_token(shift: int) -> None:
    user_id = "80351110224678912"
    token = base64.b64encode(user_id.encode()).decode().rstrip("=") + ".Gx-y_z.very-secret-token"
    made, connection = _opened(token=token)
    text = json.dumps({"op": 0, "t": "A", "s": 2, "d": {"id": user_id, "x": "y" * (200 + shift)}})
    frame = b"\x81\x7e" + len(text).to_bytes(2, "big") + text.encode()
    frames = b"\x8a\x00" * (1 + shift) + frame

    connection.receive_data(frames, now=2.0)
    connection.events()

    lines = made.close()
    assert frames in _written(lines)
    assert differences(lines) == []


def test_compressed_answer_is_recorded_as_its_size() -> None:
    body = zlib.compress(TOKEN.encode(), 0)
    head = b"HTTP/1.1 401 No\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(body)
    made = Trace()

    _answered(made, head + body)

    lines = made.close()
    assert head + b"x" * len(body) in _written(lines)
    assert differences(lines) == []


def test_token_in_response_heads_is_redacted() -> None:
    early = f"HTTP/1.1 103 Early Hints\r\nLink: {TOKEN}\r\n\r\n"
    answer = f"HTTP/1.1 401 No\r\nX-Echo: {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}"
    made = Trace()

    _answered(made, (early + answer).encode(), reads=5)

    assert_hides(made.close(), TOKEN)


def _opened(**fields: Any) -> tuple[Trace, Any]:
    made = Trace()
    config = config_with(gateway_url="ws://localhost", api_url=None, **fields)
    client = made.recorder.client(config)
    Link(client, Server()).run(1)
    return made, client.connection


def test_token_split_over_pings_is_redacted() -> None:
    made, connection = _opened()
    for at in range(0, len(TOKEN), 5):
        part = TOKEN[at : at + 5].encode()
        connection.receive_data(bytes([0x89, len(part)]) + part, now=2.0)
    connection.data_to_send()

    lines = made.close()
    assert differences(lines) == []
    written = _written(lines)
    assert not [at for at in range(len(TOKEN) - 6) if TOKEN[at : at + 5].encode() in written]


def test_token_split_over_two_events_is_redacted() -> None:
    made, connection = _opened()
    half = len(TOKEN) // 2
    for sequence, part in enumerate((TOKEN[:half], TOKEN[half:]), 2):
        text = json.dumps({"op": 0, "t": "A", "s": sequence, "d": {"content": f"<{part}>"}})
        connection.receive_data(bytes([0x81, len(text)]) + text.encode(), now=2.0)
    connection.events()

    lines = made.close()
    assert_hides(lines, TOKEN, TOKEN[:half], TOKEN[half:])
    contents = [
        e["d"]["content"]
        for ln in read(lines)
        for e in ln.get("events", ())
        if e.get("name") == "A"
    ]
    assert contents[-2:] == [f"<{'x' * half}>", f"<{'x' * (len(TOKEN) - half)}>"]


def test_longest_part_of_a_repetitive_secret_is_redacted() -> None:
    secrets = Redactor()
    secret = "abcdef" + "XYZXYZ" + "abcdef" + "0123456789"
    secrets.add(secret)

    clean = secrets.redact_text("a abcdef0123456789 and abcdef and abcdefXYZXY.")

    assert secrets.redact_text("(YZabcdef01234)") == "(" + "x" * 13 + ")"
    assert clean == "a " + "x" * 16 + " and abcdef and " + "x" * 11 + "."


def test_token_as_json_numbers_is_redacted() -> None:
    made, connection = _opened()
    for sequence, codes in enumerate(([*TOKEN.encode()], [1, *TOKEN.encode(), 2]), 2):
        text = json.dumps({"op": 0, "t": "A", "s": sequence, "d": codes}).encode()
        connection.receive_data(b"\x81\x7e" + len(text).to_bytes(2, "big") + text, now=2.0)
    connection.events()

    lines = made.close()
    assert differences(lines) == []
    written = _written(lines)
    assert json.dumps([*TOKEN.encode()])[1:-1].encode() not in written
    assert ",".join(map(str, TOKEN.encode())).encode() not in written


@pytest.mark.parametrize("integer", [b"a%c", b"b\0\0\0%c"])
def test_token_as_etf_list_of_integers_is_redacted(integer: bytes) -> None:
    if not etf.available():
        pytest.skip("the extra etf is not installed")
    made, connection = _opened(encoding="etf")
    codes = b"".join(integer % code for code in TOKEN.encode())
    items = b"l" + len(TOKEN).to_bytes(4, "big") + codes + b"j"
    pairs = (b"op", b"a\0"), (b"t", b"m\0\0\0\1A"), (b"s", b"a\2"), (b"d", items)
    term = b"\x83t\0\0\0\4" + b"".join(
        b"m" + len(key).to_bytes(4, "big") + key + value for key, value in pairs
    )
    connection.receive_data(b"\x82\x7e" + len(term).to_bytes(2, "big") + term, now=2.0)
    (event,) = connection.events()

    assert event.data == [*TOKEN.encode()]
    lines = made.close()
    assert differences(lines) == []
    assert codes not in _written(lines)
    assert ",".join(map(str, TOKEN.encode())).encode() not in _written(lines)


def _broken(compression: str) -> bytes:
    text = json.dumps({"op": 0, "t": "A", "s": 2, "d": {"echo": TOKEN, "token": OTHER}}).encode()
    if compression == "zstd-stream":
        context = zstd().ZstdCompressor()
        data: bytes = context.compress(text, mode=context.FLUSH_BLOCK)
        return data + b"\xff\xff\xff\xff"
    deflate = zlib.compressobj()
    data = deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4] + b"\xff" * 5


@pytest.mark.parametrize("compression", ["zlib-stream", "payload", "zstd-stream"])
def test_invalid_compressed_message_is_recorded_as_its_size(compression: str) -> None:
    if compression == "zstd-stream" and zstd() is None:
        pytest.skip("the extra zstd is not installed")
    made = Trace()
    config = config_with(compression=compression)
    connection = made.recorder.connection(config, "ws://localhost", now=0.0, framing=False)
    for message in (HELLO, READY, _broken(compression)):
        connection.receive_message(message, now=1.0)
    connection.events()

    lines = made.close()
    assert differences(lines) == []
    (kept,) = [
        base64.b64decode(line["with"]["message"]["base64"])
        for line in read(lines)
        if "base64" in line.get("with", {}).get("message", {})
    ]
    assert kept == b"\xff" * len(_broken(compression))
    assert "while decompressing data" in lines[-1] or "Unable to decompress" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["\\", "M", "x", "[", "7,", '"token":"'])
def test_redaction_cost_is_linear_in_the_text(letter: str) -> None:
    """A quadratic cost would take hours."""
    secrets = Redactor()
    secrets.add("M" + TOKEN)
    secrets.add("\\" * 20 + "x")
    secrets.add("MMMMMMMM.MMMMMMMM.MMMMMMMM")
    text = letter * 1_000_000

    assert len(secrets.redact_text(text)) == len(text)


def test_learned_secrets_use_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway_proto.trace.redactor._MAX_NUMBERED", 50)
    secrets = Redactor()
    for number in range(200):
        secrets.redact_text(json.dumps({"token": f"token-number-{number}-of-an-interaction"}))

    assert len(secrets._learnt) == 16
    assert len(secrets._numbers) == 50


def test_recorder_as_context_manager_closes_the_trace() -> None:
    lines: list[str] = []
    with Recorder(lines.append) as recorder:
        connection = recorder.connection(config_with(), "ws://localhost", now=0.0)
        connection.receive_data(b"HTTP/1.1 5", now=1.0)
        before = len(lines)

    assert len(lines) == before + 1
    connection.receive_eof(now=2.0)
    assert len(lines) == before + 1


ENCODED_TOKEN = "MTIz?NDU2>Nzg5.Gabcde.~~klmnopqrstuvwxyz012345"
ENCODERS: list[Callable[[bytes], bytes]] = [
    base64.b64encode,
    base64.urlsafe_b64encode,
    lambda data: base64.b64encode(data).replace(b"/", b"\\/"),
    lambda data: data.hex().encode(),
    lambda data: data.hex().upper().encode(),
]


@pytest.mark.parametrize("reads", [1, 3, 40])
@pytest.mark.parametrize("before", [b"", b"B", b"Bo", b"Bot "])
@pytest.mark.parametrize("encode", ENCODERS)
def test_base64_and_hexadecimal_forms_are_redacted(
    encode: Callable[[bytes], bytes], before: bytes, reads: int
) -> None:
    made = Trace()
    lookup = made.recorder.lookup(config_with(token=ENCODED_TOKEN), f"{API}/gateway", now=0.0)
    encoded = encode(before + ENCODED_TOKEN.encode() + b"?~")
    answer = b"HTTP/1.1 401 No\r\n\r\n" + b'{"you": "' + encoded + b'"}'

    size = -(-len(answer) // reads)
    for at in range(0, len(answer), size):
        lookup.receive_data(answer[at : at + size], now=1.0)
    lookup.receive_eof(now=2.0)

    written, middle = _written(made.lines).replace(b"\\\\", b"\\"), encoded[8:-8]
    assert b'"you"' in written.replace(b"\\", b"")
    for at in range(0, len(middle) - 12, 4):
        assert middle[at : at + 12] not in written
