"""Op code and `d` of a protocol version → commands, for the server role.

Decoding is lenient, because a server has to accept what existing clients send: a field is rejected
only if its type is unusable.

Source: <https://docs.discord.com/developers/events/gateway-events#send-events>.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from gateway_proto._checks import as_id, as_ids
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
)
from gateway_proto.encoding.raw_value import decode_raw_strictly
from gateway_proto.versions import Opcode, PresenceFormat, ProtocolVersion

__all__ = ["decode_command"]

T = TypeVar("T")
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
    return _received(
        Identify,
        token=d.token,
        properties=_received(IdentifyProperties, **(_PROPERTIES | names)),
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


_PROPERTIES = msgspec.structs.asdict(IdentifyProperties())
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
