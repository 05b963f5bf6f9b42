"""Differences between versions 3 to 5 and later ones, on connections of both roles."""

from __future__ import annotations

import json

import attrs
import msgspec
import pytest

from gateway_proto import (
    Client,
    Closed,
    HeartbeatAcked,
    HeartbeatSent,
    Hello,
    LocalProtocolError,
    NextAction,
    RawCommand,
    Ready,
    ReconnectRequested,
    Resumed,
    SessionInvalidated,
)
from gateway_proto.commands import VoiceServerPing
from gateway_proto.server import Server, ServerConfig, World
from gateway_proto.testing import Link
from gateway_proto.versions import VERSIONS
from tests.connections import close_event, receive, sent_payloads
from tests.versioned import (
    accepted_of,
    config_of,
    greeted_of,
    identify_of,
    ready_of,
    server_payloads,
    session_of,
    unframed_of,
    versions,
)


def test_versions_3_to_10_are_supported() -> None:
    assert list(VERSIONS) == [3, 4, 5, 6, 7, 8, 9, 10]
    assert all(VERSIONS[version].number == version for version in VERSIONS)


def test_version_7_differs_from_6_only_in_its_number() -> None:
    """Never documented: "treat as 6"."""
    six = msgspec.structs.replace(VERSIONS[7], number=6, api_url=VERSIONS[6].api_url)
    assert six == VERSIONS[6]


# ----- 4: the URL, op 9, the heartbeat -----


@versions(4, 5, 6, 7, 8, 9, 10)
def test_query_has_version_and_encoding_from_version_4_on(version: int, does: bool) -> None:
    config = config_of(version)

    assert config.query == ((("v", str(version)), ("encoding", "json")) if does else ())
    assert ("v" in identify_of(version)) is not does


@versions(4, 5, 6, 7, 8, 9, 10)
def test_lookup_result_is_reused_from_version_4_on(version: int, does: bool) -> None:
    config = attrs.evolve(config_of(version), gateway_url=None, api_url="http://localhost/api")
    link = Link(Client(config), Server())
    link.server.send(SessionInvalidated())
    link.run(60)

    lookups = [dial for dial in link.dials if dial.url == "http://localhost/api/gateway"]

    assert len(lookups) == (1 if does else 2)


@versions(3, 4, 5)
def test_lookup_has_the_token_up_to_version_5(version: int, does: bool) -> None:
    config = attrs.evolve(config_of(version), gateway_url=None, api_url="http://localhost/api")

    request = Client(config).dial_succeeded(now=0.0).data_to_send()

    assert (b"t0ken" in request) is does


@versions(4, 5, 6, 7, 8, 9, 10)
def test_resume_has_the_token_from_version_4_on(version: int, does: bool) -> None:
    (resume,) = sent_payloads(greeted_of(version, session_of(version)))

    assert resume["op"] == 6
    assert ("token" in resume["d"]) is does


@versions(3)
def test_heartbeat_has_unix_time_in_version_3_later_sequence(version: int, does: bool) -> None:
    connection = ready_of(version)

    connection.receive_message('{"op":1}', now=1450.0)

    (heartbeat,) = sent_payloads(connection)
    assert heartbeat["d"] == ("1450000" if does else 1)


@versions(4, 5, 6, 7, 8, 9, 10)
def test_failed_resume_is_answered_by_op_9_from_version_4_on(version: int, does: bool) -> None:
    connection = accepted_of(version)
    connection.messages_to_send()

    resume = {"op": 6, "d": {"token": "t", "session_id": "gone", "seq": 1}}
    connection.receive_message(json.dumps(resume), now=0.0)

    assert [payload["op"] for payload in sent_payloads(connection)] == ([9] if does else [])
    assert connection.close_to_send() == (None if does else (4006, "Invalid session"))


@versions(3, 4, 5)
def test_guilds_follow_ready_from_version_4_on(version: int, does: bool) -> None:
    said = [
        p for p in server_payloads(version, world=World([{"id": "1", "name": "x"}])) if p["op"] == 0
    ]

    whole = version == 3
    (guild,) = said[0]["d"]["guilds"]
    assert guild.get("name") == ("x" if whole else None)
    assert guild["unavailable"] is not whole
    assert [p["t"] for p in said[1:]] == ([] if whole else ["GUILD_CREATE"])


@versions(4, 5, 6, 7, 8, 9, 10)
def test_ready_has_trace_from_version_4_on(version: int, does: bool) -> None:
    ready = next(payload for payload in server_payloads(version) if payload.get("t") == "READY")

    assert ("_trace" in ready["d"]) is does


@versions(4, 5, 6, 7, 8, 9, 10)
def test_identify_has_an_optional_shard_from_version_4_on(version: int, does: bool) -> None:
    if does:
        assert identify_of(version, shard=(1, 2))["shard"] == [1, 2]
    else:
        with pytest.raises(LocalProtocolError, match="has no shards"):
            config_of(version, shard=(1, 2))


@versions(3, 4)
def test_op_7_has_an_optional_url_up_to_version_4(version: int, does: bool) -> None:
    connection = ready_of(version)

    receive(connection, 7, {"url": "ws://localhost/other"})

    asked = next(e for e in connection.events() if isinstance(e, ReconnectRequested))
    assert asked.url == ("ws://localhost/other" if does else None)


# ----- 5: HELLO and ACK -----


@versions(5, 6, 7, 8, 9, 10)
def test_hello_has_the_heartbeat_interval_from_version_5_on(version: int, does: bool) -> None:
    link = Link(Client(config_of(version)), Server(ServerConfig(heartbeat_interval=1234)))

    hellos = [e for e in link.client.events if isinstance(e, Hello)]
    ready = link.client.expect(Ready)

    assert hellos == ([Hello(1234)] if does else [])
    assert ready.heartbeat_interval == (None if does else 1234)
    assert ("heartbeat_interval" in ready.data) is not does


@versions(5, 6, 7, 8, 9, 10)
def test_resumed_has_the_heartbeat_interval_before_version_5(version: int, does: bool) -> None:
    link = Link(Client(config_of(version)), Server(ServerConfig(heartbeat_interval=1234)))
    link.cut()
    link.run(5)

    assert link.client.expect(Resumed).heartbeat_interval == (None if does else 1234)


@versions(5, 6, 7, 8, 9, 10)
def test_heartbeats_are_acknowledged_from_version_5_on(version: int, does: bool) -> None:
    link = Link(Client(config_of(version)), Server(ServerConfig(heartbeat_interval=1000)))
    link.run(10)

    assert link.client.expect(HeartbeatSent)
    acks = [e for e in link.client.events if isinstance(e, HeartbeatAcked)]
    assert bool(acks) is does


@versions(3, 4)
def test_missing_heartbeat_acks_are_allowed_before_version_5(version: int, does: bool) -> None:
    connection = greeted_of(version)
    if VERSIONS[version].sends_hello:
        receive(connection, 10, {"heartbeat_interval": 1000})
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": 1000}, s=1, t="READY")

    for at in range(1, 10):
        connection.handle_timer(now=float(at))

    ended = any(isinstance(event, Closed) for event in connection.events())
    assert ended is not does


@versions(5, 6, 7, 8, 9, 10)
def test_heartbeat_before_a_dispatch_is_null_from_version_5_on(version: int, does: bool) -> None:
    """Before it, READY has the first interval."""
    connection = unframed_of(version)
    if does:
        receive(connection, 10, {"heartbeat_interval": 10_000})
    connection.messages_to_send()

    connection.handle_timer(now=9.0)

    assert sent_payloads(connection) == ([{"op": 1, "d": None}] if does else [])


@versions(3, 4)
def test_close_code_4006_means_identify_up_to_version_4(version: int, does: bool) -> None:
    connection = ready_of(version)

    connection.receive_close(4006, now=0.0)

    assert close_event(connection).next_action is (
        NextAction.IDENTIFY if does else NextAction.RESUME
    )


@versions(3, 4, 5)
def test_op_5_is_supported_up_to_version_5(version: int, does: bool) -> None:
    connection = ready_of(version)

    if does:
        connection.send(VoiceServerPing(), now=0.0)
        assert sent_payloads(connection) == [{"op": 5, "d": None}]
    else:
        with pytest.raises(LocalProtocolError, match="has no VoiceServerPing"):
            connection.send(VoiceServerPing(), now=0.0)


def test_op_codes_of_user_accounts_are_sent_as_raw_commands() -> None:
    """Op 12, guild sync, of version 5."""
    connection = ready_of(5)

    connection.send(RawCommand(12, ["1"]), now=0.0)

    assert sent_payloads(connection) == [{"op": 12, "d": ["1"]}]
