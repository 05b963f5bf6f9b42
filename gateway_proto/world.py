"""plain data → dispatches: the small world that a server tells of.

Users, guilds, channels and members are the objects of the documentation, as JSON has them; a guild
has `members` and may have `presences`, `voice_states` and `soundboard_sounds`. From it come READY,
GUILD_CREATE, and the answers to requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import msgspec

from gateway_proto._checks import ID, JSON, Each, as_id, as_tuple, instance_of, is_id, rejected
from gateway_proto._layers.raw import check_term, to_json
from gateway_proto.commands import (
    RequestChannelInfo,
    RequestSoundboardSounds,
    UpdateVoiceState,
)
from gateway_proto.errors import LocalProtocolError
from gateway_proto.shards import shard_of

__all__ = ["World"]

_USER: Mapping[str, Any] = {
    "id": "80351110224678912",
    "username": "gateway_proto",
    "discriminator": "0",
    "global_name": None,
    "avatar": None,
    "bot": True,
    "verified": True,
    "mfa_enabled": False,
    "flags": 0,
    "email": None,
}
_EMPTY: Mapping[str, Any] = {"content": "", "embeds": [], "attachments": [], "components": []}
"""What is written in a message, for those who may not read it."""
_ONLY_LATER = ("soundboard_sounds",)
"""What a guild has here, and GUILD_CREATE has not."""

Data = Mapping[str, Any]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    user: dict[str, Any] | None = None
    guilds: list[dict[str, Any]] = []


def _guilds(guilds: Iterable[Data]) -> tuple[Data, ...]:
    members: tuple[Data, ...] = as_tuple(guilds)
    return members


def _check_guilds(_world: Any, _field: Any, guilds: Any) -> None:
    _GUILDS.named("World.guilds", guilds)
    for guild in guilds:
        if not _has_id(guild):
            raise rejected("id of a guild of World.guilds", guild.get("id"), ID.expected)
        name = f"World.guilds: guild {guild['id']}:"
        for key, (is_allowed, expected) in _LISTS_OF_A_GUILD.items():
            values = guild.get(key, [])
            if not isinstance(values, list | tuple) or not all(map(is_allowed, values)):
                raise rejected(f"{name} {key}", values, f"a list of {expected}")
        _check_json(name, guild)


def _check_user(_world: Any, _field: Any, user: Any) -> None:
    if not _has_id(user):
        raise rejected("World.user", user, "a mapping of the fields of a user, with an id")
    _check_json("World.user:", user)


def _check_json(name: str, data: Data) -> None:
    # The control route writes them as JSON, and dispatches in the encoding of each session.
    try:
        check_term(to_json(data))
    except LocalProtocolError as error:
        raise LocalProtocolError(f"invalid {name} {error}") from None


def _has_id(value: Any) -> bool:
    return isinstance(value, Mapping) and is_id(as_id(value.get("id")))


def _has_user(value: Any) -> bool:
    return isinstance(value, Mapping) and _has_id(value.get("user"))


def _is_member(value: Any) -> bool:
    return _has_user(value) and isinstance(value["user"].get("username"), str)


_LISTS_OF_A_GUILD: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "members": (_is_member, "objects with a user that has an id and a username"),
    "presences": (_has_user, "objects with a user that has an id"),
    "channels": (_has_id, "objects with an id"),
    "voice_states": (lambda value: isinstance(value, Mapping), "objects"),
    "soundboard_sounds": (lambda value: isinstance(value, Mapping), "objects"),
}
_GUILDS = Each(
    instance_of(Mapping, "a mapping of the fields of a guild, with an id"),
    "a tuple of guilds, such as [{'id': '1'}]; World.from_json takes text",
)


@attrs.frozen
class World:
    """Who the bot is, and the guilds that it is in."""

    guilds: tuple[Data, ...] = attrs.field(default=(), converter=_guilds, validator=_check_guilds)
    """Whole guild objects; each needs an `id`."""
    user: Data = attrs.field(default=_USER, validator=_check_user)

    @classmethod
    def from_json(cls, text: str | bytes) -> World:
        """The world of `{"user": {...}, "guilds": [...]}`; raises `LocalProtocolError`."""
        JSON.named("text", text)
        try:
            file = msgspec.json.decode(text, type=_File)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise LocalProtocolError(f"this text is no world: {error}") from None
        return cls(file.guilds, _USER if file.user is None else {**_USER, **file.user})

    # ----- who gets what -----

    def guilds_of(self, shard: tuple[int, int] | None) -> list[Data]:
        """The guilds of a shard; of None: all."""
        return [guild for guild in self.guilds if shard is None or _is_of(guild["id"], shard)]

    def guild(self, guild_id: str | int) -> Data | None:
        """The guild with an id; None: there is none."""
        return next((g for g in self.guilds if str(g["id"]) == str(guild_id)), None)

    # ----- dispatches -----

    def guild_create(self, guild: Data) -> dict[str, Any]:
        """What GUILD_CREATE says of a guild, and READY did in version 3."""
        return {key: value for key, value in guild.items() if key not in _ONLY_LATER}

    def without_content(self, name: str, data: Any) -> dict[str, Any] | None:
        """A message as those get it who may not read it; None where everybody may.

        Everybody reads direct messages, the bot's own, and those that mention it.
        """
        if name not in ("MESSAGE_CREATE", "MESSAGE_UPDATE") or not isinstance(data, Mapping):
            return None
        id_ = str(self.user["id"])
        people = [data.get("author"), *(data.get("mentions") or ())]
        ids = {str(person.get("id")) for person in people if isinstance(person, Mapping)}
        if data.get("guild_id") is None or id_ in ids:
            return None
        return {key: _EMPTY.get(key, value) for key, value in data.items() if key != "poll"}

    def soundboard_sounds(self, request: RequestSoundboardSounds) -> list[dict[str, Any]]:
        """The answers to a request, one for each guild that there is."""
        guilds = {str(guild["id"]): guild for guild in self.guilds}
        return [
            {"guild_id": guild_id, "soundboard_sounds": guild.get("soundboard_sounds", [])}
            for guild_id in dict.fromkeys(map(str, request.guild_ids))
            if (guild := guilds.get(guild_id)) is not None
        ]

    def channel_info(self, request: RequestChannelInfo) -> dict[str, Any] | None:
        """The answer to a request; None where there is no such guild."""
        guild = self.guild(request.guild_id)
        if guild is None:
            return None
        channels = []
        for channel in guild.get("channels", []):
            known = {name: channel[name] for name in request.fields if name in channel}
            if known:
                channels.append({"id": channel["id"], **known})
        return {"guild_id": request.guild_id, "channels": channels}

    def voice(self, state: UpdateVoiceState, session_id: str) -> dict[str, dict[str, Any]]:
        """What answers a voice state, by the name of the dispatch."""
        update = {
            "guild_id": state.guild_id,
            "channel_id": state.channel_id,
            "user_id": self.user["id"],
            "session_id": session_id,
            "deaf": False,
            "mute": False,
            "self_deaf": state.self_deaf,
            "self_mute": state.self_mute,
            "self_video": False,
            "suppress": False,
            "request_to_speak_timestamp": None,
        }
        if state.channel_id is None:
            return {"VOICE_STATE_UPDATE": update}
        server = {"token": "voice", "guild_id": state.guild_id, "endpoint": "localhost:0"}
        return {"VOICE_STATE_UPDATE": update, "VOICE_SERVER_UPDATE": server}


def _is_of(guild_id: str | int, shard: tuple[int, int]) -> bool:
    return shard_of(guild_id, shard[1]) == shard[0]
