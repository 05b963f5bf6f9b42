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

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs
import msgspec

from gateway_proto._checks import (
    BOOL,
    ID,
    INTENTS,
    SHARD,
    TEXT,
    TOKEN,
    WORD,
    Check,
    Checks,
    Converters,
    Each,
    ErrorCheck,
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
)
from gateway_proto._repr import FieldMethods, RedactedRepr
from gateway_proto.encoding import ENCODE_ERRORS, json_text
from gateway_proto.errors import LocalProtocolError

__all__ = [
    "Activity",
    "Command",
    "Heartbeat",
    "Identify",
    "IdentifyProperties",
    "RawCommand",
    "Request",
    "RequestChannelInfo",
    "RequestGuildMembers",
    "RequestSoundboardSounds",
    "Resume",
    "UpdatePresence",
    "UpdateVoiceState",
    "VoiceServerPing",
    "check_again",
]

Snowflake: TypeAlias = str | int


# https://docs.discord.com/developers/events/gateway-events#request-guild-members
_MAX_NONCE_BYTES = 32
_MAX_USER_IDS = 100


def _id_or_ids(value: Any) -> Any:
    return as_id(value) if isinstance(value, str | int) else as_ids(value)


def _activities(values: Activity | Iterable[Activity]) -> tuple[Activity, ...]:
    activities: tuple[Activity, ...] = as_tuple(values)
    return (values,) if isinstance(values, Activity) else activities


def _is_heartbeat(value: Any) -> bool:
    return value is None or _INT64.allows(value) or (is_text(value) and len(value) <= 64)


def _is_nonce(value: Any) -> bool:
    return is_text(value) and len(value.encode()) <= _MAX_NONCE_BYTES


def _json_error(name: str, value: Any) -> LocalProtocolError | None:
    try:
        json_text(value)
    except ENCODE_ERRORS as error:
        return LocalProtocolError(f"invalid {name}: value cannot be encoded as JSON: {error}")
    if _has_nan(value):
        # RFC 8259, 6: JSON has no such numbers, and msgspec would write null.
        return LocalProtocolError(f"invalid {name}: it has nan or inf: expected finite numbers")
    return None


def _has_nan(value: Any) -> bool:
    values = [value]  # a list, as nesting may be deeper than Python's stack
    while values:
        match values.pop():
            case float(number) if not math.isfinite(number):
                return True
            case dict(members):
                values += (*members, *members.values())
            case list(members) | tuple(members):
                values += members
    return False


_INT64 = integer(0, 2**63 - 1)
_OPTIONAL_TEXT = optional(TEXT)
_OPTIONAL_ID = optional(ID)
_GUILD_IDS = Each(ID, "one id or more", least=1)


class _Checked:
    """Base of commands: fields are converted and checked when an instance is created."""

    __slots__ = ()

    _CONVERTERS: ClassVar[Converters] = {}
    _CHECKS: ClassVar[Checks] = {}

    def __post_init__(self) -> None:
        struct: Any = self
        for name, convert in self._CONVERTERS.items():
            msgspec.structs.force_setattr(struct, name, convert(getattr(self, name)))
        check_fields(self, self._CHECKS)


class IdentifyProperties(_Checked, msgspec.Struct, frozen=True):
    """Properties of the client in Identify. Versions from 6 on use only the first three.

    <https://docs.discord.com/developers/events/gateway-events#identify-identify-connection-properties>
    """

    os: str = ""
    browser: str = "gateway_proto"
    device: str = "gateway_proto"
    referrer: str = ""
    referring_domain: str = ""

    _CHECKS: ClassVar[Checks] = dict.fromkeys(
        ("os", "browser", "device", "referrer", "referring_domain"), TEXT
    )


class Activity(_Checked, msgspec.Struct, frozen=True):
    """Activity in a presence. Version 3 has only `name`, and calls it the game.

    <https://docs.discord.com/developers/events/gateway-events#activity-object>
    """

    name: str
    type: int = 0
    """0 playing, 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing."""
    url: str | None = None
    state: str | None = None

    _CHECKS: ClassVar[Checks] = {
        "name": WORD,
        "type": integer(0, 255),
        "url": _OPTIONAL_TEXT,
        "state": _OPTIONAL_TEXT,
    }


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


# An attrs class: msgspec has neither defaults that depend on another field nor constructors.
@attrs.frozen(eq=False, repr=False)
class UpdatePresence(FieldMethods, _Checked, _Named):
    """Op 3: presence of the user. The client keeps the last one and sends it again when needed.

    Versions 8 to 10 allow several `activities`, versions 3 to 7 at most one, the game. `since` is
    Unix time in milliseconds. In version 3 it is `idle_since`, and None means online.

    <https://docs.discord.com/developers/events/gateway-events#update-presence>
    """

    activities: tuple[Activity, ...] = attrs.field(default=(), converter=_activities)
    since: int | None = None
    status: str = attrs.field(default=attrs.Factory(_default_status, takes_self=True), kw_only=True)
    """online, dnd, idle, invisible or offline. The default is idle if `since` is given."""
    afk: bool = attrs.field(default=False, kw_only=True)

    _CHECKS: ClassVar[Checks] = {
        "activities": Each(
            instance_of(Activity, "an Activity, such as Activity('chess')"),
            "activities, such as [Activity('chess')]",
        ),
        "since": optional(_INT64),
        # https://docs.discord.com/developers/events/gateway-events#update-presence-status-types
        "status": one_of(("online", "dnd", "idle", "invisible", "offline")),
        "afk": BOOL,
    }

    def __attrs_post_init__(self) -> None:
        self.__post_init__()


class Identify(_Checked, RedactedRepr, frozen=True, kw_only=True):
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

    _CONVERTERS: ClassVar[Converters] = {"shard": as_tuple}
    _CHECKS: ClassVar[Checks] = {
        "token": TOKEN,
        "properties": instance_of(IdentifyProperties, "an IdentifyProperties"),
        "intents": optional(INTENTS),
        "compress": BOOL,
        "large_threshold": optional(integer(0)),
        "shard": optional(SHARD),
        "presence": optional(instance_of(UpdatePresence, "an UpdatePresence")),
        "guild_subscriptions": optional(BOOL),
    }


class Resume(_Checked, RedactedRepr, frozen=True, kw_only=True):
    """Op 6: continuation of a session. The client sends it without being asked.

    <https://docs.discord.com/developers/events/gateway-events#resume>
    """

    session_id: str
    seq: int
    token: str | None = None
    """None in version 3, whose clients sent no token in Resume."""

    _CHECKS: ClassVar[Checks] = {"token": optional(TOKEN), "session_id": WORD, "seq": _INT64}


class Heartbeat(_Checked, msgspec.Struct, frozen=True):
    """Op 1: the last sequence number or None; in version 3 Unix milliseconds as a str or int.

    <https://docs.discord.com/developers/events/gateway-events#heartbeat>
    """

    d: int | str | None

    _CHECKS: ClassVar[Checks] = {
        "d": Check(_is_heartbeat, f"{_INT64.expected}, a str of at most 64, or None")
    }


# The constructors of the following classes accept what is converted. At run time msgspec derives
# them from the fields; type checkers read the declarations.


class UpdateVoiceState(_Checked, msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """Op 4: joins, moves between or leaves (None) voice channels.

    A new session is not in any channel. With `Config.restore_voice_states` the client sends the
    last state of each guild again after READY of a new session, unless that state left the channel.
    Moves and disconnects by others are not considered.

    <https://docs.discord.com/developers/events/gateway-events#update-voice-state>
    """

    guild_id: str | None
    channel_id: str | None
    self_mute: bool = False
    self_deaf: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            guild_id: Snowflake | None,
            channel_id: Snowflake | None,
            self_mute: bool = False,
            self_deaf: bool = False,
        ) -> None: ...

    _CONVERTERS: ClassVar[Converters] = {"guild_id": as_id, "channel_id": as_id}
    _CHECKS: ClassVar[Checks] = {
        "guild_id": _OPTIONAL_ID,
        "channel_id": _OPTIONAL_ID,
        "self_mute": BOOL,
        "self_deaf": BOOL,
    }


class VoiceServerPing(_Checked, msgspec.Struct, frozen=True):
    """Op 5 of versions 3 to 5: check of a voice server that does not respond."""


class RequestGuildMembers(_Checked, msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """Op 8: request for members, answered with GUILD_MEMBERS_CHUNK dispatches.

    Takes `user_ids` (at most 100), or `query` with `limit` (1 to 100), or neither for all members.
    Versions 3 to 7 allow several guilds. Versions 3 to 5 have no `user_ids`, `presences` or
    `nonce`.

    <https://docs.discord.com/developers/events/gateway-events#request-guild-members>
    """

    guild_id: str | tuple[str, ...]
    query: str = ""
    limit: int = 0
    user_ids: tuple[str, ...] | None = None
    presences: bool = False
    nonce: str | None = None
    """At most 32 bytes."""

    if TYPE_CHECKING:

        def __init__(
            self,
            guild_id: Snowflake | Iterable[Snowflake],
            query: str = "",
            limit: int = 0,
            user_ids: Snowflake | Iterable[Snowflake] | None = None,
            presences: bool = False,
            nonce: str | None = None,
        ) -> None: ...

    _CONVERTERS: ClassVar[Converters] = {"guild_id": _id_or_ids, "user_ids": as_ids}
    _CHECKS: ClassVar[Checks] = {
        "guild_id": Check(
            lambda value: is_id(value) or _GUILD_IDS.allows(value),
            f"{ID.expected}; or several of them",
        ),
        "query": TEXT,
        "limit": integer(0, 2**31 - 1),
        "user_ids": optional(Each(ID, f"1 to {_MAX_USER_IDS} ids", least=1, most=_MAX_USER_IDS)),
        "presences": BOOL,
        "nonce": optional(Check(_is_nonce, f"a str of at most {_MAX_NONCE_BYTES} bytes")),
    }


class RequestSoundboardSounds(_Checked, msgspec.Struct, frozen=True):
    """Op 31: request for sounds, answered with SOUNDBOARD_SOUNDS dispatches.

    <https://docs.discord.com/developers/events/gateway-events#request-soundboard-sounds>
    """

    guild_ids: tuple[str, ...]

    if TYPE_CHECKING:

        def __init__(self, guild_ids: Snowflake | Iterable[Snowflake]) -> None: ...

    _CONVERTERS: ClassVar[Converters] = {"guild_ids": as_ids}
    _CHECKS: ClassVar[Checks] = {"guild_ids": _GUILD_IDS}


class RequestChannelInfo(_Checked, msgspec.Struct, frozen=True):
    """Op 43: request for fields ("status", "voice_start_time") of a guild's channels.

    <https://docs.discord.com/developers/events/gateway-events>
    """

    guild_id: str
    fields: tuple[str, ...]

    if TYPE_CHECKING:

        def __init__(self, guild_id: Snowflake, fields: str | Iterable[str]) -> None: ...

    _CONVERTERS: ClassVar[Converters] = {"guild_id": as_id, "fields": as_words}
    _CHECKS: ClassVar[Checks] = {
        "guild_id": ID,
        "fields": Each(WORD, 'one field or more, such as ["status"]', least=1),
    }


class RawCommand(_Checked, msgspec.Struct, frozen=True):
    """Any op code with any JSON value, for commands that this package does not define."""

    op: int
    d: Any = None

    _CHECKS: ClassVar[Checks] = {"op": integer(0, 255), "d": ErrorCheck(_json_error)}


def check_again(command: Any) -> None:
    """Check the fields of a command, and of the values in it, as its constructor does.

    A server creates the commands of its clients without checks.
    """
    check_fields(command, command._CHECKS)
    parts = [getattr(command, name, None) for name in ("properties", "presence")]
    for part in (*parts, *getattr(command, "activities", ())):
        if part is not None:
            check_again(part)


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
Request: TypeAlias = RequestGuildMembers | RequestSoundboardSounds | RequestChannelInfo
"""Commands with answers."""
