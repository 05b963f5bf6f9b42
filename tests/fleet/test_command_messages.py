"""Commands and their answers, as bytes in a mailbox."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import (
    Activity,
    DataError,
    Heartbeat,
    Identify,
    LocalProtocolError,
    RawCommand,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.commands import VoiceServerPing
from gateway_proto.fleet import (
    MAX_MESSAGE_SIZE,
    CommandAnswer,
    CommandMessage,
    DesiredPresence,
    GatewaySettings,
    check_command,
    decode_command,
    encode_command,
    mailbox_of,
)

COMMANDS: list[Any] = [
    UpdatePresence([Activity("chess", 3, "https://x", "é")], 5, status="dnd", afk=True),
    UpdatePresence(),
    UpdateVoiceState("1", None, self_mute=True),
    VoiceServerPing(),
    RequestGuildMembers("1", user_ids=["2", "3"], presences=True, nonce="n"),
    RequestGuildMembers(["1", "2"], query="x", limit=5),
    RequestSoundboardSounds(["1", "2"]),
    RequestChannelInfo("1", ["status"]),
    RawCommand(9, {"a": [1, None, "é", {"b": 1.5}]}),
]


@pytest.mark.parametrize("command", COMMANDS, ids=repr)
def test_command_equals_its_decoded_bytes(command: Any) -> None:
    assert decode_command(encode_command(command)) == command


@pytest.mark.parametrize("command", [Heartbeat(None), Identify(token="hidden")])
def test_command_of_the_connection_itself_raises(command: Any) -> None:
    with pytest.raises(LocalProtocolError, match="the connection sends it by itself") as raised:
        encode_command(command)

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("command", [None, "UpdatePresence", object(), UpdatePresence])
def test_value_that_is_not_a_command_raises(command: Any) -> None:
    with pytest.raises(LocalProtocolError, match="expected a command of gateway_proto"):
        encode_command(command)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'["UpdateVoiceState"]',
        b'["Identify", {"token": "x"}]',
        b'["Heartbeat", {"d": 1}]',
        b'["UpdateVoiceState", {}]',
        b'["UpdateVoiceState", {"guild_id": "1", "channel_id": "2", "more": 1}]',
        b'["UpdateVoiceState", {"guild_id": "x", "channel_id": "2"}]',
        b'["UpdatePresence", {}]',
        b'["UpdatePresence", {"activities": [{}]}]',
        b'["UpdatePresence", {"activities": 5}]',
        b'["RawCommand", {"op": 256}]',
        b'["RawCommand", {"op": 4, "d": "\xff"}]',
    ],
)
def test_invalid_command_in_a_message_raises_data_error(data: bytes) -> None:
    with pytest.raises(DataError, match="data is not a command: "):
        decode_command(data)


def test_message_and_answer_equal_their_decoded_bytes() -> None:
    message = CommandMessage("id", 2, "sender:x", 5, 1.5, encode_command(COMMANDS[0]))
    answer = CommandAnswer("id", 2, "not sent", "why")

    assert CommandMessage.from_bytes(message.to_bytes()) == message
    assert CommandAnswer.from_bytes(answer.to_bytes()) == answer


def test_long_reason_of_an_answer_is_cut() -> None:
    answer = CommandAnswer("id", 1, "invalid", "\ud800" + "é" * 2000)

    decoded = CommandAnswer.from_bytes(answer.to_bytes())

    assert decoded.text == "?" + "é" * 499


def test_message_that_is_too_large_raises() -> None:
    message = CommandMessage("id", 1, "sender:x", 5, 1.5, bytes(MAX_MESSAGE_SIZE))

    with pytest.raises(LocalProtocolError, match="expected at most 65536"):
        message.to_bytes()


@pytest.mark.parametrize("kind", [CommandMessage, CommandAnswer, DesiredPresence])
@given(data=st.binary(max_size=60))
def test_arbitrary_bytes_raise_data_error(kind: Any, data: bytes) -> None:
    with pytest.raises(DataError):
        kind.from_bytes(data)


@pytest.mark.parametrize("kind", [CommandMessage, CommandAnswer])
def test_message_that_is_too_large_is_not_decoded(kind: Any) -> None:
    with pytest.raises(DataError, match=f"it has {MAX_MESSAGE_SIZE + 1} bytes"):
        kind.from_bytes(bytes(MAX_MESSAGE_SIZE + 1))


@pytest.mark.parametrize(
    "changes", [{"shard": 2**16}, {"seconds": 0.0}, {"attempt": 0}, {"id": ""}, {"reply_to": ""}]
)
def test_message_with_invalid_fields_raises(changes: dict[str, Any]) -> None:
    fields = {"id": "i", "attempt": 1, "reply_to": "r", "shard": 0, "seconds": 1.0, "command": b""}
    message = CommandMessage(**{**fields, **changes})

    with pytest.raises(DataError, match="data is not a command"):
        CommandMessage.from_bytes(message.to_bytes())


def test_presence_equals_its_decoded_value() -> None:
    desired = DesiredPresence(UpdatePresence([Activity("chess")]), "nonce")

    assert DesiredPresence.from_bytes(desired.to_bytes()) == desired


def test_other_command_is_not_a_presence() -> None:
    desired = DesiredPresence(UpdateVoiceState("1", "2"), "nonce")  # type: ignore[arg-type]

    with pytest.raises(DataError, match="data is not a presence"):
        DesiredPresence.from_bytes(desired.to_bytes())


def test_mailboxes_of_members_differ_from_those_of_senders() -> None:
    assert mailbox_of("sender:x") == "member:sender:x"


# ----- checks -----


@pytest.mark.parametrize("command", [c for c in COMMANDS if not isinstance(c, VoiceServerPing)])
def test_valid_command_passes_the_check(command: Any) -> None:
    if isinstance(getattr(command, "guild_id", ""), tuple):
        return  # versions 3 to 7 alone
    check_command(command, GatewaySettings(10, 2**53 - 1))


@pytest.mark.parametrize(
    ("command", "settings", "text"),
    [
        (Heartbeat(None), GatewaySettings(10, 0), "the connection sends it by itself"),
        (VoiceServerPing(), GatewaySettings(10, 0), "version 10 has no VoiceServerPing"),
        (RequestGuildMembers("1"), GatewaySettings(10, 0), "intent"),
        (RawCommand(4, "x" * 4096), GatewaySettings(10, 0), "more than the 4096 that a gateway"),
        (
            RawCommand(4, "x" * 90),
            GatewaySettings(10, 0, payload_limit=100),
            "RawCommand has 105 bytes, more than the 100 that a gateway takes",
        ),
        (
            UpdatePresence([Activity("a"), Activity("b")]),
            GatewaySettings(7),
            "at most one, the game of version 7",
        ),
    ],
)
def test_command_that_cannot_be_sent_raises(
    command: Any, settings: GatewaySettings, text: str
) -> None:
    with pytest.raises(LocalProtocolError) as raised:
        check_command(command, settings)

    assert text in str(raised.value)


def test_size_in_another_encoding_is_left_to_the_owner() -> None:
    settings = GatewaySettings(10, 0, encoding="etf", payload_limit=100)

    check_command(RawCommand(4, "x" * 200), settings)
    with pytest.raises(LocalProtocolError, match="has no VoiceServerPing"):
        check_command(VoiceServerPing(), settings)


def test_version_of_a_later_release_is_left_to_the_owner() -> None:
    check_command(VoiceServerPing(), GatewaySettings(99))
