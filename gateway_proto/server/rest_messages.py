"""REST routes of messages and reactions.

<https://docs.discord.com/developers/resources/message>
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_proto._checks import is_id
from gateway_proto.server.message_objects import edited, from_body, public, with_guild
from gateway_proto.server.rest_call import Call, Outcome, RestError, invalid_body

__all__ = [
    "add_reaction",
    "bulk_delete",
    "create_message",
    "delete_message",
    "edit_message",
    "get_message",
    "list_messages",
    "list_pins",
    "reaction_users",
    "remove_reaction",
    "remove_reactions",
    "set_pin",
]

Data = Mapping[str, Any]

# ----- create, edit, delete -----


def create_message(call: Call) -> Outcome:
    """POST /channels/{channel_id}/messages."""
    channel = call.channel()
    message = from_body(call, call.body, channel["id"])
    return Outcome(200, message, (("MESSAGE_CREATE", with_guild(call.world, message)),))


def edit_message(call: Call) -> Outcome:
    """PATCH /channels/{channel_id}/messages/{message_id}."""
    message = call.message()
    if message["author"]["id"] != call.world.user["id"]:
        raise RestError(403, 50005, "Cannot edit a message authored by another user")
    new = edited(call, message, call.body)
    return Outcome(200, public(new), (("MESSAGE_UPDATE", with_guild(call.world, new)),))


def delete_message(call: Call) -> Outcome:
    """DELETE /channels/{channel_id}/messages/{message_id}."""
    return Outcome(204, None, (("MESSAGE_DELETE", _place(call, id=call.message()["id"])),))


def bulk_delete(call: Call) -> Outcome:
    """POST /channels/{channel_id}/messages/bulk-delete."""
    ids = call.body.get("messages")
    call.channel()
    if not isinstance(ids, list) or not 2 <= len(ids) <= 100 or not all(map(is_id, ids)):
        raise invalid_body(
            "messages", "BASE_TYPE_BAD_LENGTH", "Must be between 2 and 100 in length."
        )
    return Outcome(204, None, (("MESSAGE_DELETE_BULK", _place(call, ids=ids)),))


def _place(call: Call, **fields: Any) -> dict[str, Any]:
    channel = call.channel()
    guild_id = channel.get("guild_id")
    place = {"channel_id": channel["id"], **fields}
    return place if guild_id is None else {**place, "guild_id": guild_id}


def get_message(call: Call) -> Outcome:
    """GET /channels/{channel_id}/messages/{message_id}."""
    return Outcome(200, public(call.message()))


def list_messages(call: Call) -> Outcome:
    """GET /channels/{channel_id}/messages, newest first."""
    channel_id = call.channel()["id"]
    found = [m for m in call.world.messages if m["channel_id"] == channel_id and not _hidden(m)]
    limit = call.number("limit", 50, 100)
    for name in ("before", "after", "around"):
        mark = call.query.get(name, "")
        if not is_id(mark):
            continue
        if name == "before":
            found = [m for m in found if int(m["id"]) < int(mark)]
        elif name == "after":
            # `after`: the oldest messages after the mark.
            found = [m for m in found if int(m["id"]) > int(mark)][:limit]
        else:
            older = [m for m in found if int(m["id"]) < int(mark)][-(limit // 2) :]
            newer = [m for m in found if int(m["id"]) >= int(mark)]
            found = [*older, *newer[: limit - len(older)]]
    return Outcome(200, [public(message) for message in reversed(found[-limit:])])


def _hidden(message: Data) -> bool:
    return bool(message["flags"] & 64)  # EPHEMERAL


# ----- pins -----


def list_pins(call: Call, *, paged: bool = False) -> Outcome:
    """GET /channels/{channel_id}/pins and /channels/{channel_id}/messages/pins."""
    channel_id = call.channel()["id"]
    pinned = [m for m in call.world.messages if m["channel_id"] == channel_id and m["pinned"]]
    found = [public(message) for message in reversed(pinned)]
    if paged:
        items = [{"pinned_at": m["timestamp"], "message": m} for m in found]
        return Outcome(200, {"items": items, "has_more": False})
    return Outcome(200, found)


def set_pin(call: Call, *, pinned: bool) -> Outcome:
    """PUT and DELETE of a pin."""
    update = with_guild(call.world, {**call.message(), "pinned": pinned})
    pins = _place(call, last_pin_timestamp=call.timestamp if pinned else None)
    return Outcome(204, None, (("MESSAGE_UPDATE", update), ("CHANNEL_PINS_UPDATE", pins)))


# ----- reactions -----


def _emoji(call: Call) -> dict[str, Any]:
    text = call.params["emoji"]
    name, _, id_ = text.removeprefix("a:").rpartition(":")
    if not name:
        return {"id": None, "name": text}
    if not is_id(id_):
        raise RestError(400, 10014, "Unknown Emoji")
    return {"id": id_, "name": name, "animated": text.startswith("a:")}


def _reacting_user(call: Call) -> str:
    user_id = call.params.get("user_id", "@me")
    return str(call.world.user["id"]) if user_id == "@me" else user_id


def add_reaction(call: Call) -> Outcome:
    """PUT .../reactions/{emoji}/@me."""
    message, user_id = call.message(), _reacting_user(call)
    fields = {"message_id": message["id"], "user_id": user_id, "emoji": _emoji(call)}
    data = _place(call, **fields, message_author_id=message["author"]["id"], burst=False, type=0)
    guild = call.world.guild(data.get("guild_id", 0))
    for member in () if guild is None else guild["members"]:
        if member["user"]["id"] == user_id:
            data["member"] = member
    return Outcome(204, None, (("MESSAGE_REACTION_ADD", data),))


def remove_reaction(call: Call) -> Outcome:
    """DELETE .../reactions/{emoji}/{user_id}, also of @me."""
    fields = {"message_id": call.message()["id"], "user_id": _reacting_user(call)}
    data = _place(call, **fields, emoji=_emoji(call), burst=False, type=0)
    return Outcome(204, None, (("MESSAGE_REACTION_REMOVE", data),))


def remove_reactions(call: Call) -> Outcome:
    """DELETE .../reactions, and .../reactions/{emoji}."""
    message_id = call.message()["id"]
    if "emoji" not in call.params:
        data = _place(call, message_id=message_id)
        return Outcome(204, None, (("MESSAGE_REACTION_REMOVE_ALL", data),))
    data = _place(call, message_id=message_id, emoji=_emoji(call))
    return Outcome(204, None, (("MESSAGE_REACTION_REMOVE_EMOJI", data),))


def reaction_users(call: Call) -> Outcome:
    """GET .../reactions/{emoji}."""
    wanted = _emoji(call)
    for reaction in call.message().get("reactions", ()):
        emoji = reaction["emoji"]
        if (emoji.get("id") or emoji.get("name")) == (wanted["id"] or wanted["name"]):
            users = [call.world.known_user(id_) for id_ in reaction["user_ids"]]
            return Outcome(200, [user for user in users if user is not None])
    return Outcome(200, [])
