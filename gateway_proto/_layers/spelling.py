"""payload ↔ command: how a dialect spells each command on the wire.

Writing is strict: the caller's mistake raises. Reading is lenient: servers of this protocol must
get along with what real clients send, so a field is refused only where its type is useless.
"""

from __future__ import annotations

from typing import Any, cast

import attrs
import msgspec

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


def spell(command: Command, dialect: Dialect) -> tuple[int, Any]:
    """The op code and `d` of a command; raises `LocalProtocolError` where there is no such."""
    if isinstance(command, Raw):
        return command.op, command.d
    opcode = _OPCODES.get(type(command))
    if opcode is None:
        raise LocalProtocolError(f"{command!r} is not a command: send a value of commands.py")
    if opcode not in dialect.commands:
        raise LocalProtocolError(
            f"version {dialect.version} has no {type(command).__name__} (op {int(opcode)})"
        )
    return int(opcode), _spell_d(command, dialect)


def _spell_d(command: Command, dialect: Dialect) -> Any:
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
            return _spell_members_request(command, dialect)
        case UpdateVoiceState() | RequestSoundboardSounds() | RequestChannelInfo():
            return attrs.asdict(command)
        case _:  # VoiceServerPing
            return None


def _spell_identify(command: Identify, dialect: Dialect) -> dict[str, Any]:
    threshold = command.large_threshold
    if threshold is None:
        threshold = dialect.large_threshold
    low, high = dialect.large_threshold_range
    if not low <= threshold <= high:
        raise LocalProtocolError(f"large_threshold is {threshold}, not between {low} and {high}")
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
    if dialect.intents:
        if command.intents is None:
            raise LocalProtocolError(f"version {dialect.version} needs intents in Identify")
        d["intents"] = command.intents
    if command.shard is not None:
        d["shard"] = command.shard
    if command.presence is not None and dialect.presence_in_identify:
        d["presence"] = _spell_presence(command.presence, dialect)
    return d


def _spell_presence(command: UpdatePresence, dialect: Dialect) -> dict[str, Any]:
    if dialect.presence_form is PresenceForm.GAME:
        game = {"name": command.activities[0].name} if command.activities else None
        return {"game": game, "idle_since": command.since}
    return {
        "since": command.since,
        "activities": [
            {key: value for key, value in attrs.asdict(activity).items() if value is not None}
            for activity in command.activities
        ],
        "status": command.status,
        "afk": command.afk,
    }


def _spell_members_request(command: RequestGuildMembers, dialect: Dialect) -> dict[str, Any]:
    if dialect.many_guilds_a_request:
        if command.user_ids is not None or command.presences or command.nonce is not None:
            raise LocalProtocolError(
                f"version {dialect.version} has no user_ids, presences or nonce in a members "
                "request: use query and limit"
            )
        return {"guild_id": command.guild_id, "query": command.query, "limit": command.limit}
    if not isinstance(command.guild_id, str):
        raise LocalProtocolError(
            f"version {dialect.version} takes one guild a members request, not several"
        )
    d: dict[str, Any] = {"guild_id": command.guild_id}
    if command.user_ids is None:
        d |= {"query": command.query, "limit": command.limit}
    else:
        d["user_ids"] = command.user_ids
    if command.presences:
        d["presences"] = True
    if command.nonce is not None:
        d["nonce"] = command.nonce
    return d


# ----- reading: what a server makes of what clients send -----

_Id = str | int


class _Activity(msgspec.Struct):
    name: str = ""
    type: int = 0
    url: str | None = None
    state: str | None = None


class _Game(msgspec.Struct):
    # {"game": {"name": null}} was sent by clients of 2016 to clear it.
    name: str | None = None


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
    """The command of a payload; raises `msgspec.DecodeError` where its `d` is of no use.

    An op code that the dialect's clients do not send comes as `Raw`.
    """
    if op not in dialect.commands:
        return Raw(op, msgspec.json.decode(raw))
    match Opcode(op):
        case Opcode.HEARTBEAT:
            d = msgspec.json.decode(raw, type=int | float | str | None)
            return Heartbeat(int(d) if isinstance(d, float) else d)
        case Opcode.IDENTIFY:
            return _read_identify(msgspec.json.decode(raw, type=_Identify), dialect)
        case Opcode.RESUME:
            resume = msgspec.json.decode(raw, type=_Resume)
            return Resume(session_id=resume.session_id, seq=resume.seq, token=resume.token)
        case Opcode.PRESENCE_UPDATE:
            return _read_presence(msgspec.json.decode(raw, type=_Presence), dialect)
        case Opcode.VOICE_STATE_UPDATE:
            voice = msgspec.json.decode(raw, type=_VoiceState)
            return UpdateVoiceState(
                voice.guild_id, voice.channel_id, voice.self_mute, voice.self_deaf
            )
        case Opcode.REQUEST_GUILD_MEMBERS:
            return _read_members_request(msgspec.json.decode(raw, type=_MembersRequest))
        case Opcode.REQUEST_SOUNDBOARD_SOUNDS:
            return RequestSoundboardSounds(
                msgspec.json.decode(raw, type=_SoundboardRequest).guild_ids
            )
        case Opcode.REQUEST_CHANNEL_INFO:
            info = msgspec.json.decode(raw, type=_ChannelInfoRequest)
            return RequestChannelInfo(info.guild_id, info.fields)
        case _:  # VOICE_SERVER_PING
            return VoiceServerPing()


def _read_identify(d: _Identify, dialect: Dialect) -> Identify:
    given = d.properties or {}
    # Clients write the names with and without the dollar sign, whatever the version.
    names = {
        name: str(given.get("$" + name, given.get(name, "")) or "")
        for name in dialect.property_names
    }
    defaults = attrs.asdict(Properties())
    return Identify(
        token=d.token,
        properties=Properties(**(defaults | names)),
        intents=d.intents,
        compress=d.compress is True,
        large_threshold=d.large_threshold,
        shard=d.shard,
        presence=None if d.presence is None else _read_presence(d.presence, dialect),
    )


def _read_presence(d: _Presence, dialect: Dialect) -> UpdatePresence:
    if dialect.presence_form is PresenceForm.GAME:
        game = (Activity(d.game.name),) if d.game is not None and d.game.name is not None else ()
        # "Anything but null is idle"; what is no number is idle since an unknown time.
        since = d.idle_since
        idle = None if since is None else since if isinstance(since, int) else 0
        return UpdatePresence(game, idle)
    activities = [Activity(a.name, a.type, a.url, a.state) for a in d.activities or ()]
    if not activities and d.game is not None and d.game.name is not None:
        activities = [Activity(d.game.name)]
    return UpdatePresence(
        activities,
        None if d.since is None else int(d.since),
        status=d.status or "online",
        afk=bool(d.afk),
    )


def _read_members_request(d: _MembersRequest) -> RequestGuildMembers:
    users = d.user_ids
    if isinstance(users, str | int):
        users = [users]
    return RequestGuildMembers(
        cast("Any", d.guild_id),
        d.query or "",
        d.limit or 0,
        users,
        bool(d.presences),
        d.nonce,
    )
