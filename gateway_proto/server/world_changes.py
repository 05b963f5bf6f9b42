"""Changes of a World by dispatches, which later sessions and requests receive.

A dispatch that differs from the documentation changes nothing. The time of a change is linear in
the size of the guild, or of the bounded list, that it changes.

<https://docs.discord.com/developers/events/gateway-events#receive-events>
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, Self, TypeVar

from gateway_proto.server.world_lists import MAX_KEPT, id_of, put, without
from gateway_proto.server.world_objects import (
    complete_channel,
    complete_emoji,
    complete_guild,
    complete_member,
    complete_presence,
    complete_private_channel,
    complete_role,
    complete_sound,
    complete_sticker,
    complete_user,
    complete_voice_state,
    objects,
    user_id,
)
from gateway_proto.server.world_templates import THREAD_TYPES

__all__ = ["Changeable", "changed", "may_change"]

Data = Mapping[str, Any]


class Changeable(Protocol):
    """Fields of a World that dispatches change."""

    @property
    def guilds(self) -> tuple[Data, ...]: ...
    @property
    def user(self) -> Data: ...
    @property
    def private_channels(self) -> tuple[Data, ...]: ...
    @property
    def messages(self) -> tuple[Data, ...]: ...
    @property
    def interactions(self) -> tuple[Data, ...]: ...

    def guild(self, guild_id: str | int) -> Data | None:
        """Return the guild with an id."""
        ...

    def with_fields(self, **fields: Any) -> Self:
        """Return a copy with other values of fields."""
        ...


W = TypeVar("W", bound=Changeable)
Key = Callable[[Data], str]
GuildChange = Callable[[Data, Data], Data | None]


def may_change(world: Changeable, name: str, data: Any) -> bool:
    """Whether a dispatch may change the world; False only if it certainly does not."""
    if name in _OTHERS or type(data) is not dict:
        return True
    if name not in _IN_GUILDS:
        return False
    guild_id: Any = data.get("guild_id")
    return type(guild_id) not in (str, int) or world.guild(guild_id) is not None


def changed(world: W, name: str, data: Any) -> W:
    """Return the world after a dispatch that is not about messages."""
    if not isinstance(data, Mapping):
        return world
    change = _IN_GUILDS.get(name)
    if change is not None:
        return _in_guild(world, data, change)
    other = _OTHERS.get(name)
    return world if other is None else other(world, data)


# ----- lists of objects -----


def _user_id_of(data: Data) -> str:
    return str(data.get("user_id"))


def _sound_id(data: Data) -> str:
    return str(data.get("sound_id"))


# ----- what belongs to a guild -----


def _in_guild(world: W, data: Data, change: GuildChange) -> W:
    guild_id = data.get("guild_id")
    guild = world.guild(guild_id) if isinstance(guild_id, str | int) else None
    new = None if guild is None else change(guild, data)
    if new is None:
        return world
    return world.with_fields(guilds=tuple(new if g is guild else g for g in world.guilds))


def _merged(values: Iterable[Data], data: Data, key: Key = id_of) -> dict[str, Any]:
    """Return an object with the fields that an update brings."""
    wanted = key(data)
    old = next((value for value in values if key(value) == wanted), {})
    return {**old, **data}


def _put_channel(guild: Data, data: Data) -> Data | None:
    if not id_of(data):
        return None
    kind = "threads" if data.get("type") in THREAD_TYPES else "channels"
    new = complete_channel(_merged(guild[kind], data), guild["id"])
    return {**guild, kind: put(guild[kind], new)}


def _remove_channel(guild: Data, data: Data) -> Data:
    gone = id_of(data)
    threads = without(guild["threads"], gone)
    return {
        **guild,
        "channels": without(guild["channels"], gone),
        # Deleting a channel also deletes its threads.
        "threads": [thread for thread in threads if thread["parent_id"] != gone],
    }


def _sync_threads(guild: Data, data: Data) -> Data:
    threads: list[Data] = list(guild["threads"])
    for thread in objects(data.get("threads")):
        if id_of(thread):
            threads = put(threads, complete_channel({"type": 11, **thread}, guild["id"]))
    return {**guild, "threads": threads}


def _put_role(guild: Data, data: Data) -> Data | None:
    role = data.get("role")
    if not isinstance(role, Mapping) or not id_of(role):
        return None
    new = complete_role(_merged(guild["roles"], role))
    return {**guild, "roles": put(guild["roles"], new)}


def _remove_role(guild: Data, data: Data) -> Data:
    gone = str(data.get("role_id"))
    members = [
        {**member, "roles": [role for role in member["roles"] if role != gone]}
        if gone in member["roles"]
        else member
        for member in guild["members"]
    ]
    return {**guild, "roles": without(guild["roles"], gone), "members": members}


def _put_member(guild: Data, data: Data) -> Data | None:
    user = data.get("user")
    if not isinstance(user, Mapping) or not id_of(user):
        return None
    given = {key: value for key, value in data.items() if key != "guild_id"}
    old = next((m for m in guild["members"] if user_id(m) == id_of(user)), None)
    before: Data = {} if old is None else old
    merged = {**before, **given, "user": {**before.get("user", {}), **user}}
    members = put(guild["members"], complete_member(merged), user_id)
    count = guild["member_count"] + (old is None) if _counts(guild) else len(members)
    return {**guild, "members": members, "member_count": count}


def _remove_member(guild: Data, data: Data) -> Data:
    gone = user_id(data)
    members = without(guild["members"], gone, user_id)
    left = len(guild["members"]) - len(members)
    count = max(0, guild["member_count"] - left) if _counts(guild) else len(members)
    return {
        **guild,
        "members": members,
        "member_count": count,
        "presences": without(guild["presences"], gone, user_id),
        "voice_states": without(guild["voice_states"], gone, _user_id_of),
    }


def _counts(guild: Data) -> bool:
    return isinstance(guild["member_count"], int)


def _put_presence(guild: Data, data: Data) -> Data | None:
    if not user_id(data):
        return None
    return {**guild, "presences": put(guild["presences"], complete_presence(data), user_id)}


def _put_voice_state(guild: Data, data: Data) -> Data:
    states = without(guild["voice_states"], str(data.get("user_id")), _user_id_of)
    if data.get("channel_id") is not None:
        given = {key: value for key, value in data.items() if key != "member"}
        states.append(complete_voice_state(given))
    return {**guild, "voice_states": states}


def _replace_emojis(guild: Data, data: Data) -> Data:
    return {**guild, "emojis": [complete_emoji(emoji) for emoji in objects(data.get("emojis"))]}


def _replace_stickers(guild: Data, data: Data) -> Data:
    stickers = [complete_sticker(s, guild["id"]) for s in objects(data.get("stickers"))]
    return {**guild, "stickers": stickers}


def _replace_sounds(guild: Data, data: Data) -> Data:
    sounds = [complete_sound(s, guild["id"]) for s in objects(data.get("soundboard_sounds"))]
    return {**guild, "soundboard_sounds": sounds}


def _put_sound(guild: Data, data: Data) -> Data | None:
    if "sound_id" not in data:
        return None
    new = complete_sound(_merged(guild["soundboard_sounds"], data, _sound_id), guild["id"])
    return {**guild, "soundboard_sounds": put(guild["soundboard_sounds"], new, _sound_id)}


def _remove_sound(guild: Data, data: Data) -> Data:
    sounds = without(guild["soundboard_sounds"], _sound_id(data), _sound_id)
    return {**guild, "soundboard_sounds": sounds}


def _put_listed(kind: str) -> GuildChange:
    def change(guild: Data, data: Data) -> Data | None:
        if not id_of(data):
            return None
        return {**guild, kind: put(guild[kind], _merged(guild[kind], data))}

    return change


def _remove_listed(kind: str) -> GuildChange:
    return lambda guild, data: {**guild, kind: without(guild[kind], id_of(data))}


_IN_GUILDS: Mapping[str, GuildChange] = {
    "CHANNEL_UPDATE": _put_channel,
    "CHANNEL_DELETE": _remove_channel,
    "THREAD_CREATE": _put_channel,
    "THREAD_UPDATE": _put_channel,
    "THREAD_DELETE": _remove_channel,
    "THREAD_LIST_SYNC": _sync_threads,
    "GUILD_ROLE_CREATE": _put_role,
    "GUILD_ROLE_UPDATE": _put_role,
    "GUILD_ROLE_DELETE": _remove_role,
    "GUILD_MEMBER_ADD": _put_member,
    "GUILD_MEMBER_UPDATE": _put_member,
    "GUILD_MEMBER_REMOVE": _remove_member,
    "GUILD_EMOJIS_UPDATE": _replace_emojis,
    "GUILD_STICKERS_UPDATE": _replace_stickers,
    "GUILD_SOUNDBOARD_SOUND_CREATE": _put_sound,
    "GUILD_SOUNDBOARD_SOUND_UPDATE": _put_sound,
    "GUILD_SOUNDBOARD_SOUND_DELETE": _remove_sound,
    "GUILD_SOUNDBOARD_SOUNDS_UPDATE": _replace_sounds,
    "STAGE_INSTANCE_CREATE": _put_listed("stage_instances"),
    "STAGE_INSTANCE_UPDATE": _put_listed("stage_instances"),
    "STAGE_INSTANCE_DELETE": _remove_listed("stage_instances"),
    "GUILD_SCHEDULED_EVENT_CREATE": _put_listed("guild_scheduled_events"),
    "GUILD_SCHEDULED_EVENT_UPDATE": _put_listed("guild_scheduled_events"),
    "GUILD_SCHEDULED_EVENT_DELETE": _remove_listed("guild_scheduled_events"),
    "PRESENCE_UPDATE": _put_presence,
    "VOICE_STATE_UPDATE": _put_voice_state,
}


# ----- guilds, users and interactions -----


def _put_guild(world: W, data: Data) -> W:
    id_ = id_of(data)
    if not id_:
        return world
    old = world.guild(id_)
    new = complete_guild({**(old or {}), **data}, world.user)
    guilds = [new if guild is old else guild for guild in world.guilds]
    return world.with_fields(guilds=tuple(guilds if old is not None else [*guilds, new]))


def _update_guild(world: W, data: Data) -> W:
    return world if world.guild(id_of(data)) is None else _put_guild(world, data)


def _remove_guild(world: W, data: Data) -> W:
    # An unavailable guild becomes available again with its members:
    # <https://docs.discord.com/developers/events/gateway-events#guild-delete>.
    guild = world.guild(id_of(data))
    if guild is None or data.get("unavailable") is True:
        return world
    return world.with_fields(guilds=tuple(g for g in world.guilds if g is not guild))


def _ready(world: W, data: Data) -> W:
    user = data.get("user")
    if not isinstance(user, Mapping) or not id_of(user):
        return world
    return world.with_fields(user=complete_user(user, own=True), guilds=())


def _update_user(world: W, data: Data) -> W:
    if id_of(data) != world.user["id"]:
        return world
    return world.with_fields(user=complete_user({**world.user, **data}, own=True))


def _put_private_channel(world: W, data: Data) -> W:
    if not id_of(data):
        return world
    channels = put(world.private_channels, complete_private_channel(data))
    return world.with_fields(private_channels=_last(channels))


def _put_any_channel(world: W, data: Data) -> W:
    if data.get("guild_id") is None:
        return _put_private_channel(world, data)
    return _in_guild(world, data, _put_channel)


def _last(values: list[Data]) -> tuple[Data, ...]:
    return tuple(values[-MAX_KEPT:])


def _put_interaction(world: W, data: Data) -> W:
    if not id_of(data):
        return world
    return world.with_fields(interactions=_last(put(world.interactions, data)))


_OTHERS: Mapping[str, Callable[[Any, Data], Any]] = {
    "READY": _ready,
    "USER_UPDATE": _update_user,
    "GUILD_CREATE": _put_guild,
    "GUILD_UPDATE": _update_guild,
    "GUILD_DELETE": _remove_guild,
    "CHANNEL_CREATE": _put_any_channel,
    "INTERACTION_CREATE": _put_interaction,
}
