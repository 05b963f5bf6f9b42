"""command → error: what must not be sent is refused with its field, its value and its limit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_proto import (
    DIALECTS,
    Activity,
    Identify,
    Intents,
    LocalProtocolError,
    Raw,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
    VoiceServerPing,
)
from gateway_proto._layers.spelling import read, spell

V10 = DIALECTS[10]
_ALL = Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES


_STATUSES = "it must be one of online, dnd, idle, invisible, offline"
_SNOWFLAKE = "it must be a snowflake, of digits alone"
_SURROGATES = "\ud800" * 11
_21_DIGITS = "1" * 21
_34_BYTES = "é" * 17
_EITHER = "give either them, or query and limit"


def _integer(low: int, high: int) -> str:
    return f"it must be an integer from {low} to {high}"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Raw(-1), f"Raw.op is -1: {_integer(0, 255)}"),
        (Raw(256), f"Raw.op is 256: {_integer(0, 255)}"),
        (Raw(True), f"Raw.op is True: {_integer(0, 255)}"),
        (
            Identify(token="t", intents=0, large_threshold=49),
            f"Identify.large_threshold is 49: {_integer(50, 250)}",
        ),
        (
            Identify(token="t", intents=0, large_threshold=251),
            f"Identify.large_threshold is 251: {_integer(50, 250)}",
        ),
        (Identify(token="t", intents=-1), f"Identify.intents is -1: {_integer(0, 2**53)}"),
        (
            Identify(token="t", intents=2**53 + 1),
            f"Identify.intents is 9007199254740993: {_integer(0, 2**53)}",
        ),
        (UpdatePresence((), -1), f"UpdatePresence.since is -1: {_integer(0, 2**63 - 1)}"),
        (
            UpdatePresence((), 2**63),
            f"UpdatePresence.since is 9223372036854775808: {_integer(0, 2**63 - 1)}",
        ),
        (
            UpdatePresence((), 1.5),  # type: ignore[arg-type]
            f"UpdatePresence.since is 1.5: {_integer(0, 2**63 - 1)}",
        ),
        (UpdatePresence(status="away"), f"UpdatePresence.status is 'away': {_STATUSES}"),
        (
            UpdatePresence([Activity("")]),
            "Activity.name is '': it must be a text that is not empty",
        ),
        (
            UpdatePresence([Activity(5)]),  # type: ignore[arg-type]
            "Activity.name is 5: it must be a text that is not empty",
        ),
        (UpdatePresence([Activity("x", -1)]), f"Activity.type is -1: {_integer(0, 255)}"),
        (UpdatePresence([Activity("x", 256)]), f"Activity.type is 256: {_integer(0, 255)}"),
        (UpdateVoiceState(None, None), f"UpdateVoiceState.guild_id is None: {_SNOWFLAKE}"),
        (
            UpdateVoiceState("1", "general"),
            f"UpdateVoiceState.channel_id is 'general': {_SNOWFLAKE}",
        ),
        (
            UpdateVoiceState("\N{SUPERSCRIPT TWO}", None),
            f"UpdateVoiceState.guild_id is '²': {_SNOWFLAKE}",
        ),
        (
            UpdateVoiceState("\u0662", None),
            f"UpdateVoiceState.guild_id is '\u0662': {_SNOWFLAKE}",
        ),
        (
            UpdateVoiceState(_21_DIGITS, None),
            f"UpdateVoiceState.guild_id is '{_21_DIGITS}': {_SNOWFLAKE}",
        ),
        (RequestGuildMembers(""), f"RequestGuildMembers.guild_id is '': {_SNOWFLAKE}"),
        (RequestGuildMembers("x"), f"RequestGuildMembers.guild_id is 'x': {_SNOWFLAKE}"),
        (
            RequestGuildMembers("1", limit=-1),
            f"RequestGuildMembers.limit is -1: {_integer(0, 2**31 - 1)}",
        ),
        (
            RequestGuildMembers("1", limit=2**31),
            f"RequestGuildMembers.limit is 2147483648: {_integer(0, 2**31 - 1)}",
        ),
        (RequestGuildMembers("1", "a"), f"RequestGuildMembers.limit is 0: {_integer(1, 100)}"),
        (
            RequestGuildMembers("1", "a", 101),
            f"RequestGuildMembers.limit is 101: {_integer(1, 100)}",
        ),
        (
            RequestGuildMembers("1", "a", 0, ["2"]),
            f"RequestGuildMembers.user_ids is ('2',): {_EITHER}",
        ),
        (
            RequestGuildMembers("1", "", 5, ["2"]),
            f"RequestGuildMembers.user_ids is ('2',): {_EITHER}",
        ),
        (
            RequestGuildMembers("1", user_ids=[]),
            "RequestGuildMembers.user_ids has 0 ids: it must have 1 to 100",
        ),
        (
            RequestGuildMembers("1", user_ids=range(101)),
            "RequestGuildMembers.user_ids has 101 ids: it must have 1 to 100",
        ),
        (
            RequestGuildMembers("1", user_ids=["me"]),
            f"RequestGuildMembers.user_ids is 'me': {_SNOWFLAKE}",
        ),
        (
            RequestGuildMembers("1", nonce=_34_BYTES),
            f"RequestGuildMembers.nonce is '{_34_BYTES}': it has 34 bytes, more than 32",
        ),
        (
            RequestGuildMembers("1", nonce=_SURROGATES),
            f"RequestGuildMembers.nonce is {_SURROGATES!r}: it has 33 bytes, more than 32",
        ),
        (
            RequestSoundboardSounds([]),
            "RequestSoundboardSounds.guild_ids is (): it must have at least one",
        ),
        (RequestSoundboardSounds(["x"]), f"RequestSoundboardSounds.guild_ids is 'x': {_SNOWFLAKE}"),
        (
            RequestChannelInfo("x", ["status"]),
            f"RequestChannelInfo.guild_id is 'x': {_SNOWFLAKE}",
        ),
        (
            RequestChannelInfo("1", []),
            "RequestChannelInfo.fields is (): it must have at least one",
        ),
    ],
)
def test_a_command_with_a_bad_field_is_refused_with_its_value_and_limit(
    command: Any, says: str
) -> None:
    """Rules 61 to 64."""
    with pytest.raises(LocalProtocolError) as caught:
        spell(command, V10, intents=_ALL)

    assert str(caught.value) == says


@pytest.mark.parametrize(
    "command",
    [
        Raw(0),
        Raw(255),
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
def test_a_field_may_be_at_its_limit(command: Any) -> None:
    op, d = spell(command, V10, intents=_ALL)

    assert read(op, msgspec.json.encode(d), V10) == command


_NEEDS = "RequestGuildMembers for {} needs the intent {}: add it to Config.intents"


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
def test_a_request_with_its_intent_is_written(command: Any, intents: int | None) -> None:
    """Rule 64; where there were no intents yet, all that there is comes."""
    assert spell(command, V10, intents=intents)[0] == 8


@pytest.mark.parametrize(
    ("command", "intents", "says"),
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
def test_a_request_without_its_intent_is_refused(command: Any, intents: int, says: str) -> None:
    """Rule 64."""
    with pytest.raises(LocalProtocolError) as caught:
        spell(command, V10, intents=intents)

    assert str(caught.value) == says


_TWO = (Activity("a"), Activity("b"))
_ONLINE_OR_IDLE = "knows online, and idle with `since`"


@pytest.mark.parametrize(
    ("presence", "version", "says"),
    [
        (UpdatePresence(_TWO), 3, f"activities is {_TWO!r}: version 3 knows one, the game"),
        (UpdatePresence(_TWO), 7, f"activities is {_TWO!r}: version 7 knows one, the game"),
        (UpdatePresence(status="dnd"), 3, f"status is 'dnd': version 3 {_ONLINE_OR_IDLE}"),
        (UpdatePresence(status="idle"), 5, f"status is 'idle': version 5 {_ONLINE_OR_IDLE}"),
        (
            UpdatePresence((), 5, status="online"),
            4,
            f"status is 'online': version 4 {_ONLINE_OR_IDLE}",
        ),
    ],
)
def test_a_presence_that_a_version_cannot_say_is_refused(
    presence: UpdatePresence, version: int, says: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        spell(presence, DIALECTS[version])

    assert str(caught.value) == f"UpdatePresence.{says}"


_NO_USERS = "{} has no user_ids, presences or nonce in a members request: use query and limit"


@pytest.mark.parametrize(
    ("command", "version", "says"),
    [
        (VoiceServerPing(), 10, "{} has no VoiceServerPing (op 5)"),
        (RequestSoundboardSounds(["1"]), 3, "{} has no RequestSoundboardSounds (op 31)"),
        (RequestChannelInfo("1", ["status"]), 3, "{} has no RequestChannelInfo (op 43)"),
        (Identify(token="t"), 10, "{} needs intents in Identify"),
        (RequestGuildMembers(["1", "2"]), 10, "{} takes one guild a members request, not several"),
        (RequestGuildMembers("1", user_ids=["2"]), 3, _NO_USERS),
        (RequestGuildMembers("1", presences=True), 3, _NO_USERS),
        (RequestGuildMembers("1", nonce="n"), 3, _NO_USERS),
    ],
)
def test_what_a_version_does_not_have_is_refused_with_what_it_has(
    command: Any, version: int, says: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        spell(command, DIALECTS[version])

    assert str(caught.value) == says.format(f"version {version}")


def test_what_is_no_command_is_refused() -> None:
    text: Any = "text"

    with pytest.raises(LocalProtocolError) as caught:
        spell(text, V10)

    assert str(caught.value) == "'text' is not a command: send a value of commands.py"
