"""Validation of commands: errors name the field, its value and the limit."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Activity,
    Identify,
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
from gateway_proto.versions import VERSIONS
from gateway_proto.wire.command_codec import command_to_payload
from gateway_proto.wire.command_decoding import decode_command

V10 = VERSIONS[10]
_ALL = Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES


_SNOWFLAKE = "a snowflake: an int of 64 bits, or its decimal digits as a str"
_TEXT = "a str that is not empty, without lone surrogates"
_ACTIVITY = "an Activity, such as Activity('chess')"
_21_DIGITS = "1" * 21
_34_BYTES = "é" * 17


def _integer(low: int, high: int) -> str:
    return f"an int from {low} to {high}"


_INT64 = f"{_integer(0, 2**63 - 1)}, or None"
_INTENTS = f"{_integer(0, 2**53)}, or None"
_TOO_LARGE = 2**64


@pytest.mark.parametrize(
    ("type_", "fields", "field", "shown", "expected"),
    [
        (RawCommand, {"op": -1}, "op", "-1", _integer(0, 255)),
        (RawCommand, {"op": 256}, "op", "256", _integer(0, 255)),
        (RawCommand, {"op": True}, "op", "True", _integer(0, 255)),
        (
            Identify,
            {"token": "t", "intents": -1},
            "intents",
            "-1",
            _INTENTS,
        ),
        (
            Identify,
            {"token": "t", "intents": 2**53 + 1},
            "intents",
            "9007199254740993",
            _INTENTS,
        ),
        (UpdatePresence, {"since": -1}, "since", "-1", _INT64),
        (
            UpdatePresence,
            {"since": 2**63},
            "since",
            f"{2**63}",
            _INT64,
        ),
        (UpdatePresence, {"since": 1.5}, "since", "1.5", _INT64),
        (
            UpdatePresence,
            {"status": "away"},
            "status",
            "'away'",
            "one of online, dnd, idle, invisible, offline",
        ),
        (
            UpdatePresence,
            {"activities": "chess"},
            "activities",
            "'chess'",
            "activities, such as [Activity('chess')]",
        ),
        (UpdatePresence, {"activities": ["chess"]}, "activities", "'chess'", _ACTIVITY),
        (UpdatePresence, {"activities": [{"name": "x"}]}, "activities", "{'name': 'x'}", _ACTIVITY),
        (Activity, {"name": ""}, "name", "''", _TEXT),
        (Activity, {"name": 5}, "name", "5", _TEXT),
        (Activity, {"name": "\ud800"}, "name", "'\\ud800'", _TEXT),
        (Activity, {"name": "x", "type": -1}, "type", "-1", _integer(0, 255)),
        (Activity, {"name": "x", "type": 256}, "type", "256", _integer(0, 255)),
        (
            UpdateVoiceState,
            {"guild_id": "1", "channel_id": "general"},
            "channel_id",
            "'general'",
            f"{_SNOWFLAKE}, or None",
        ),
        (
            UpdateVoiceState,
            {"guild_id": 1, "channel_id": 2, "self_mute": "yes"},
            "self_mute",
            "'yes'",
            "a bool",
        ),
        (RequestChannelInfo, {"guild_id": "²", "fields": "a"}, "guild_id", "'²'", _SNOWFLAKE),
        (RequestChannelInfo, {"guild_id": "٢", "fields": "a"}, "guild_id", "'٢'", _SNOWFLAKE),
        (RequestChannelInfo, {"guild_id": -1, "fields": "a"}, "guild_id", "'-1'", _SNOWFLAKE),
        (RequestChannelInfo, {"guild_id": True, "fields": "a"}, "guild_id", "True", _SNOWFLAKE),
        (
            RequestChannelInfo,
            {"guild_id": 2**64, "fields": "a"},
            "guild_id",
            f"{2**64}",
            _SNOWFLAKE,
        ),
        (
            RequestChannelInfo,
            {"guild_id": _21_DIGITS, "fields": "a"},
            "guild_id",
            f"'{_21_DIGITS}'",
            _SNOWFLAKE,
        ),
        (
            RequestGuildMembers,
            {"guild_id": ""},
            "guild_id",
            "''",
            f"{_SNOWFLAKE}; or several of them",
        ),
        (
            RequestGuildMembers,
            {"guild_id": []},
            "guild_id",
            "()",
            f"{_SNOWFLAKE}; or several of them",
        ),
        (RequestGuildMembers, {"guild_id": 1, "limit": -1}, "limit", "-1", _integer(0, 2**31 - 1)),
        (
            RequestGuildMembers,
            {"guild_id": 1, "limit": 2**31},
            "limit",
            "2147483648",
            _integer(0, 2**31 - 1),
        ),
        (RequestGuildMembers, {"guild_id": 1, "user_ids": ["me"]}, "user_ids", "'me'", _SNOWFLAKE),
        (RequestGuildMembers, {"guild_id": 1, "user_ids": "me"}, "user_ids", "'me'", _SNOWFLAKE),
        (
            RequestGuildMembers,
            {"guild_id": 1, "nonce": _34_BYTES},
            "nonce",
            f"'{_34_BYTES}'",
            "a str of at most 32 bytes, or None",
        ),
        (
            RequestGuildMembers,
            {"guild_id": 1, "nonce": "\ud800"},
            "nonce",
            "'\\ud800'",
            "a str of at most 32 bytes, or None",
        ),
        (RequestSoundboardSounds, {"guild_ids": ["x"]}, "guild_ids", "'x'", _SNOWFLAKE),
    ],
)
def test_invalid_field_is_rejected_at_construction(
    type_: Any, fields: dict[str, Any], field: str, shown: str, expected: str
) -> None:
    """Rules 61 to 63."""
    with pytest.raises(LocalProtocolError) as caught:
        type_(**fields)

    assert str(caught.value) == f"invalid {type_.__name__}.{field} {shown}: expected {expected}"


@pytest.mark.parametrize(
    ("type_", "fields", "error"),
    [
        (
            RequestGuildMembers,
            {"guild_id": 1, "user_ids": []},
            "RequestGuildMembers.user_ids has 0 members: expected 1 to 100 ids, or None",
        ),
        (
            RequestGuildMembers,
            {"guild_id": 1, "user_ids": range(101)},
            "RequestGuildMembers.user_ids has 101 members: expected 1 to 100 ids, or None",
        ),
        (
            RequestSoundboardSounds,
            {"guild_ids": []},
            "RequestSoundboardSounds.guild_ids has 0 members: expected one id or more",
        ),
        (
            RequestChannelInfo,
            {"guild_id": 1, "fields": []},
            "RequestChannelInfo.fields has 0 members: expected one field or more, such as "
            '["status"]',
        ),
        (
            RawCommand,
            {"op": 3, "d": object()},
            "invalid RawCommand.d: value cannot be encoded as JSON",
        ),
        (
            RawCommand,
            {"op": 3, "d": "\ud800"},
            "invalid RawCommand.d: value cannot be encoded as JSON",
        ),
        (Identify, {"token": None}, "Identify.token is None: expected a str"),
        (Identify, {"token": "a b"}, "Identify.token contains a space"),
        (
            Resume,
            {"session_id": "s", "seq": 0, "token": b"t"},
            "Resume.token is of type bytes: expected a str",
        ),
        (
            UpdatePresence,
            {"idle_since": 1},
            "UpdatePresence has no idle_since: expected since, which version 3 encodes",
        ),
        (
            UpdatePresence,
            {"game": "chess"},
            "UpdatePresence has no game: expected activities, such as [Activity('chess')]",
        ),
    ],
)
def test_invalid_command_is_rejected_with_the_allowed_values(
    type_: Any, fields: dict[str, Any], error: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        type_(**fields)

    assert str(caught.value).startswith(error)


@pytest.mark.parametrize(
    ("command", "expected_text"),
    [
        (
            Identify(token="t", intents=0, large_threshold=49),
            f"invalid Identify.large_threshold 49: expected {_integer(50, 250)}",
        ),
        (
            Identify(token="t", intents=0, large_threshold=251),
            f"invalid Identify.large_threshold 251: expected {_integer(50, 250)}",
        ),
        (
            UpdateVoiceState(None, None),
            f"UpdateVoiceState.guild_id is None: expected {_SNOWFLAKE}",
        ),
        (
            RequestGuildMembers("1", "a"),
            f"invalid RequestGuildMembers.limit 0: expected {_integer(1, 100)}",
        ),
        (
            RequestGuildMembers("1", "a", 101),
            f"invalid RequestGuildMembers.limit 101: expected {_integer(1, 100)}",
        ),
        (
            RequestGuildMembers("1", "a", 0, ["2"]),
            "invalid RequestGuildMembers.user_ids ('2',): expected either user_ids, or query and "
            "limit",
        ),
        (
            RequestGuildMembers("1", "", 5, ["2"]),
            "invalid RequestGuildMembers.user_ids ('2',): expected either user_ids, or query and "
            "limit",
        ),
    ],
)
def test_invalid_field_is_rejected_with_value_and_limit(command: Any, expected_text: str) -> None:
    """Rules 61 to 64."""
    with pytest.raises(LocalProtocolError) as caught:
        command_to_payload(command, V10, intents=_ALL)

    assert str(caught.value) == expected_text


@pytest.mark.parametrize(
    "command",
    [
        RawCommand(0),
        RawCommand(255),
        Identify(token="t", intents=0, large_threshold=50),
        Identify(token="t", intents=2**53, large_threshold=250),
        UpdatePresence((), 0),
        UpdatePresence((), 2**63 - 1),
        UpdatePresence([Activity("x", 0)]),
        UpdatePresence([Activity("x", 255)]),
        UpdateVoiceState("1" * 20, None),
        RequestGuildMembers("1", limit=2**31 - 1),
        RequestGuildMembers("1", "a", 1),
        RequestGuildMembers("1", "a", 100),
        RequestGuildMembers("1", user_ids=["1"]),
        RequestGuildMembers("1", user_ids=["1"] * 100),
        RequestGuildMembers("1", nonce="x" * 32),
    ],
)
def test_field_at_its_limit_is_accepted(command: Any) -> None:
    op, d = command_to_payload(command, V10, intents=_ALL)

    assert decode_command(op, msgspec.json.encode(d), V10) == command


_NEEDS = "RequestGuildMembers for {} without the intent {}: expected it in Config.intents"


@pytest.mark.parametrize(
    ("command", "intents"),
    [
        (RequestGuildMembers("1", "a", 5), 0),
        (RequestGuildMembers("1", limit=5), 0),
        (RequestGuildMembers("1", user_ids=["1"]), 0),
        (RequestGuildMembers("1"), Intents.GUILD_MEMBERS),
        (RequestGuildMembers("1", "a", 5, presences=True), Intents.GUILD_PRESENCES),
        (RequestGuildMembers("1", presences=True), _ALL),
        (RequestGuildMembers("1", presences=True), None),
    ],
)
def test_request_with_its_intent_is_encoded(command: Any, intents: int | None) -> None:
    """Rule 64; versions without intents send all events."""
    assert command_to_payload(command, V10, intents=intents)[0] == 8


@pytest.mark.parametrize(
    ("command", "intents", "expected_text"),
    [
        (RequestGuildMembers("1"), 0, _NEEDS.format("all members", "GUILD_MEMBERS")),
        (
            RequestGuildMembers("1"),
            ~Intents.GUILD_MEMBERS,
            _NEEDS.format("all members", "GUILD_MEMBERS"),
        ),
        (
            RequestGuildMembers("1", presences=True),
            Intents.GUILD_MEMBERS,
            _NEEDS.format("presences", "GUILD_PRESENCES"),
        ),
        (
            RequestGuildMembers("1", "a", 5, presences=True),
            0,
            _NEEDS.format("presences", "GUILD_PRESENCES"),
        ),
    ],
)
def test_request_without_its_intent_is_rejected(
    command: Any, intents: int, expected_text: str
) -> None:
    """Rule 64."""
    with pytest.raises(LocalProtocolError) as caught:
        command_to_payload(command, V10, intents=intents)

    assert str(caught.value) == expected_text


_TWO = (Activity("a"), Activity("b"))


def _one_game(version: int) -> str:
    shown = f"{_TWO!r}"[:80]
    return (
        f"activities {shown}... ({len(repr(_TWO))} characters): expected at most one, the game of "
        f"version {version}"
    )


_ONLINE_OR_IDLE = "expected online, or idle with `since`, in version"


@pytest.mark.parametrize(
    ("presence", "version", "expected_text"),
    [
        (UpdatePresence(_TWO), 3, _one_game(3)),
        (UpdatePresence(_TWO), 7, _one_game(7)),
        (
            UpdatePresence(status="dnd"),
            3,
            f"status 'dnd': {_ONLINE_OR_IDLE} 3",
        ),
        (
            UpdatePresence(status="idle"),
            5,
            f"status 'idle': {_ONLINE_OR_IDLE} 5",
        ),
        (
            UpdatePresence((), 5, status="online"),
            4,
            f"status 'online': {_ONLINE_OR_IDLE} 4",
        ),
    ],
)
def test_presence_unsupported_by_the_version_is_rejected(
    presence: UpdatePresence, version: int, expected_text: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        command_to_payload(presence, VERSIONS[version])

    assert str(caught.value) == f"invalid UpdatePresence.{expected_text}"


_NO_USERS = "{} has no user_ids, presences or nonce in a members request: expected query and limit"


@pytest.mark.parametrize(
    ("command", "version", "expected_text"),
    [
        (VoiceServerPing(), 10, "{} has no VoiceServerPing (op 5)"),
        (RequestSoundboardSounds(["1"]), 3, "{} has no RequestSoundboardSounds (op 31)"),
        (RequestChannelInfo("1", ["status"]), 3, "{} has no RequestChannelInfo (op 43)"),
        (Identify(token="t"), 10, "{} needs intents in Identify"),
        (
            RequestGuildMembers(["1", "2"]),
            10,
            "invalid RequestGuildMembers.guild_id ('1', '2'): expected one id in {}",
        ),
        (RequestGuildMembers("1", user_ids=["2"]), 3, _NO_USERS),
        (RequestGuildMembers("1", presences=True), 3, _NO_USERS),
        (RequestGuildMembers("1", nonce="n"), 3, _NO_USERS),
    ],
)
def test_command_unsupported_by_the_version_is_rejected(
    command: Any, version: int, expected_text: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        command_to_payload(command, VERSIONS[version])

    assert str(caught.value) == expected_text.format(f"version {version}")


def test_object_that_is_not_a_command_is_rejected() -> None:
    text: Any = "text"

    with pytest.raises(LocalProtocolError) as caught:
        command_to_payload(text, V10)

    assert str(caught.value) == (
        "invalid command 'text': expected a command of gateway_proto, such as "
        "UpdatePresence([Activity('chess')]), or RawCommand(op, d)"
    )


@pytest.mark.parametrize(
    "d",
    [math.nan, -math.inf, [1, {"a": (math.inf,)}], {"a": {"b": math.nan}}, {math.inf: 1}],
    ids=str,
)
def test_raw_command_rejects_numbers_that_json_lacks(d: Any) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        RawCommand(99, d)

    assert str(caught.value) == "invalid RawCommand.d: it has nan or inf: expected finite numbers"


def test_raw_command_takes_encoded_json_and_deep_nesting() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]

    assert RawCommand(99, msgspec.Raw(b"1")).d == msgspec.Raw(b"1")
    assert RawCommand(99, deep).d is deep


def test_leading_zeros_of_an_id_are_dropped() -> None:
    # The answer has the id without them.
    assert RequestGuildMembers("007", user_ids=["08", "0"]) == RequestGuildMembers(
        7, user_ids=[8, 0]
    )


def test_identify_takes_a_shard_as_a_list() -> None:
    assert Identify(token="t", shard=[0, 2]).shard == (0, 2)  # type: ignore[arg-type]
