"""Builders of dispatch data for messages and interactions of users in a world.

<https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object>
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway_proto._checks import WORD, rejected
from gateway_proto.errors import LocalProtocolError
from gateway_proto.server.message_objects import public, with_guild
from gateway_proto.server.rest_interactions import RESPONSE
from gateway_proto.server.world import World
from gateway_proto.server.world_objects import complete_components, complete_message, make_message

__all__ = [
    "ATTACHMENT_LIMIT",
    "button_press",
    "chat_message",
    "command_options",
    "find_command",
    "modal_submit",
    "resolved_objects",
    "shown_modals",
    "slash_command",
]

Data = Mapping[str, Any]

_PERMISSIONS = str(2**53 - 1)
"""Permissions of the user and of the bot: all."""
_RESOLVED: Mapping[int, tuple[str, ...]] = {
    5: ("users",),
    6: ("roles",),
    7: ("users", "roles"),
    8: ("channels",),
}
"""Kinds of objects that a menu selects, by its component type: user, role, mentionable, channel."""
ATTACHMENT_LIMIT = 10 * 2**20
"""Maximum size in bytes of a file that a user uploads."""


def chat_message(
    world: World,
    content: str,
    *,
    id_: str,
    timestamp: str | None = None,
    channel_id: str | None = None,
    author_id: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Build the data of MESSAGE_CREATE: a message of a member in a channel.

    By default the channel is the first text channel, and the author its first member other than the
    bot. Raises `LocalProtocolError` if one of them does not exist.
    """
    channel, author = _channel(world, channel_id), _author(world, channel_id, author_id)
    more = {} if timestamp is None else {"timestamp": timestamp}
    message = make_message(id_, content, channel_id=channel["id"], author=author)
    return with_guild(world, complete_message({**message, **more, **fields}))


def slash_command(
    world: World,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    id_: str,
    token: str,
    channel_id: str | None = None,
    user_id: str | None = None,
) -> dict[str, Any]:
    """Build the data of INTERACTION_CREATE: a member runs a slash command.

    The id and the option types of a registered command are used. Values are not checked.
    """
    WORD.named("name", name)
    command = find_command(world, name, _channel(world, channel_id).get("guild_id"))
    data: dict[str, Any] = {"id": id_, "name": name, "type": 1}
    if command is not None:
        data |= {key: command[key] for key in ("id", "guild_id") if key in command}
    types = {option["name"]: option["type"] for option in command_options(command or {})}
    given = (options or {}).items()
    data["options"] = [
        {"name": key, "type": types.get(key, _type(v)), "value": v} for key, v in given
    ]
    return _interaction(world, 2, data, id_, token, channel_id, user_id)


def find_command(world: World, name: str, guild_id: str | None = None) -> Data | None:
    """Return the registered slash command. Commands of the guild have priority."""
    for scope in dict.fromkeys((guild_id, None)):
        for command in world.commands:
            is_meant = command.get("name") == name and command.get("guild_id") == scope
            if is_meant and command.get("type", 1) == 1:
                return command
    return None


def command_options(command: Data) -> list[Data]:
    """Return the options of a registered command with a name and a type."""
    options = command.get("options")
    return [
        option
        for option in (options if isinstance(options, list | tuple) else ())
        if isinstance(option, Mapping)
        and isinstance(option.get("name"), str)
        and isinstance(option.get("type"), int)
    ]


def shown_modals(world: World) -> list[tuple[Data, Data]]:
    """Return the modals shown by the bot, with the interactions they answer, newest first."""
    answered = ((i, i.get(RESPONSE, {}).get("modal")) for i in reversed(world.interactions))
    return [(modal, interaction) for interaction, modal in answered if modal is not None]


def button_press(
    world: World,
    custom_id: str,
    *,
    message_id: str,
    id_: str,
    token: str,
    values: list[str] | None = None,
    user_id: str | None = None,
) -> dict[str, Any]:
    """Build the data of INTERACTION_CREATE: a member presses a button of a message of the world.

    With `values` it chooses them in a menu: texts, or ids of users, roles or channels.
    """
    message = world.message(message_id)
    if message is None:
        raise rejected("message_id", message_id, "the id of a message of the world")
    data: dict[str, Any] = {"custom_id": custom_id, "component_type": 2}
    if values is not None:
        data |= _selected(world, message, custom_id, values)
    found = _interaction(world, 3, data, id_, token, message["channel_id"], user_id)
    return {**found, "message": public(message)}


def modal_submit(
    world: World,
    custom_id: str,
    inputs: Mapping[str, str] | Sequence[Data],
    *,
    id_: str,
    token: str,
    channel_id: str | None = None,
    user_id: str | None = None,
    message: Data | None = None,
    resolved: Data | None = None,
) -> dict[str, Any]:
    """Build the data of INTERACTION_CREATE: a member submits a modal.

    `inputs` are the texts of text inputs by their custom_id, or the complete components. `message`
    is the message of the component that opened the modal. `resolved` are the objects that the
    values refer to, by kind and id, such as {"attachments": {"1": {...}}}.
    """
    components: Any = inputs
    if isinstance(inputs, Mapping):
        components = [
            {"type": 1, "components": [{"type": 4, "custom_id": key, "value": value}]}
            for key, value in inputs.items()
        ]
    filled = complete_components(components)
    data: dict[str, Any] = {"custom_id": custom_id, "components": filled}
    if resolved:
        data["resolved"] = resolved
    found = _interaction(world, 5, data, id_, token, channel_id, user_id)
    return found if message is None else {**found, "message": message}


def resolved_objects(
    world: World, channel_id: str | int, type_: int, ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the objects that a member selects in a menu, by kind and id.

    `type_` is that of the component: 5 (users), 6 (roles), 7 (both) or 8 (channels). Raises
    `LocalProtocolError` for an id that the guild does not have.

    <https://docs.discord.com/developers/components/reference#user-select>, and the ones after it.
    """
    guild = world.guild((world.channel(channel_id) or {}).get("guild_id") or 0) or {}
    known: dict[str, dict[str, Any]] = {
        "users": {member["user"]["id"]: member["user"] for member in guild.get("members", ())},
        "roles": {role["id"]: role for role in guild.get("roles", ())},
        "channels": {channel["id"]: channel for channel in guild.get("channels", ())},
    }
    resolved: dict[str, dict[str, Any]] = {}
    for id_ in ids:
        kind = next((kind for kind in _RESOLVED[type_] if id_ in known[kind]), None)
        if kind is None:
            raise rejected("value", id_, f"an id of the guild's {' or '.join(_RESOLVED[type_])}")
        resolved.setdefault(kind, {})[id_] = known[kind][id_]
    chosen = resolved.get("users", {})
    if chosen:
        resolved["members"] = {
            member["user"]["id"]: {key: item for key, item in member.items() if key != "user"}
            for member in guild["members"]
            if member["user"]["id"] in chosen
        }
    return resolved


def _selected(world: World, message: Data, custom_id: str, values: list[str]) -> dict[str, Any]:
    """Return the values of a menu; of one for users, roles or channels with their objects."""
    type_ = next((c["type"] for c in _components(message) if c["custom_id"] == custom_id), 3)
    if type_ not in _RESOLVED:
        return {"component_type": 3, "values": values}
    resolved = resolved_objects(world, message["channel_id"], type_, values)
    return {"component_type": type_, "values": values, "resolved": resolved}


def _components(value: Any) -> Iterator[Data]:
    """Yield the components of a message with a custom_id, also those inside of others."""
    for component in [*(value.get("components") or ()), value.get("accessory")]:
        if isinstance(component, Mapping):
            if "custom_id" in component:
                yield component
            yield from _components(component)


def _interaction(
    world: World,
    type_: int,
    data: Data,
    id_: str,
    token: str,
    channel_id: str | None,
    user_id: str | None,
) -> dict[str, Any]:
    channel, user = _channel(world, channel_id), _author(world, channel_id, user_id)
    found = {
        "id": id_,
        "application_id": world.application["id"],
        "type": type_,
        "data": data,
        "channel": {**channel, "permissions": _PERMISSIONS},
        "channel_id": channel["id"],
        "token": token,
        "version": 1,
        "app_permissions": _PERMISSIONS,
        "locale": "en-US",
        "entitlements": [],
        "authorizing_integration_owners": {"0": channel.get("guild_id") or "0"},
        "context": 0,
        "attachment_size_limit": ATTACHMENT_LIMIT,
    }
    guild = world.guild(channel.get("guild_id") or 0)
    if guild is None:
        return {**found, "user": user, "context": 1}
    member = next((m for m in guild["members"] if m["user"]["id"] == user["id"]), {"user": user})
    partial = {key: guild[key] for key in ("id", "features")}
    return {
        **found,
        "guild": {**partial, "locale": guild["preferred_locale"]},
        "guild_id": guild["id"],
        "guild_locale": guild["preferred_locale"],
        "member": {**member, "permissions": _PERMISSIONS},
    }


def _type(value: Any) -> int:
    """Return the option type of a value.

    <https://docs.discord.com/developers/interactions/application-commands#application-command-object-application-command-option-type>
    """
    if isinstance(value, bool):
        return 5
    if isinstance(value, int):
        return 4
    return 10 if isinstance(value, float) else 3


def _channel(world: World, channel_id: str | None) -> Data:
    if channel_id is not None:
        channel = world.channel(channel_id)
        if channel is None:
            raise rejected("channel_id", channel_id, "the id of a channel of the world")
        return channel
    for guild in world.guilds:
        for candidate in guild["channels"]:
            if candidate["type"] == 0:
                first: Data = candidate
                return first
    raise LocalProtocolError("missing text channel in the world: expected channel_id")


def _author(world: World, channel_id: str | None, user_id: str | None) -> Data:
    if user_id is not None:
        user = world.known_user(user_id)
        if user is None:
            raise rejected("user_id", user_id, "the id of a user of the world")
        return user
    channel = _channel(world, channel_id)
    guild = world.guild(channel.get("guild_id") or 0)
    people = channel.get("recipients", ()) if guild is None else map(_user, guild["members"])
    for user in people:
        if user["id"] != world.user["id"]:
            found: Data = user
            return found
    raise LocalProtocolError("missing user in the channel: expected the id of a user")


def _user(member: Data) -> Data:
    user: Data = member["user"]
    return user
