"""Commands ↔ op code and `d` of a protocol version.

Encoding is strict: an invalid command of the caller raises. Decoding is lenient, because a server
has to accept what existing clients send: a field is rejected only if its type is unusable.

Source: <https://docs.discord.com/developers/events/gateway-events#send-events>.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from gateway_proto._checks import ID, as_id, as_ids, integer, rejected
from gateway_proto.commands import (
    Activity,
    Command,
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
    VoiceServerPing,
    check_again,
)
from gateway_proto.encoding.raw_value import decode_raw_strictly
from gateway_proto.errors import LocalProtocolError
from gateway_proto.versions import Opcode, PresenceFormat, ProtocolVersion

__all__ = ["command_to_payload", "decode_command"]

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


# ----- decoding, for the server role -----

_Id = str | int
_Heartbeat: Any = int | float | str | None


class _Activity(msgspec.Struct):
    name: str = ""
    type: int = 0
    url: str | None = None
    state: str | None = None


class _Game(msgspec.Struct):
    # Clients of 2016 (discord.js, discord.io, Javacord) cleared the game with {"name": null}.
    name: str | None = None
    type: int = 0
    url: str | None = None
    state: str | None = None


class _Presence(msgspec.Struct):
    since: int | float | None = None
    activities: list[_Activity] | None = None
    status: str | None = None
    afk: bool | None = None
    game: _Game | None = None
    idle_since: Any = None


class _Identify(msgspec.Struct):
    token: str
    properties: dict[str, Any] | None = None
    intents: int | None = None
    compress: Any = False
    large_threshold: int | None = None
    shard: tuple[int, int] | None = None
    presence: _Presence | None = None
    guild_subscriptions: bool | None = None


class _Resume(msgspec.Struct):
    session_id: str
    seq: int
    token: str | None = None


class _VoiceState(msgspec.Struct):
    guild_id: _Id | None = None
    channel_id: _Id | None = None
    self_mute: bool = False
    self_deaf: bool = False


class _MembersRequest(msgspec.Struct):
    guild_id: _Id | list[_Id]
    query: str | None = None
    limit: int | None = None
    user_ids: _Id | list[_Id] | None = None
    presences: bool | None = None
    nonce: str | None = None


class _SoundboardRequest(msgspec.Struct):
    guild_ids: list[_Id]


class _ChannelInfoRequest(msgspec.Struct):
    guild_id: _Id
    fields: list[str]


def decode_command(op: int, raw: bytes, version: ProtocolVersion) -> Command:
    """Decode the command of a payload. Raises `DataError` if its `d` is unusable.

    An op code that clients of the version do not send is returned as `RawCommand`.
    """
    if op not in version.commands:
        return _received(RawCommand, op=op, d=decode_raw_strictly(raw, Any))
    match Opcode(op):
        case Opcode.HEARTBEAT:
            d: Any = decode_raw_strictly(raw, _Heartbeat)
            return _received(Heartbeat, d=int(d) if isinstance(d, float) else d)
        case Opcode.IDENTIFY:
            return _decode_identify(decode_raw_strictly(raw, _Identify), version)
        case Opcode.RESUME:
            resume = decode_raw_strictly(raw, _Resume)
            return _received(Resume, **msgspec.structs.asdict(resume))
        case Opcode.PRESENCE_UPDATE:
            return _decode_presence(decode_raw_strictly(raw, _Presence), version)
        case Opcode.VOICE_STATE_UPDATE:
            voice = decode_raw_strictly(raw, _VoiceState)
            return _received(
                UpdateVoiceState,
                guild_id=as_id(voice.guild_id),
                channel_id=as_id(voice.channel_id),
                self_mute=voice.self_mute,
                self_deaf=voice.self_deaf,
            )
        case Opcode.REQUEST_GUILD_MEMBERS:
            return _decode_members_request(decode_raw_strictly(raw, _MembersRequest))
        case Opcode.REQUEST_SOUNDBOARD_SOUNDS:
            ids = as_ids(decode_raw_strictly(raw, _SoundboardRequest).guild_ids)
            return _received(RequestSoundboardSounds, guild_ids=ids)
        case Opcode.REQUEST_CHANNEL_INFO:
            info = decode_raw_strictly(raw, _ChannelInfoRequest)
            return _received(
                RequestChannelInfo, guild_id=as_id(info.guild_id), fields=tuple(info.fields)
            )
        case _:  # VOICE_SERVER_PING
            return VoiceServerPing()


def _decode_identify(d: _Identify, version: ProtocolVersion) -> Identify:
    given = d.properties or {}
    # The `$` of property names is optional since 2022-06-17, and clients of all versions vary:
    # https://docs.discord.com/developers/change-log.
    names = {
        name: str(given.get("$" + name, given.get(name)) or "") for name in version.property_names
    }
    defaults = msgspec.structs.asdict(IdentifyProperties())
    return _received(
        Identify,
        token=d.token,
        properties=_received(IdentifyProperties, **(defaults | names)),
        intents=d.intents,
        compress=d.compress is True,
        large_threshold=d.large_threshold,
        shard=d.shard,
        presence=None if d.presence is None else _decode_presence(d.presence, version),
        guild_subscriptions=d.guild_subscriptions,
    )


def _decode_presence(d: _Presence, version: ProtocolVersion) -> UpdatePresence:
    if version.presence_format is PresenceFormat.GAME:
        game = (d.game,) if d.game is not None and d.game.name is not None else ()
        # In version 3 any value but null means idle; one that is not an int, since an unknown time:
        # https://github.com/DiscordAPI/docs/blob/b8c8a7ca43b39a4d1d2871a6d3901ee378bbbae5/docs/reference/websockets/general.rst
        since = d.idle_since
        idle = None if since is None else since if type(since) is int else 0
        return _received(
            UpdatePresence,
            activities=tuple(_received_activity(name=g.name) for g in game),
            since=idle,
            status="online" if idle is None else "idle",
            afk=False,
        )
    games: Iterable[_Activity | _Game] = d.activities or ()
    if not games and d.game is not None and d.game.name is not None:
        games = (d.game,)
    return _received(
        UpdatePresence,
        activities=tuple(_received_activity(**msgspec.structs.asdict(game)) for game in games),
        since=None if d.since is None else int(d.since),
        status=d.status or "online",
        afk=bool(d.afk),
    )


def _decode_members_request(d: _MembersRequest) -> RequestGuildMembers:
    guilds = d.guild_id
    return _received(
        RequestGuildMembers,
        guild_id=as_ids(guilds) if isinstance(guilds, list) else as_id(guilds),
        query=d.query or "",
        limit=d.limit or 0,
        user_ids=as_ids(d.user_ids),
        presences=bool(d.presences),
        nonce=d.nonce,
    )


def _received_activity(name: Any, **fields: Any) -> Activity:
    return _received(Activity, **{"type": 0, "url": None, "state": None, "name": name, **fields})


def _received(type_: type[T], **fields: Any) -> T:
    """Return a command with the fields that a client sent, without checks.

    The checks apply to the caller's own commands. A server accepts what its clients send.
    """
    command: Any
    if issubclass(type_, msgspec.Struct):
        # msgspec calls `__post_init__`, which checks, for each instance except a copy.
        command, set_field = copy.copy(_BLANK[type_]), msgspec.structs.force_setattr
    else:
        command, set_field = type_.__new__(type_), object.__setattr__
    for name, value in fields.items():
        set_field(command, name, value)
    return command  # type: ignore[no-any-return]


_BLANK: dict[type[Any], Any] = {
    type(blank): blank
    for blank in (
        Activity("-"),
        Heartbeat(None),
        Identify(token="-"),
        IdentifyProperties(),
        RawCommand(0),
        RequestChannelInfo("0", "-"),
        RequestGuildMembers("0"),
        RequestSoundboardSounds("0"),
        Resume(session_id="-", seq=0),
        UpdateVoiceState(None, None),
    )
}
