"""Builders and completion of Discord's objects, as plain data.

A `complete_...` function returns a copy of an object with each documented field that is not
optional, and the optional fields that client libraries read; it keeps what was given. A `make_...`
function builds an object from a few arguments; other documented fields are keywords.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway_proto._checks import as_id, is_id
from gateway_proto.server.world_templates import (
    APPLICATION,
    CHANNEL,
    DM_CHANNEL,
    EMOJI,
    EVERYONE_PERMISSIONS,
    FORUM_CHANNEL,
    FORUM_TYPES,
    GUILD,
    GUILD_CREATE,
    MEMBER,
    MESSAGE,
    OWN_USER,
    PRESENCE,
    ROLE,
    SOUND,
    STICKER,
    TEXT_CHANNEL,
    TEXT_TYPES,
    THREAD,
    THREAD_METADATA,
    THREAD_TYPES,
    TIMESTAMP,
    USER,
    VOICE_CHANNEL,
    VOICE_STATE,
    VOICE_TYPES,
)

__all__ = [
    "TIMESTAMP",
    "complete_application",
    "complete_channel",
    "complete_components",
    "complete_guild",
    "complete_member",
    "complete_message",
    "complete_private_channel",
    "complete_role",
    "complete_user",
    "make_attachment",
    "make_channel",
    "make_guild",
    "make_member",
    "make_message",
    "make_role",
    "make_thread",
    "make_user",
    "make_voice_state",
]

Data = Mapping[str, Any]

_NESTED = ("components", "accessory", "component")
"""Fields with nested components: of rows and containers, sections, and labels."""
_MAX_DEPTH = 5
"""Maximum nesting of components. Discord allows 3."""


def objects(value: Any) -> list[Data]:
    """Return the objects of a list. Empty for another value."""
    if not isinstance(value, list | tuple):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def identified(value: Any) -> list[Data]:
    """Return the objects of a list that have an id."""
    return [item for item in objects(value) if is_id(as_id(item.get("id")))]


def _with_user(value: Any) -> list[Data]:
    return [item for item in objects(value) if identified([item.get("user")])]


def _filled(template: Data, data: Data, **fields: Any) -> dict[str, Any]:
    """Return a copy of `data` with the fields of a template, without sharing lists and objects."""
    found = {**template, **fields, **data}
    if fields.get("guild_id") is not None and found.get("guild_id") is None:
        found["guild_id"] = fields["guild_id"]
    for key in ("id", "guild_id", "channel_id", "user_id", "owner_id", "parent_id", "sound_id"):
        value = found.get(key)
        if isinstance(value, int):
            found[key] = as_id(value)
    for key in template.keys() - data.keys():
        value = template[key]
        if isinstance(value, (list, dict)) and found[key] is value:
            found[key] = value.copy()
    return found


# ----- completion -----


def complete_user(data: Data, *, own: bool = False) -> dict[str, Any]:
    """Return a user with each documented field. `own` means the bot itself."""
    template = {**USER, **OWN_USER} if own else USER
    return _filled(template, data, username=f"user-{data.get('id', 0)}")


def complete_member(data: Data) -> dict[str, Any]:
    """Return a guild member with each documented field, also of its user."""
    found = _filled(MEMBER, data)
    if isinstance(found.get("user"), Mapping):
        found["user"] = complete_user(found["user"])
    if not isinstance(found["roles"], list | tuple):
        found["roles"] = []
    return found


def complete_role(data: Data) -> dict[str, Any]:
    """Return a role with each documented field."""
    found = _filled(ROLE, data)
    if "colors" not in data:
        found["colors"]["primary_color"] = found["color"]
    return found


def complete_channel(data: Data, guild_id: str | None = None, position: int = 0) -> dict[str, Any]:
    """Return a channel or thread with each field that its type has."""
    type_ = data.get("type", 0)
    if type_ in THREAD_TYPES:
        found = _filled(THREAD, data, guild_id=guild_id, parent_id=guild_id, owner_id=guild_id)
        metadata = found.get("thread_metadata")
        given = metadata if isinstance(metadata, Mapping) else {}
        return {**found, "thread_metadata": {**THREAD_METADATA, **given}}
    if type_ == 1:
        return _filled(DM_CHANNEL, data)
    fields: Data = {}
    if type_ in TEXT_TYPES:
        fields = TEXT_CHANNEL
    elif type_ in VOICE_TYPES:
        fields = VOICE_CHANNEL
    elif type_ in FORUM_TYPES:
        fields = FORUM_CHANNEL
    name = f"channel-{data.get('id', 0)}"
    template = {**CHANNEL, **fields}
    return _filled(template, data, guild_id=guild_id, name=name, position=position)


def complete_emoji(data: Data) -> dict[str, Any]:
    """Return a custom emoji with each documented field."""
    return _filled(EMOJI, data)


def complete_sticker(data: Data, guild_id: str | None = None) -> dict[str, Any]:
    """Return a sticker of a guild with each documented field."""
    return _filled(STICKER, data, guild_id=guild_id)


def complete_sound(data: Data, guild_id: str | None = None, number: int = 1) -> dict[str, Any]:
    """Return a soundboard sound with each documented field."""
    return _filled(SOUND, data, guild_id=guild_id, sound_id=str(number))


def complete_voice_state(data: Data, guild_id: str | None = None) -> dict[str, Any]:
    """Return a voice state with each documented field."""
    return _filled(VOICE_STATE, data, guild_id=guild_id)


def complete_presence(data: Data, guild_id: str | None = None) -> dict[str, Any]:
    """Return a presence with each documented field."""
    return _filled(PRESENCE, data, guild_id=guild_id)


def complete_guild(data: Data, user: Data) -> dict[str, Any]:
    """Return a guild as GUILD_CREATE has it, with each documented field.

    It has the role @everyone, and the bot (`user`) as a member: a gateway never sends one without.
    """
    found = _filled({**GUILD, **GUILD_CREATE}, data)
    id_: str = found["id"]
    members = [complete_member(member) for member in _with_user(found["members"])]
    bot_id = str(user["id"])
    if all(user_id(member) != bot_id for member in members):
        members.append(complete_member({"user": partial_user(user)}))
    roles = [complete_role(role) for role in identified(found["roles"])]
    if all(role["id"] != id_ for role in roles):
        everyone = {"id": id_, "name": "@everyone", "position": 0}
        roles.insert(0, complete_role({**everyone, "permissions": EVERYONE_PERMISSIONS}))
    if "owner_id" not in data:
        found["owner_id"] = user_id(members[0])
    if "member_count" not in data:
        found["member_count"] = len(members)
    channels = identified(found["channels"])
    return {
        **found,
        "members": members,
        "roles": roles,
        "channels": [complete_channel(c, id_, at) for at, c in enumerate(channels)],
        "threads": [complete_channel({"type": 11, **t}, id_) for t in identified(found["threads"])],
        "emojis": [complete_emoji(emoji) for emoji in identified(found["emojis"])],
        "stickers": [complete_sticker(sticker, id_) for sticker in identified(found["stickers"])],
        "soundboard_sounds": [
            complete_sound(sound, id_, number)
            for number, sound in enumerate(objects(found["soundboard_sounds"]), 1)
        ],
        "voice_states": [complete_voice_state(v, id_) for v in objects(found["voice_states"])],
        "presences": [complete_presence(p, id_) for p in _with_user(found["presences"])],
    }


def complete_private_channel(data: Data) -> dict[str, Any]:
    """Return a channel for direct messages with each documented field, also of its recipients."""
    recipients = [complete_user(user) for user in identified(data.get("recipients"))]
    return complete_channel({"type": 1, **data, "recipients": recipients})


def complete_message(data: Data) -> dict[str, Any]:
    """Return a message with each documented field, also of its author."""
    found = _filled(MESSAGE, data)
    found["components"] = complete_components(found["components"])
    author = found.get("author")
    found["author"] = complete_user(author if isinstance(author, Mapping) else {})
    member = found.get("member")
    if isinstance(member, Mapping):
        found["member"] = complete_member(member)
    return found


def complete_components(components: Any) -> list[dict[str, Any]]:
    """Return components of a message or a modal, each with an id, also the nested ones.

    Components without an id, or with 0, get the lowest unused numbers from 1:
    <https://docs.discord.com/developers/components/reference#anatomy-of-a-component>.
    """
    if not components:
        return []
    found = [_copied(component, _MAX_DEPTH) for component in objects(components)]
    flat = [nested for component in found for nested in _flat(component, _MAX_DEPTH)]
    taken = {component["id"] for component in flat if isinstance(component.get("id"), int)}
    free = (number for number in itertools.count(1) if number not in taken)
    for component in flat:
        component["id"] = component.get("id") or next(free)
    return found


def _copied(component: Data, depth: int) -> dict[str, Any]:
    """Return a copy of a component and its nested ones. Deeper ones are shared."""
    found = dict(component)
    for key in _NESTED if depth else ():
        value = component.get(key)
        if isinstance(value, Mapping):
            found[key] = _copied(value, depth - 1)
        elif isinstance(value, list | tuple):
            found[key] = [_copied(one, depth - 1) for one in objects(value)]
    return found


def _flat(component: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    """Yield a copied component and its nested ones."""
    yield component
    for key in _NESTED if depth else ():
        value = component.get(key)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from _flat(one, depth - 1)


def complete_application(data: Data, user: Data, guilds: int = 0) -> dict[str, Any]:
    """Return an application with each documented field. `user` is its bot and its owner."""
    partial = partial_user(user)
    fields = {
        "id": user["id"],
        "name": user["username"],
        "approximate_guild_count": guilds,
        "bot": partial,
        "owner": partial,
    }
    return _filled(APPLICATION, data, **fields)


def partial_user(user: Data) -> dict[str, Any]:
    """Return the fields of the bot's own user that are visible to others."""
    return {key: user[key] for key in USER if key in user}


def user_id(data: Data) -> str:
    """Return the user id of a member or presence, or "" without a user."""
    user = data.get("user")
    return str(user.get("id", "")) if isinstance(user, Mapping) else ""


# ----- builders -----


def make_user(id_: str | int, username: str, **fields: Any) -> dict[str, Any]:
    """Build a user."""
    return complete_user({"id": as_id(id_), "username": username, **fields})


def make_member(user: Data, *, roles: Iterable[str] = (), **fields: Any) -> dict[str, Any]:
    """Build a guild member."""
    return complete_member({"user": user, "roles": list(roles), **fields})


def make_role(id_: str | int, name: str, **fields: Any) -> dict[str, Any]:
    """Build a role."""
    return complete_role({"id": as_id(id_), "name": name, **fields})


def make_channel(
    id_: str | int, name: str, *, type_: int = 0, guild_id: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Build a channel. `type_` is 0 (text), 1 (direct message), 2 (voice) or 4 (category).

    <https://docs.discord.com/developers/resources/channel#channel-object-channel-types>
    """
    data = {"id": as_id(id_), "name": name, "type": type_, **fields}
    return complete_channel(data, guild_id)


def make_thread(
    id_: str | int, name: str, *, guild_id: str, parent_id: str, owner_id: str, **fields: Any
) -> dict[str, Any]:
    """Build a public thread."""
    data = {"id": as_id(id_), "name": name, "type": 11, "parent_id": parent_id}
    return complete_channel({**data, "owner_id": owner_id, **fields}, guild_id)


def make_voice_state(
    user_id: str | int, channel_id: str | int | None, guild_id: str | int, **fields: Any
) -> dict[str, Any]:
    """Build a voice state. `channel_id` None means that the user left."""
    data = {"user_id": user_id, "channel_id": channel_id, "guild_id": guild_id}
    return complete_voice_state({**data, **fields})


def make_guild(id_: str | int, name: str, *, user: Data, **fields: Any) -> dict[str, Any]:
    """Build a guild with the bot, `user`, as a member."""
    return complete_guild({"id": as_id(id_), "name": name, **fields}, user)


def make_message(
    id_: str | int, content: str, *, channel_id: str | int, author: Data, **fields: Any
) -> dict[str, Any]:
    """Build a message. For one in a guild, also pass `guild_id` and `member`."""
    data = {"id": as_id(id_), "content": content, "channel_id": channel_id, "author": author}
    return complete_message({**data, **fields})


def make_attachment(
    id_: str | int, filename: str, *, size: int, url: str, content_type: str, **fields: Any
) -> dict[str, Any]:
    """Build an attachment of a message or an interaction. `size` is in bytes.

    <https://docs.discord.com/developers/resources/message#attachment-object>
    """
    data = {"id": as_id(id_), "filename": filename, "size": size, "url": url, "proxy_url": url}
    return {**data, "content_type": content_type, **fields}
