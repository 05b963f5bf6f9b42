"""Commands that a client sends, as values that both roles share.

The server role receives a command as an object equal to the one that the client sent. A command
checks the type, range and shape of its fields when it is made, and raises `LocalProtocolError`. Ids
are decimal strings. An int is converted, and so is a single id if several are allowed.
`wire/command_codec.py` encodes commands for a version, and checks what depends on version or
intents.

Sources: <https://docs.discord.com/developers/events/gateway-events#send-events>; version 3:
<https://github.com/DiscordAPI/docs/blob/b8c8a7ca43b39a4d1d2871a6d3901ee378bbbae5/docs/reference/websockets/general.rst>.
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
from gateway_proto._repr import NonDefaultRepr, RedactedRepr
from gateway_proto.encoding.raw_value import encode_json
from gateway_proto.errors import LocalProtocolError

__all__ = [
    "Activity",
    "Command",
    "Heartbeat",
    "Identify",
    "IdentifyProperties",
    "RawCommand",
    "RequestChannelInfo",
    "RequestGuildMembers",
    "RequestSoundboardSounds",
    "Resume",
    "UpdatePresence",
    "UpdateVoiceState",
    "VoiceServerPing",
]

Snowflake: TypeAlias = str | int


# https://docs.discord.com/developers/events/gateway-events#request-guild-members
_MAX_NONCE_BYTES = 32
_MAX_USER_IDS = 100


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
    return is_text(value) and len(value.encode()) <= _MAX_NONCE_BYTES


_INT64 = integer(0, 2**63 - 1)
_OPTIONAL_TEXT = optional(TEXT)
_OPTIONAL_ID = optional(ID)
_OPTIONAL_INT64 = optional(_INT64)
# https://docs.discord.com/developers/events/gateway-events#update-presence-status-types
_STATUS = one_of(("online", "dnd", "idle", "invisible", "offline"))
_NONCE = optional(Check(_is_nonce, f"a str of at most {_MAX_NONCE_BYTES} bytes"))
_OPCODE = integer(0, 255)
_LIMIT = integer(0, 2**31 - 1)
_GUILD_IDS = Each(ID, "one id or more", least=1)
_USER_IDS = optional(Each(ID, f"1 to {_MAX_USER_IDS} ids", least=1, most=_MAX_USER_IDS))
_FIELDS = Each(WORD, 'one field or more, such as ["status"]', least=1)
_ONE_OR_MANY = Check(
    lambda value: is_id(value) or _GUILD_IDS.allows(value), f"{ID.expected}; or several of them"
)


class IdentifyProperties(msgspec.Struct, frozen=True):
    """Properties of the client in Identify. Versions from 6 on use only the first three.

    <https://docs.discord.com/developers/events/gateway-events#identify-identify-connection-properties>
    """

    os: str = ""
    browser: str = "gateway_proto"
    device: str = "gateway_proto"
    referrer: str = ""
    referring_domain: str = ""

    def __post_init__(self) -> None:
        check_fields(self, _PROPERTIES)


class Activity(msgspec.Struct, frozen=True):
    """Activity in a presence. Version 3 has only `name`, and calls it the game.

    <https://docs.discord.com/developers/events/gateway-events#activity-object>
    """

    name: str
    type: int = 0
    """0 playing, 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing."""
    url: str | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, _ACTIVITY)


_PROPERTIES = dict.fromkeys(IdentifyProperties.__struct_fields__, TEXT)
_ACTIVITY = {"name": WORD, "type": integer(0, 255), "url": _OPTIONAL_TEXT, "state": _OPTIONAL_TEXT}
_ACTIVITIES = Each(
    instance_of(Activity, "an Activity, such as Activity('chess')"),
    "activities, such as [Activity('chess')]",
)


_EARLIER_NAMES: Mapping[str, str] = {
    "idle_since": "since, which version 3 encodes as idle_since",
    "game": "activities, such as [Activity('chess')]; versions 3 to 7 take one, their game",
}


class _Named:
    """Constructor that rejects the field names of earlier versions in `UpdatePresence`."""

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
class UpdatePresence(NonDefaultRepr, _Named):
    """Op 3: presence of the user. The client keeps the last one and sends it again when needed.

    Versions 8 to 10 allow several `activities`, versions 3 to 7 at most one, the game. `since` is
    Unix time in milliseconds. In version 3 it is `idle_since`, and None means online.

    <https://docs.discord.com/developers/events/gateway-events#update-presence>
    """

    activities: tuple[Activity, ...] = attrs.field(
        default=(), converter=_activities, validator=_ACTIVITIES
    )
    since: int | None = attrs.field(default=None, validator=_OPTIONAL_INT64)
    status: str = attrs.field(
        default=attrs.Factory(_default_status, takes_self=True), kw_only=True, validator=_STATUS
    )
    """online, dnd, idle, invisible or offline. The default is idle if `since` is given."""
    afk: bool = attrs.field(default=False, kw_only=True, validator=BOOL)


class Identify(RedactedRepr, frozen=True, kw_only=True):
    """Op 2: start of a new session. The client sends it without being asked.

    <https://docs.discord.com/developers/events/gateway-events#identify>
    """

    token: str
    properties: IdentifyProperties = IdentifyProperties()
    intents: int | None = None
    compress: bool = False
    large_threshold: int | None = None
    shard: tuple[int, int] | None = None
    """Shard id, number of shards."""
    presence: UpdatePresence | None = None
    guild_subscriptions: bool | None = None
    """Versions 6 and 7: whether guilds dispatch presences and typing."""

    def __post_init__(self) -> None:
        _check_token("Identify.token", self.token)
        check_fields(self, _IDENTIFY)


class Resume(RedactedRepr, frozen=True, kw_only=True):
    """Op 6: continuation of a session. The client sends it without being asked.

    <https://docs.discord.com/developers/events/gateway-events#resume>
    """

    session_id: str
    seq: int
    token: str | None = None
    """None in version 3, whose clients sent no token in Resume."""

    def __post_init__(self) -> None:
        if self.token is not None:
            _check_token("Resume.token", self.token)
        check_fields(self, _RESUME)


class Heartbeat(msgspec.Struct, frozen=True):
    """Op 1: the last sequence number or None; in version 3 Unix milliseconds as a str or int.

    <https://docs.discord.com/developers/events/gateway-events#heartbeat>
    """

    d: int | str | None

    def __post_init__(self) -> None:
        check_fields(self, _HEARTBEAT)


_IDENTIFY = {
    "properties": instance_of(IdentifyProperties, "a Properties"),
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
class UpdateVoiceState(NonDefaultRepr):
    """Op 4: joins, moves between or leaves (None) voice channels.

    A new session is not in any channel. With `Config.restore_voice_states` the client sends the
    last state of each guild again after READY of a new session, unless that state left the channel.
    Moves and disconnects by others are not considered.

    <https://docs.discord.com/developers/events/gateway-events#update-voice-state>
    """

    guild_id: str | None = attrs.field(converter=_optional_id, validator=_OPTIONAL_ID)
    channel_id: str | None = attrs.field(converter=_optional_id, validator=_OPTIONAL_ID)
    self_mute: bool = attrs.field(default=False, validator=BOOL)
    self_deaf: bool = attrs.field(default=False, validator=BOOL)


class VoiceServerPing(msgspec.Struct, frozen=True):
    """Op 5 of versions 3 to 5: check of a voice server that does not respond."""


@attrs.frozen(repr=False)
class RequestGuildMembers(NonDefaultRepr):
    """Op 8: request for members, answered with GUILD_MEMBERS_CHUNK dispatches.

    Takes `user_ids` (at most 100), or `query` with `limit` (1 to 100), or neither for all members.
    Versions 3 to 7 allow several guilds. Versions 3 to 5 have no `user_ids`, `presences` or
    `nonce`.

    <https://docs.discord.com/developers/events/gateway-events#request-guild-members>
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
class RequestSoundboardSounds(NonDefaultRepr):
    """Op 31: request for sounds, answered with SOUNDBOARD_SOUNDS dispatches.

    <https://docs.discord.com/developers/events/gateway-events#request-soundboard-sounds>
    """

    guild_ids: tuple[str, ...] = attrs.field(converter=_ids, validator=_GUILD_IDS)


@attrs.frozen(repr=False)
class RequestChannelInfo(NonDefaultRepr):
    """Op 43: request for fields ("status", "voice_start_time") of a guild's channels.

    <https://docs.discord.com/developers/events/gateway-events>
    """

    guild_id: str = attrs.field(converter=_id, validator=ID)
    fields: tuple[str, ...] = attrs.field(converter=_words, validator=_FIELDS)


class RawCommand(msgspec.Struct, frozen=True):
    """Any op code with any JSON value, for commands that this package does not define."""

    op: int
    d: Any = None

    def __post_init__(self) -> None:
        _OPCODE.named("RawCommand.op", self.op)
        try:
            encode_json(self.d)
        except LocalProtocolError as error:
            raise LocalProtocolError(f"invalid RawCommand.d: {error}") from None


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
    | RawCommand
)
