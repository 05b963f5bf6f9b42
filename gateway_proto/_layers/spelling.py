"""payload ↔ command: how a dialect spells each command on the wire.

Writing is strict: the caller's mistake raises. Reading is lenient: servers of this protocol must
get along with what real clients send, so a field is refused only where its type is useless.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

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

_STATUSES = ("online", "dnd", "idle", "invisible", "offline")
_MOST_USERS = 100
_MOST_FOUND = 100
_LONGEST_NONCE = 32
_INTENTS_END = 2**53

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
    """The op code and `d` of a command, checked; raises `LocalProtocolError`.

    `intents` are those that the session was opened with: some requests need theirs.
    """
    if isinstance(command, Raw):
        _check(command, "op", command.op, 0, 255)
        return command.op, command.d
    opcode = _OPCODES.get(type(command))
    if opcode is None:
        raise LocalProtocolError(f"{command!r} is not a command: send a value of commands.py")
    if opcode not in dialect.commands:
        raise LocalProtocolError(
            f"version {dialect.version} has no {type(command).__name__} (op {int(opcode)})"
        )
    return int(opcode), _spell_d(command, dialect, intents)


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
            if command.guild_id is not None or dialect.voice_guild_required:
                _check_id(command, "guild_id", command.guild_id)
            if command.channel_id is not None:
                _check_id(command, "channel_id", command.channel_id)
        case RequestSoundboardSounds():
            _check_some(command, "guild_ids", command.guild_ids)
            for guild_id in command.guild_ids:
                _check_id(command, "guild_ids", guild_id)
        case RequestChannelInfo():
            _check_id(command, "guild_id", command.guild_id)
            _check_some(command, "fields", command.fields)
        case _:  # VoiceServerPing
            return None
    return attrs.asdict(command)


def _wrong(command: Any, field: str, value: object, limit: str) -> LocalProtocolError:
    return LocalProtocolError(f"{type(command).__name__}.{field} is {value!r}: {limit}")


def _check(command: Any, field: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(command, field, value, f"it must be an integer from {low} to {high}")


def _check_id(command: Any, field: str, value: str | None) -> None:
    # One that is no number was seen to hang, and then to cost the session.
    if value is None or not (value.isascii() and value.isdecimal() and len(value) <= 20):
        raise _wrong(command, field, value, "it must be a snowflake, of digits alone")


def _check_some(command: Any, field: str, values: tuple[str, ...]) -> None:
    if not values:
        raise _wrong(command, field, values, "it must have at least one")


def _spell_identify(command: Identify, dialect: Dialect) -> dict[str, Any]:
    threshold = command.large_threshold
    if threshold is None:
        threshold = dialect.large_threshold
    _check(command, "large_threshold", threshold, *dialect.large_threshold_range)
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
        _check(command, "intents", int(command.intents), 0, _INTENTS_END)
        d["intents"] = command.intents
    if command.shard is not None:
        d["shard"] = command.shard
    if dialect.guild_subscriptions and command.guild_subscriptions is not None:
        d["guild_subscriptions"] = command.guild_subscriptions
    if command.presence is not None and dialect.presence_in_identify:
        d["presence"] = _spell_presence(command.presence, dialect)
    return d


def _spell_presence(command: UpdatePresence, dialect: Dialect) -> dict[str, Any]:
    if command.since is not None:
        _check(command, "since", command.since, 0, 2**63 - 1)
    if command.status not in _STATUSES:
        raise _wrong(command, "status", command.status, f"it must be one of {', '.join(_STATUSES)}")
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
            f"version {dialect.version} knows one, the game",
        )
    game = _spell_activity(command.activities[0]) if command.activities else None
    if form is PresenceForm.STATUS_AND_GAME:
        return {"since": command.since, "game": game, "status": command.status, "afk": command.afk}
    if command.status != ("online" if command.since is None else "idle"):
        raise _wrong(
            command,
            "status",
            command.status,
            f"version {dialect.version} knows online, and idle with `since`",
        )
    return {
        "game": None if game is None else {"name": game["name"]},
        "idle_since": command.since,
    }


def _spell_activity(activity: Activity) -> dict[str, Any]:
    if not isinstance(activity.name, str) or not activity.name:
        raise _wrong(activity, "name", activity.name, "it must be a text that is not empty")
    _check(activity, "type", activity.type, 0, 255)
    return {
        key: value for key, value in msgspec.structs.asdict(activity).items() if value is not None
    }


def _spell_members_request(
    command: RequestGuildMembers, dialect: Dialect, intents: int | None
) -> dict[str, Any]:
    guilds, users = command.guild_id, command.user_ids
    for guild_id in (guilds,) if isinstance(guilds, str) else guilds:
        _check_id(command, "guild_id", guild_id)
    if not isinstance(guilds, str) and not dialect.many_guilds_a_request:
        raise LocalProtocolError(
            f"version {dialect.version} takes one guild a members request, not several"
        )
    _check(command, "limit", command.limit, 0, 2**31 - 1)
    d: dict[str, Any] = {"guild_id": guilds, "query": command.query, "limit": command.limit}
    if not dialect.members_by_user:
        if users is not None or command.presences or command.nonce is not None:
            raise LocalProtocolError(
                f"version {dialect.version} has no user_ids, presences or nonce in a members "
                "request: use query and limit"
            )
        return d
    if users is not None:
        if command.query or command.limit:
            raise _wrong(command, "user_ids", users, "give either them, or query and limit")
        if not 1 <= len(users) <= _MOST_USERS:
            raise LocalProtocolError(
                f"RequestGuildMembers.user_ids has {len(users)} ids: it must have 1 to "
                f"{_MOST_USERS}"
            )
        for user_id in users:
            _check_id(command, "user_ids", user_id)
        d = {"guild_id": guilds, "user_ids": users}
    elif command.query:
        _check(command, "limit", command.limit, 1, _MOST_FOUND)
    elif not command.limit:
        _check_intent(command, intents, "GUILD_MEMBERS", "all members")
    if command.presences:
        _check_intent(command, intents, "GUILD_PRESENCES", "presences")
        d["presences"] = True
    if command.nonce is not None:
        size = len(command.nonce.encode(errors="surrogatepass"))
        if size > _LONGEST_NONCE:
            raise _wrong(
                command, "nonce", command.nonce, f"it has {size} bytes, more than {_LONGEST_NONCE}"
            )
        d["nonce"] = command.nonce
    return d


def _check_intent(command: Any, intents: int | None, needed: str, what: str) -> None:
    from gateway_proto.intents import Intents  # which is not imported for those who ask for nobody

    # None: the session has all that there were before intents.
    if intents is not None and not intents & Intents[needed]:
        raise LocalProtocolError(
            f"{type(command).__name__} for {what} needs the intent {needed}: add it to "
            "Config.intents"
        )


# ----- reading: what a server makes of what clients send -----

_Id = str | int
_Heartbeat: Any = int | float | str | None


class _Activity(msgspec.Struct):
    name: str = ""
    type: int = 0
    url: str | None = None
    state: str | None = None


class _Game(msgspec.Struct):
    # {"game": {"name": null}} was sent by clients of 2016 to clear it.
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
    """The command of a payload; raises `DataError` where its `d` is of no use.

    An op code that the dialect's clients do not send comes as `Raw`.
    """
    if op not in dialect.commands:
        return Raw(op, from_raw_strictly(raw, Any))
    match Opcode(op):
        case Opcode.HEARTBEAT:
            d: Any = from_raw_strictly(raw, _Heartbeat)
            return Heartbeat(int(d) if isinstance(d, float) else d)
        case Opcode.IDENTIFY:
            return _read_identify(from_raw_strictly(raw, _Identify), dialect)
        case Opcode.RESUME:
            resume = from_raw_strictly(raw, _Resume)
            return Resume(session_id=resume.session_id, seq=resume.seq, token=resume.token)
        case Opcode.PRESENCE_UPDATE:
            return _read_presence(from_raw_strictly(raw, _Presence), dialect)
        case Opcode.VOICE_STATE_UPDATE:
            voice = from_raw_strictly(raw, _VoiceState)
            return UpdateVoiceState(
                voice.guild_id, voice.channel_id, voice.self_mute, voice.self_deaf
            )
        case Opcode.REQUEST_GUILD_MEMBERS:
            return _read_members_request(from_raw_strictly(raw, _MembersRequest))
        case Opcode.REQUEST_SOUNDBOARD_SOUNDS:
            return RequestSoundboardSounds(from_raw_strictly(raw, _SoundboardRequest).guild_ids)
        case Opcode.REQUEST_CHANNEL_INFO:
            info = from_raw_strictly(raw, _ChannelInfoRequest)
            return RequestChannelInfo(info.guild_id, info.fields)
        case _:  # VOICE_SERVER_PING
            return VoiceServerPing()


def _read_identify(d: _Identify, dialect: Dialect) -> Identify:
    given = d.properties or {}
    # Clients write the names with and without the dollar sign, whatever the version.
    names = {
        name: str(given.get("$" + name, given.get(name)) or "") for name in dialect.property_names
    }
    defaults = msgspec.structs.asdict(Properties())
    return Identify(
        token=d.token,
        properties=Properties(**(defaults | names)),
        intents=d.intents,
        compress=d.compress is True,
        large_threshold=d.large_threshold,
        shard=d.shard,
        presence=None if d.presence is None else _read_presence(d.presence, dialect),
        guild_subscriptions=d.guild_subscriptions,
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
        activities = [Activity(d.game.name, d.game.type, d.game.url, d.game.state)]
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
        d.guild_id,
        d.query or "",
        d.limit or 0,
        users,
        bool(d.presences),
        d.nonce,
    )
