"""REST routes of users, applications, guilds, members, roles, channels and threads.

<https://docs.discord.com/developers/resources/guild>, `/user`, `/channel` and `/application`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway_proto._checks import is_id
from gateway_proto.server.rest_call import Call, Outcome, RestError, invalid_body, unknown
from gateway_proto.server.world_lists import find
from gateway_proto.server.world_objects import (
    complete_channel,
    complete_private_channel,
    complete_role,
    complete_user,
    make_thread,
    partial_user,
)
from gateway_proto.server.world_templates import (
    CHANNEL,
    EVERYONE_PERMISSIONS,
    FORUM_CHANNEL,
    GUILD,
    GUILD_CREATE,
    ROLE,
    TEXT_CHANNEL,
    THREAD,
    THREAD_METADATA,
    VOICE_CHANNEL,
)

__all__ = [
    "active_threads",
    "application",
    "ban",
    "channels",
    "constant",
    "create_channel",
    "create_dm",
    "create_role",
    "create_thread",
    "delete_channel",
    "delete_role",
    "edit_application",
    "edit_channel",
    "edit_guild",
    "edit_member",
    "edit_role",
    "edit_user",
    "get_channel",
    "get_guild",
    "get_member",
    "get_role",
    "get_user",
    "join_thread",
    "kick",
    "leave_guild",
    "leave_thread",
    "listed",
    "members",
    "own_guilds",
    "own_user",
    "private_channels",
    "search_members",
    "set_member_role",
    "typing",
    "unban",
]

Data = Mapping[str, Any]

_CHANNEL_FIELDS = {*CHANNEL, *TEXT_CHANNEL, *VOICE_CHANNEL, *FORUM_CHANNEL, *THREAD} - {
    "id", "guild_id", "owner_id", "last_message_id", "message_count", "member_count",
}  # fmt: skip
_GUILD_FIELDS = {*GUILD} - {"id", "roles", "emojis", "stickers"}


def constant(json: Any) -> Callable[[Call], Outcome]:
    """Return a route with a constant response."""
    return lambda call: Outcome(200, json)


def listed(kind: str) -> Callable[[Call], Outcome]:
    """Return a route that responds with one of the lists of a guild."""
    return lambda call: Outcome(200, call.guild()[kind])


# ----- users and applications -----


def own_user(call: Call) -> Outcome:
    """GET /users/@me."""
    return Outcome(200, call.world.user)


class _UserBody(msgspec.Struct):
    username: str | msgspec.UnsetType = msgspec.UNSET
    avatar: str | msgspec.UnsetType | None = msgspec.UNSET
    banner: str | msgspec.UnsetType | None = msgspec.UNSET


def edit_user(call: Call) -> Outcome:
    """PATCH /users/@me. Images are ignored, except that null removes one."""
    given = call.read(_UserBody)
    user = dict(call.world.user)
    if isinstance(given.username, str):
        user["username"] = given.username
    for name in ("avatar", "banner"):
        if getattr(given, name) is None:
            user[name] = None
    return Outcome(200, user, (("USER_UPDATE", user),))


def get_user(call: Call) -> Outcome:
    """GET /users/{user_id}."""
    user = call.world.known_user(call.params["user_id"])
    if user is None:
        raise unknown("User")
    return Outcome(200, user)


def application(call: Call) -> Outcome:
    """GET /applications/@me and /oauth2/applications/@me."""
    return Outcome(200, call.world.application)


def edit_application(call: Call) -> Outcome:
    """PATCH /applications/@me."""
    known = call.world.application.keys() - {"id", "bot", "owner", "team", "verify_key", "flags"}
    new = {**call.world.application, **{k: v for k, v in call.body.items() if k in known}}
    return Outcome(200, new, world=call.world.with_fields(application=new))


def own_guilds(call: Call) -> Outcome:
    """GET /users/@me/guilds."""
    found = []
    for guild in call.world.guilds:
        partial = {key: guild[key] for key in ("id", "name", "icon", "banner", "features")}
        owner = guild["owner_id"] == call.world.user["id"]
        found.append({**partial, "owner": owner, "permissions": EVERYONE_PERMISSIONS})
    return Outcome(200, found)


def leave_guild(call: Call) -> Outcome:
    """DELETE /users/@me/guilds/{guild_id}."""
    return Outcome(204, None, (("GUILD_DELETE", {"id": call.guild()["id"]}),))


def private_channels(call: Call) -> Outcome:
    """GET /users/@me/channels: empty for bots."""
    return Outcome(200, [])


def create_dm(call: Call) -> Outcome:
    """POST /users/@me/channels."""
    user_id = str(call.body.get("recipient_id"))
    for channel in call.world.private_channels:
        if find(channel["recipients"], user_id) is not None:
            return Outcome(200, channel)
    user = call.world.known_user(user_id)
    if user is None:
        raise RestError(400, 50033, "Invalid Recipient(s)")
    new = complete_private_channel({"id": call.new_id(), "recipients": [partial_user(user)]})
    return Outcome(200, new, (("CHANNEL_CREATE", new),))


# ----- guilds -----


def get_guild(call: Call) -> Outcome:
    """GET /guilds/{guild_id}."""
    guild = call.guild()
    found = {key: value for key, value in guild.items() if key not in GUILD_CREATE}
    if call.flag("with_counts"):
        online = [p for p in guild["presences"] if p["status"] != "offline"]
        found["approximate_member_count"] = guild["member_count"]
        found["approximate_presence_count"] = len(online)
    return Outcome(200, found)


def edit_guild(call: Call) -> Outcome:
    """PATCH /guilds/{guild_id}."""
    guild = call.guild()
    given = {key: value for key, value in call.body.items() if key in _GUILD_FIELDS}
    if not isinstance(given.get("name", ""), str):
        raise invalid_body("name", "BASE_TYPE_BAD_TYPE", "Must be a string.")
    new = {k: v for k, v in {**guild, **given}.items() if k not in GUILD_CREATE}
    return Outcome(200, new, (("GUILD_UPDATE", new),))


def channels(call: Call) -> Outcome:
    """GET /guilds/{guild_id}/channels."""
    return Outcome(200, call.guild()["channels"])


def active_threads(call: Call) -> Outcome:
    """GET /guilds/{guild_id}/threads/active."""
    threads = [t for t in call.guild()["threads"] if not t["thread_metadata"]["archived"]]
    return Outcome(200, {"threads": threads, "members": []})


def members(call: Call) -> Outcome:
    """GET /guilds/{guild_id}/members."""
    after = call.query.get("after", "0")
    mark = int(after) if is_id(after) else 0
    found = sorted(call.guild()["members"], key=_user_number)
    found = [member for member in found if _user_number(member) > mark]
    return Outcome(200, found[: call.number("limit", 1, 1000)])


def _user_number(member: Data) -> int:
    return int(member["user"]["id"])


def search_members(call: Call) -> Outcome:
    """GET /guilds/{guild_id}/members/search."""
    prefix = call.query.get("query", "").lower()
    found = []
    for member in call.guild()["members"]:
        names = (member["user"]["username"], member["nick"])
        if any(str(name).lower().startswith(prefix) for name in names if name is not None):
            found.append(member)
    return Outcome(200, found[: call.number("limit", 1, 1000)])


def get_member(call: Call) -> Outcome:
    """GET /guilds/{guild_id}/members/{user_id}."""
    return Outcome(200, call.member())


class _MemberBody(msgspec.Struct):
    nick: str | msgspec.UnsetType | None = msgspec.UNSET
    roles: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    mute: bool | msgspec.UnsetType | None = msgspec.UNSET
    deaf: bool | msgspec.UnsetType | None = msgspec.UNSET
    communication_disabled_until: str | msgspec.UnsetType | None = msgspec.UNSET
    flags: int | msgspec.UnsetType | None = msgspec.UNSET


def edit_member(call: Call) -> Outcome:
    """PATCH /guilds/{guild_id}/members/{user_id}, also of @me."""
    guild = call.guild()
    member = {**_member(call)}
    given: dict[str, Any] = msgspec.to_builtins(call.read(_MemberBody))
    for name, value in given.items():
        empty: Any = {"roles": [], "mute": False, "deaf": False, "flags": 0}.get(name)
        member[name] = empty if value is None else value
    return _member_update(guild, member, 200)


def _member(call: Call) -> Data:
    if "user_id" in call.params:
        return call.member()
    own = {**call.params, "user_id": call.world.user["id"]}
    return Call(
        call.world, own, call.query, call.json, call.files, call.timestamp, call.new_id
    ).member()


def _member_update(guild: Data, member: Data, status: int) -> Outcome:
    update = {"guild_id": guild["id"], **member}
    json = member if status == 200 else None
    return Outcome(status, json, (("GUILD_MEMBER_UPDATE", update),))


def set_member_role(call: Call, *, has: bool) -> Outcome:
    """PUT and DELETE /guilds/{guild_id}/members/{user_id}/roles/{role_id}."""
    guild, member = call.guild(), call.member()
    role_id = _role(call)["id"]
    roles = [role for role in member["roles"] if role != role_id]
    new = {**member, "roles": [*roles, role_id] if has else roles}
    return _member_update(guild, new, 204)


def kick(call: Call) -> Outcome:
    """DELETE /guilds/{guild_id}/members/{user_id}."""
    gone = {"guild_id": call.guild()["id"], "user": call.member()["user"]}
    return Outcome(204, None, (("GUILD_MEMBER_REMOVE", gone),))


def ban(call: Call) -> Outcome:
    """PUT /guilds/{guild_id}/bans/{user_id}."""
    guild, user = call.guild(), call.world.known_user(call.params["user_id"])
    if user is None:
        raise unknown("User")
    data = {"guild_id": guild["id"], "user": user}
    is_member = any(m["user"]["id"] == user["id"] for m in guild["members"])
    removed = (("GUILD_MEMBER_REMOVE", data),) if is_member else ()
    return Outcome(204, None, (("GUILD_BAN_ADD", data), *removed))


def unban(call: Call) -> Outcome:
    """DELETE /guilds/{guild_id}/bans/{user_id}. Bans are not stored."""
    user_id = call.params["user_id"]
    user = call.world.known_user(user_id) or complete_user({"id": user_id})
    data = {"guild_id": call.guild()["id"], "user": user}
    return Outcome(204, None, (("GUILD_BAN_REMOVE", data),))


# ----- roles -----


def _role(call: Call) -> Data:
    role = find(call.guild()["roles"], call.params["role_id"])
    if role is None:
        raise unknown("Role")
    return role


def _role_fields(call: Call) -> dict[str, Any]:
    return {k: v for k, v in call.body.items() if k in ROLE and k != "id" and v is not None}


def get_role(call: Call) -> Outcome:
    """GET /guilds/{guild_id}/roles/{role_id}."""
    return Outcome(200, _role(call))


def create_role(call: Call) -> Outcome:
    """POST /guilds/{guild_id}/roles."""
    guild = call.guild()
    role = complete_role({"id": call.new_id(), **_role_fields(call)})
    return Outcome(200, role, (("GUILD_ROLE_CREATE", {"guild_id": guild["id"], "role": role}),))


def edit_role(call: Call) -> Outcome:
    """PATCH /guilds/{guild_id}/roles/{role_id}."""
    role = {**_role(call), **_role_fields(call)}
    data = {"guild_id": call.guild()["id"], "role": role}
    return Outcome(200, role, (("GUILD_ROLE_UPDATE", data),))


def delete_role(call: Call) -> Outcome:
    """DELETE /guilds/{guild_id}/roles/{role_id}."""
    guild_id, role_id = call.guild()["id"], _role(call)["id"]
    if role_id == guild_id:
        raise RestError(400, 50028, "Invalid role")  # @everyone
    data = {"guild_id": guild_id, "role_id": role_id}
    return Outcome(204, None, (("GUILD_ROLE_DELETE", data),))


# ----- channels and threads -----


def _channel_fields(call: Call) -> dict[str, Any]:
    given = {key: value for key, value in call.body.items() if key in _CHANNEL_FIELDS}
    if not isinstance(given.get("name", ""), str):
        raise invalid_body("name", "BASE_TYPE_BAD_TYPE", "Must be a string.")
    if given.get("type") is None:
        given.pop("type", None)
    elif not isinstance(given["type"], int):
        raise invalid_body("type", "BASE_TYPE_BAD_TYPE", "Must be an integer.")
    return given


def _without_nulls(data: Data) -> dict[str, Any]:
    """Return the fields with a value: null means the default of a field.

    <https://docs.discord.com/developers/resources/guild#create-guild-channel>
    """
    return {key: value for key, value in data.items() if value is not None}


def get_channel(call: Call) -> Outcome:
    """GET /channels/{channel_id}."""
    return Outcome(200, call.channel())


def create_channel(call: Call) -> Outcome:
    """POST /guilds/{guild_id}/channels."""
    guild, given = call.guild(), _channel_fields(call)
    if not given.get("name"):
        raise invalid_body("name", "BASE_TYPE_REQUIRED", "This field is required")
    data = {**_without_nulls(given), "id": call.new_id()}
    channel = complete_channel(data, guild["id"], len(guild["channels"]))
    return Outcome(201, channel, (("CHANNEL_CREATE", channel),))


def edit_channel(call: Call) -> Outcome:
    """PATCH /channels/{channel_id}, also of a thread."""
    channel = call.channel()
    fields = _without_nulls({**channel, **_channel_fields(call)})
    new = complete_channel(fields, channel.get("guild_id"), channel.get("position", 0))
    metadata = channel.get("thread_metadata")
    if metadata is None:
        return Outcome(200, new, (("CHANNEL_UPDATE", new),))
    given = {key: value for key, value in call.body.items() if key in THREAD_METADATA}
    new["thread_metadata"] = {**metadata, **given}
    return Outcome(200, new, (("THREAD_UPDATE", new),))


def delete_channel(call: Call) -> Outcome:
    """DELETE /channels/{channel_id}, also of a thread or for direct messages."""
    channel = call.channel()
    name = "THREAD_DELETE" if "thread_metadata" in channel else "CHANNEL_DELETE"
    return Outcome(200, channel, ((name, channel),))


def create_thread(call: Call) -> Outcome:
    """POST /channels/{channel_id}/threads, also of a message."""
    channel = call.channel()
    guild_id = channel.get("guild_id")
    name = call.body.get("name")
    if guild_id is None or not isinstance(name, str) or not name:
        raise invalid_body("name", "BASE_TYPE_REQUIRED", "This field is required")
    # The thread of a message has the id of the message:
    # https://docs.discord.com/developers/resources/channel#start-thread-from-message
    id_ = call.message()["id"] if "message_id" in call.params else call.new_id()
    type_ = call.body.get("type")
    thread = make_thread(
        id_,
        name,
        guild_id=guild_id,
        parent_id=channel["id"],
        owner_id=call.world.user["id"],
        type=type_ if type_ in (10, 11, 12) else 11,
    )
    member = {"id": id_, "user_id": call.world.user["id"], "flags": 0}
    thread["member"] = {**member, "join_timestamp": call.timestamp}
    return Outcome(201, thread, (("THREAD_CREATE", {**thread, "newly_created": True}),))


def join_thread(call: Call) -> Outcome:
    """PUT /channels/{channel_id}/thread-members/@me."""
    return _thread_members(call, added=True)


def leave_thread(call: Call) -> Outcome:
    """DELETE /channels/{channel_id}/thread-members/@me."""
    return _thread_members(call, added=False)


def _thread_members(call: Call, *, added: bool) -> Outcome:
    thread, user_id = call.channel(), call.world.user["id"]
    data = {"id": thread["id"], "guild_id": thread.get("guild_id"), "member_count": 1}
    if added:
        member = {"id": thread["id"], "user_id": user_id, "flags": 0}
        data["added_members"] = [{**member, "join_timestamp": call.timestamp}]
    else:
        data["removed_member_ids"] = [user_id]
    return Outcome(204, None, (("THREAD_MEMBERS_UPDATE", data),))


def typing(call: Call) -> Outcome:
    """POST /channels/{channel_id}/typing. No TYPING_START is dispatched for the bot itself."""
    call.channel()
    return Outcome(204)
