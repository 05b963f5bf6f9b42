"""Message objects: made and edited by request bodies, and their forms in responses and dispatches.

<https://docs.discord.com/developers/resources/message>
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_proto.server.rest_call import Call, RestError, invalid_body, read
from gateway_proto.server.world import World
from gateway_proto.server.world_objects import complete_components, make_attachment, make_message

__all__ = ["edited", "from_body", "public", "with_guild"]

Data = Mapping[str, Any]

# https://docs.discord.com/developers/resources/message#create-message
_MAX_CONTENT = 2000
"""Maximum length of the content of a message in characters."""
_MAX_EMBEDS = 10
_KEPT_FLAGS = 1 << 2 | 1 << 6 | 1 << 12 | 1 << 13 | 1 << 15
"""Flags that a bot may set.

<https://docs.discord.com/developers/resources/message#message-object-message-flags>
"""
_USER_MENTION = re.compile(r"<@!?([0-9]{1,20})>")
_ROLE_MENTION = re.compile(r"<@&([0-9]{1,20})>")
# https://docs.discord.com/developers/resources/message#allowed-mentions-object
_MAX_MENTIONS = 100
_INTERNAL = ("guild_id", "member")


class _AllowedMentions(msgspec.Struct):
    parse: list[str] | None = None
    users: list[str] | None = None
    roles: list[str] | None = None


class Body(msgspec.Struct):
    """Body that creates or edits a message."""

    content: str | None = None
    embeds: list[dict[str, Any]] | None = None
    components: list[dict[str, Any]] | None = None
    attachments: list[dict[str, Any]] | None = None
    sticker_ids: list[str] | None = None
    poll: dict[str, Any] | None = None
    message_reference: dict[str, Any] | None = None
    allowed_mentions: _AllowedMentions | None = None
    nonce: str | int | None = None
    tts: bool | None = None
    flags: int | None = None


def public(message: Data) -> dict[str, Any]:
    """Return a message in the form of REST responses."""
    found = {key: value for key, value in message.items() if key not in _INTERNAL}
    if "reactions" in found:
        found["reactions"] = [
            {key: value for key, value in reaction.items() if key != "user_ids"}
            for reaction in found["reactions"]
        ]
    return found


def with_guild(world: World, message: Data, **fields: Any) -> dict[str, Any]:
    """Return a message in the form of dispatches: with its guild and the author as a member."""
    found = {**public(message), **fields}
    channel = world.channel(message["channel_id"]) or {}
    guild = world.guild(channel.get("guild_id") or 0)
    if guild is None:
        return found
    author = message["author"]["id"]
    for member in guild["members"]:
        if member["user"]["id"] == author:
            found["member"] = {key: value for key, value in member.items() if key != "user"}
    return {**found, "guild_id": guild["id"]}


def from_body(
    call: Call, body: Any, channel_id: str, *, may_be_empty: bool = False, **fields: Any
) -> dict[str, Any]:
    """Return the message that a request body creates. Raises `RestError`."""
    given = read(body, Body)
    _check(given)
    attachments = _attachments(call, given, channel_id)
    is_empty = not (given.content or given.embeds or given.components or attachments)
    if is_empty and not (given.sticker_ids or given.poll or may_be_empty):
        raise RestError(400, 50006, "Cannot send an empty message")
    message = make_message(
        call.new_id(), given.content or "", channel_id=channel_id, author=_author(call.world)
    )
    message |= {
        "timestamp": call.timestamp,
        "tts": bool(given.tts),
        "embeds": _embeds(given),
        "components": complete_components(given.components),
        "attachments": attachments,
        "flags": (given.flags or 0) & _KEPT_FLAGS,
        **_mentions(call.world, given),
    }
    if given.nonce is not None:
        message["nonce"] = given.nonce
    if given.poll is not None:
        message["poll"] = given.poll
    if given.sticker_ids:
        message["sticker_items"] = [
            {"id": id_, "name": "sticker", "format_type": 1} for id_ in given.sticker_ids
        ]
    if given.message_reference is not None:
        message |= _reply(call.world, given.message_reference, channel_id)
    return {**message, **fields}


def _author(world: World) -> dict[str, Any]:
    keys = ("id", "username", "avatar", "discriminator", "public_flags", "flags", "bot")
    more = ("global_name", "banner", "accent_color", "avatar_decoration_data", "primary_guild")
    return {key: world.user[key] for key in (*keys, *more)}


def _check(given: Body) -> None:
    if len(given.content or "") > _MAX_CONTENT:
        text = f"Must be {_MAX_CONTENT} or fewer in length."
        raise invalid_body("content", "BASE_TYPE_MAX_LENGTH", text)
    if len(given.embeds or ()) > _MAX_EMBEDS:
        text = f"Must be {_MAX_EMBEDS} or fewer in length."
        raise invalid_body("embeds", "BASE_TYPE_MAX_LENGTH", text)


def _embeds(given: Body) -> list[dict[str, Any]]:
    return [{"type": "rich", **embed} for embed in given.embeds or ()]


def _attachments(call: Call, given: Body, channel_id: str) -> list[dict[str, Any]]:
    found = []
    about = {str(item.get("id")): item for item in given.attachments or ()}
    for number, file in enumerate(call.files):
        id_ = call.new_id()
        url = f"https://cdn.invalid/attachments/{channel_id}/{id_}/{file.filename}"
        more = about.get(file.name.removeprefix("files[").removesuffix("]"), {})
        text = more.get("description")
        filename = more.get("filename") or file.filename or f"file{number}"
        attachment = make_attachment(
            id_, filename, size=len(file.data), url=url, content_type=file.content_type
        )
        found.append(attachment if text is None else {**attachment, "description": text})
    return found


def _mentions(world: World, given: Body) -> dict[str, Any]:
    content, allowed = given.content or "", given.allowed_mentions
    user_ids = list(dict.fromkeys(_USER_MENTION.findall(content)))[:_MAX_MENTIONS]
    role_ids = list(dict.fromkeys(_ROLE_MENTION.findall(content)))[:_MAX_MENTIONS]
    everyone = "@everyone" in content or "@here" in content
    if allowed is not None:
        parse, users, roles = allowed.parse or (), allowed.users or (), allowed.roles or ()
        user_ids = [i for i in user_ids if "users" in parse or i in users]
        role_ids = [i for i in role_ids if "roles" in parse or i in roles]
        everyone = everyone and "everyone" in parse
    people = [world.known_user(id_) for id_ in user_ids]
    return {
        "mentions": [user for user in people if user is not None],
        "mention_roles": role_ids,
        "mention_everyone": everyone,
    }


def _reply(world: World, reference: Data, channel_id: str) -> dict[str, Any]:
    message_id = str(reference.get("message_id"))
    referenced = world.message(message_id, channel_id)
    fails = reference.get("fail_if_not_exists", True)
    if referenced is None and fails is not False:
        raise invalid_body("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    found = {"type": 0, "channel_id": channel_id, "message_id": message_id}
    answer: dict[str, Any] = {"type": 19, "message_reference": found}
    answer["referenced_message"] = None if referenced is None else public(referenced)
    return answer


def edited(call: Call, message: Data, body: Data) -> dict[str, Any]:
    """Return a message after an edit. Raises `RestError`."""
    given = read(body, Body)
    _check(given)
    new = dict(message)
    if "content" in body:
        new |= {"content": given.content or "", **_mentions(call.world, given)}
    if "embeds" in body:
        new["embeds"] = _embeds(given)
    if "components" in body:
        new["components"] = complete_components(given.components)
    if given.flags is not None:
        new["flags"] = given.flags & _KEPT_FLAGS
    if "attachments" in body or call.files:
        kept = {str(item.get("id")) for item in given.attachments or ()}
        old = [item for item in message["attachments"] if item["id"] in kept]
        if "attachments" not in body:
            old = list(message["attachments"])
        new["attachments"] = [*old, *_attachments(call, given, message["channel_id"])]
    return {**new, "edited_timestamp": call.timestamp}
