"""Other servers of this protocol: the client accepts their deviations."""

from __future__ import annotations

import json
import zlib
from typing import Any

import attrs
import msgspec
import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Compression,
    Config,
    DataError,
    DialPurpose,
    Dispatch,
    HeartbeatAcked,
    Hello,
    Initiator,
    NextAction,
    RawCommand,
    Ready,
    ReconnectRequested,
    Resumed,
    Session,
    SessionInvalidated,
    State,
    UnknownPayload,
)
from gateway_proto.server import Server
from gateway_proto.session import token_fingerprint
from gateway_proto.testing import Link
from gateway_proto.wire.compression import zstd as zstd_module
from gateway_proto.wire.compressors import make_compressor
from tests.connections import after_hello, ready, sent_payloads, unframed
from tests.encodings import ENCODINGS

zstd = zstd_module()
CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost", random=lambda: 0.5)
SESSION = Session(id="s", sequence=7, version=10, token_fingerprint=token_fingerprint("t"))


def _bare(session: Session | None = None, **changes: Any) -> ClientConnection:
    return unframed(attrs.evolve(CONFIG, **changes), session)


def _receive(connection: ClientConnection, payload: dict[str, Any], now: float = 0.0) -> None:
    connection.receive_message(json.dumps(payload), now=now)


def _hello(session: Session | None = None, **changes: Any) -> ClientConnection:
    return after_hello(attrs.evolve(CONFIG, **changes), session)


def _ready(**d: Any) -> ClientConnection:
    return ready(CONFIG, **d)


# ----- sequences -----


@pytest.mark.parametrize("s", [0, 1.0, None])
def test_ready_with_any_sequence_is_accepted(s: float | None) -> None:
    connection = _hello()

    _receive(connection, {"op": 0, "t": "READY", "s": s, "d": {"session_id": "s"}})

    assert connection.state is State.READY
    assert connection.session is not None
    assert connection.session.sequence == int(s or 0)


def test_repeated_or_missing_sequence_is_accepted() -> None:
    """Rule 3: only a value changes it."""
    connection = _ready()
    for payload in ({"s": 5}, {"s": 5}, {"s": None}, {}):
        _receive(connection, {"op": 0, "t": "X", "d": {}, **payload})

    _receive(connection, {"op": 1})

    assert sent_payloads(connection) == [{"op": 1, "d": 5}]


def test_resume_replay_that_is_off_by_one_is_accepted() -> None:
    connection = _hello(SESSION)
    for sequence in (7, 8):
        _receive(connection, {"op": 0, "t": "X", "s": sequence, "d": {}})
    _receive(connection, {"op": 0, "t": "RESUMED", "s": 8, "d": {}})

    names = [event.name for event in connection.events() if isinstance(event, Dispatch)]
    assert names == ["X", "X", "RESUMED"]
    assert connection.state is State.READY


# ----- READY -----


def test_dispatch_before_ready_is_returned() -> None:
    connection = _hello()

    _receive(connection, {"op": 0, "t": "X", "s": 1, "d": {}})

    assert connection.state is State.IDENTIFYING
    assert isinstance(connection.events()[-1], Dispatch)


def test_session_id_may_be_an_integer() -> None:
    for _ in range(2):
        connection = _hello()
        _receive(connection, {"op": 0, "t": "READY", "s": 1, "d": {"session_id": 12345}})
        assert connection.session is not None
        assert connection.session.id == "12345"


def test_ready_without_shard_uses_the_configured_shard() -> None:
    connection = _hello(shard=(1, 2))

    _receive(connection, {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "s"}})

    assert connection.session is not None
    assert connection.session.shard == (1, 2)


@pytest.mark.parametrize("url", [{}, {"resume_gateway_url": None}])
def test_missing_resume_url_means_the_main_url(url: dict[str, Any]) -> None:
    """Rule 84."""
    link = Link(Client(CONFIG), Server())
    connection: Any = link.client.connection
    link.client.expect(Ready)
    assert connection.session is not None
    bare = _ready(**url)

    bare.receive_eof(now=1.0)
    client = Client(CONFIG, session=bare.session)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.purpose, dial.host) == (DialPurpose.RESUME, "localhost")


def test_numbers_may_be_floats() -> None:
    """Rule 77."""
    connection = _bare()
    _receive(connection, {"op": 10.0, "d": {"heartbeat_interval": 41250.5}})
    _receive(connection, {"op": 0.0, "t": "READY", "s": 1.0, "d": {"session_id": "s"}})

    assert connection.events()[1] == Hello(41250)
    assert connection.state is State.READY


# ----- heartbeats -----


@pytest.mark.parametrize("ack", [{"op": 11, "d": {"x": 1}}, {"op": 11}, {"op": 11, "d": 5, "s": 9}])
def test_heartbeat_ack_may_have_any_body(ack: dict[str, Any]) -> None:
    """Rule 3: its `s` is ignored."""
    connection = _ready()

    _receive(connection, ack)
    _receive(connection, {"op": 1})

    assert isinstance(connection.events()[0], HeartbeatAcked)
    assert sent_payloads(connection) == [{"op": 1, "d": 1}]


# ----- op 7 and op 9 -----


@pytest.mark.parametrize(
    "op7", [{"op": 7}, {"op": 7, "d": None}, {"op": 7, "d": 5}, {"op": 7, "d": False}]
)
@pytest.mark.parametrize("version", [3, 4, 10])
def test_op_7_may_have_any_body_and_precede_hello(op7: dict[str, Any], version: int) -> None:
    """Rule 28."""
    connection = _bare(version=version, unix_offset=0.0)

    _receive(connection, op7)
    _receive(connection, {"op": 0, "t": "X", "s": 1, "d": {}})
    connection.receive_close(1000, now=0.0)

    events = connection.events()
    assert events[-2] == ReconnectRequested()
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert (closed.initiator, closed.code) == (Initiator.SELF, 4000)


@pytest.mark.parametrize("d", [None, False, 0, 1, "true", {}, {"resumable": True}, [True]])
@pytest.mark.parametrize("version", [3, 5, 10])
def test_op_9_with_other_values_than_true_ends_the_session(d: Any, version: int) -> None:
    """Rule 33."""
    session = msgspec.structs.replace(SESSION, version=version)
    connection = _bare(session, version=version, unix_offset=0.0)

    _receive(connection, {"op": 9, "d": d})

    assert SessionInvalidated(resumable=False) in connection.events()
    assert connection.session is None


def test_op_9_without_d_causes_a_new_connection() -> None:
    connection = _hello(SESSION)
    connection.messages_to_send()

    _receive(connection, {"op": 9})

    assert connection.state is State.CLOSED
    assert connection.close_to_send() == (4000, "session invalidated")


# ----- what is unknown -----


@pytest.mark.parametrize(
    "payload",
    [{"op": 12, "d": []}, {"op": 99}, {"op": -1}, {"op": 2.5}, {"message": "oh no", "code": 0}, {}],
)
def test_unknown_payload_is_only_reported(payload: dict[str, Any]) -> None:
    """Rule 78."""
    connection = _ready()

    _receive(connection, payload)

    (unknown,) = connection.events()
    assert isinstance(unknown, UnknownPayload)
    assert connection.state is State.READY


def test_dispatch_without_name_or_data_is_accepted() -> None:
    """Rule 78."""
    connection = _ready()

    _receive(connection, {"op": 0})

    (dispatch,) = connection.events()
    assert isinstance(dispatch, Dispatch)
    assert (dispatch.name, dispatch.sequence, dispatch.data) == ("", None, None)


@pytest.mark.parametrize("code", [1009, 3000, 4000, 4099, 4500])
def test_undocumented_close_code_causes_resume(code: int) -> None:
    connection = _ready()

    connection.receive_close(code, "whatever they say", now=0.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.next_action is NextAction.RESUME


# ----- compression -----


def test_zstd_compression_may_use_one_frame_per_message() -> None:
    connection = _bare(compression="zstd-stream")
    for payload in (
        {"op": 10, "d": {"heartbeat_interval": 1000}},
        {"op": 0, "t": "READY", "s": 1, "d": {"session_id": "s"}},
    ):
        connection.receive_message(zstd.compress(json.dumps(payload).encode()), now=0.0)

    assert connection.state is State.READY


def test_zlib_compression_may_use_chunks_of_1024_bytes() -> None:
    """Rule 69: as separate WebSocket messages; fragments are joined earlier."""
    connection = _bare(compression="zlib-stream")
    sender = zlib.compressobj(0)
    text = b'{"op":10,"d":{"heartbeat_interval":1000,"_trace":["' + b"x" * 5000 + b'"]}}'
    whole = sender.compress(text) + sender.flush(zlib.Z_SYNC_FLUSH)

    for at in range(0, len(whole), 1024):
        connection.receive_message(whole[at : at + 1024], now=0.0)

    assert connection.events()[-1] == Hello(1000)


@pytest.mark.parametrize("compression", ["none", "payload", "zlib-stream", "zstd-stream"])
@pytest.mark.parametrize("binary", [False, True])
def test_plain_json_is_accepted_despite_compression(compression: str, binary: bool) -> None:
    """Rules 73 and 80."""
    connection = _bare(compression=compression)
    text = '{"op":10,"d":{"heartbeat_interval":1000}}'

    connection.receive_message(text.encode() if binary else text, now=0.0)

    assert connection.events()[-1] == Hello(1000)


def test_resumed_during_identify_is_ignored() -> None:
    connection = _hello()

    _receive(connection, {"op": 0, "t": "RESUMED", "s": 1, "d": None})

    assert connection.state is State.IDENTIFYING


def test_resumed_without_body_is_accepted() -> None:
    connection = _hello(SESSION)

    _receive(connection, {"op": 0, "t": "RESUMED"})

    assert isinstance(connection.events()[-1], Resumed)
    assert connection.state is State.READY


# ----- bodies that the decoder rejects -----

UNDECODABLE = {
    "lone surrogate": rb'{"content":"cut in \ud83d the middle"}',
    "NaN": b'{"content":NaN}',
    "control character": b'{"content":"a\tb"}',
    "deep nesting": b"[" * 5000 + b"]" * 5000,
    "huge number": b'{"content":1e999}',
}


@pytest.mark.parametrize("compression", ["none", "zlib-stream", "zstd-stream"])
@pytest.mark.parametrize("body", UNDECODABLE.values(), ids=UNDECODABLE)
def test_undecodable_body_keeps_the_connection(compression: str, body: bytes) -> None:
    sender = make_compressor(Compression(compression))
    connection = _bare(compression=compression)
    texts = (
        b'{"op":10,"d":{"heartbeat_interval":40000}}',
        b'{"op":0,"t":"READY","s":1,"d":{"session_id":"s"}}',
        b'{"t":"A","s":2,"op":0,"d":' + body + b"}",
    )
    for text in texts:
        connection.receive_message(sender.send(text, large=False), now=0.0)

    dispatch = connection.events()[-1]
    assert isinstance(dispatch, Dispatch)
    assert dispatch.sequence == 2
    assert connection.session is not None
    assert connection.session.sequence == 2

    following = b'{"t":"B","s":3,"op":0,"d":1}'
    connection.receive_message(sender.send(following, large=False), now=0.0)
    assert connection.events() == [Dispatch.of("B", 1, 3)]


@pytest.mark.parametrize("d", [rb'"\ud83d"', b"NaN", b'{"a":"\\ud83d"}', b"tru"])
def test_complete_compression_payload_is_never_delayed(d: bytes) -> None:
    sender = make_compressor(Compression.ZLIB_STREAM)
    connection = _bare(compression="zlib-stream")
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":40000}}', now=0.0)
    connection.events()

    text = b'{"t":"A","s":2,"op":0,"d":' + d + b"}"
    connection.receive_message(sender.send(text, large=False), now=0.0)

    (dispatch,) = connection.events()
    assert isinstance(dispatch, Dispatch)
    assert dispatch.raw == d


@pytest.mark.parametrize("d", [rb'"cut \ud83d off"', b'{"a":[1,null,"x"],"b":-1.5e3}', b"NaN"])
def test_compression_payload_in_complete_parts_is_joined(d: bytes) -> None:
    """Rule 69."""
    text = b'{"t":"A","s":2,"op":0,"d":' + d + b"}"
    for at in range(1, len(text)):
        sender = zlib.compressobj()
        connection = _bare(compression="zlib-stream")
        connection.receive_message('{"op":10,"d":{"heartbeat_interval":40000}}', now=0.0)
        connection.events()

        for part in (text[:at], text[at:]):
            data = sender.compress(part) + sender.flush(zlib.Z_SYNC_FLUSH)
            connection.receive_message(data, now=0.0)

        (dispatch,) = connection.events()
        assert isinstance(dispatch, Dispatch)
        assert (dispatch.name, dispatch.sequence, dispatch.raw) == ("A", 2, d)


def test_ready_with_a_lone_surrogate_starts_a_session() -> None:
    connection = _hello()

    connection.receive_message(
        r'{"op":0,"t":"READY","s":1,"d":{"user":{"username":"\ud83d"},"session_id":"s"}}', now=0.0
    )

    assert connection.state is State.READY
    assert isinstance(connection.events()[-1], Ready)


SURROGATES = {
    "in place of an object": (rb'"\ud800"', None),
    "key": (rb'{"\ud800":1,"a":"b"}', "b"),
    "field of another type": (rb'{"a":"b","n":"\ud800"}', None),
    "key beside NaN": (rb'{"\ud800":NaN,"a":"b"}', "b"),
    "key in a list": (rb'{"a":"b","of":[{"\ud800":1}]}', "b"),
    "value": (rb'{"a":"b","\u0064":"\ud800"}', "b"),
}


class _Inner(msgspec.Struct):
    a: str = ""


class _Outer(msgspec.Struct):
    a: str
    n: int = 0
    of: list[_Inner] = []


@pytest.mark.parametrize(("d", "expected"), SURROGATES.values(), ids=SURROGATES)
def test_lone_surrogate_is_decoded_or_raises_data_error(d: bytes, expected: str | None) -> None:
    connection = _ready()
    connection.receive_message(b'{"op":0,"t":"A","s":2,"d":' + d + b"}", now=0.0)
    dispatch = connection.events()[-1]
    assert isinstance(dispatch, Dispatch)

    if expected is None:
        with pytest.raises(DataError, match="Expected"):
            dispatch.decode(_Outer)
    else:
        assert dispatch.decode(_Outer).a == expected


def test_too_deeply_nested_value_raises_data_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def convert(value: Any, type_: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr(msgspec, "convert", convert)

    with pytest.raises(DataError, match="nested too deeply"):
        Dispatch("A", 1, msgspec.Raw(b"NaN")).decode(list[int])


@pytest.mark.parametrize(
    "payload",
    [
        r'{"op":10,"d":"\ud800"}',
        r'{"op":9,"d":"\ud800"}',
        r'{"op":7,"d":"\ud800"}',
        r'{"op":7,"d":{"url":"\ud800","\ud800":1}}',
        r'{"op":0,"t":"READY","s":1,"d":"\ud800"}',
        r'{"op":0,"t":"RESUMED","s":1,"d":"\ud800"}',
        r'{"op":0,"t":"RATE_LIMITED","s":1,"d":"\ud800"}',
        r'{"op":0,"t":"RATE_LIMITED","s":1,"d":{"opcode":8,"meta":"\ud800"}}',
        r'{"op":0,"t":"RATE_LIMITED","s":1,"d":{"opcode":8,"meta":{"\ud800":1}}}',
        r'{"op":0,"t":"GUILD_MEMBERS_CHUNK","s":1,"d":"\ud800"}',
    ],
)
@pytest.mark.parametrize("version", [3, 10])
def test_lone_surrogate_in_any_payload_never_raises(version: int, payload: str) -> None:
    config = attrs.evolve(CONFIG, version=version, unix_offset=0.0)
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    for message in ('{"op":10,"d":{"heartbeat_interval":40000}}', payload):
        connection.receive_message(message, now=0.0)
        connection.handle_timer(now=0.0)

    assert connection.events()


class _Text(str):
    pass


class _Whole(int):
    pass


class _Float(float):
    pass


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_subclasses_of_str_and_numbers_are_encoded_as_these(encoding: str) -> None:
    d = {"a": _Text("b"), "n": [_Whole(3), _Float(1.5)]}
    plain = _sent(RawCommand(99, {"a": "b", "n": [3, 1.5]}), encoding)

    assert _sent(RawCommand(99, d), encoding) == plain


def _sent(command: RawCommand, encoding: str) -> list[str | bytes]:
    connection = _bare(encoding=encoding)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":40000}}', now=0.0)
    connection.receive_message('{"op":0,"t":"READY","s":1,"d":{"session_id":"s"}}', now=0.0)
    connection.messages_to_send()
    connection.send(command, now=0.0)
    return connection.messages_to_send()
