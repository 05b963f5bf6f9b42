"""Differences that versions 6 to 10 introduced, and the encodings."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import (
    Activity,
    Client,
    Compression,
    Dispatch,
    Encoding,
    Intents,
    LocalProtocolError,
    NextAction,
    Opcode,
    Ready,
    RequestGuildMembers,
    Resumed,
    SessionInvalidated,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server import Server
from gateway_proto.testing import Link
from gateway_proto.versions import VERSIONS
from tests.connections import close_event, receive, sent_payloads
from tests.versioned import (
    HOLD,
    accepted_of,
    config_of,
    greeted_of,
    identify_of,
    ready_of,
    versions,
)

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
        link = Link(Client(config_of(version)), Server())
        connection = ready_of(version)

        connection.send(_PRESENCE, now=0.0)
        link.client.send(_PRESENCE)

        assert sent_payloads(connection) == [{"op": 3, "d": d}]
        assert link.server.expect(UpdatePresence) == _PRESENCE


@versions(6, 7, 8, 9, 10)
def test_identify_has_the_presence_from_version_6_on(version: int, does: bool) -> None:
    connection = greeted_of(version, presence=UpdatePresence())
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": HOLD}, s=1, t="READY")

    said = sent_payloads(connection)

    assert ("presence" in said[0]["d"]) is does
    assert [payload["op"] for payload in said] == ([2] if does else [2, 3])


@pytest.mark.parametrize(
    ("version", "limit"),
    [(3, (1, 12.0)), (4, (5, 60.0)), (5, (5, 60.0)), *((v, (5, 20.0)) for v in range(6, 11))],
)
def test_presence_rate_limit_depends_on_the_version(version: int, limit: tuple[int, float]) -> None:
    """Rule 62; of all queued presences the last is sent."""
    connection = ready_of(version)
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


@versions(6, 7, 8, 9, 10)
def test_op_9_has_a_resumable_flag_from_version_6_on(version: int, does: bool) -> None:
    connection = ready_of(version)
    server = accepted_of(version)
    server.messages_to_send()

    receive(connection, 9, True)
    server.send(SessionInvalidated(resumable=True), now=0.0)

    assert SessionInvalidated(resumable=does) in connection.events()
    d = True if does else None
    assert sent_payloads(server) == [{"t": None, "s": None, "op": 9, "d": d}]


@versions(6, 7, 8, 9, 10)
def test_transport_compression_is_supported_from_version_6_on(version: int, does: bool) -> None:
    for stream in (Compression.ZLIB_STREAM, Compression.ZSTD_STREAM):
        if does:
            assert ("compress", stream.value) in config_of(version, compression=stream).query
        else:
            with pytest.raises(LocalProtocolError, match=f"has no {stream.value}"):
                config_of(version, compression=stream)


@versions(6, 7, 8, 9, 10)
def test_last_close_codes_are_fatal_from_version_6_on(version: int, does: bool) -> None:
    for code in (4011, 4012, 4013, 4014):
        connection = ready_of(version)
        connection.receive_close(code, now=0.0)
        assert close_event(connection).next_action is (
            NextAction.STOP if does else NextAction.RESUME
        )


@pytest.mark.parametrize(
    ("versions", "intents"),
    [((3, 4, 5), "unknown"), ((6, 7), "optional"), ((8, 9, 10), "required")],
)
def test_intents_are_unsupported_then_optional_then_required(
    versions: tuple[int, ...], intents: str
) -> None:
    for version in versions:
        if intents == "unknown":
            assert "intents" not in identify_of(version)
            with pytest.raises(LocalProtocolError, match="has no intents"):
                config_of(version, intents=1)
        else:
            assert identify_of(version, intents=513)["intents"] == 513
        if intents == "optional":
            assert "intents" not in identify_of(version, intents=None)
        if intents == "required":
            with pytest.raises(LocalProtocolError, match="needs intents"):
                config_of(version, intents=None)


@pytest.mark.parametrize("version", VERSIONS)
def test_server_rejects_identify_without_required_intents(version: int) -> None:
    connection = accepted_of(version)

    connection.receive_message('{"op":2,"d":{"token":"t"}}', now=0.0)

    required = version >= 8
    assert connection.close_to_send() == ((4013, "Invalid intent(s)") if required else None)


@versions(6, 7)
def test_guild_subscriptions_exist_in_versions_6_and_7(version: int, does: bool) -> None:
    if does:
        assert identify_of(version, guild_subscriptions=False)["guild_subscriptions"] is False
    else:
        with pytest.raises(LocalProtocolError, match="has no guild_subscriptions"):
            config_of(version, guild_subscriptions=False)
    assert "guild_subscriptions" not in identify_of(version)


@versions(6, 7, 8, 9, 10)
def test_members_request_has_user_ids_from_version_6_on(version: int, does: bool) -> None:
    connection = ready_of(version)
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


@versions(6, 7, 8, 9, 10)
def test_voice_state_requires_a_guild_from_version_6_on(version: int, does: bool) -> None:
    connection = ready_of(version)

    if does:
        with pytest.raises(LocalProtocolError, match="guild_id is None"):
            connection.send(UpdateVoiceState(None, None), now=0.0)
    else:
        connection.send(UpdateVoiceState(None, None), now=0.0)
        assert sent_payloads(connection)[0]["d"]["guild_id"] is None


@versions(6, 7, 8, 9, 10)
def test_resume_url_of_ready_is_used_from_version_6_on(version: int, does: bool) -> None:
    connection = greeted_of(version)
    d = {"session_id": "s", "heartbeat_interval": HOLD, "resume_gateway_url": "ws://localhost/r"}

    receive(connection, 0, d, s=1, t="READY")

    assert connection.session is not None
    assert connection.session.resume_url == ("ws://localhost/r" if does else None)


# ----- 8 to 10 -----


@versions(3, 4, 5, 6, 7)
def test_members_request_has_several_guilds_up_to_version_7(version: int, does: bool) -> None:
    connection = ready_of(version)

    if does:
        connection.send(RequestGuildMembers(["1", "2"], "q", 5), now=0.0)
        assert sent_payloads(connection)[0]["d"]["guild_id"] == ["1", "2"]
    else:
        with pytest.raises(LocalProtocolError, match="expected one id"):
            connection.send(RequestGuildMembers(["1", "2"], "q", 5), now=0.0)


@versions(3, 4, 5, 6, 7)
def test_property_names_have_a_dollar_sign_up_to_version_7(version: int, does: bool) -> None:
    """Rule 81: current names have none."""
    assert ("$os" in identify_of(version)["properties"]) is does


@versions(9, 10)
def test_threads_exist_from_version_9_on(version: int, does: bool) -> None:
    server = Server()
    intents = 513 if VERSIONS[version].intents else None
    link = Link(Client(config_of(version, intents=intents)), server)

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
        connection = ready_of(version)
        receive(connection, 0, {"permissions": permissions}, s=2, t="GUILD_ROLE_CREATE")
        (dispatch,) = connection.events()
        assert isinstance(dispatch, Dispatch)
        assert dispatch.data == {"permissions": permissions}


def test_message_content_requires_an_intent_in_version_10() -> None:
    assert Intents.MESSAGE_CONTENT == 1 << 15
    assert identify_of(10, intents=Intents.MESSAGE_CONTENT)["intents"] == 1 << 15


@versions(10)
def test_soundboard_and_channel_info_require_version_10(version: int, does: bool) -> None:
    commands = VERSIONS[version].commands

    assert (Opcode.REQUEST_SOUNDBOARD_SOUNDS in commands) is does
    assert (Opcode.REQUEST_CHANNEL_INFO in commands) is does


# ----- encodings -----


@pytest.mark.parametrize("version", VERSIONS)
def test_etf_is_selected_by_query_or_first_payload(version: int) -> None:
    pytest.importorskip("erlpack")
    config = config_of(version, encoding=Encoding.ETF)
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
