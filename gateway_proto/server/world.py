"""World: the guilds, users and messages that a server serves, as test data.

Users, guilds, channels and members are the documented objects in their JSON form. The server
derives READY, GUILD_CREATE, answers to requests and HTTP responses from them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import attrs
import msgspec

from gateway_proto._checks import (
    ID,
    JSON,
    SHARD,
    WORD,
    Check,
    Each,
    as_id,
    as_text,
    as_tuple,
    as_words,
    instance_of,
    integer,
    is_id,
    optional,
    rejected,
)
from gateway_proto.commands import (
    RequestChannelInfo,
    RequestSoundboardSounds,
    UpdateVoiceState,
)
from gateway_proto.encoding.raw_value import check_term, encode_json
from gateway_proto.errors import LocalProtocolError
from gateway_proto.server.world_changes import changed, may_change
from gateway_proto.server.world_lists import find
from gateway_proto.server.world_messages import MESSAGE_CHANGES, changed_messages, find_message
from gateway_proto.server.world_objects import (
    complete_application,
    complete_guild,
    complete_message,
    complete_private_channel,
    complete_user,
    complete_voice_state,
    make_channel,
    make_user,
)
from gateway_proto.shard_ids import shard_of

__all__ = ["World"]

Data = Mapping[str, Any]

_USER: Data = complete_user({"id": "80351110224678912", "username": "gateway_proto"}, own=True)
_EMPTY: Mapping[str, Any] = {"content": "", "embeds": [], "attachments": [], "components": []}
"""Values of the content fields of a message without the intent MESSAGE_CONTENT.

<https://docs.discord.com/developers/events/gateway#message-content-intent>
"""
_NAMES = Each(WORD, "a tuple of names of channels")
_MEMBERS = integer(0, 1_000_000)
_SHARD = optional(SHARD)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    user: dict[str, Any] | None = None
    guilds: list[dict[str, Any]] = []
    application: dict[str, Any] = {}


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
    # The control route encodes them as JSON, and dispatches use the encoding of each session.
    try:
        check_term(encode_json(data))
    except LocalProtocolError as error:
        raise LocalProtocolError(f"invalid {name} {error}") from None


def _has_id(value: Any) -> bool:
    return isinstance(value, Mapping) and is_id(as_id(value.get("id")))


def _has_user(value: Any) -> bool:
    return isinstance(value, Mapping) and _has_id(value.get("user"))


def _is_member(value: Any) -> bool:
    return _has_user(value) and isinstance(value["user"].get("username", ""), str)


_LISTS_OF_A_GUILD: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "members": (_is_member, "objects with a user that has an id, and a username as a str"),
    "presences": (_has_user, "objects with a user that has an id"),
    "channels": (_has_id, "objects with an id"),
    "threads": (_has_id, "objects with an id"),
    "roles": (_has_id, "objects with an id"),
    "emojis": (_has_id, "objects with an id"),
    "stickers": (_has_id, "objects with an id"),
    "voice_states": (lambda value: isinstance(value, Mapping), "objects"),
    "soundboard_sounds": (lambda value: isinstance(value, Mapping), "objects"),
}
_GUILDS = Each(
    instance_of(Mapping, "a mapping of the fields of a guild, with an id"),
    "a tuple of guilds, such as [{'id': '1'}]; World.from_json takes text",
)


def _objects(values: Iterable[Data]) -> tuple[Data, ...]:
    members: tuple[Data, ...] = as_tuple(values)
    return members


def _check_objects(_world: Any, field: Any, values: Any) -> None:
    name = f"World.{field.name}"
    Each(Check(_has_id, "a mapping with an id"), f"a tuple of {field.name}").named(name, values)
    for value in values:
        _check_json(f"{name}:", value)


def _check_application(_world: Any, _field: Any, application: Any) -> None:
    if not isinstance(application, Mapping):
        raise rejected("World.application", application, "a mapping of fields of an application")
    _check_json("World.application:", application)


def _further() -> Any:
    return attrs.field(default=(), converter=_objects, validator=_check_objects, kw_only=True)


@attrs.frozen(slots=False)
class World:
    """The bot, its guilds, and further data that a server answers from.

    Objects may be partial: each documented field that is not optional is filled in, and the bot is
    added to the members of each guild. A World is immutable; `after` returns a changed one.
    """

    guilds: tuple[Data, ...] = attrs.field(default=(), converter=_guilds, validator=_check_guilds)
    """Guilds in the form of GUILD_CREATE. Each needs an `id`."""
    user: Data = attrs.field(default=_USER, validator=_check_user)
    """User of the bot."""
    application: Data = attrs.field(factory=dict, validator=_check_application, kw_only=True)
    """Application of the bot."""
    private_channels: tuple[Data, ...] = _further()
    """Channels for direct messages."""
    messages: tuple[Data, ...] = _further()
    """Last messages, ordered by id."""
    commands: tuple[Data, ...] = _further()
    """Application commands. Those of a guild have its `guild_id`."""
    interactions: tuple[Data, ...] = _further()
    """Last interactions, oldest first."""
    webhooks: tuple[Data, ...] = _further()
    """Webhooks of channels, each with its `token`, `guild_id` and `channel_id`."""
    invites: tuple[Data, ...] = _further()
    """Invites to channels of guilds; `id` is the code."""

    def __attrs_post_init__(self) -> None:
        user = complete_user(self.user, own=True)
        application = complete_application(self.application, user, len(self.guilds))
        self._set(user=user, application=application)
        self._set(guilds=tuple(complete_guild(guild, user) for guild in self.guilds))
        self._set(
            messages=tuple(
                sorted(map(complete_message, self.messages), key=lambda message: int(message["id"]))
            )
        )
        self._set(private_channels=tuple(map(complete_private_channel, self.private_channels)))

    @classmethod
    def from_json(cls, text: str | bytes) -> World:
        """Return the world of `{"user": {...}, "guilds": [...]}`. Raises `LocalProtocolError`."""
        JSON.named("text", text)
        try:
            file = msgspec.json.decode(as_text(text), type=_File)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise LocalProtocolError(f"text is not a world: {error}") from None
        user = _USER if file.user is None else {**_USER, **file.user}
        return cls(file.guilds, user, application=file.application)

    @classmethod
    def with_guild(
        cls,
        name: str = "Test",
        *,
        members: int = 1,
        channels: Iterable[str] = ("general",),
        voice_channels: Iterable[str] = ("Voice",),
        user: Data = _USER,
    ) -> World:
        """Return a world with one guild, whose id is 1000.

        Its channels have the ids 2000, 2001, ..., text channels first. Next to the bot it has
        `members` members with the ids 4000, 4001, ..., the first of which is the owner.
        """
        WORD.named("name", name)
        _MEMBERS.named("members", members)
        text, voice = as_words(channels), as_words(voice_channels)
        _NAMES.named("channels", text)
        _NAMES.named("voice_channels", voice)
        kinds = [*((channel, 0) for channel in text), *((channel, 2) for channel in voice)]
        guild = {
            "id": "1000",
            "name": name,
            "channels": [
                make_channel(2000 + number, channel, type_=type_)
                for number, (channel, type_) in enumerate(kinds)
            ],
            "members": [
                {"user": make_user(4000 + number, f"member-{number + 1}")}
                for number in range(members)
            ],
        }
        return cls([guild], user)

    # ----- objects -----

    def guilds_of(self, shard: tuple[int, int] | None) -> list[Data]:
        """Return the guilds of a shard. None means all guilds."""
        _SHARD.named("shard", shard)
        return [guild for guild in self.guilds if shard is None or _is_of(guild["id"], shard)]

    def guild(self, guild_id: str | int) -> Data | None:
        """Return the guild with an id, or None."""
        return self._by_id.get(str(guild_id))

    @functools.cached_property
    def _by_id(self) -> dict[str, Data]:
        return {guild["id"]: guild for guild in self.guilds}

    def channel(self, channel_id: str | int) -> Data | None:
        """Return the channel, thread or private channel with an id, or None."""
        for guild in self.guilds:
            for kind in ("channels", "threads"):
                found = find(guild[kind], channel_id)
                if found is not None:
                    return found
        return find(self.private_channels, channel_id)

    def message(self, message_id: str | int, channel_id: str | int | None = None) -> Data | None:
        """Return the message with an id, in a channel if one is given, or None."""
        found = find_message(self.messages, message_id)
        if found is not None and channel_id not in (None, found["channel_id"]):
            return None
        return found

    def known_user(self, user_id: str | int) -> Data | None:
        """Return the user with an id (the bot, a member or a recipient), or None."""
        if str(user_id) == self.user["id"]:
            return self.user
        for guild in self.guilds:
            for member in guild["members"]:
                if member["user"]["id"] == str(user_id):
                    user: Data = member["user"]
                    return user
        people = (find(channel["recipients"], user_id) for channel in self.private_channels)
        return next(filter(None, people), None)

    def may_change(self, name: str, data: Any) -> bool:
        """Whether `after` is called with a dispatch, which needs its data decoded."""
        return name in MESSAGE_CHANGES or may_change(self, name, data)

    def after(self, name: str, data: Any) -> Self:
        """Return the world after a dispatch, or itself if the dispatch does not change it."""
        if name in MESSAGE_CHANGES:
            return self.after_messages([(name, data)])
        return changed(self, name, data)

    def after_messages(self, dispatches: Iterable[tuple[str, Any]]) -> Self:
        """Return the world after dispatches about messages, whose names begin with MESSAGE_.

        A server calls it in place of `after`, when it needs the world or has many of them.
        """
        messages = changed_messages(self.messages, dispatches, self.user["id"])
        return self if messages is None else self.with_fields(messages=messages)

    def with_fields(self, **fields: Any) -> Self:
        """Return a copy with other values of fields, which must be complete and are not checked."""
        copy = object.__new__(type(self))
        values = self.__dict__
        kept = {field.name: values[field.name] for field in attrs.fields(type(self))}
        if "guilds" not in fields and "_by_id" in values:
            kept["_by_id"] = values["_by_id"]  # derived from the guilds
        copy.__dict__.update(kept | fields)
        return copy

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    # ----- dispatches -----

    def guild_create(self, guild: Data) -> dict[str, Any]:
        """Return a guild in the form of GUILD_CREATE, and of READY in version 3."""
        return dict(guild)

    def without_content(self, name: str, data: Any) -> dict[str, Any] | None:
        """Return a message without its content, or None if its content is sent to all sessions.

        That is the case for direct messages, messages of the bot, and messages that mention it:
        <https://docs.discord.com/developers/events/gateway#message-content-intent>.
        """
        if name not in ("MESSAGE_CREATE", "MESSAGE_UPDATE") or not isinstance(data, Mapping):
            return None
        id_ = str(self.user["id"])
        people = [data.get("author"), *(data.get("mentions") or ())]
        ids = {str(person.get("id")) for person in people if isinstance(person, Mapping)}
        if data.get("guild_id") is None or id_ in ids:
            return None
        return {key: _EMPTY.get(key, value) for key, value in data.items() if key != "poll"}

    def requested_guild(self, guild_id: str) -> Data | None:
        """Return the guild whose members answer a request, or None for no answer."""
        return self.guild(guild_id)

    def soundboard_sounds(self, request: RequestSoundboardSounds) -> list[dict[str, Any]]:
        """Return the answers to a request, one for each existing guild."""
        guilds = {str(guild["id"]): guild for guild in self.guilds}
        return [
            {"guild_id": guild_id, "soundboard_sounds": guild.get("soundboard_sounds", [])}
            for guild_id in dict.fromkeys(map(str, request.guild_ids))
            if (guild := guilds.get(guild_id)) is not None
        ]

    def channel_info(self, request: RequestChannelInfo) -> dict[str, Any] | None:
        """Return the answer to a request, or None if the guild does not exist."""
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
        """Return the dispatches that answer a voice state, by name."""
        user_id = self.user["id"]
        given = {
            "guild_id": state.guild_id,
            "channel_id": state.channel_id,
            "user_id": user_id,
            "session_id": session_id,
            "self_deaf": state.self_deaf,
            "self_mute": state.self_mute,
        }
        update = complete_voice_state(given)
        # <https://docs.discord.com/developers/resources/voice#voice-state-object>
        guild = self.guild(state.guild_id or 0) or {}
        for member in guild.get("members", ()):
            if member["user"]["id"] == user_id:
                update["member"] = member
        if state.channel_id is None:
            return {"VOICE_STATE_UPDATE": update}
        server = {"token": "voice", "guild_id": state.guild_id, "endpoint": "localhost:0"}
        return {"VOICE_STATE_UPDATE": update, "VOICE_SERVER_UPDATE": server}


def _is_of(guild_id: str | int, shard: tuple[int, int]) -> bool:
    return shard_of(guild_id, shard[1]) == shard[0]
