"""Table of REST routes, with the paths of the documentation.

<https://docs.discord.com/developers/reference>
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import unquote

from gateway_proto.server import rest_guilds as guilds
from gateway_proto.server import rest_interactions as interactions
from gateway_proto.server import rest_messages as messages
from gateway_proto.server import rest_webhooks as webhooks
from gateway_proto.server.rest_call import Handler, Route

__all__ = ["ROUTES", "find_route"]

_CHANNEL = "/channels/{channel_id}"
_MESSAGE = f"{_CHANNEL}/messages/{{message_id}}"
_REACTION = f"{_MESSAGE}/reactions/{{emoji}}"
_GUILD = "/guilds/{guild_id}"
_MEMBER = f"{_GUILD}/members/{{user_id}}"
_WEBHOOK = "/webhooks/{application_id}/{interaction_token}"
_COMMANDS = "/applications/{application_id}/commands"
_GUILD_COMMANDS = "/applications/{application_id}/guilds/{guild_id}/commands"


def _commands(path: str) -> dict[tuple[str, str], Handler]:
    return {
        ("GET", path): interactions.list_commands,
        ("POST", path): interactions.upsert_command,
        ("PUT", path): interactions.replace_commands,
        ("GET", f"{path}/{{command_id}}"): interactions.get_command,
        ("PATCH", f"{path}/{{command_id}}"): interactions.edit_command,
        ("DELETE", f"{path}/{{command_id}}"): interactions.delete_command,
    }


ROUTES: Mapping[tuple[str, str], Handler] = {
    ("GET", "/users/@me"): guilds.own_user,
    ("PATCH", "/users/@me"): guilds.edit_user,
    ("GET", "/users/@me/guilds"): guilds.own_guilds,
    ("DELETE", "/users/@me/guilds/{guild_id}"): guilds.leave_guild,
    ("GET", "/users/@me/channels"): guilds.private_channels,
    ("POST", "/users/@me/channels"): guilds.create_dm,
    ("GET", "/users/{user_id}"): guilds.get_user,
    ("GET", "/applications/@me"): guilds.application,
    ("PATCH", "/applications/@me"): guilds.edit_application,
    ("GET", "/oauth2/applications/@me"): guilds.application,
    ("GET", f"{_GUILD_COMMANDS}/permissions"): interactions.command_permissions,
    **_commands(_COMMANDS),
    **_commands(_GUILD_COMMANDS),
    ("GET", "/applications/{application_id}/emojis"): guilds.constant({"items": []}),
    ("GET", "/applications/{application_id}/skus"): guilds.constant([]),
    ("GET", "/applications/{application_id}/entitlements"): guilds.constant([]),
    ("GET", "/soundboard-default-sounds"): guilds.constant([]),
    ("GET", "/sticker-packs"): guilds.constant({"sticker_packs": []}),
    ("GET", "/voice/regions"): guilds.constant([]),
    ("GET", _GUILD): guilds.get_guild,
    ("PATCH", _GUILD): guilds.edit_guild,
    ("GET", f"{_GUILD}/channels"): guilds.channels,
    ("POST", f"{_GUILD}/channels"): guilds.create_channel,
    ("GET", f"{_GUILD}/threads/active"): guilds.active_threads,
    ("GET", f"{_GUILD}/members"): guilds.members,
    ("GET", f"{_GUILD}/members/search"): guilds.search_members,
    ("PATCH", f"{_GUILD}/members/@me"): guilds.edit_member,
    ("GET", _MEMBER): guilds.get_member,
    ("PATCH", _MEMBER): guilds.edit_member,
    ("DELETE", _MEMBER): guilds.kick,
    ("PUT", f"{_MEMBER}/roles/{{role_id}}"): partial(guilds.set_member_role, has=True),
    ("DELETE", f"{_MEMBER}/roles/{{role_id}}"): partial(guilds.set_member_role, has=False),
    ("PUT", f"{_GUILD}/bans/{{user_id}}"): guilds.ban,
    ("DELETE", f"{_GUILD}/bans/{{user_id}}"): guilds.unban,
    ("GET", f"{_GUILD}/roles"): guilds.listed("roles"),
    ("POST", f"{_GUILD}/roles"): guilds.create_role,
    ("GET", f"{_GUILD}/roles/{{role_id}}"): guilds.get_role,
    ("PATCH", f"{_GUILD}/roles/{{role_id}}"): guilds.edit_role,
    ("DELETE", f"{_GUILD}/roles/{{role_id}}"): guilds.delete_role,
    ("GET", f"{_GUILD}/emojis"): guilds.listed("emojis"),
    ("GET", f"{_GUILD}/stickers"): guilds.listed("stickers"),
    ("GET", f"{_GUILD}/scheduled-events"): guilds.listed("guild_scheduled_events"),
    ("GET", _CHANNEL): guilds.get_channel,
    ("PATCH", _CHANNEL): guilds.edit_channel,
    ("DELETE", _CHANNEL): guilds.delete_channel,
    ("POST", f"{_CHANNEL}/typing"): guilds.typing,
    ("POST", f"{_CHANNEL}/threads"): guilds.create_thread,
    ("PUT", f"{_CHANNEL}/thread-members/@me"): guilds.join_thread,
    ("DELETE", f"{_CHANNEL}/thread-members/@me"): guilds.leave_thread,
    ("GET", f"{_CHANNEL}/pins"): messages.list_pins,
    ("PUT", f"{_CHANNEL}/pins/{{message_id}}"): partial(messages.set_pin, pinned=True),
    ("DELETE", f"{_CHANNEL}/pins/{{message_id}}"): partial(messages.set_pin, pinned=False),
    ("GET", f"{_CHANNEL}/messages/pins"): partial(messages.list_pins, paged=True),
    ("PUT", f"{_CHANNEL}/messages/pins/{{message_id}}"): partial(messages.set_pin, pinned=True),
    ("DELETE", f"{_CHANNEL}/messages/pins/{{message_id}}"): partial(messages.set_pin, pinned=False),
    ("GET", f"{_CHANNEL}/messages"): messages.list_messages,
    ("POST", f"{_CHANNEL}/messages"): messages.create_message,
    ("POST", f"{_CHANNEL}/messages/bulk-delete"): messages.bulk_delete,
    ("GET", _MESSAGE): messages.get_message,
    ("PATCH", _MESSAGE): messages.edit_message,
    ("DELETE", _MESSAGE): messages.delete_message,
    ("POST", f"{_MESSAGE}/threads"): guilds.create_thread,
    ("PUT", f"{_REACTION}/@me"): messages.add_reaction,
    ("DELETE", f"{_REACTION}/@me"): messages.remove_reaction,
    ("DELETE", f"{_REACTION}/{{user_id}}"): messages.remove_reaction,
    ("GET", _REACTION): messages.reaction_users,
    ("DELETE", _REACTION): messages.remove_reactions,
    ("DELETE", f"{_MESSAGE}/reactions"): messages.remove_reactions,
    ("POST", "/interactions/{interaction_id}/{interaction_token}/callback"): interactions.callback,
    ("GET", f"{_CHANNEL}/webhooks"): webhooks.list_webhooks,
    ("POST", f"{_CHANNEL}/webhooks"): webhooks.create_webhook,
    ("GET", f"{_GUILD}/webhooks"): webhooks.list_webhooks,
    ("GET", "/webhooks/{application_id}"): webhooks.get_webhook,
    ("PATCH", "/webhooks/{application_id}"): webhooks.edit_webhook,
    ("DELETE", "/webhooks/{application_id}"): webhooks.delete_webhook,
    ("GET", _WEBHOOK): webhooks.get_webhook,
    ("PATCH", _WEBHOOK): webhooks.edit_webhook,
    ("DELETE", _WEBHOOK): webhooks.delete_webhook,
    ("POST", _WEBHOOK): webhooks.by_token(interactions.followup, webhooks.execute),
    ("GET", f"{_WEBHOOK}/messages/{{message_id}}"): webhooks.by_token(
        interactions.get_response, webhooks.get_message
    ),
    ("PATCH", f"{_WEBHOOK}/messages/{{message_id}}"): webhooks.by_token(
        interactions.edit_response, webhooks.edit_message
    ),
    ("DELETE", f"{_WEBHOOK}/messages/{{message_id}}"): webhooks.by_token(
        interactions.delete_response, webhooks.delete_message
    ),
    ("GET", f"{_CHANNEL}/invites"): webhooks.list_invites,
    ("POST", f"{_CHANNEL}/invites"): webhooks.create_invite,
    ("GET", f"{_GUILD}/invites"): webhooks.list_invites,
    ("GET", "/invites/{invite_code}"): webhooks.get_invite,
    ("DELETE", "/invites/{invite_code}"): webhooks.delete_invite,
    ("GET", f"{_GUILD}/audit-logs"): webhooks.audit_log,
}
"""Handlers by method and path. Literal parts have priority over variable ones."""

_WITHOUT_TOKEN = ("/interactions/", "/webhooks/")


def _by_path() -> dict[str, dict[str, Handler]]:
    found: dict[str, dict[str, Handler]] = {}
    for (method, path), handler in ROUTES.items():
        found.setdefault(path, {})[method] = handler
    return found


_HANDLERS = _by_path()


def _by_length() -> dict[int, list[tuple[list[str], str]]]:
    found: dict[int, list[tuple[list[str], str]]] = {}
    for path in _HANDLERS:
        parts = path.split("/")
        found.setdefault(len(parts), []).append((parts, path))
    return found


_PATHS = _by_length()


def find_route(path: str) -> Route | None:
    """Return the route of a path, or None."""
    # discord.js encodes "@original" as "%40original".
    parts = [unquote(part) for part in path.split("/")]
    best: tuple[int, str, dict[str, str]] | None = None
    for pattern, route in _PATHS.get(len(parts), ()):
        params: dict[str, str] = {}
        for wanted, part in zip(pattern, parts, strict=True):
            if wanted.startswith("{") and part:
                params[wanted[1:-1]] = part
            elif wanted != part:
                break
        else:
            if best is None or len(params) < best[0]:
                best = (len(params), route, params)
    if best is None:
        return None
    _, route, params = best
    # The path of a webhook has its token, except the one that has only its id.
    has_token = path.startswith(_WITHOUT_TOKEN) and len(parts) > len(("", "webhooks", "id"))
    return Route(route, _HANDLERS[route], params, needs_token=not has_token)
