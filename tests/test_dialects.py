"""Every difference between the versions, one test each, against real connections of both roles."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
import pytest

from gateway_proto import (
    DIALECTS,
    Activity,
    Client,
    ClientConnection,
    Closed,
    Compression,
    Config,
    Dispatch,
    Encoding,
    HeartbeatAcked,
    HeartbeatSent,
    Hello,
    Intents,
    LocalProtocolError,
    Opcode,
    Raw,
    Ready,
    ReconnectRequested,
    RequestGuildMembers,
    Resumed,
    Server,
    ServerConfig,
    ServerConnection,
    Session,
    SessionInvalidated,
    Then,
    UpdatePresence,
    UpdateVoiceState,
    VoiceServerPing,
    World,
    fingerprint,
)
from gateway_proto.testing import Link
from tests.connections import close_event, receive, sent_payloads, unframed

VERSIONS = list(DIALECTS)
HOLD = 10**9


def _config(version: int, **changes: Any) -> Config:
    return Config(
        **{
            "token": "t0ken",
            "dialect": version,
            "intents": 0,
            "unix_offset": 0.0,
            "gateway_url": "ws://localhost",
            **changes,
        }
    )


def _session(version: int) -> Session:
    return Session(id="s", sequence=7, dialect=version, fingerprint=fingerprint("t0ken"))


def _bare(version: int, session: Session | None = None, **changes: Any) -> ClientConnection:
    return unframed(_config(version, **changes), session)


def _greeted(version: int, session: Session | None = None, **changes: Any) -> ClientConnection:
    connection = _bare(version, session, **changes)
    if DIALECTS[version].greets:
        receive(connection, 10, {"heartbeat_interval": HOLD})
    return connection


def _introduced(version: int, **changes: Any) -> Any:
    """The `d` of Identify."""
    (identify,) = sent_payloads(_greeted(version, **changes))
    assert identify["op"] == 2
    return identify["d"]


def _ready(version: int, **changes: Any) -> ClientConnection:
    connection = _greeted(version, **changes)
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": HOLD}, s=1, t="READY")
    connection.messages_to_send()
    connection.events()
    return connection


def _accept(version: int, server: Server | None = None) -> ServerConnection:
    target = "/" if version == 3 else f"/?v={version}&encoding=json"
    return (server or Server()).accept(now=0.0, framing=False, target=target)


def _served(version: int, **config: Any) -> list[dict[str, Any]]:
    """What a server says to Identify."""
    connection = _accept(version, Server(ServerConfig(**config)))
    connection.receive_message(json.dumps({"op": 2, "d": {"token": "t", "intents": 513}}), now=0.0)
    return sent_payloads(connection)


def _versions(*which: int) -> Any:
    """Run for all versions; `version in which` is what the test asks."""
    return pytest.mark.parametrize(("version", "does"), [(v, v in which) for v in VERSIONS])


def test_versions_3_to_10_are_supported() -> None:
    assert VERSIONS == [3, 4, 5, 6, 7, 8, 9, 10]
    assert all(DIALECTS[version].version == version for version in VERSIONS)


def test_version_7_differs_from_6_only_in_its_number() -> None:
    """Never documented: "treat as 6"."""
    six = msgspec.structs.replace(DIALECTS[7], version=6, api_url=DIALECTS[6].api_url)
    assert six == DIALECTS[6]


# ----- 4: the URL, op 9, the heartbeat -----


@_versions(4, 5, 6, 7, 8, 9, 10)
def test_query_has_version_and_encoding_from_version_4_on(version: int, does: bool) -> None:
    config = _config(version)

    assert config.query == ((("v", str(version)), ("encoding", "json")) if does else ())
    assert ("v" in _introduced(version)) is not does


@_versions(4, 5, 6, 7, 8, 9, 10)
def test_lookup_result_is_reused_from_version_4_on(version: int, does: bool) -> None:
    config = attrs.evolve(_config(version), gateway_url=None, api_url="http://localhost/api")
    link = Link(Client(config), Server())
    link.server.send(SessionInvalidated())
    link.run(60)

    lookups = [dial for dial in link.dials if dial.url == "http://localhost/api/gateway"]

    assert len(lookups) == (1 if does else 2)


@_versions(3, 4, 5)
def test_lookup_has_the_token_up_to_version_5(version: int, does: bool) -> None:
    config = attrs.evolve(_config(version), gateway_url=None, api_url="http://localhost/api")

    request = Client(config).dial_succeeded(now=0.0).data_to_send()

    assert (b"t0ken" in request) is does


@_versions(4, 5, 6, 7, 8, 9, 10)
def test_resume_has_the_token_from_version_4_on(version: int, does: bool) -> None:
    (resume,) = sent_payloads(_greeted(version, _session(version)))

    assert resume["op"] == 6
    assert ("token" in resume["d"]) is does


@_versions(3)
def test_heartbeat_has_unix_time_in_version_3_later_sequence(version: int, does: bool) -> None:
    connection = _ready(version)

    connection.receive_message('{"op":1}', now=1450.0)

    (heartbeat,) = sent_payloads(connection)
    assert heartbeat["d"] == ("1450000" if does else 1)


@_versions(4, 5, 6, 7, 8, 9, 10)
def test_failed_resume_is_answered_by_op_9_from_version_4_on(version: int, does: bool) -> None:
    connection = _accept(version)
    connection.messages_to_send()

    resume = {"op": 6, "d": {"token": "t", "session_id": "gone", "seq": 1}}
    connection.receive_message(json.dumps(resume), now=0.0)

    assert [payload["op"] for payload in sent_payloads(connection)] == ([9] if does else [])
    assert connection.close_to_send() == (None if does else (4006, "Invalid session"))


@_versions(3, 4, 5)
def test_guilds_follow_ready_from_version_4_on(version: int, does: bool) -> None:
    said = [p for p in _served(version, world=World([{"id": "1", "name": "x"}])) if p["op"] == 0]

    whole = version == 3
    (guild,) = said[0]["d"]["guilds"]
    assert guild.get("name") == ("x" if whole else None)
    assert guild["unavailable"] is not whole
    assert [p["t"] for p in said[1:]] == ([] if whole else ["GUILD_CREATE"])


@_versions(4, 5, 6, 7, 8, 9, 10)
def test_ready_has_trace_from_version_4_on(version: int, does: bool) -> None:
    ready = next(payload for payload in _served(version) if payload.get("t") == "READY")

    assert ("_trace" in ready["d"]) is does


@_versions(4, 5, 6, 7, 8, 9, 10)
def test_identify_has_an_optional_shard_from_version_4_on(version: int, does: bool) -> None:
    if does:
        assert _introduced(version, shard=(1, 2))["shard"] == [1, 2]
    else:
        with pytest.raises(LocalProtocolError, match="has no shards"):
            _config(version, shard=(1, 2))


@_versions(3, 4)
def test_op_7_has_an_optional_url_up_to_version_4(version: int, does: bool) -> None:
    connection = _ready(version)

    receive(connection, 7, {"url": "ws://localhost/other"})

    asked = next(e for e in connection.events() if isinstance(e, ReconnectRequested))
    assert asked.url == ("ws://localhost/other" if does else None)


# ----- 5: HELLO and ACK -----


@_versions(5, 6, 7, 8, 9, 10)
def test_hello_has_the_heartbeat_interval_from_version_5_on(version: int, does: bool) -> None:
    link = Link(Client(_config(version)), Server(ServerConfig(heartbeat_interval=1234)))

    hellos = [e for e in link.client.events if isinstance(e, Hello)]
    ready = link.client.expect(Ready)

    assert hellos == ([Hello(1234)] if does else [])
    assert ready.heartbeat_interval == (None if does else 1234)
    assert ("heartbeat_interval" in ready.data) is not does


@_versions(5, 6, 7, 8, 9, 10)
def test_resumed_has_the_heartbeat_interval_before_version_5(version: int, does: bool) -> None:
    link = Link(Client(_config(version)), Server(ServerConfig(heartbeat_interval=1234)))
    link.cut()
    link.run(5)

    assert link.client.expect(Resumed).heartbeat_interval == (None if does else 1234)


@_versions(5, 6, 7, 8, 9, 10)
def test_heartbeats_are_acknowledged_from_version_5_on(version: int, does: bool) -> None:
    link = Link(Client(_config(version)), Server(ServerConfig(heartbeat_interval=1000)))
    link.run(10)

    assert link.client.expect(HeartbeatSent)
    acks = [e for e in link.client.events if isinstance(e, HeartbeatAcked)]
    assert bool(acks) is does


@_versions(3, 4)
def test_missing_heartbeat_acks_are_allowed_before_version_5(version: int, does: bool) -> None:
    connection = _greeted(version)
    if DIALECTS[version].greets:
        receive(connection, 10, {"heartbeat_interval": 1000})
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": 1000}, s=1, t="READY")

    for at in range(1, 10):
        connection.handle_timer(now=float(at))

    ended = any(isinstance(event, Closed) for event in connection.events())
    assert ended is not does


@_versions(5, 6, 7, 8, 9, 10)
def test_heartbeat_before_a_dispatch_is_null_from_version_5_on(version: int, does: bool) -> None:
    """Before it, there is no interval before READY either."""
    connection = _bare(version)
    if does:
        receive(connection, 10, {"heartbeat_interval": 10_000})
    connection.messages_to_send()

    connection.handle_timer(now=9.0)

    assert sent_payloads(connection) == ([{"op": 1, "d": None}] if does else [])


@_versions(3, 4)
def test_close_code_4006_means_identify_up_to_version_4(version: int, does: bool) -> None:
    connection = _ready(version)

    connection.receive_close(4006, now=0.0)

    assert close_event(connection).then is (Then.IDENTIFY if does else Then.RESUME)


@_versions(3, 4, 5)
def test_op_5_is_supported_up_to_version_5(version: int, does: bool) -> None:
    connection = _ready(version)

    if does:
        connection.send(VoiceServerPing(), now=0.0)
        assert sent_payloads(connection) == [{"op": 5, "d": None}]
    else:
        with pytest.raises(LocalProtocolError, match="has no VoiceServerPing"):
            connection.send(VoiceServerPing(), now=0.0)


def test_op_codes_of_user_accounts_are_sent_as_raw_commands() -> None:
    """Op 12, guild sync, of version 5."""
    connection = _ready(5)

    connection.send(Raw(12, ["1"]), now=0.0)

    assert sent_payloads(connection) == [{"op": 12, "d": ["1"]}]


# ----- 6: presences, transport compression, intents -----

_PRESENCE = UpdatePresence([Activity("chess")], 5, status="idle")


@pytest.mark.parametrize(
    ("versions", "d"),
    [
        ((3, 4, 5), {"game": {"name": "chess"}, "idle_since": 5}),
        (
            (6, 7),
            {
                "since": 5,
                "game": {"name": "chess", "type": 0},
                "status": "idle",
                "afk": False,
            },
        ),
        (
            (8, 9, 10),
            {
                "since": 5,
                "activities": [{"name": "chess", "type": 0}],
                "status": "idle",
                "afk": False,
            },
        ),
    ],
)
def test_presence_has_three_formats(versions: tuple[int, ...], d: Any) -> None:
    for version in versions:
        link = Link(Client(_config(version)), Server())
        connection = _ready(version)

        connection.send(_PRESENCE, now=0.0)
        link.client.send(_PRESENCE)

        assert sent_payloads(connection) == [{"op": 3, "d": d}]
        assert link.server.expect(UpdatePresence) == _PRESENCE


@_versions(6, 7, 8, 9, 10)
def test_identify_has_the_presence_from_version_6_on(version: int, does: bool) -> None:
    connection = _greeted(version, presence=UpdatePresence())
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": HOLD}, s=1, t="READY")

    said = sent_payloads(connection)

    assert ("presence" in said[0]["d"]) is does
    assert [payload["op"] for payload in said] == ([2] if does else [2, 3])


@pytest.mark.parametrize(
    ("version", "limit"),
    [(3, (1, 12.0)), (4, (5, 60.0)), (5, (5, 60.0)), *((v, (5, 20.0)) for v in range(6, 11))],
)
def test_presence_rate_limit_depends_on_the_version(version: int, limit: tuple[int, float]) -> None:
    """Rule 62; and of all that wait, the last is sent."""
    connection = _ready(version)
    most, seconds = limit

    for number in range(most + 3):
        connection.send(UpdatePresence((), number), now=100.0)

    assert len(sent_payloads(connection)) == most
    timers = []
    while (at := connection.next_timer()) is not None and at <= 100 + seconds:
        timers.append(at)
        connection.handle_timer(now=at)
    (last,) = [p for p in sent_payloads(connection) if p["op"] == 3]
    assert timers[-1] == 100 + seconds
    assert last["d"].get("since", last["d"].get("idle_since")) == most + 2


@_versions(6, 7, 8, 9, 10)
def test_op_9_has_a_resumable_flag_from_version_6_on(version: int, does: bool) -> None:
    connection = _ready(version)
    server = _accept(version)
    server.messages_to_send()

    receive(connection, 9, True)
    server.send(SessionInvalidated(resumable=True), now=0.0)

    assert SessionInvalidated(resumable=does) in connection.events()
    d = True if does else None
    assert sent_payloads(server) == [{"t": None, "s": None, "op": 9, "d": d}]


@_versions(6, 7, 8, 9, 10)
def test_transport_compression_is_supported_from_version_6_on(version: int, does: bool) -> None:
    for stream in (Compression.ZLIB_STREAM, Compression.ZSTD_STREAM):
        if does:
            assert ("compress", stream.value) in _config(version, compression=stream).query
        else:
            with pytest.raises(LocalProtocolError, match=f"has no {stream.value}"):
                _config(version, compression=stream)


@_versions(6, 7, 8, 9, 10)
def test_last_close_codes_are_fatal_from_version_6_on(version: int, does: bool) -> None:
    for code in (4011, 4012, 4013, 4014):
        connection = _ready(version)
        connection.receive_close(code, now=0.0)
        assert close_event(connection).then is (Then.STOP if does else Then.RESUME)


@pytest.mark.parametrize(
    ("versions", "intents"),
    [((3, 4, 5), "unknown"), ((6, 7), "optional"), ((8, 9, 10), "required")],
)
def test_intents_are_unsupported_then_optional_then_required(
    versions: tuple[int, ...], intents: str
) -> None:
    for version in versions:
        if intents == "unknown":
            assert "intents" not in _introduced(version)
            with pytest.raises(LocalProtocolError, match="has no intents"):
                _config(version, intents=1)
        else:
            assert _introduced(version, intents=513)["intents"] == 513
        if intents == "optional":
            assert "intents" not in _introduced(version, intents=None)
        if intents == "required":
            with pytest.raises(LocalProtocolError, match="needs intents"):
                _config(version, intents=None)


@pytest.mark.parametrize("version", VERSIONS)
def test_server_rejects_identify_without_required_intents(version: int) -> None:
    connection = _accept(version)

    connection.receive_message('{"op":2,"d":{"token":"t"}}', now=0.0)

    required = version >= 8
    assert connection.close_to_send() == ((4013, "Invalid intent(s)") if required else None)


@_versions(6, 7)
def test_guild_subscriptions_exist_in_versions_6_and_7(version: int, does: bool) -> None:
    if does:
        assert _introduced(version, guild_subscriptions=False)["guild_subscriptions"] is False
    else:
        with pytest.raises(LocalProtocolError, match="has no guild_subscriptions"):
            _config(version, guild_subscriptions=False)
    assert "guild_subscriptions" not in _introduced(version)


@_versions(6, 7, 8, 9, 10)
def test_members_request_has_user_ids_from_version_6_on(version: int, does: bool) -> None:
    connection = _ready(version)
    request = RequestGuildMembers("1", user_ids=["2"], nonce="n")

    if does:
        connection.send(request, now=0.0)
        assert sent_payloads(connection)[0]["d"] == {
            "guild_id": "1",
            "user_ids": ["2"],
            "nonce": "n",
        }
    else:
        with pytest.raises(LocalProtocolError, match="no user_ids"):
            connection.send(request, now=0.0)


@_versions(6, 7, 8, 9, 10)
def test_voice_state_requires_a_guild_from_version_6_on(version: int, does: bool) -> None:
    connection = _ready(version)

    if does:
        with pytest.raises(LocalProtocolError, match="guild_id is None"):
            connection.send(UpdateVoiceState(None, None), now=0.0)
    else:
        connection.send(UpdateVoiceState(None, None), now=0.0)
        assert sent_payloads(connection)[0]["d"]["guild_id"] is None


@_versions(6, 7, 8, 9, 10)
def test_resume_url_of_ready_is_used_from_version_6_on(version: int, does: bool) -> None:
    connection = _greeted(version)
    d = {"session_id": "s", "heartbeat_interval": HOLD, "resume_gateway_url": "ws://localhost/r"}

    receive(connection, 0, d, s=1, t="READY")

    assert connection.session is not None
    assert connection.session.resume_url == ("ws://localhost/r" if does else None)


# ----- 8 to 10 -----


@_versions(3, 4, 5, 6, 7)
def test_members_request_has_several_guilds_up_to_version_7(version: int, does: bool) -> None:
    connection = _ready(version)

    if does:
        connection.send(RequestGuildMembers(["1", "2"], "q", 5), now=0.0)
        assert sent_payloads(connection)[0]["d"]["guild_id"] == ["1", "2"]
    else:
        with pytest.raises(LocalProtocolError, match="takes one guild"):
            connection.send(RequestGuildMembers(["1", "2"], "q", 5), now=0.0)


@_versions(3, 4, 5, 6, 7)
def test_property_names_have_a_dollar_sign_up_to_version_7(version: int, does: bool) -> None:
    """Rule 81: today's names have none."""
    assert ("$os" in _introduced(version)["properties"]) is does


@_versions(9, 10)
def test_threads_exist_from_version_9_on(version: int, does: bool) -> None:
    server = Server()
    intents = 513 if DIALECTS[version].intents else None
    link = Link(Client(_config(version, intents=intents)), server)

    server.dispatch("THREAD_CREATE", {}, now=link.now)
    server.dispatch("MESSAGE_CREATE", {}, now=link.now)
    link.run()

    names = [event.name for event in link.client.events if isinstance(event, Dispatch)]
    assert ("THREAD_CREATE" in names) is does
    assert "MESSAGE_CREATE" in names


@pytest.mark.parametrize("permissions", ["2147483647", 2147483647, 2**80])
def test_permissions_are_returned_unchanged(permissions: Any) -> None:
    """A decimal string from version 8 on, an integer before."""
    for version in VERSIONS:
        connection = _ready(version)
        receive(connection, 0, {"permissions": permissions}, s=2, t="GUILD_ROLE_CREATE")
        (dispatch,) = connection.events()
        assert isinstance(dispatch, Dispatch)
        assert dispatch.data == {"permissions": permissions}


def test_message_content_requires_an_intent_in_version_10() -> None:
    assert Intents.MESSAGE_CONTENT == 1 << 15
    assert _introduced(10, intents=Intents.MESSAGE_CONTENT)["intents"] == 1 << 15


@_versions(10)
def test_soundboard_and_channel_info_require_version_10(version: int, does: bool) -> None:
    commands = DIALECTS[version].commands

    assert (Opcode.REQUEST_SOUNDBOARD_SOUNDS in commands) is does
    assert (Opcode.REQUEST_CHANNEL_INFO in commands) is does


# ----- encodings -----


@pytest.mark.parametrize("version", VERSIONS)
def test_etf_is_selected_by_query_or_first_payload(version: int) -> None:
    pytest.importorskip("erlpack")
    config = _config(version, encoding=Encoding.ETF)
    server = Server()
    link = Link(Client(config), server)

    server.dispatch("X", {"id": "5"}, now=link.now)
    link.client.send(UpdatePresence())
    link.cut()
    link.run(5)

    link.client.expect(Ready)
    dispatch = next(e for e in link.client.events if getattr(e, "name", "") == "X")
    assert dispatch.raw.startswith(b"\x83")
    assert dispatch.data == {"id": "5"}
    assert link.client.expect(Resumed)
    assert link.server.expect(UpdatePresence) == UpdatePresence()
    assert (("encoding", "etf") in config.query) is (version != 3)
