"""Commands: encoding by one role and decoding by the other give equal values."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import (
    Activity,
    Heartbeat,
    Identify,
    IdentifyProperties,
    RawCommand,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.commands import VoiceServerPing
from gateway_proto.versions import VERSIONS
from gateway_proto.wire.command_codec import command_to_payload
from gateway_proto.wire.command_decoding import decode_command

V3, V10 = VERSIONS[3], VERSIONS[10]
IDS = st.integers(0, 2**63).map(str)
WORDS = st.text(max_size=10)
NAMES = st.text(min_size=1, max_size=10)
TOKENS = st.text("abc.-_09", min_size=1, max_size=10)
SHARDS = st.tuples(st.integers(0, 9), st.integers(10, 19))

_ACTIVITIES = st.builds(Activity, NAMES, st.integers(0, 5), st.none() | WORDS, st.none() | WORDS)
_PRESENCES = st.builds(
    UpdatePresence,
    st.lists(_ACTIVITIES, max_size=3),
    st.none() | st.integers(0, 2**50),
    status=st.sampled_from(["online", "dnd", "idle", "invisible", "offline"]),
    afk=st.booleans(),
)
_BOTH = [
    st.builds(Heartbeat, st.none() | st.integers(0, 2**50) | WORDS),
    st.builds(UpdateVoiceState, IDS, st.none() | IDS, st.booleans(), st.booleans()),
    st.builds(RawCommand, st.integers(50, 99), st.none() | st.booleans() | WORDS),
]
_COMMANDS_10 = st.one_of(
    *_BOTH,
    _PRESENCES,
    st.builds(
        Identify,
        token=TOKENS,
        properties=st.builds(IdentifyProperties, WORDS, WORDS, WORDS),
        intents=st.integers(0, 2**26),
        compress=st.booleans(),
        large_threshold=st.integers(50, 250),
        shard=st.none() | SHARDS,
        presence=st.none() | _PRESENCES,
    ),
    st.builds(Resume, session_id=NAMES, seq=st.integers(0, 2**50), token=st.none() | TOKENS),
    st.builds(RequestGuildMembers, IDS, NAMES, st.integers(1, 100)),
    st.builds(
        RequestGuildMembers,
        IDS,
        user_ids=st.lists(IDS, min_size=1, max_size=3),
        presences=st.booleans(),
        nonce=st.none() | st.text("aé", max_size=16),
    ),
    st.builds(RequestSoundboardSounds, st.lists(IDS, min_size=1, max_size=3)),
    st.builds(RequestChannelInfo, IDS, st.lists(NAMES, min_size=1, max_size=3)),
)
_COMMANDS_3 = st.one_of(
    *_BOTH,
    st.builds(
        UpdatePresence,
        st.lists(st.builds(Activity, NAMES), max_size=1),
        st.none() | st.integers(0, 2**50),
    ),
    st.builds(
        Identify,
        token=TOKENS,
        properties=st.builds(IdentifyProperties, WORDS, WORDS, WORDS, WORDS, WORDS),
        compress=st.booleans(),
        large_threshold=st.integers(50, 250),
    ),
    st.builds(Resume, session_id=NAMES, seq=st.integers(0, 2**50)),
    st.builds(VoiceServerPing),
    st.builds(
        RequestGuildMembers, IDS | st.lists(IDS, min_size=1, max_size=3), WORDS, st.integers(0, 100)
    ),
    st.builds(UpdateVoiceState, st.none(), st.none()),
)


@given(_COMMANDS_10)
def test_version_10_command_round_trip(command: Any) -> None:
    op, d = command_to_payload(command, V10)

    assert decode_command(op, msgspec.json.encode(d), V10) == command


@given(_COMMANDS_3)
def test_version_3_command_round_trip(command: Any) -> None:
    op, d = command_to_payload(command, V3)

    assert decode_command(op, msgspec.json.encode(d), V3) == command


def test_ids_are_encoded_as_text() -> None:
    assert command_to_payload(RequestGuildMembers(5, user_ids=[6]), V10)[1] == {
        "guild_id": "5",
        "user_ids": ("6",),
    }
    assert command_to_payload(UpdateVoiceState(5, 6), V3)[1]["channel_id"] == "6"


_WHO = IdentifyProperties("linux", "b", "c", "r", "rd")
_ONLINE = {"since": None, "status": "online", "afk": False}
_PLAYING = Activity("chess", 1, "https://example.com", "thinking")


@pytest.mark.parametrize(
    ("version", "command", "op", "d"),
    [
        (10, Heartbeat(5), 1, 5),
        (10, Heartbeat(None), 1, None),
        (3, VoiceServerPing(), 5, None),
        (10, RawCommand(99, [1]), 99, [1]),
        (
            10,
            Identify(token="t", properties=_WHO, intents=513, guild_subscriptions=True),
            2,
            {
                "token": "t",
                "properties": {"os": "linux", "browser": "b", "device": "c"},
                "large_threshold": 50,
                "compress": False,
                "intents": 513,
            },
        ),
        (
            6,
            Identify(
                token="t",
                properties=_WHO,
                compress=True,
                large_threshold=60,
                shard=(1, 2),
                presence=UpdatePresence([Activity("chess")]),
                guild_subscriptions=False,
            ),
            2,
            {
                "token": "t",
                "properties": {
                    "$os": "linux",
                    "$browser": "b",
                    "$device": "c",
                },
                "large_threshold": 60,
                "compress": True,
                "shard": [1, 2],
                "guild_subscriptions": False,
                "presence": {**_ONLINE, "game": {"name": "chess", "type": 0}},
            },
        ),
        (
            3,
            Identify(token="t", properties=_WHO, presence=UpdatePresence(), intents=0),
            2,
            {
                "token": "t",
                "properties": {
                    "$os": "linux",
                    "$browser": "b",
                    "$device": "c",
                    "$referrer": "r",
                    "$referring_domain": "rd",
                },
                "large_threshold": 100,
                "compress": False,
                "v": 3,
            },
        ),
        (
            10,
            Resume(session_id="s", seq=7, token="t"),
            6,
            {"token": "t", "session_id": "s", "seq": 7},
        ),
        (3, Resume(session_id="s", seq=7), 6, {"session_id": "s", "seq": 7}),
        (
            10,
            UpdatePresence(),
            3,
            {"since": None, "activities": [], "status": "online", "afk": False},
        ),
        (
            10,
            UpdatePresence([_PLAYING, Activity("go")], 5, status="dnd", afk=True),
            3,
            {
                "since": 5,
                "activities": [
                    {
                        "name": "chess",
                        "type": 1,
                        "url": "https://example.com",
                        "state": "thinking",
                    },
                    {"name": "go", "type": 0},
                ],
                "status": "dnd",
                "afk": True,
            },
        ),
        (7, UpdatePresence(), 3, {**_ONLINE, "game": None}),
        (
            7,
            UpdatePresence([Activity("chess")], 5, afk=True),
            3,
            {
                "since": 5,
                "game": {"name": "chess", "type": 0},
                "status": "idle",
                "afk": True,
            },
        ),
        (3, UpdatePresence(), 3, {"game": None, "idle_since": None}),
        (3, UpdatePresence([_PLAYING], 5), 3, {"game": {"name": "chess"}, "idle_since": 5}),
        (
            10,
            UpdateVoiceState("1", None, self_deaf=True),
            4,
            {"guild_id": "1", "channel_id": None, "self_mute": False, "self_deaf": True},
        ),
        (10, RequestSoundboardSounds(["1"]), 31, {"guild_ids": ["1"]}),
        (10, RequestChannelInfo("1", ["status"]), 43, {"guild_id": "1", "fields": ["status"]}),
        (10, RequestGuildMembers("1"), 8, {"guild_id": "1", "query": "", "limit": 0}),
        (10, RequestGuildMembers("1", "q", 5), 8, {"guild_id": "1", "query": "q", "limit": 5}),
        (
            10,
            RequestGuildMembers("1", user_ids=["2"], presences=True, nonce="n"),
            8,
            {"guild_id": "1", "user_ids": ["2"], "presences": True, "nonce": "n"},
        ),
        (
            3,
            RequestGuildMembers(["1", "2"], "q"),
            8,
            {"guild_id": ["1", "2"], "query": "q", "limit": 0},
        ),
    ],
)
def test_each_command_has_its_op_and_exactly_its_fields(
    version: int, command: Any, op: int, d: Any
) -> None:
    """Rule 63: a presence always has all fields; the gateway closes if one is missing."""
    written = command_to_payload(command, VERSIONS[version])

    assert json.loads(msgspec.json.encode(written)) == [op, d]


@pytest.mark.parametrize(
    ("command", "version"),
    [
        (VoiceServerPing(), 3),
        (RequestGuildMembers(["1", "2"], "q", 5), 3),
        (RequestGuildMembers("1", user_ids=["5", "6"]), 10),
        (RequestSoundboardSounds(["1"]), 10),
        (RequestChannelInfo("1", ["status"]), 10),
    ],
)
def test_each_encoded_command_is_decoded_to_an_equal_one(command: Any, version: int) -> None:
    op, d = command_to_payload(command, VERSIONS[version])

    assert decode_command(op, msgspec.json.encode(d), VERSIONS[version]) == command
