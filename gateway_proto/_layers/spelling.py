"""Commands ↔ op code and `d` of a protocol version.

Encoding is strict: an invalid command of the caller raises. Decoding is lenient, because a server
has to accept what existing clients send: a field is rejected only if its type is unusable.

Source: <https://docs.discord.com/developers/events/gateway-events#send-events>.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import attrs
import msgspec

from gateway_proto._checks import ID, as_id, as_ids, integer, rejected
from gateway_proto._layers.raw import from_raw_strictly
from gateway_proto.commands import (
    Activity,
    Command,
    Heartbeat,
    Identify,
    Properties,
    Raw,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
    VoiceServerPing,
)
from gateway_proto.dialects import Dialect, Opcode, PresenceForm
from gateway_proto.errors import LocalProtocolError

__all__ = ["read", "spell"]

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


def spell(command: Command, dialect: Dialect, *, intents: int | None = None) -> tuple[int, Any]:
    """Return the op code and `d` of a command after checking it. Raises `LocalProtocolError`.

    `intents` are those of Identify: some requests require specific intents.
    """
    opcode = _OPCODES.get(type(command))
    if opcode is None and not isinstance(command, Raw):
        raise rejected(
            "command",
            command,
            "a command of gateway_proto, such as UpdatePresence([Activity('chess')]), or "
            "Raw(op, d)",
        )
    # Commands that a server received were created without checks.
    _check_again(command)
    if isinstance(command, Raw):
        return command.op, command.d
    assert opcode is not None
    if opcode not in dialect.commands:
        raise LocalProtocolError(
            f"version {dialect.version} has no {type(command).__name__} (op {int(opcode)})"
        )
    return int(opcode), _spell_d(command, dialect, intents)


def _check_again(command: Any) -> None:
    if attrs.has(type(command)):
        attrs.validate(command)
        parts = getattr(command, "activities", ())
    else:
        getattr(command, "__post_init__", bool)()
        parts = [getattr(command, name, None) for name in ("properties", "presence")]
    for part in parts:
        if part is not None:
            _check_again(part)


def _spell_d(command: Command, dialect: Dialect, intents: int | None) -> Any:
    match command:
        case Heartbeat():
            return command.d
        case Identify():
            return _spell_identify(command, dialect)
        case Resume():
            token = {} if command.token is None else {"token": command.token}
            return {**token, "session_id": command.session_id, "seq": command.seq}
        case UpdatePresence():
            return _spell_presence(command, dialect)
        case RequestGuildMembers():
            return _spell_members_request(command, dialect, intents)
        case UpdateVoiceState():
            if command.guild_id is None and dialect.voice_guild_required:
                raise _wrong(command, "guild_id", None, ID.expected)
            return attrs.asdict(command)
        case RequestSoundboardSounds() | RequestChannelInfo():
            return attrs.asdict(command)
        case _:  # VoiceServerPing
            return None


def _wrong(command: Any, field: str, value: object, expected: str) -> LocalProtocolError:
    return rejected(f"{type(command).__name__}.{field}", value, expected)


def _spell_identify(command: Identify, dialect: Dialect) -> dict[str, Any]:
    threshold = command.large_threshold
    if threshold is None:
        threshold = dialect.large_threshold
    integer(*dialect.large_threshold_range).named("Identify.large_threshold", threshold)
    d: dict[str, Any] = {
        "token": command.token,
        "properties": {
            dialect.property_prefix + name: getattr(command.properties, name)
            for name in dialect.property_names
        },
        "large_threshold": threshold,
        "compress": command.compress,
    }
    if dialect.identify_version:
        d["v"] = dialect.version
    if dialect.intents_required and command.intents is None:
        raise LocalProtocolError(f"version {dialect.version} needs intents in Identify")
    if dialect.intents and command.intents is not None:
        d["intents"] = command.intents
    if command.shard is not None:
        d["shard"] = command.shard
    if dialect.guild_subscriptions and command.guild_subscriptions is not None:
        d["guild_subscriptions"] = command.guild_subscriptions
    if command.presence is not None and dialect.presence_in_identify:
        d["presence"] = _spell_presence(command.presence, dialect)
    return d


def _spell_presence(command: UpdatePresence, dialect: Dialect) -> dict[str, Any]:
    form = dialect.presence_form
    if form is PresenceForm.ACTIVITIES:
        activities = [_spell_activity(activity) for activity in command.activities]
        return {
            "since": command.since,
            "activities": activities,
            "status": command.status,
            "afk": command.afk,
        }
    if len(command.activities) > 1:
        raise _wrong(
            command,
            "activities",
            command.activities,
            f"at most one, the game of version {dialect.version}",
        )
    game = _spell_activity(command.activities[0]) if command.activities else None
    if form is PresenceForm.STATUS_AND_GAME:
        return {"since": command.since, "game": game, "status": command.status, "afk": command.afk}
    if command.status != ("online" if command.since is None else "idle"):
        raise _wrong(
            command,
            "status",
            command.status,
            f"online, or idle with `since`, in version {dialect.version}",
        )
    return {
        "game": None if game is None else {"name": game["name"]},
        "idle_since": command.since,
    }


def _spell_activity(activity: Activity) -> dict[str, Any]:
    return {
        key: value for key, value in msgspec.structs.asdict(activity).items() if value is not None
    }


def _spell_members_request(
    command: RequestGuildMembers, dialect: Dialect, intents: int | None
) -> dict[str, Any]:
    guilds, users = command.guild_id, command.user_ids
    if not isinstance(guilds, str) and not dialect.many_guilds_a_request:
        # https://docs.discord.com/developers/change-log, 2020-09-24: one guild for each request.
        raise _wrong(command, "guild_id", guilds, f"one id in version {dialect.version}")
    d: dict[str, Any] = {"guild_id": guilds, "query": command.query, "limit": command.limit}
    if not dialect.members_by_user:
        if users is not None or command.presences or command.nonce is not None:
            raise LocalProtocolError(
                f"version {dialect.version} has no user_ids, presences or nonce in a members "
                "request: expected query and limit"
            )
        return d
    if users is not None:
        if command.query or command.limit:
            raise _wrong(command, "user_ids", users, "either user_ids, or query and limit")
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


def read(op: int, raw: bytes, dialect: Dialect) -> Command:
    """Decode the command of a payload. Raises `DataError` if its `d` is unusable.

    An op code that clients of the version do not send is returned as `Raw`.
    """
    if op not in dialect.commands:
        return _received(Raw, op=op, d=from_raw_strictly(raw, Any))
    match Opcode(op):
        case Opcode.HEARTBEAT:
            d: Any = from_raw_strictly(raw, _Heartbeat)
            return _received(Heartbeat, d=int(d) if isinstance(d, float) else d)
        case Opcode.IDENTIFY:
            return _read_identify(from_raw_strictly(raw, _Identify), dialect)
        case Opcode.RESUME:
            resume = from_raw_strictly(raw, _Resume)
            return _received(Resume, **msgspec.structs.asdict(resume))
        case Opcode.PRESENCE_UPDATE:
            return _read_presence(from_raw_strictly(raw, _Presence), dialect)
        case Opcode.VOICE_STATE_UPDATE:
            voice = from_raw_strictly(raw, _VoiceState)
            return _received(
                UpdateVoiceState,
                guild_id=as_id(voice.guild_id),
                channel_id=as_id(voice.channel_id),
                self_mute=voice.self_mute,
                self_deaf=voice.self_deaf,
            )
        case Opcode.REQUEST_GUILD_MEMBERS:
            return _read_members_request(from_raw_strictly(raw, _MembersRequest))
        case Opcode.REQUEST_SOUNDBOARD_SOUNDS:
            ids = as_ids(from_raw_strictly(raw, _SoundboardRequest).guild_ids)
            return _received(RequestSoundboardSounds, guild_ids=ids)
        case Opcode.REQUEST_CHANNEL_INFO:
            info = from_raw_strictly(raw, _ChannelInfoRequest)
            return _received(
                RequestChannelInfo, guild_id=as_id(info.guild_id), fields=tuple(info.fields)
            )
        case _:  # VOICE_SERVER_PING
            return VoiceServerPing()


def _read_identify(d: _Identify, dialect: Dialect) -> Identify:
    given = d.properties or {}
    # The `$` of property names is optional since 2022-06-17, and clients of all versions vary:
    # https://docs.discord.com/developers/change-log.
    names = {
        name: str(given.get("$" + name, given.get(name)) or "") for name in dialect.property_names
    }
    defaults = msgspec.structs.asdict(Properties())
    return _received(
        Identify,
        token=d.token,
        properties=_received(Properties, **(defaults | names)),
        intents=d.intents,
        compress=d.compress is True,
        large_threshold=d.large_threshold,
        shard=d.shard,
        presence=None if d.presence is None else _read_presence(d.presence, dialect),
        guild_subscriptions=d.guild_subscriptions,
    )


def _read_presence(d: _Presence, dialect: Dialect) -> UpdatePresence:
    if dialect.presence_form is PresenceForm.GAME:
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


def _read_members_request(d: _MembersRequest) -> RequestGuildMembers:
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
        Properties(),
        Raw(0),
        Resume(session_id="-", seq=0),
    )
}
