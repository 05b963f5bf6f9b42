"""Dispatches: recipients, order, limits, and data that cannot be encoded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import gateway_proto.server.dispatches
from gateway_proto import (
    Client,
    Closed,
    Config,
    Dispatch,
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    LocalProtocolError,
    ReconnectRequested,
    SessionInvalidated,
    State,
    UpdatePresence,
)
from gateway_proto.encoding import etf
from gateway_proto.server import Server, ServerConfig, ServerConnection, World
from gateway_proto.testing import Link
from tests.server.support import (
    accept_connection,
    identify_on,
    ready_connection,
    resume_on,
    sent_payloads,
)


def test_each_server_message_is_received_as_an_equal_event() -> None:
    link = Link(Client(Config(token="t", intents=0, api_url="http://localhost/api")), Server())
    for message in (Hello(5000), HeartbeatRequested(), HeartbeatAcked(), Dispatch.of("X", 1, 50)):
        link.server.send(message)

        link.client.expect(message)


def test_dispatch_gets_the_next_sequence_unless_it_has_one() -> None:
    connection = ready_connection()
    connection.messages_to_send()

    connection.send(Dispatch.of("A", 1), now=0.0)
    connection.send(Dispatch.of("B", 2, 77), now=0.0)
    connection.send(Dispatch.of("C", 3), now=0.0)

    assert [(payload["t"], payload["s"]) for payload in sent_payloads(connection)] == [
        ("A", 2),
        ("B", 77),
        ("C", 3),
    ]


def test_unsendable_message_raises_local_error() -> None:
    connection = accept_connection()
    with pytest.raises(LocalProtocolError, match="needs a session"):
        connection.send(Dispatch.of("A", 1), now=0.0)
    with pytest.raises(LocalProtocolError, match="expected a ServerMessage"):
        connection.send(UpdatePresence(), now=0.0)
    connection.receive_eof(now=0.0)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        connection.send(Hello(1), now=0.0)


def test_dispatch_goes_to_the_selected_sessions() -> None:
    server = Server()
    first, second = accept_connection(server), accept_connection(server)
    identify_on(first, shard=[0, 2])
    identify_on(second, shard=[1, 2])
    first.messages_to_send()
    second.messages_to_send()

    count = server.dispatch("X", 1, now=0.0, to=lambda session: session.shard == (1, 2))

    assert count == 1
    assert sent_payloads(first) == []
    assert [payload["t"] for payload in sent_payloads(second)] == ["X"]
    with pytest.raises(LocalProtocolError, match="cannot be encoded as JSON"):
        server.dispatch("X", object(), now=0.0)


def test_recipients_are_the_sessions_that_a_dispatch_chooses() -> None:
    server = Server()
    connections = [accept_connection(server) for _ in range(3)]
    for shard_id, connection in zip((0, 1, 1), connections, strict=True):
        identify_on(connection, shard=[shard_id, 2], intents=1)
    first, second, lost = (connection.session for connection in connections)
    connections[2].receive_eof(now=0.0)
    guild = {"id": str(1 << 22)}

    assert server.recipients("GUILD_CREATE", guild, now=1.0) == [second, lost]
    assert server.recipients("GUILD_CREATE", guild, now=1e9) == [second]
    chosen = server.recipients("X", 1, now=1e9, to=lambda session: session.shard == (0, 2))
    assert chosen == [first]
    with pytest.raises(LocalProtocolError, match="guild_create"):
        server.recipients("guild_create", guild, now=1e9)


@pytest.mark.parametrize("name", ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"])
def test_dispatch_about_a_guild_goes_to_its_shard(name: str) -> None:
    server = Server()
    first, second = accept_connection(server), accept_connection(server)
    for number, connection in enumerate((first, second)):
        identify_on(connection, shard=[number, 2], intents=1)
        connection.messages_to_send()

    count = server.dispatch(name, {"id": str(1 << 22), "guild_id": "0"}, now=0.0)

    assert count == 1
    assert sent_payloads(first) == []
    assert [payload["t"] for payload in sent_payloads(second)] == [name]


def test_client_that_does_not_read_is_dropped_and_may_resume() -> None:
    server = Server(ServerConfig(output_limit=10_000))
    connection = ready_connection(server)

    for _ in range(20):
        server.dispatch("X", "y" * 1000, now=0.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.reason == "dropped"
    assert len(server.sessions) == 1
    assert not server.connections


@pytest.mark.parametrize("guild_id", [1 << 22, str(1 << 22), str(2**64 - (1 << 22))])
def test_guild_id_selects_the_shard_in_each_form(guild_id: int | str) -> None:
    server = Server()
    shards = [accept_connection(server) for _ in range(2)]
    for number, shard in enumerate(shards):
        identify_on(shard, shard=[number, 2], intents=0)
        sent_payloads(shard)

    server.dispatch("X", {"guild_id": guild_id}, now=0.0)

    assert [[p["t"] for p in sent_payloads(shard)] for shard in shards] == [[], ["X"]]


def test_change_from_outside_wakes_the_driver_of_a_connection() -> None:
    server = Server()
    connection = ready_connection(server)
    woken: list[str] = []
    connection.on_wake = lambda: woken.append("woken")

    server.dispatch("X", 1, now=0.0)
    assert woken == ["woken"]
    connection.drop(now=0.0)
    assert len(woken) == 2


@pytest.mark.skipif(not etf.available(), reason="the extra etf is not installed")
@pytest.mark.parametrize(
    ("encodings", "terms"),
    [
        (("json", "etf", "etf", "json", "etf"), [b'{"a":[1,null]}']),
        (("json", "json"), []),
    ],
)
def test_dispatch_to_many_sessions_is_encoded_once_per_encoding(
    encodings: tuple[str, ...], terms: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    real = gateway_proto.server.dispatches.json_to_etf

    def to_term(raw: bytes) -> bytes:
        written.append(raw)
        return real(raw)

    monkeypatch.setattr(gateway_proto.server.dispatches, "json_to_etf", to_term)
    server = Server()
    links = [
        Link(
            Client(Config(token="t", intents=0, gateway_url="ws://localhost", encoding=encoding)),
            server,
        )
        for encoding in encodings
    ]

    server.dispatch("X", {"a": [1, None]}, now=0.0)

    for link in links:
        link.run(0.01)
        dispatches = [event for event in link.client.events if isinstance(event, Dispatch)]
        assert dispatches[-1].data == {"a": [1, None]}
    assert written == terms


# ----- data that cannot be sent -----


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _etf_session(server: Server) -> ServerConnection:
    pytest.importorskip("erlpack")
    connection = accept_connection(server, "/?v=10&encoding=etf")
    identify_on(connection)
    connection.messages_to_send()
    return connection


ODD = [
    _nested(300),
    {"a": msgspec.Raw(b'"\\ud800"')},
    {"a": msgspec.Raw(b"garbage")},
    msgspec.Raw(b""),
    msgspec.Raw(b"[1"),
    {(1, 2): 3},
    object(),
    "\ud800",
]


@pytest.mark.parametrize("is_connected", [True, False])
@pytest.mark.parametrize("data", ODD, ids=lambda data: repr(data)[:20])
def test_invalid_dispatch_to_etf_session_has_no_effect(data: Any, is_connected: bool) -> None:
    server = Server()
    json_connection = ready_connection(server)
    json_connection.messages_to_send()
    connection = _etf_session(server)
    if not is_connected:
        connection.receive_eof(now=0.0)

    with pytest.raises(LocalProtocolError):
        server.dispatch("X", data, now=0.0)

    assert [session.sequence for session in server.sessions.values()] == [1, 1]
    assert json_connection.messages_to_send() == []


def test_lone_surrogates_are_sent_to_json_sessions_only() -> None:
    server = Server()
    connection = ready_connection(server)
    connection.messages_to_send()

    assert server.dispatch("X", msgspec.Raw(b'"\\ud800"'), now=0.0) == 1

    assert b"\\ud800" in b"".join(map(_as_bytes, connection.messages_to_send()))
    session = connection.session
    assert session is not None
    connection.receive_eof(now=0.0)
    pytest.importorskip("erlpack")
    again = resume_on(server, session.id, 1, target="/?v=10&encoding=etf")
    assert session.connection is None
    assert again.state is State.IDENTIFYING


def test_session_resumed_in_another_encoding_gets_its_dispatches() -> None:
    server = Server()
    connection = _etf_session(server)
    session = connection.session
    assert session is not None
    server.dispatch("A", {"b": 1}, now=0.0)
    connection.receive_eof(now=0.0)

    as_json = resume_on(server, session.id, 1)

    assert [p["d"] for p in sent_payloads(as_json)] == [{"b": 1}, {"_trace": []}]
    server.dispatch("C", {"d": 2}, now=0.0)
    as_etf = resume_on(server, session.id, 1, target="/?v=10&encoding=etf")
    assert as_etf.state is State.READY
    assert len(as_etf.messages_to_send()) == 3


@pytest.mark.parametrize(
    "guild_id",
    ["9" * 5000, 10**5000, 2**64, -1, "\u0661", True],
    ids=lambda id_: type(id_).__name__,
)
@pytest.mark.parametrize("name", ["MESSAGE_CREATE", "GUILD_CREATE"])
def test_invalid_guild_id_is_rejected(name: str, guild_id: Any) -> None:
    server = Server()
    connection = ready_connection(server)

    with pytest.raises(LocalProtocolError):
        server.dispatch(name, {"id": guild_id, "guild_id": guild_id}, now=0.0)

    assert connection.session is not None
    assert connection.session.sequence == 1


@pytest.mark.parametrize(
    "message",
    [
        Dispatch("X", None, msgspec.Raw(b"garbage")),
        Dispatch("X", -1, msgspec.Raw(b"1")),
        Dispatch("", None, msgspec.Raw(b"1")),
        Hello(-1),
        Hello("1"),
        ReconnectRequested(5),
        SessionInvalidated("yes"),
    ],
    ids=repr,
)
def test_invalid_message_is_rejected_and_has_no_effect(message: Any) -> None:
    connection = ready_connection()
    connection.messages_to_send()

    with pytest.raises(LocalProtocolError):
        connection.send(message, now=0.0)

    assert connection.messages_to_send() == []
    assert connection.session is not None
    assert connection.session.sequence == 1


def test_too_deep_dispatch_to_etf_connection_has_no_effect() -> None:
    connection = _etf_session(Server())

    with pytest.raises(LocalProtocolError):
        connection.send(Dispatch.of("X", _nested(300)), now=0.0)

    assert connection.session is not None
    assert connection.session.sequence == 1


def test_world_without_etf_form_is_rejected() -> None:
    pytest.importorskip("erlpack")

    with pytest.raises(LocalProtocolError, match=r"World\.guilds: guild 5:"):
        World([{"id": "5", "deep": _nested(253)}])


def _as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


@pytest.mark.parametrize(("version", "count"), [(6, 1), (7, 1), (8, 0), (9, 0), (10, 0)])
@pytest.mark.parametrize("type_", [1, 3])
def test_channel_create_of_dms_depends_on_the_version(version: int, count: int, type_: int) -> None:
    server = Server()
    identify_on(accept_connection(server, f"/?v={version}&encoding=json"), intents=1)

    sent = server.dispatch("CHANNEL_CREATE", {"id": "7", "type": type_}, now=0.0)

    assert sent == count


def test_channel_create_of_a_guild_is_sent_in_version_10() -> None:
    server = Server()
    identify_on(accept_connection(server), intents=1)

    assert server.dispatch("CHANNEL_CREATE", {"id": "7", "type": 0, "guild_id": "1"}, now=0.0) == 1
    assert server.dispatch("CHANNEL_CREATE", [1], now=0.0) == 1
    assert server.dispatch("CHANNEL_UPDATE", {"id": "7", "type": 1}, now=0.0) == 1


def test_deep_data_is_accepted_for_the_world_without_etf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nesting is limited by ETF only, and no session can select it."""
    deep: Any = 0
    for _ in range(254):
        deep = [deep]
    guild = {"id": "5", "name": deep}
    monkeypatch.setattr(etf, "available", lambda: False)
    server = Server()

    server.dispatch("GUILD_CREATE", guild, now=0.0)

    assert server.world.guild("5") is not None
