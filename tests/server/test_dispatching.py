"""What a server sends, to whom, and how many at a time."""

from __future__ import annotations

from typing import Any

import pytest

import gateway_proto.server
from gateway_proto import (
    Client,
    Closed,
    Config,
    Dispatch,
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    LocalProtocolError,
    Server,
    ServerConfig,
    UpdatePresence,
)
from gateway_proto._layers import etf
from gateway_proto.testing import Link
from tests.server.talk import accepted, identify_on, made_ready, said


def test_every_message_of_a_server_arrives_as_an_equal_event() -> None:
    link = Link(Client(Config(token="t", intents=0, api_url="http://localhost/api")), Server())
    for message in (Hello(5000), HeartbeatRequested(), HeartbeatAcked(), Dispatch.of("X", 1, 50)):
        link.server.send(message)

        link.client.expect(message)


def test_a_dispatch_without_a_sequence_gets_the_next_and_one_with_keeps_it() -> None:
    connection = made_ready()
    connection.messages_to_send()

    connection.send(Dispatch.of("A", 1), now=0.0)
    connection.send(Dispatch.of("B", 2, 77), now=0.0)
    connection.send(Dispatch.of("C", 3), now=0.0)

    assert [(payload["t"], payload["s"]) for payload in said(connection)] == [
        ("A", 2),
        ("B", 77),
        ("C", 3),
    ]


def test_what_cannot_be_sent_is_the_callers_mistake() -> None:
    connection = accepted()
    with pytest.raises(LocalProtocolError, match="needs a session"):
        connection.send(Dispatch.of("A", 1), now=0.0)
    with pytest.raises(LocalProtocolError, match="not a message of a server"):
        connection.send(UpdatePresence(), now=0.0)  # type: ignore[arg-type]
    connection.receive_eof(now=0.0)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        connection.send(Hello(1), now=0.0)


def test_a_dispatch_goes_to_the_sessions_that_are_picked() -> None:
    server = Server()
    first, second = accepted(server), accepted(server)
    identify_on(first, shard=[0, 2])
    identify_on(second, shard=[1, 2])
    first.messages_to_send()
    second.messages_to_send()

    count = server.dispatch("X", 1, now=0.0, to=lambda session: session.shard == (1, 2))

    assert count == 1
    assert said(first) == []
    assert [payload["t"] for payload in said(second)] == ["X"]
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        server.dispatch("X", object(), now=0.0)


@pytest.mark.parametrize("name", ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"])
def test_what_is_told_of_a_guild_itself_goes_to_its_shard(name: str) -> None:
    server = Server()
    first, second = accepted(server), accepted(server)
    for number, connection in enumerate((first, second)):
        identify_on(connection, shard=[number, 2], intents=1)
        connection.messages_to_send()

    count = server.dispatch(name, {"id": str(1 << 22), "guild_id": "0"}, now=0.0)

    assert count == 1
    assert said(first) == []
    assert [payload["t"] for payload in said(second)] == [name]


def test_a_client_that_does_not_read_is_dropped_at_a_bound_and_may_resume() -> None:
    server = Server(ServerConfig(output_limit=10_000))
    connection = made_ready(server)

    for _ in range(20):
        server.dispatch("X", "y" * 1000, now=0.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.reason == "dropped"
    assert len(server.sessions) == 1
    assert not server.connections


def test_whoever_changes_another_connection_wakes_its_pump() -> None:
    server = Server()
    connection = made_ready(server)
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
def test_a_dispatch_to_many_is_written_once_in_each_encoding(
    encodings: tuple[str, ...], terms: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    real = gateway_proto.server.to_term

    def to_term(raw: bytes) -> bytes:
        written.append(raw)
        return real(raw)

    monkeypatch.setattr(gateway_proto.server, "to_term", to_term)
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
