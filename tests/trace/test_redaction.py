"""Redaction: a trace contains no secret, however a server echoes it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway_proto import Client, Closed, Ready, Resumed, trace
from gateway_proto.encoding import etf
from gateway_proto.server import Server, ServerConfig
from gateway_proto.testing import Link
from gateway_proto.trace import read
from gateway_proto.trace.serialize import to_json_value, value_from_json
from tests import record_demo_trace
from tests.trace.support import (
    API,
    HELLO,
    READY,
    TOKEN,
    Trace,
    assert_hides,
    config_with,
    differences,
    random_source,
)

SHAPES = [
    TOKEN,
    'quo"ted\\back\\slashed/token',
    "x" * 24 + "%41&key=value",
    "secret",
    "any",
    "t",
]


@pytest.mark.parametrize(
    "chopped", [0, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 10, 1000))]
)
@pytest.mark.parametrize("token", SHAPES)
@pytest.mark.parametrize("compression", ["none", "payload", "zlib-stream", "zstd-stream"])
def test_token_echoed_by_a_server_is_redacted(token: str, compression: str, chopped: int) -> None:
    made = Trace()
    config = config_with(token=token, compression=compression)
    chop = (
        (lambda data: [data[i : i + chopped] for i in range(0, len(data), chopped)])
        if chopped
        else lambda data: (data,)
    )
    server = Server(ServerConfig(random=random_source()))
    link = Link(made.recorder.client(config), server, chop=chop)
    link.run(1)
    size = 300 if chopped == 1 else 1500
    for echo in (
        {"token": token, "long": "x" * size},
        {"content": f"no secret {'y' * size}"},
        *([] if chopped in (1, 10) else [{"token": token, "very_long": "x" * 70_000}]),
        *([] if len(token) < 6 else [{"content": f"is it {token}?"}, {token: [token]}]),
        {"content": "after it"},
    ):
        server.dispatch("ECHO", echo, now=link.now, to=lambda _: True)
        link.run(1)
    link.cut()
    link.run(10)
    link.client.expect(Resumed)
    for present in server.open_connections:
        present.close(4000, token if len(token) > 5 else "", now=link.now)
    link.run(10)

    lines = made.close()
    assert "after it" in "".join(lines)
    if len(token) < 6:
        assert differences(lines) == []
        assert not re.search(rf'token\\*":\\*"{token}\\*"', "".join(lines))
    else:
        assert_hides(lines, token)
        echoes = [e["d"] for ln in read(lines) for e in ln.get("events", ()) if "d" in e]
        assert any("is it" in str(d) for d in echoes)


@pytest.mark.parametrize("token", SHAPES[:3])
def test_token_escaped_for_json_or_urls_is_redacted(token: str) -> None:
    made = Trace()
    connection = made.recorder.connection(
        config_with(token=token), "ws://localhost", now=0.0, framing=False
    )
    connection.receive_message(HELLO, now=0.0)
    connection.receive_message(READY, now=0.0)
    escaped = "".join(f"\\u{ord(c):04X}" for c in token)
    percent = "".join(f"%{ord(c):02x}" for c in token)
    inside = json.dumps(json.dumps({"a": token}))
    for text in (f'"{escaped}"', f'"{percent}"', inside, json.dumps(token).replace("/", "\\/")):
        connection.receive_message(f'{{"op":0,"t":"A","s":2,"d":{text}}}', now=1.0)
    connection.events()

    lines = made.close()
    assert_hides(lines, token, escaped, escaped.lower(), percent)


@pytest.mark.parametrize("encoding", ["json", "etf"])
def test_server_trace_redacts_received_tokens(encoding: str) -> None:
    if encoding == "etf" and not etf.available():
        pytest.skip("the extra etf is not installed")
    made = Trace()
    server = made.recorder.server(ServerConfig(random=random_source()))
    link = Link(Client(config_with(encoding=encoding, use_gateway_bot=True)), server)
    link.run(1)
    link.cut()
    link.run(10)

    lines = made.close()
    assert_hides(lines, TOKEN)
    assert "Authorization: Bot x" in "".join(lines)
    assert [e["type"] for ln in read(lines) for e in ln.get("events", ())].count("Resume") == 1


def test_token_in_unknown_or_echoed_data_is_redacted() -> None:
    pytest.importorskip("erlpack")
    made, connection = _opened()
    term = etf.pack({"op": 99, "d": {"content": TOKEN}})
    infinite = b"F\x7f\xf0\0\0\0\0\0\0"
    content = b"m" + len(TOKEN).to_bytes(4, "big") + TOKEN.encode()
    d = b"t\0\0\0\x02m\0\0\0\x01a" + infinite + b"m\0\0\0\x01b" + content
    broken = b"\x83t\0\0\0\x03m\0\0\0\x02opa\0m\0\0\0\x01tm\0\0\0\x01Xm\0\0\0\x01d" + d
    ping = b"\xff" + TOKEN.encode()

    for code, data in ((0x82, term), (0x82, broken), (0x89, ping)):
        connection.receive_data(bytes([code, len(data)]) + data, now=2.0)
    connection.data_to_send()
    connection.events()

    lines = made.close()
    assert_hides(lines, TOKEN)
    unknown = {"type": "UnknownPayload", "op": 99, "message": None, "name": None}
    assert {**unknown, "d": {"content": "x" * 47 + "1"}} in [
        event for line in read(lines) for event in line.get("events", ())
    ]


def test_interaction_and_voice_tokens_are_redacted() -> None:
    made = Trace()
    server = Server()
    link = Link(made.recorder.client(config_with(compression="zlib-stream")), server)
    link.run(1)
    for token in ("interaction-token", "interaction-token", "voice-token", 5, None, ""):
        server.dispatch("X", {"token": token}, now=link.now, to=lambda _: True)
        link.run(1)

    assert_hides(made.close(), TOKEN, "interaction-token", "voice-token")


@pytest.mark.slow
def test_cost_of_redaction_is_bounded_for_many_tokens() -> None:
    made = Trace()
    connection = made.recorder.connection(config_with(), "ws://localhost", now=0.0, framing=False)
    connection.receive_message(HELLO, now=0.0)
    connection.receive_message(READY, now=0.0)
    tokens = [f"token-number-{n}-of-an-interaction" for n in (*range(300), 0)]
    for n, token in enumerate(tokens):
        text = json.dumps({"op": 0, "t": "A", "s": n + 2, "d": {"token": token, "again": token}})
        connection.receive_message(text, now=0.1)
    connection.events()

    lines = made.close()
    assert_hides(lines, *tokens)
    again = [
        e["d"]["again"] for ln in read(lines) for e in ln.get("events", ()) if "again" in str(e)
    ]
    assert again[0] == again[-1]
    assert len(set(again)) == 300


def test_keys_in_urls_are_redacted() -> None:
    made = Trace()
    url = "ws://localhost/?key=very-hidden&v=10&none="
    client = made.recorder.client(config_with(api_url=None, gateway_url=url))
    link = Link(client, Server())
    link.run(1)

    assert_hides(made.close(), "very-hidden")
    assert '"v","10"' not in "".join(made.lines) and "v=10" in "".join(made.lines)


def _opened() -> tuple[Trace, Any]:
    """Return a recorded connection; the test supplies the next bytes."""
    made = Trace()
    client = made.recorder.client(config_with(gateway_url="ws://localhost", api_url=None))
    link = Link(client, Server())
    link.run(1)
    return made, client.connection


def test_line_is_held_while_it_may_contain_part_of_a_token() -> None:
    made, connection = _opened()
    text = json.dumps({"op": 0, "t": "A", "s": 2, "d": TOKEN}).encode()
    frame = bytes([0x81, len(text)]) + text
    before = len(made.lines)

    connection.receive_data(frame[:40], now=2.0)
    connection.receive_data(frame[40:60], now=3.0)
    waiting = len(made.lines) - before
    connection.receive_data(frame[60:], now=4.0)

    assert waiting == 0
    reads = [line["with"]["data"] for line in read(made.lines)[before - 1 :]]
    assert reads[:2] == [{"utf8": ""}] * 2
    kept = base64.b64decode(reads[2]["base64"])
    assert kept == frame.replace(TOKEN.encode(), b"x" * (len(TOKEN) - 1) + b"1")


@pytest.mark.parametrize("size", [120, 200, 70_000])
@pytest.mark.parametrize("missing", [1, 30])
def test_incomplete_data_is_blank_at_the_end_of_the_trace(size: int, missing: int) -> None:
    made, connection = _opened()
    text = (TOKEN * (size // len(TOKEN) + 1))[:size].encode()
    length = {120: b"\x78", 200: b"\x7e\x00\xc8", 70_000: b"\x7f" + size.to_bytes(8, "big")}[size]
    pong, first = b"\x8a\x00", b"\x01\x05"
    data = pong + first + TOKEN[:5].encode() + b"\x80" + length + text[:-missing]

    connection.receive_data(data, now=2.0)
    connection.receive_eof(now=3.0)
    connection.events()

    (kept,) = [line["with"]["data"] for line in read(made.close()) if line.get("at") == 2.0]
    blank = bytes(size - missing)
    assert base64.b64decode(kept["base64"]) == pong + first + bytes(5) + b"\x80" + length + blank
    assert_hides(made.lines, TOKEN)


@pytest.mark.parametrize("masked", [False, True])
def test_header_of_an_incomplete_frame_is_recorded(masked: bool) -> None:
    made, connection = _opened()
    head = b"\x81\xfe" if masked else b"\x81"

    connection.receive_data(head, now=2.0)
    connection.receive_eof(now=3.0)

    (kept,) = [line["with"]["data"] for line in read(made.close()) if line.get("at") == 2.0]
    assert base64.b64decode(kept["base64"]) == head


@pytest.mark.parametrize("at", [1, 10, 30])
def test_truncated_token_at_the_end_of_an_answer_is_redacted(at: int) -> None:
    made = Trace()
    lookup = made.recorder.lookup(config_with(), f"{API}/gateway", now=0.0)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
    lookup.data_to_send()
    lookup.receive_data(head + TOKEN[:at].encode(), now=1.0)
    lookup.receive_eof(now=2.0)

    lines = made.close()
    assert (TOKEN[:at] in "".join(lines)) == (at < 4)
    assert differences(lines) == []


def test_trace_closed_early_omits_incomplete_data() -> None:
    made, connection = _opened()
    connection.receive_data(b"\x81\x7e\x00\xff" + TOKEN.encode(), now=2.0)
    half = made.recorder.connection(
        config_with(compression="zlib-stream"), "ws://localhost", now=2.0, framing=False
    )
    half.receive_message(b"\x78\x9c\x00", now=3.0)

    lines = made.close()

    assert_hides(lines, TOKEN)
    assert read(lines)[-1]["with"] == {"message": None}


def test_connection_continues_after_the_end_of_its_trace() -> None:
    made, connection = _opened()
    lines = len(made.close())

    connection.receive_data(b"\x89\x00", now=2.0)
    pong = connection.data_to_send()

    assert pong.startswith(b"\x8a")
    assert len(made.lines) == lines


def test_messages_of_one_payload_are_recorded_together() -> None:
    import zlib

    made = Trace()
    config = config_with(compression="zlib-stream")
    connection = made.recorder.connection(config, "ws://localhost", now=0.0, framing=False)
    deflate = zlib.compressobj()

    def receive(text: str, *, now: float) -> None:
        data = deflate.compress(text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
        for part in (data[:5], data[5:9], data[9:]):
            connection.receive_message(part, now=now)

    receive(HELLO, now=1.0)
    receive(READY, now=1.1)
    receive(json.dumps({"op": 0, "t": "A", "s": 2, "d": TOKEN}), now=1.2)
    receive(json.dumps({"op": 0, "t": "B", "s": 3, "d": "later"}), now=1.3)
    connection.messages_to_send()
    connection.events()

    lines = made.close()
    assert_hides(lines, TOKEN)
    given = [line["with"]["message"] for line in read(lines) if "message" in line.get("with", {})]
    assert [None if value is None else next(iter(value)) for value in given] == [
        *["base64"] * 6,
        *[None, None, "text"] * 2,
    ]
    events = [e for line in read(lines) for e in line.get("events", ())]
    assert [e["d"] for e in events if e["type"] == "Dispatch"] == ["x" * 47 + "1", "later"][:2]


def test_payload_of_several_framed_messages_is_written_as_one() -> None:
    made = Trace()
    config = config_with(compression="zlib-stream", gateway_url="ws://localhost", api_url=None)
    client = made.recorder.client(config)
    link = Link(client, Server())
    link.run(1)
    connection: Any = client.connection
    text = json.dumps({"op": 0, "t": "A", "s": 9, "d": TOKEN}).encode()
    # A stored block does not depend on the compression context of the server.
    stored = b"\0" + len(text).to_bytes(2, "little") + (65535 - len(text)).to_bytes(2, "little")
    data = stored + text + b"\0\0\0\xff\xff"

    for part in (data[:50], data[50:]):
        connection.receive_data(bytes([0x82, len(part)]) + part, now=2.0)
    events = connection.events()

    assert [event.data for event in events] == [TOKEN]
    lines = made.close()
    reads = [
        line["with"]["data"] for line in read(lines) if line.get("at") == 2.0 and "call" in line
    ]
    assert reads[0] == {"utf8": ""}
    assert_hides(lines, TOKEN)


def test_invalid_compressed_data_is_recorded_unchanged() -> None:
    made = Trace()
    config = config_with(compression="zlib-stream")
    connection = made.recorder.connection(config, "ws://localhost", now=0.0, framing=False)
    connection.receive_message(b"\x00\x01nonsense", now=1.0)
    connection.events()

    lines = made.close()
    assert differences(lines) == []
    assert "invalid zlib data" in lines[-1]


def test_undecodable_dispatch_is_recorded_as_text() -> None:
    made = Trace()
    connection = made.recorder.connection(config_with(), "ws://localhost", now=0.0, framing=False)
    connection.receive_message(HELLO, now=1.0)
    connection.receive_message(READY, now=1.0)
    connection.receive_message('{"op":0,"t":"A","s":2,"d":1e999}', now=1.0)
    connection.events()

    lines = made.close()
    assert differences(lines) == []
    assert '"d":{"utf8":"1e999"}' in lines[-1]


@pytest.mark.parametrize(
    "call",
    [
        lambda connection: connection.receive_close(4000, "bye \ud800", now=2.0),
        lambda connection: connection.receive_message(f'{{"op":99,"d":"\ud800 {TOKEN}"}}', now=2.0),
    ],
)
def test_lone_surrogate_is_recorded_and_replayed(call: Callable[[Any], None]) -> None:
    made = Trace()
    client = made.recorder.client(config_with(api_url=None, gateway_url="ws://localhost"))
    client.dial_failed("no \udcff", now=0.0)
    client.events()
    connection = client.dial_succeeded(now=1.0, framing=False)
    call(connection)
    connection.events()

    lines = made.close()
    assert [line["with"] for line in read(lines) if line.get("call") == "dial_failed"] == [
        {"error": "no \udcff"}
    ]
    assert "\\ud800" in "".join(lines)
    assert_hides(lines, TOKEN)


def test_events_may_be_msgspec_structs() -> None:
    class Happened(msgspec.Struct):
        name: str
        token_fingerprint: str
        at: float

    assert to_json_value([Happened("x", "y", float("inf"))]) == [
        {"type": "Happened", "name": "x", "at": None},
    ]


def test_value_of_unknown_type_is_recorded_by_type_name() -> None:
    assert to_json_value([object(), b"\xff"]) == [{"type": "object"}, {"latin1": "\xff"}]
    assert value_from_json(to_json_value(object())) is None


def test_recorded_server_without_random_source_uses_the_constant() -> None:
    made = Trace()
    link = Link(Client(config_with()), made.recorder.server())
    link.run(1)

    assert link.client.expect(Ready).session_id.startswith("80000000")
    assert differences(made.close()) == []


def test_demo_trace_in_docs_equals_a_new_recording() -> None:
    kept = record_demo_trace.FILE.read_text().splitlines()

    assert differences(kept) == []
    assert len(record_demo_trace.record()) == len(kept)
    assert max(line.get("waiting", 0) for line in read(kept)) > 50


def test_trace_module_exports_only_its_own_names() -> None:
    assert set(trace.__all__) <= set(vars(trace))
    assert Closed.__name__ not in trace.__all__
