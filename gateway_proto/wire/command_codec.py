"""Commands → op code and `d` of a protocol version; an invalid command of the caller raises.

`command_decoding.py` has the other direction.

Source: <https://docs.discord.com/developers/events/gateway-events#send-events>.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway_proto._checks import ID, integer, rejected
from gateway_proto.commands import (
    Activity,
    Command,
    Heartbeat,
    Identify,
    RawCommand,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
    VoiceServerPing,
    check_again,
)
from gateway_proto.errors import LocalProtocolError
from gateway_proto.versions import Opcode, PresenceFormat, ProtocolVersion

__all__ = ["command_to_payload"]

T = TypeVar("T")

# https://docs.discord.com/developers/events/gateway-events#request-guild-members
_MAX_QUERY_RESULTS = integer(1, 100)
"""Check of `limit` in a request with `query`."""

_OPCODES: dict[type[Any], Opcode] = {
    Identify: Opcode.IDENTIFY,
    Resume: Opcode.RESUME,
    Heartbeat: Opcode.HEARTBEAT,
    UpdatePresence: Opcode.PRESENCE_UPDATE,
    UpdateVoiceState: Opcode.VOICE_STATE_UPDATE,
    VoiceServerPing: Opcode.VOICE_SERVER_PING,
    RequestGuildMembers: Opcode.REQUEST_GUILD_MEMBERS,
    RequestSoundboardSounds: Opcode.REQUEST_SOUNDBOARD_SOUNDS,
    RequestChannelInfo: Opcode.REQUEST_CHANNEL_INFO,
}


def command_to_payload(
    command: Command, version: ProtocolVersion, *, intents: int | None = None
) -> tuple[int, Any]:
    """Return the op code and `d` of a command after checking it. Raises `LocalProtocolError`.

    `intents` are those of Identify: some requests require specific intents.
    """
    opcode = _OPCODES.get(type(command))
    if opcode is None and not isinstance(command, RawCommand):
        raise rejected(
            "command",
            command,
            "a command of gateway_proto, such as UpdatePresence([Activity('chess')]), or "
            "RawCommand(op, d)",
        )
    # Commands that a server received were created without checks.
    check_again(command)
    if isinstance(command, RawCommand):
        return command.op, command.d
    assert opcode is not None
    if opcode not in version.commands:
        raise LocalProtocolError(
            f"version {version.number} has no {type(command).__name__} (op {int(opcode)})"
        )
    return int(opcode), _encode_d(command, version, intents)


def _encode_d(command: Command, version: ProtocolVersion, intents: int | None) -> Any:
    match command:
        case Heartbeat():
            return command.d
        case Identify():
            return _encode_identify(command, version)
        case Resume():
            token = {} if command.token is None else {"token": command.token}
            return {**token, "session_id": command.session_id, "seq": command.seq}
        case UpdatePresence():
            return _encode_presence(command, version)
        case RequestGuildMembers():
            return _encode_members_request(command, version, intents)
        case UpdateVoiceState():
            if command.guild_id is None and version.voice_guild_required:
                raise _field_error(command, "guild_id", None, ID.expected)
            return msgspec.structs.asdict(command)
        case RequestSoundboardSounds() | RequestChannelInfo():
            return msgspec.structs.asdict(command)
        case _:  # VoiceServerPing
            return None


def _field_error(command: Any, field: str, value: object, expected: str) -> LocalProtocolError:
    return rejected(f"{type(command).__name__}.{field}", value, expected)


def _encode_identify(command: Identify, version: ProtocolVersion) -> dict[str, Any]:
    threshold = command.large_threshold
    if threshold is None:
        threshold = version.large_threshold
    integer(*version.large_threshold_range).named("Identify.large_threshold", threshold)
    d: dict[str, Any] = {
        "token": command.token,
        "properties": {
            version.property_prefix + name: getattr(command.properties, name)
            for name in version.property_names
        },
        "large_threshold": threshold,
        "compress": command.compress,
    }
    if version.version_in_identify:
        d["v"] = version.number
    if version.intents_required and command.intents is None:
        raise LocalProtocolError(f"version {version.number} needs intents in Identify")
    if version.intents and command.intents is not None:
        d["intents"] = command.intents
    if command.shard is not None:
        d["shard"] = command.shard
    if version.guild_subscriptions and command.guild_subscriptions is not None:
        d["guild_subscriptions"] = command.guild_subscriptions
    if command.presence is not None and version.presence_in_identify:
        d["presence"] = _encode_presence(command.presence, version)
    return d


def _encode_presence(command: UpdatePresence, version: ProtocolVersion) -> dict[str, Any]:
    form = version.presence_format
    if form is PresenceFormat.ACTIVITIES:
        activities = [_encode_activity(activity) for activity in command.activities]
        return {
            "since": command.since,
            "activities": activities,
            "status": command.status,
            "afk": command.afk,
        }
    if len(command.activities) > 1:
        raise _field_error(
            command,
            "activities",
            command.activities,
            f"at most one, the game of version {version.number}",
        )
    game = _encode_activity(command.activities[0]) if command.activities else None
    if form is PresenceFormat.STATUS_AND_GAME:
        return {"since": command.since, "game": game, "status": command.status, "afk": command.afk}
    if command.status != ("online" if command.since is None else "idle"):
        raise _field_error(
            command,
            "status",
            command.status,
            f"online, or idle with `since`, in version {version.number}",
        )
    return {
        "game": None if game is None else {"name": game["name"]},
        "idle_since": command.since,
    }


def _encode_activity(activity: Activity) -> dict[str, Any]:
    return {
        key: value for key, value in msgspec.structs.asdict(activity).items() if value is not None
    }


def _encode_members_request(
    command: RequestGuildMembers, version: ProtocolVersion, intents: int | None
) -> dict[str, Any]:
    guilds, users = command.guild_id, command.user_ids
    if not isinstance(guilds, str) and not version.multi_guild_requests:
        # https://docs.discord.com/developers/change-log, 2020-09-24: one guild for each request.
        raise _field_error(command, "guild_id", guilds, f"one id in version {version.number}")
    d: dict[str, Any] = {"guild_id": guilds, "query": command.query, "limit": command.limit}
    if not version.members_by_user:
        if users is not None or command.presences or command.nonce is not None:
            raise LocalProtocolError(
                f"version {version.number} has no user_ids, presences or nonce in a members "
                "request: expected query and limit"
            )
        return d
    if users is not None:
        if command.query or command.limit:
            raise _field_error(command, "user_ids", users, "either user_ids, or query and limit")
        d = {"guild_id": guilds, "user_ids": users}
    elif command.query:
        _MAX_QUERY_RESULTS.named("RequestGuildMembers.limit", command.limit)
    elif not command.limit:
        _check_intent(command, intents, "GUILD_MEMBERS", "all members")
    if command.presences:
        _check_intent(command, intents, "GUILD_PRESENCES", "presences")
        d["presences"] = True
    if command.nonce is not None:
        d["nonce"] = command.nonce
    return d


def _check_intent(command: Any, intents: int | None, needed: str, what: str) -> None:
    from gateway_proto.intents import Intents  # imported on use, to keep client start-up short

    # https://docs.discord.com/developers/events/gateway-events#request-guild-members
    # None means a session of a version without intents, which receives everything.
    if intents is not None and not intents & Intents[needed]:
        raise LocalProtocolError(
            f"{type(command).__name__} for {what} without the intent {needed}: expected it in "
            "Config.intents"
        )
