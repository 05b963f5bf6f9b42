"""Start of a connection: HELLO, READY, session ids and heartbeats."""

from __future__ import annotations

from gateway_proto import Opened, State
from gateway_proto.server import Server, ServerConfig, World
from tests.server.support import (
    GUILDS,
    V10,
    accept_connection,
    identify_on,
    ready_connection,
    send_payload,
    sent_payloads,
)


def test_hello_is_sent_in_version_10_but_not_in_version_3() -> None:
    assert sent_payloads(accept_connection(Server(ServerConfig(heartbeat_interval=5)))) == [
        {"t": None, "s": None, "op": 10, "d": {"heartbeat_interval": 5}}
    ]
    assert sent_payloads(accept_connection(target="/")) == []


def test_ready_of_version_10_has_all_fields_that_clients_need() -> None:
    server = Server(ServerConfig(world=World(GUILDS)))
    connection = server.accept(now=0.0, framing=False, target=V10, host="localhost:5")
    connection.messages_to_send()

    identify_on(connection, shard=[0, 2], intents=1)

    ready, *guilds = sent_payloads(connection)
    assert (ready["op"], ready["s"], ready["t"]) == (0, 1, "READY")
    d = ready["d"]
    assert d["v"] == 10
    assert d["guilds"] == [{"id": "1", "unavailable": True}, {"id": "2", "unavailable": True}]
    assert d["resume_gateway_url"] == "ws://localhost:5"
    assert d["shard"] == [0, 2]
    assert d["application"] == {"id": d["user"]["id"], "flags": 0}
    assert [d[key] for key in ("private_channels", "user_settings", "relationships")] == [
        [],
        {},
        [],
    ]
    assert [(guild["t"], guild["s"], guild["d"]["name"]) for guild in guilds] == [
        ("GUILD_CREATE", 2, "g"),
        ("GUILD_CREATE", 3, "h"),
    ]
    assert connection.session is not None
    assert d["session_id"] == connection.session.id


def test_ready_of_version_3_has_full_guilds_and_the_interval() -> None:
    connection = accept_connection(Server(ServerConfig(world=World(GUILDS))), "/")

    identify_on(connection)

    (ready,) = sent_payloads(connection)
    assert [guild["name"] for guild in ready["d"]["guilds"]] == ["g", "h"]
    assert ready["d"]["heartbeat_interval"] == 41250
    assert "resume_gateway_url" not in ready["d"]
    assert "application" not in ready["d"]


def test_session_ids_are_distinct_without_a_random_source() -> None:
    server = Server()
    for _ in range(3):
        ready_connection(server)

    assert len(server.sessions) == 3


def test_session_id_has_128_random_bits_and_a_number() -> None:
    """It cannot be guessed, and it is unique even if the random source is constant."""
    draws = iter([0.25, 0.5, 0.75, 0.0, 0.0, 0.0, 0.0, 0.99])
    by_chance, constant = Server(ServerConfig(random=lambda: next(draws))), Server()
    for server in (by_chance, constant):
        for _ in range(2):
            ready_connection(server)

    assert list(by_chance.sessions) == [
        "4000000080000000c0000000000000001",
        "000000000000000000000000fd70a3d72",
    ]
    assert list(constant.sessions) == ["80000000" * 4 + "1", "80000000" * 4 + "2"]


def test_defaults_are_the_oldest_version_and_localhost() -> None:
    connection = Server().accept(now=0.0, framing=False)
    assert connection.events() == [Opened("/")]

    whole = accept_connection(Server())
    whole.messages_to_send()
    identify_on(whole)

    assert sent_payloads(whole)[0]["d"]["resume_gateway_url"] == "ws://localhost"


def test_heartbeat_is_acknowledged_before_identify() -> None:
    connection = accept_connection()
    connection.messages_to_send()

    send_payload(connection, 1, None)

    assert sent_payloads(connection) == [{"t": None, "s": None, "op": 11, "d": None}]
    assert connection.state is State.IDENTIFYING


def test_heartbeat_of_version_3_is_not_acknowledged() -> None:
    connection = ready_connection(target="/")
    connection.messages_to_send()

    send_payload(connection, 1, "1450996513618")

    assert sent_payloads(connection) == []
