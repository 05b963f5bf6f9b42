"""client → server: the commands, as values that both roles share.

What a client sends, the server role receives as an equal object. Each is checked for type, range
and shape when it is made, and raises `LocalProtocolError`. Ids are decimal strings; an integer is
converted, and so is one id where several are meant. `_layers/spelling.py` encodes commands for a
version, and checks what differs between versions, or depends on intents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway_proto._checks import (
    BOOL,
    ID,
    INTENTS,
    SHARD,
    TEXT,
    WORD,
    Check,
    Each,
    as_id,
    as_ids,
    as_tuple,
    as_words,
    check_fields,
    instance_of,
    integer,
    is_id,
    is_text,
    one_of,
    optional,
    token_problem,
)
from gateway_proto._layers.raw import to_json
from gateway_proto._terse import Terse, Told
from gateway_proto.errors import LocalProtocolError

__all__ = [
    "Activity",
    "Command",
    "Heartbeat",
    "Identify",
    "Properties",
    "Raw",
    "RequestChannelInfo",
    "RequestGuildMembers",
    "RequestSoundboardSounds",
    "Resume",
    "UpdatePresence",
    "UpdateVoiceState",
    "VoiceServerPing",
]

Snowflake: TypeAlias = str | int


_LONGEST_NONCE = 32
"""Bytes."""


def _id(value: Snowflake) -> str:
    id_: str = as_id(value)
    return id_


def _optional_id(value: Snowflake | None) -> str | None:
    id_: str | None = as_id(value)
    return id_


def _ids(values: Snowflake | Iterable[Snowflake]) -> tuple[str, ...]:
    ids: tuple[str, ...] = as_ids(values)
    return ids


def _one_or_many(value: Snowflake | Iterable[Snowflake]) -> str | tuple[str, ...]:
    ids: str | tuple[str, ...] = as_id(value) if isinstance(value, str | int) else as_ids(value)
    return ids


def _optional_ids(values: Snowflake | Iterable[Snowflake] | None) -> tuple[str, ...] | None:
    ids: tuple[str, ...] | None = as_ids(values)
    return ids


def _activities(values: Activity | Iterable[Activity]) -> tuple[Activity, ...]:
    activities: tuple[Activity, ...] = as_tuple(values)
    return (values,) if isinstance(values, Activity) else activities


def _words(values: str | Iterable[str]) -> tuple[str, ...]:
    words: tuple[str, ...] = as_words(values)
    return words


def _check_token(name: str, token: object) -> None:
    problem = token_problem(token)
    if problem is not None:
        raise LocalProtocolError(f"{name} {problem}")


def _is_heartbeat(value: Any) -> bool:
    return value is None or _INT64.allows(value) or (is_text(value) and len(value) <= 64)


def _is_nonce(value: Any) -> bool:
    return is_text(value) and len(value.encode()) <= _LONGEST_NONCE


_INT64 = integer(0, 2**63 - 1)
_OPTIONAL_TEXT = optional(TEXT)
_OPTIONAL_ID = optional(ID)
_OPTIONAL_INT64 = optional(_INT64)
_STATUS = one_of(("online", "dnd", "idle", "invisible", "offline"))
_NONCE = optional(Check(_is_nonce, f"a str of at most {_LONGEST_NONCE} bytes"))
_OPCODE = integer(0, 255)
_LIMIT = integer(0, 2**31 - 1)
_GUILD_IDS = Each(ID, "one id or more", least=1)
_USER_IDS = optional(Each(ID, "1 to 100 ids", least=1, most=100))
_FIELDS = Each(WORD, 'one field or more, such as ["status"]', least=1)
_ONE_OR_MANY = Check(
    lambda value: is_id(value) or _GUILD_IDS.allows(value), f"{ID.expected}; or several of them"
)


class Properties(msgspec.Struct, frozen=True):
    """Who connects. Version 3 requires all five, later versions the first three."""

    os: str = ""
    browser: str = "gateway_proto"
    device: str = "gateway_proto"
    referrer: str = ""
    referring_domain: str = ""

    def __post_init__(self) -> None:
        check_fields(self, _PROPERTIES)


class Activity(msgspec.Struct, frozen=True):
    """What the user is doing. Version 3 knows `name` alone, and calls it the game."""

    name: str
    type: int = 0
    """0 playing, 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing."""
    url: str | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, _ACTIVITY)


_PROPERTIES = dict.fromkeys(Properties.__struct_fields__, TEXT)
_ACTIVITY = {"name": WORD, "type": integer(0, 255), "url": _OPTIONAL_TEXT, "state": _OPTIONAL_TEXT}
_ACTIVITIES = Each(
    instance_of(Activity, "an Activity, such as Activity('chess')"),
    "activities, such as [Activity('chess')]",
)


_EARLIER_NAMES: Mapping[str, str] = {
    "idle_since": "since, which version 3 calls idle_since on the wire",
    "game": "activities, such as [Activity('chess')]: versions 3 to 7 take one, their game",
}


class _Named:
    """Rejects the names that earlier versions have for fields of `UpdatePresence`."""

    __slots__ = ()

    def __new__(cls, *args: Any, **fields: Any) -> Any:
        for name in _EARLIER_NAMES.keys() & fields.keys():
            raise LocalProtocolError(
                f"UpdatePresence has no {name}: expected {_EARLIER_NAMES[name]}"
            )
        return super().__new__(cls)


def _default_status(presence: UpdatePresence) -> str:
    return "online" if presence.since is None else "idle"


@attrs.frozen(repr=False)
class UpdatePresence(Told, _Named):
    """Op 3: the status. A presence is a state: the client keeps the last and sends it again.

    `activities` are several in versions 8 to 10; in versions 3 to 7 at most one, the game. `since`
    is Unix time in milliseconds; in version 3 it is `idle_since`, and None means online there.
    """

    activities: tuple[Activity, ...] = attrs.field(
        default=(), converter=_activities, validator=_ACTIVITIES
    )
    since: int | None = attrs.field(default=None, validator=_OPTIONAL_INT64)
    status: str = attrs.field(
        default=attrs.Factory(_default_status, takes_self=True), kw_only=True, validator=_STATUS
    )
    """online, dnd, idle, invisible or offline; by default idle where `since` is given."""
    afk: bool = attrs.field(default=False, kw_only=True, validator=BOOL)


class Identify(Terse, frozen=True, kw_only=True):
    """Op 2: open a session. A client's machine sends it by itself."""

    token: str
    properties: Properties = Properties()
    intents: int | None = None
    compress: bool = False
    large_threshold: int | None = None
    shard: tuple[int, int] | None = None
    """Shard id, count of shards."""
    presence: UpdatePresence | None = None
    guild_subscriptions: bool | None = None
    """Versions 6 and 7: whether presences and typing of guilds come."""

    def __post_init__(self) -> None:
        _check_token("Identify.token", self.token)
        check_fields(self, _IDENTIFY)


class Resume(Terse, frozen=True, kw_only=True):
    """Op 6: go on with a session. A client's machine sends it by itself."""

    session_id: str
    seq: int
    token: str | None = None
    """None in version 3, whose clients sent none."""

    def __post_init__(self) -> None:
        if self.token is not None:
            _check_token("Resume.token", self.token)
        check_fields(self, _RESUME)


class Heartbeat(msgspec.Struct, frozen=True):
    """Op 1: the last sequence or None; in version 3 unix milliseconds, as text or integer."""

    d: int | str | None

    def __post_init__(self) -> None:
        check_fields(self, _HEARTBEAT)


_IDENTIFY = {
    "properties": instance_of(Properties, "a Properties"),
    "intents": optional(INTENTS),
    "compress": BOOL,
    "large_threshold": optional(integer(0)),
    "shard": optional(SHARD),
    "presence": optional(instance_of(UpdatePresence, "an UpdatePresence")),
    "guild_subscriptions": optional(BOOL),
}
_RESUME = {"session_id": WORD, "seq": _INT64}
_HEARTBEAT = {"d": Check(_is_heartbeat, f"{_INT64.expected}, a str of at most 64, or None")}


@attrs.frozen(repr=False)
class UpdateVoiceState(Told):
    """Op 4: join, move between or leave (None) voice channels.

    A new session is in no channel. With `Config.restore_voice_states` the last one of each guild is
    sent again after READY of a new session, unless it left the channel; moves and disconnects by
    others are not considered. Without it nothing is sent again.
    """

    guild_id: str | None = attrs.field(converter=_optional_id, validator=_OPTIONAL_ID)
    channel_id: str | None = attrs.field(converter=_optional_id, validator=_OPTIONAL_ID)
    self_mute: bool = attrs.field(default=False, validator=BOOL)
    self_deaf: bool = attrs.field(default=False, validator=BOOL)


class VoiceServerPing(msgspec.Struct, frozen=True):
    """Op 5 of versions 3 to 5: asks whether a voice server that seems dead is alive."""


@attrs.frozen(repr=False)
class RequestGuildMembers(Told):
    """Op 8: the answer comes as GUILD_MEMBERS_CHUNK dispatches.

    Either `user_ids` (at most 100), or `query` with `limit` (1 to 100), or neither: all members.
    Versions 3 to 7 take several guilds at once; 3 to 5 know neither `user_ids`, `presences` nor
    `nonce`.
    """

    guild_id: str | tuple[str, ...] = attrs.field(converter=_one_or_many, validator=_ONE_OR_MANY)
    query: str = attrs.field(default="", validator=TEXT)
    limit: int = attrs.field(default=0, validator=_LIMIT)
    user_ids: tuple[str, ...] | None = attrs.field(
        default=None, converter=_optional_ids, validator=_USER_IDS
    )
    presences: bool = attrs.field(default=False, validator=BOOL)
    nonce: str | None = attrs.field(default=None, validator=_NONCE)
    """At most 32 bytes."""


@attrs.frozen(repr=False)
class RequestSoundboardSounds(Told):
    """Op 31: the answer comes as SOUNDBOARD_SOUNDS dispatches."""

    guild_ids: tuple[str, ...] = attrs.field(converter=_ids, validator=_GUILD_IDS)


@attrs.frozen(repr=False)
class RequestChannelInfo(Told):
    """Op 43: asks for fields ("status", "voice_start_time") of a guild's channels."""

    guild_id: str = attrs.field(converter=_id, validator=ID)
    fields: tuple[str, ...] = attrs.field(converter=_words, validator=_FIELDS)


class Raw(msgspec.Struct, frozen=True):
    """Any op code with any JSON value: what this package has no name for."""

    op: int
    d: Any = None

    def __post_init__(self) -> None:
        _OPCODE.named("Raw.op", self.op)
        try:
            to_json(self.d)
        except LocalProtocolError as error:
            raise LocalProtocolError(f"invalid Raw.d: {error}") from None


Command: TypeAlias = (
    Identify
    | Resume
    | Heartbeat
    | UpdatePresence
    | UpdateVoiceState
    | VoiceServerPing
    | RequestGuildMembers
    | RequestSoundboardSounds
    | RequestChannelInfo
    | Raw
)
