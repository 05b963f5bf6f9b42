"""The fast path of dispatches returns the same as the general path."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import (
    ClientConnection,
    Closed,
    Config,
    DataError,
    Dispatch,
    Encoding,
    HeartbeatLate,
    HeartbeatSent,
    Initiator,
    MalformedPayload,
    NextAction,
    Ready,
    State,
)
from gateway_proto.encoding import etf
from gateway_proto.wire.fast_frames import MessageBatch
from gateway_proto.wire.server_frames import ServerFrames
from tests.messages import one_by_one
from tests.wire.support import server_frame

Message = str | bytes
NUMBERS = [None, 0, 1, 7, 7.0, 7.5, -1, 2**63 - 1, 2**63, 2**70, "7"]
KEYS = {
    "op": st.sampled_from([0, 0, 0, 0.0, 1, 7, 9, 10, 11, 99, None, "0", -1]),
    "t": st.sampled_from(["A", "B", "READY", "RESUMED", "GUILD_MEMBERS_CHUNK", "", None, 5]),
    "s": st.sampled_from(NUMBERS),
    "d": st.sampled_from([{}, {"session_id": "s"}, {"heartbeat_interval": 1000}, "ä", None, True]),
}
payloads = st.fixed_dictionaries({}, optional=KEYS).map(
    lambda payload: json.dumps(payload, ensure_ascii=False)
)
usual = st.builds(
    lambda name, sequence: json.dumps({"t": name, "s": sequence, "op": 0, "d": {"n": sequence}}),
    st.sampled_from(["A", "B", "GUILD_MEMBERS_CHUNK"]),
    st.integers(2, 99),
)
odd = st.sampled_from(
    [
        '{"t":"A","s":1,"d":{}}',
        '{"op":11,"t":"A","s":1,"op":0,"d":1}',
        '{"op":0,"t":"A","s":1,"d":',
        "[]",
        "",
        "null",
        '{"op":0,"t":"A","s":1,"d":' + "[" * 3000 + "]" * 3000 + "}",
    ]
)
texts = st.lists(st.one_of(usual, usual, payloads, odd), max_size=12)
BAD = b'{"op":0,"t":"A","s":3,"d":"\xff"}'


class GeneralPath(ClientConnection):
    """A connection that uses the general path for every message."""

    def _fast_path_allowed(self) -> bool:
        return False


def _connection(
    compression: str, kind: type[ClientConnection] = ClientConnection
) -> ClientConnection:
    config = Config(
        token="t", intents=0, gateway_url="ws://localhost", compression=compression, random=_half
    )
    connection = kind(config, "ws://localhost", now=0.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":40000}}', now=0.0)
    return connection


def _half() -> float:
    return 0.5


def _compressor(compression: str) -> Callable[[str], Message]:
    if compression == "none":
        return lambda text: text
    context = zlib.compressobj()
    return lambda text: context.compress(text.encode()) + context.flush(zlib.Z_SYNC_FLUSH)


def _outcome(
    connection: ClientConnection, messages: list[Message], is_text: bool
) -> tuple[Any, ...]:
    connection._process([MessageBatch(messages, is_text)], 1.0)
    session = connection.session
    sent = connection.messages_to_send(), connection.close_to_send()
    return connection.events(), connection.state, session, sent, connection.next_timer()


@pytest.mark.parametrize("compression", ["none", "zlib-stream"])
@given(texts=texts, cut=st.integers(0, 40), data=st.booleans())
@settings(max_examples=300, deadline=None)
def test_fast_and_general_path_give_equal_results(
    compression: str, texts: list[str], cut: int, data: bool
) -> None:
    compress = _compressor(compression)
    ready = '{"op":0,"t":"READY","s":1,"d":{"session_id":"s"}}'
    messages = [compress(text) for text in [ready, *texts]]
    is_text = compression == "none" and not data
    if compression == "none":
        messages = [*(str(message).encode() for message in messages), BAD]
    elif compression != "none":
        # A payload may span several messages.
        *before, last = messages
        messages = [*before, last[:cut], last[cut:]]
    short, long = _connection(compression), _connection(compression, GeneralPath)

    assert _outcome(short, messages, is_text) == _outcome(long, messages, is_text)


def test_dispatches_use_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = _connection("none")
    connection.receive_message('{"op":0,"t":"READY","s":1,"d":{"session_id":"s"}}', now=0.0)
    assert isinstance(connection.events()[-1], Ready)
    monkeypatch.setattr(ClientConnection, "_process_payload_text", None)

    connection.receive_message('{"op":0,"t":"A","s":2,"d":null}', now=0.0)

    assert connection.events() == [Dispatch.of("A", None, 2)]
    assert connection.state is State.READY
    assert connection.session is not None
    assert connection.session.sequence == 2


def test_compression_payload_may_span_messages_on_general_path() -> None:
    compress = _compressor("zlib-stream")
    connection = _connection("zlib-stream", GeneralPath)
    message = compress('{"op":0,"t":"READY","s":1,"d":{"session_id":"s"}}')

    connection.receive_message(message[:9], now=0.0)
    assert connection.state is State.IDENTIFYING
    connection.receive_message(message[9:], now=0.0)

    assert connection.state is State.READY


# ----- text that is not UTF-8 -----


def _open_framed() -> ClientConnection:
    config = Config(token="t", intents=0, gateway_url="ws://localhost", random=_half)
    connection = ClientConnection(config, "ws://localhost", now=0.0)
    server = ServerFrames(limit=1000)
    one_by_one(server.receive(connection.data_to_send()))
    one_by_one(server.accept())
    connection.receive_data(server.data_to_send(), now=0.0)
    for text in (
        b'{"op":10,"d":{"heartbeat_interval":40000}}',
        b'{"op":0,"t":"READY","s":1,"d":{"session_id":"s"}}',
    ):
        connection.receive_data(server_frame(1, text), now=0.0)
    connection.events()
    return connection


def _in_fragments(text: bytes) -> bytes:
    return server_frame(1, text[:9], fin=False) + server_frame(0, text[9:])


@pytest.mark.parametrize("frames", [lambda text: server_frame(1, text), _in_fragments])
@pytest.mark.parametrize("other_order", [False, True])
def test_body_that_is_not_utf_8_costs_only_its_data(
    frames: Callable[[bytes], bytes], other_order: bool
) -> None:
    connection = _open_framed()
    bad = b'{"d":"\xff","op":0,"t":"A","s":2}' if other_order else BAD.replace(b":3", b":2")
    good = b'{"op":0,"t":"A","s":3,"d":"\xc3\xa4"}'

    connection.receive_data(frames(bad) + frames(good), now=0.0)

    first, second = connection.events()
    assert isinstance(first, Dispatch) and isinstance(second, Dispatch)
    assert (first.name, first.sequence, first.raw) == ("A", 2, b'"\xff"')
    with pytest.raises(DataError, match="invalid UTF-8"):
        _ = first.data
    assert second == Dispatch.of("A", "\N{LATIN SMALL LETTER A WITH DIAERESIS}", 3)
    assert connection.state is State.READY
    assert connection.session is not None and connection.session.sequence == 3


@pytest.mark.parametrize("frames", [lambda text: server_frame(1, text), _in_fragments])
@pytest.mark.parametrize("text", [b"\xff", b'{"op":0,"t":"\xff","s":2}', b'{"op":11,"\xff":'])
def test_text_that_is_neither_payload_nor_utf_8_closes_with_1007(
    frames: Callable[[bytes], bytes], text: bytes
) -> None:
    """RFC 6455, section 8.1."""
    connection = _open_framed()

    connection.receive_data(frames(text) + frames(b'{"op":0,"t":"A","s":2}'), now=0.0)

    (closed,) = connection.events()
    assert isinstance(closed, Closed)
    assert (closed.code, closed.initiator) == (1007, Initiator.SELF)
    assert closed.next_action is NextAction.RESUME
    assert closed.error is not None and "can't decode byte 0xff" in closed.error


def test_binary_message_that_is_not_utf_8_is_malformed() -> None:
    connection = _open_framed()

    connection.receive_data(server_frame(2, b"{\xff") + server_frame(1, BAD), now=0.0)

    malformed, dispatch = connection.events()
    assert isinstance(malformed, MalformedPayload)
    assert isinstance(dispatch, Dispatch)


# ----- sequences and heartbeats -----


@pytest.mark.parametrize("encoding", ["json", "etf"])
def test_heartbeat_has_the_last_sequence_on_every_path(encoding: str) -> None:
    """The heartbeat carries the last sequence received, not the largest."""
    if encoding == "etf":
        pytest.importorskip("erlpack")
    connection = _after_hello(encoding)
    for sequence in (7, 9, 4):
        _receive(connection, encoding, {"op": 0, "t": "X", "s": sequence, "d": {}})
    connection.messages_to_send()

    _receive(connection, encoding, {"op": 1, "d": None})

    (sent,) = [event for event in connection.events() if isinstance(event, HeartbeatSent)]
    assert sent.d == 4
    assert connection.session is not None and connection.session.sequence == 4


def test_requested_heartbeat_does_not_move_the_scheduled_one() -> None:
    """Rule 4: neither its timer nor the time from which its delay is counted."""
    connection = _after_hello("json")
    due = connection.next_timer()
    assert due is not None

    connection.receive_message('{"op":1,"d":null}', now=due - 1.0)
    assert connection.next_timer() == due
    connection.events()
    connection.handle_timer(now=due + 3.0)

    assert HeartbeatLate(3.0) in connection.events()


def _after_hello(encoding: str) -> ClientConnection:
    config = Config(token="t", intents=0, gateway_url="ws://localhost", encoding=Encoding(encoding))
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    _receive(connection, encoding, {"op": 10, "d": {"heartbeat_interval": 40960}})
    _receive(connection, encoding, {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "s"}})
    connection.events()
    return connection


def _receive(connection: ClientConnection, encoding: str, payload: dict[str, Any]) -> None:
    message: str | bytes = json.dumps(payload) if encoding == "json" else etf.pack(payload)
    connection.receive_message(message, now=0.0)
