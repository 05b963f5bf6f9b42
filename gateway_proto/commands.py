"""client → server: the commands, as values that both roles share.

What a client sends, the server role receives as an equal object. Ids are decimal strings; an
integer is taken too and becomes one. How a version writes them stands in `_layers/spelling.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway_proto._terse import Terse, Told

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


def _id(value: Snowflake) -> str:
    return str(value)


def _optional_id(value: Snowflake | None) -> str | None:
    return None if value is None else str(value)


def _ids(values: Iterable[Snowflake]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _one_or_many(value: Snowflake | Iterable[Snowflake]) -> str | tuple[str, ...]:
    return str(value) if isinstance(value, str | int) else _ids(value)


def _optional_ids(values: Iterable[Snowflake] | None) -> tuple[str, ...] | None:
    return None if values is None else _ids(values)


def _activities(values: Iterable[Activity]) -> tuple[Activity, ...]:
    return tuple(values)


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


class Properties(msgspec.Struct, frozen=True):
    """Who connects. Version 3 requires all five, later versions the first three."""

    os: str = ""
    browser: str = "gateway_proto"
    device: str = "gateway_proto"
    referrer: str = ""
    referring_domain: str = ""


class Activity(msgspec.Struct, frozen=True):
    """What the user is doing. Version 3 knows `name` alone, and calls it the game."""

    name: str
    type: int = 0
    """0 playing, 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing."""
    url: str | None = None
    state: str | None = None


@attrs.frozen(repr=False)
class UpdatePresence(Told):
    """Op 3: the status. A presence is a state: the machine keeps the last and sends it anew.

    `since` is unix milliseconds; in version 3 it is `idle_since`, and null means online there.
    """

    activities: tuple[Activity, ...] = attrs.field(default=(), converter=_activities)
    since: int | None = None
    status: str = attrs.field(kw_only=True)
    """online, dnd, idle, invisible or offline; by default idle where `since` is given."""
    afk: bool = attrs.field(default=False, kw_only=True)

    @status.default
    def _status(self) -> str:
        return "online" if self.since is None else "idle"


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


class Resume(Terse, frozen=True, kw_only=True):
    """Op 6: go on with a session. A client's machine sends it by itself."""

    session_id: str
    seq: int
    token: str | None = None
    """None in version 3, whose clients sent none."""


class Heartbeat(msgspec.Struct, frozen=True):
    """Op 1: the last sequence or None; in version 3 unix milliseconds, as text or integer."""

    d: int | str | None


@attrs.frozen(repr=False)
class UpdateVoiceState(Told):
    """Op 4: join, move between or leave (None) voice channels.

    A new session is in no channel. With `Config.restore_voice_states` the last one of each guild is
    sent again after READY of a new session, unless it left the channel; moves and disconnects by
    others are not considered. Without it nothing is sent again.
    """

    guild_id: str | None = attrs.field(converter=_optional_id)
    channel_id: str | None = attrs.field(converter=_optional_id)
    self_mute: bool = False
    self_deaf: bool = False


class VoiceServerPing(msgspec.Struct, frozen=True):
    """Op 5 of versions 3 to 5: asks whether a voice server that seems dead is alive."""


@attrs.frozen(repr=False)
class RequestGuildMembers(Told):
    """Op 8: the answer comes as GUILD_MEMBERS_CHUNK dispatches.

    Either `user_ids` (at most 100), or `query` with `limit` (1 to 100), or neither: all members.
    Versions 3 to 7 take several guilds at once; 3 to 5 know neither `user_ids`, `presences` nor
    `nonce`.
    """

    guild_id: str | tuple[str, ...] = attrs.field(converter=_one_or_many)
    query: str = ""
    limit: int = 0
    user_ids: tuple[str, ...] | None = attrs.field(default=None, converter=_optional_ids)
    presences: bool = False
    nonce: str | None = None
    """At most 32 bytes."""


@attrs.frozen(repr=False)
class RequestSoundboardSounds(Told):
    """Op 31: the answer comes as SOUNDBOARD_SOUNDS dispatches."""

    guild_ids: tuple[str, ...] = attrs.field(converter=_ids)


@attrs.frozen(repr=False)
class RequestChannelInfo(Told):
    """Op 43: asks for fields ("status", "voice_start_time") of a guild's channels."""

    guild_id: str = attrs.field(converter=_id)
    fields: tuple[str, ...] = attrs.field(converter=_words)


class Raw(msgspec.Struct, frozen=True):
    """Any op code with any JSON value: what this package has no name for."""

    op: int
    d: Any = None


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
