"""Properties that hold for any input: the contract of a connection, in both roles."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Config,
    EarlyHeartbeats,
    LocalProtocolError,
    RequestAnswered,
    RequestFailed,
    RequestGuildMembers,
    Session,
    State,
    UpdatePresence,
    UpdateVoiceState,
    ZombiePolicy,
)
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.connection import BaseConnection
from gateway_proto.encoding import etf
from gateway_proto.server import Server, ServerConfig, World
from gateway_proto.session import token_fingerprint
from gateway_proto.urls import Url
from gateway_proto.versions import VERSIONS

AnyConnection = BaseConnection[Any, Any, Any]
ANY_VERSION = st.sampled_from(list(VERSIONS))
ENCODINGS = ["json", "etf"] if etf.available() else ["json"]
COMPRESSIONS = {
    version: sorted(compression.value for compression in protocol.compressions)
    for version, protocol in VERSIONS.items()
}
GUILDS = ({"id": "1", "name": "g" * 3000},)


def _config(
    version: int, compression: str = "none", encoding: str = "json", **policies: Any
) -> Config:
    given: dict[str, Any] = {
        "token": "t0ken",
        "version": version,
        "intents": 0,
        "unix_offset": 0.0,
        "compression": compression,
        "encoding": encoding,
        "gateway_url": "ws://localhost",
        **policies,
    }
    return Config(**given)


def _forms(version: int) -> st.SearchStrategy[tuple[str, str]]:
    """Yield the valid combinations of compression and encoding."""
    forms = [(c, e) for c in COMPRESSIONS[version] for e in ENCODINGS]
    return st.sampled_from([form for form in forms if form != ("payload", "etf")])


def _conversation(version: int, form: tuple[str, str]) -> tuple[bytes, bytes]:
    """Record the bytes of a client and a server up to a clean close."""
    client = ClientConnection(_config(version, *form), "ws://localhost", now=0.0)
    server = Server(ServerConfig(world=World(GUILDS)))
    connection = server.accept(now=0.0)
    there, back = b"", b""

    def exchange() -> None:
        nonlocal there, back
        for _ in range(4):
            up, down = client.data_to_send(), connection.data_to_send()
            there, back = there + up, back + down
            connection.receive_data(up, now=0.0)
            client.receive_data(down, now=0.0)

    nonce = client._frames._handshake._nonce  # type: ignore[union-attr]
    exchange()
    _NONCE_OF[back.partition(b"Sec-WebSocket-Accept: ")[2].partition(b"\r\n")[0]] = nonce
    assert client.state is State.READY
    for number in range(5):
        server.dispatch("N", {"number": number, "text": "\N{GRINNING FACE}" * 200}, now=0.0)
    client.send(UpdatePresence(since=1), now=0.0)
    exchange()
    connection.close(4000, "over", now=0.0)
    exchange()
    assert client.state is connection.state is State.CLOSED
    return there, back


_NONCE_OF: dict[bytes, Any] = {}


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    positions = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(positions)]


def _replay(connection: AnyConnection, pieces: list[bytes]) -> list[Any]:
    events: list[Any] = []
    for piece in pieces:
        connection.receive_data(piece, now=0.0)
        events += connection.events()
    return events


@settings(max_examples=60, deadline=None)
@given(ANY_VERSION, st.data(), st.lists(st.integers(0, 10**6), max_size=60))
def test_server_events_do_not_depend_on_chunk_sizes(
    version: int, data: st.DataObject, cuts: list[int]
) -> None:
    there, _ = _conversation(version, data.draw(_forms(version)))

    whole = _replay(Server(ServerConfig(world=World(GUILDS))).accept(now=0.0), [there])
    pieces = _replay(Server(ServerConfig(world=World(GUILDS))).accept(now=0.0), _split(there, cuts))

    assert pieces == whole
    assert len(whole) >= 3


@settings(max_examples=60, deadline=None)
@given(ANY_VERSION, st.data(), st.lists(st.integers(0, 10**6), max_size=60))
def test_client_events_do_not_depend_on_chunk_sizes(
    version: int, data: st.DataObject, cuts: list[int]
) -> None:
    form = data.draw(_forms(version))
    _, back = _conversation(version, form)

    whole = _replay(_same_nonce(version, form, back), [back])
    pieces = _replay(_same_nonce(version, form, back), _split(back, cuts))

    assert pieces == whole
    assert len(whole) >= 8


def _same_nonce(version: int, form: tuple[str, str], answer: bytes) -> ClientConnection:
    """Return a client that accepts the recorded upgrade response, despite its random nonce."""
    client = ClientConnection(_config(version, *form), "ws://localhost", now=0.0)
    accept = next(line for line in answer.split(b"\r\n") if b"Sec-WebSocket-Accept" in line)
    token = accept.partition(b": ")[2]
    handshake = client._frames._handshake  # type: ignore[union-attr]
    handshake._nonce = _NONCE_OF[token]
    return client


# ----- random histories of one connection -----


def _payload(encoding: str, op: int, d: Any, s: float | None, t: str | None) -> str | bytes:
    payload = {"op": op, "d": d, "s": s, "t": t}
    return json.dumps(payload) if encoding == "json" else etf.pack(payload)


_PAYLOADS = st.builds(
    _payload,
    st.sampled_from(ENCODINGS),
    st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 31, 43, 99]),
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            "x",
            [],
            {},
            {"heartbeat_interval": 1000},
            {"heartbeat_interval": 0},
            {"session_id": "s", "heartbeat_interval": 1000},
            {"token": "t0ken", "intents": 0, "properties": {}},
            {"token": "t0ken", "session_id": "s", "seq": 1},
            {"url": "ws://localhost/x"},
            {"since": None, "activities": None, "status": None, "afk": None},
            {"guild_id": "1", "members": [1], "chunk_index": 0, "chunk_count": 1},
            {"guild_id": "1", "members": [1], "nonce": "80000000-1"},
            {"opcode": 8, "retry_after": 1.5, "meta": {"guild_id": "1"}},
        ]
    ),
    st.one_of(st.none(), st.integers(0, 100), st.floats(0, 100)),
    st.sampled_from(
        [None, "READY", "RESUMED", "X", "GUILD_MEMBERS_CHUNK", "RATE_LIMITED", "CHANNEL_INFO"]
    ),
)
_STEPS = st.one_of(
    st.tuples(st.just("message"), st.one_of(_PAYLOADS, st.text(max_size=20))),
    st.tuples(st.just("message"), st.binary(max_size=40)),
    st.tuples(st.just("time"), st.floats(0, 100)),
    st.tuples(st.just("timer"), st.none()),
    st.tuples(st.just("pause"), st.none()),
    st.tuples(st.just("unpause"), st.none()),
    st.tuples(st.just("send"), st.integers(1, 130)),
    st.tuples(st.just("request"), st.none()),
    st.tuples(st.just("grant"), st.none()),
    st.tuples(st.just("clock"), st.sampled_from([0.0, 4.0, 100.0])),
    st.tuples(st.just("close"), st.sampled_from([1000, 4000])),
    st.tuples(st.just("receive_close"), st.sampled_from([None, 1000, 4000, 4004])),
    st.tuples(st.just("eof"), st.none()),
)


_POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "zombie_policy": st.sampled_from(ZombiePolicy),
        "early_heartbeats": st.sampled_from(EarlyHeartbeats),
        "identify_on_same_connection": st.booleans(),
        "skip_malformed": st.sampled_from([None, True, False]),
        "wait_for_identify_slot": st.booleans(),
        "presence": st.just(UpdatePresence()),
        "resume": st.booleans(),
    },
)


def _unframed(role: str, version: int, **policies: Any) -> AnyConnection:
    if role == "client":
        session = Session(
            id="s", sequence=1, version=version, token_fingerprint=token_fingerprint("t0ken")
        )
        resume = policies.pop("resume", False)
        return ClientConnection(
            _config(version, **policies),
            "ws://localhost",
            now=0.0,
            framing=False,
            session=session if resume else None,
        )
    target = "/" if version == 3 else f"/?v={version}"
    server = Server(ServerConfig(heartbeat_interval=2000))
    return server.accept(now=0.0, framing=False, target=target)


def _step(
    connection: AnyConnection, what: str, value: Any, now: float, requested: list[bool]
) -> float:
    match what:
        case "message":
            connection.receive_message(value, now=now)
        case "time":
            now += value
            connection.handle_timer(now=now)
        case "timer":
            at = connection.next_timer()
            now = now if at is None else max(now, at)
            connection.handle_timer(now=now)
        case "pause":
            connection.pause(now=now)
        case "unpause":
            connection.unpause(now=now)
            connection.handle_timer(now=now)
        case "send":
            # A server rejects it as a wrong type, a closed client as too late.
            for number in range(value):
                with contextlib.suppress(LocalProtocolError):
                    connection.send(UpdateVoiceState(number, None), now=now)
            with contextlib.suppress(LocalProtocolError):
                connection.send(UpdatePresence(), now=now)
        case "request" if isinstance(connection, ClientConnection):
            with contextlib.suppress(LocalProtocolError):
                connection.request(RequestGuildMembers("1", "q", 5), now=now, timeout=3.0)
                requested.append(True)
        case "grant" if isinstance(connection, ClientConnection):
            connection.grant_identify(now=now)
        case "clock":
            connection.check_clock(now + value, now=now)
        case "request" | "grant":
            pass
        case "close":
            connection.close(value, now=now)
        case "receive_close":
            connection.receive_close(value, now=now)
        case _:
            connection.receive_eof(now=now)
    return now


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["client", "server"]), ANY_VERSION, _POLICIES, st.lists(_STEPS, max_size=40))
def test_connection_keeps_its_contract_for_any_input(
    role: str, version: int, policies: dict[str, Any], steps: list[tuple[str, Any]]
) -> None:
    connection = _unframed(role, version, **policies)
    now = 0.0
    events: list[Any] = []
    requested: list[bool] = []
    for what, value in steps:
        was_closed = connection.state is State.CLOSED
        now = _step(connection, what, value, now, requested)
        new = connection.events()
        if was_closed:
            # After Closed: no events, timers or output, and inputs have no effect.
            assert new == []
            assert connection.state is State.CLOSED
            assert connection.messages_to_send() == []
            assert connection.close_to_send() is None
        events += new
        if what in ("message", "time", "timer", "unpause"):
            at = connection.next_timer()
            assert at is None or at > now, "a timer is due after handle_timer"
        if connection.state is State.CLOSED:
            assert connection.next_timer() is None
            connection.messages_to_send()
            connection.close_to_send()
        closed = [event for event in events if isinstance(event, Closed)]
        assert len(closed) == (connection.state is State.CLOSED)
        if closed:
            assert events[-1] is closed[0]
    # Every request is answered or fails exactly once, at the end at the latest.
    connection.receive_eof(now=now)
    events += connection.events()
    finished = [e.number for e in events if isinstance(e, RequestAnswered | RequestFailed)]
    assert sorted(finished) == list(range(1, requested.count(True) + 1))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["client", "server", "lookup"]), ANY_VERSION, st.lists(st.binary(max_size=200))
)
def test_malicious_bytes_never_raise(role: str, version: int, pieces: list[bytes]) -> None:
    connection: Any
    if role == "client":
        connection = ClientConnection(_config(version), "ws://localhost", now=0.0)
    elif role == "server":
        connection = Server().accept(now=0.0)
    else:
        connection = LookupConnection(
            _config(version), Url.parse("http://localhost/gateway"), now=0.0
        )
    events: list[Any] = []

    for piece in pieces:
        connection.receive_data(piece, now=0.0)
        connection.data_to_send()
        events += connection.events()
    connection.receive_eof(now=0.0)
    events += connection.events()

    assert connection.state is State.CLOSED
    assert [isinstance(event, Closed) for event in events].count(True) == 1
    assert isinstance(events[-1], Closed)
    connection.receive_data(b"more", now=0.0)
    connection.receive_eof(now=0.0)
    assert connection.events() == []


@settings(max_examples=100, deadline=None)
@given(ANY_VERSION, st.binary(min_size=1, max_size=300), st.booleans())
def test_malicious_frames_never_raise(version: int, garbage: bytes, to_client: bool) -> None:
    client = ClientConnection(_config(version), "ws://localhost", now=0.0)
    server = Server().accept(now=0.0)
    server.receive_data(client.data_to_send(), now=0.0)
    client.receive_data(server.data_to_send(), now=0.0)
    target: AnyConnection = client if to_client else server

    target.receive_data(garbage, now=0.0)
    target.data_to_send()
    target.receive_eof(now=0.0)

    assert isinstance(target.events()[-1], Closed)


@pytest.mark.parametrize("version", list(VERSIONS))
def test_lower_now_is_treated_as_the_previous_one(version: int) -> None:
    connection = _unframed("client", version)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":1000}}', now=50.0)
    before = connection.next_timer()

    connection.receive_message('{"op":10,"d":{"heartbeat_interval":1000}}', now=1.0)

    assert connection.next_timer() == before


@pytest.mark.parametrize("version", list(VERSIONS))
def test_invalid_calls_raise_without_effect(version: int) -> None:
    connection = _unframed("client", version)
    connection.events()
    connection.messages_to_send()
    before = (connection.state, connection.next_timer())

    with pytest.raises(LocalProtocolError):
        connection.send(object(), now=99.0)
    with pytest.raises(LocalProtocolError):
        connection.close(1005, now=99.0)
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"", now=99.0)
    with pytest.raises(LocalProtocolError):
        connection.data_to_send()

    assert (connection.state, connection.next_timer()) == before
    assert connection.events() == []
    assert connection.messages_to_send() == []


@pytest.mark.parametrize("version", list(VERSIONS))
def test_token_is_in_no_repr_of_a_whole_session(version: int) -> None:
    config = attrs.evolve(_config(version), token="very-secret")
    client = Client(config)
    connection = client.dial_succeeded(now=0.0)
    server = Server(ServerConfig(tokens=frozenset({"very-secret"})))
    accepted = server.accept(now=0.0)
    seen = [repr(config), repr(server.config), repr(client.next_dial())]
    for _ in range(4):
        accepted.receive_data(connection.data_to_send(), now=0.0)
        connection.receive_data(accepted.data_to_send(), now=0.0)
    assert connection.state is State.READY
    seen += [repr(event) for event in [*connection.events(), *accepted.events(), *client.events()]]
    seen += [repr(connection), repr(client), repr(client.session), repr(server)]

    assert len(seen) > 8
    assert not [text for text in seen if "very-secret" in text]
