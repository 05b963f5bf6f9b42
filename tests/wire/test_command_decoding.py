"""Decoding of commands that real clients send, with other types and nulls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Activity,
    Heartbeat,
    Identify,
    IdentifyProperties,
    Intents,
    LocalProtocolError,
    RawCommand,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.commands import VoiceServerPing
from gateway_proto.errors import DataError
from gateway_proto.versions import VERSIONS
from gateway_proto.wire.command_codec import command_to_payload
from gateway_proto.wire.command_decoding import decode_command


def _read(op: int, d: Any, version: int = 10) -> Any:
    return decode_command(op, msgspec.json.encode(d), VERSIONS[version])


@pytest.mark.parametrize("d", ["x", "zlib-stream", 1, None])
def test_identify_compress_that_is_not_a_bool_is_false(d: Any) -> None:
    assert not _read(2, {"token": "t", "compress": d}).compress


def test_identify_properties_may_have_a_dollar_prefix() -> None:
    for version in VERSIONS:
        for prefix in ("", "$"):
            d = {"token": "t", "properties": {f"{prefix}os": "linux", f"{prefix}browser": None}}
            assert _read(2, d, version).properties.os == "linux"


def test_presence_with_nulls_and_game_is_decoded() -> None:
    d = {"since": 1.0, "activities": None, "status": None, "afk": None, "game": {"name": "x"}}

    assert _read(3, d) == UpdatePresence([Activity("x")], 1, status="online")
    assert _read(3, {"game": {"name": None}}) == UpdatePresence()


@pytest.mark.parametrize(
    ("idle_since", "since"), [(None, None), (5, 5), ("anything", 0), (True, 0)]
)
def test_version_3_idle_since_other_than_null_means_idle(idle_since: Any, since: Any) -> None:
    presence = _read(3, {"game": {"name": None}, "idle_since": idle_since}, 3)

    assert presence == UpdatePresence((), since)
    assert presence.status == ("online" if idle_since is None else "idle")


@pytest.mark.parametrize(
    ("version", "op", "d", "command"),
    [
        (10, 1, None, Heartbeat(None)),
        (10, 1, 5, Heartbeat(5)),
        (10, 1, 5.0, Heartbeat(5)),
        (3, 1, "5", Heartbeat("5")),
        (
            10,
            2,
            {"token": "t"},
            Identify(token="t", properties=IdentifyProperties(browser="", device="")),
        ),
        (
            10,
            2,
            {
                "token": "t",
                "properties": {"os": "linux", "$browser": "b", "device": None, "$device": 5},
                "intents": 513,
                "compress": True,
                "large_threshold": 60,
                "shard": [1, 2],
                "presence": {"status": "dnd"},
                "guild_subscriptions": False,
            },
            Identify(
                token="t",
                properties=IdentifyProperties("linux", "b", "5"),
                intents=513,
                compress=True,
                large_threshold=60,
                shard=(1, 2),
                presence=UpdatePresence(status="dnd"),
                guild_subscriptions=False,
            ),
        ),
        (
            10,
            6,
            {"token": "t", "session_id": "s", "seq": 7},
            Resume(session_id="s", seq=7, token="t"),
        ),
        (3, 6, {"session_id": "s", "seq": 7}, Resume(session_id="s", seq=7)),
        (10, 3, {}, UpdatePresence()),
        (
            10,
            3,
            {
                "since": 1.0,
                "activities": [{"name": "a", "type": 1, "url": "u", "state": "s"}],
                "game": {"name": "not this one"},
                "status": "dnd",
                "afk": True,
            },
            UpdatePresence([Activity("a", 1, "u", "s")], 1, status="dnd", afk=True),
        ),
        (
            10,
            3,
            {"since": 5, "game": {"name": "a", "type": 1, "url": "u", "state": "s"}},
            UpdatePresence([Activity("a", 1, "u", "s")], 5, status="online"),
        ),
        (10, 3, {"game": {"name": None}}, UpdatePresence()),
        (3, 3, {"game": {"name": "a", "type": 1}}, UpdatePresence([Activity("a")])),
        (3, 3, {"game": None, "idle_since": 5}, UpdatePresence((), 5)),
        (
            10,
            4,
            {"guild_id": 1, "channel_id": 2, "self_mute": True},
            UpdateVoiceState("1", "2", self_mute=True),
        ),
        (10, 4, {"self_deaf": True}, UpdateVoiceState(None, None, self_deaf=True)),
        (3, 5, None, VoiceServerPing()),
        (10, 8, {"guild_id": 5}, RequestGuildMembers("5")),
        (
            10,
            8,
            {"guild_id": [5, "6"], "query": "q", "limit": 7},
            RequestGuildMembers(["5", "6"], "q", 7),
        ),
        (
            10,
            8,
            {"guild_id": "5", "user_ids": [6, "7"], "presences": True, "nonce": "n"},
            RequestGuildMembers("5", user_ids=["6", "7"], presences=True, nonce="n"),
        ),
        (10, 8, {"guild_id": "5", "user_ids": "6"}, RequestGuildMembers("5", user_ids=["6"])),
        (10, 31, {"guild_ids": [1, "2"]}, RequestSoundboardSounds(["1", "2"])),
        (10, 43, {"guild_id": 1, "fields": ["status"]}, RequestChannelInfo("1", ["status"])),
        (10, 5, None, RawCommand(5, None)),
        (10, 99, [1], RawCommand(99, [1])),
    ],
)
def test_each_op_is_decoded_to_its_command(version: int, op: int, d: Any, command: Any) -> None:
    assert _read(op, d, version) == command


@pytest.mark.parametrize(
    ("op", "d", "field", "value"),
    [
        (1, -5, "d", -5),
        (2, {"token": "a b"}, "token", "a b"),
        (2, {"token": "t", "shard": [5, 3]}, "shard", (5, 3)),
        (2, {"token": "t", "intents": -1}, "intents", -1),
        (3, {"status": "away"}, "status", "away"),
        (3, {"since": -1}, "since", -1),
        (4, {"guild_id": "general"}, "guild_id", "general"),
        (6, {"token": "t", "session_id": "", "seq": 5}, "session_id", ""),
        (8, {"guild_id": []}, "guild_id", ()),
        (8, {"guild_id": "5", "limit": -1}, "limit", -1),
        (
            8,
            {"guild_id": "5", "user_ids": list(range(101))},
            "user_ids",
            tuple(map(str, range(101))),
        ),
        (8, {"guild_id": "5", "nonce": "n" * 33}, "nonce", "n" * 33),
        (31, {"guild_ids": []}, "guild_ids", ()),
        (43, {"guild_id": "5", "fields": []}, "fields", ()),
        (256, None, "op", 256),
    ],
)
def test_unsendable_command_is_decoded_but_not_encoded(
    op: int, d: Any, field: str, value: Any
) -> None:
    command = _read(op, d)

    assert getattr(command, field) == value
    with pytest.raises(LocalProtocolError, match=field):
        command_to_payload(command, VERSIONS[10], intents=Intents.all())


def test_received_command_is_validated_when_it_is_encoded() -> None:
    unnamed = _read(3, {"activities": [{}]})
    identify = _read(2, {"token": "t", "intents": 0, "presence": {"status": "away"}})

    assert unnamed.activities[0].name == ""
    for command in (unnamed, identify):
        with pytest.raises(LocalProtocolError, match=r"Activity.name|UpdatePresence.status"):
            command_to_payload(command, VERSIONS[10])


def test_float_in_a_heartbeat_is_decoded_as_integer() -> None:
    assert repr(_read(1, 5.0)) == "Heartbeat(d=5)"


def test_single_user_id_and_integer_ids_are_decoded() -> None:
    request = _read(8, {"guild_id": 5, "user_ids": 6, "query": None, "limit": None})

    assert request == RequestGuildMembers("5", user_ids=["6"])


@pytest.mark.parametrize(
    ("op", "d"),
    [
        (2, None),
        (2, {}),
        (2, {"token": 5}),
        (6, {"session_id": "x"}),
        (1, {}),
        (3, 5),
        (8, {}),
        (31, {}),
        (43, {"guild_id": "1"}),
    ],
)
def test_unusable_field_raises_an_error(op: int, d: Any) -> None:
    with pytest.raises(DataError):
        _read(op, d)
