"""REST routes of channel webhooks, invites and the audit log.

<https://docs.discord.com/developers/resources/webhook>, `/invite` and `/audit-log`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_proto.server.message_objects import edited, from_body, public, with_guild
from gateway_proto.server.rest_call import Call, Handler, Outcome, RestError, unknown
from gateway_proto.server.world_objects import partial_user

__all__ = [
    "audit_log",
    "by_token",
    "create_invite",
    "create_webhook",
    "delete_invite",
    "delete_message",
    "delete_webhook",
    "edit_message",
    "edit_webhook",
    "execute",
    "get_invite",
    "get_message",
    "get_webhook",
    "list_invites",
    "list_webhooks",
]

Data = Mapping[str, Any]

_INCOMING = 1
_GUILD_INVITE = 0
_DEFAULT_MAX_AGE = 86400
_AUDIT_LOG_LISTS = (
    *("application_commands", "audit_log_entries", "auto_moderation_rules"),
    *("guild_scheduled_events", "integrations", "threads", "users", "webhooks"),
)


def audit_log(call: Call) -> Outcome:
    """GET /guilds/{guild_id}/audit-logs: the server keeps no entries."""
    call.guild()
    return Outcome(200, {name: [] for name in _AUDIT_LOG_LISTS})


def _guild(call: Call) -> Data:
    """Return the guild of the channel of the path."""
    guild = call.world.guild(call.channel().get("guild_id") or 0)
    if guild is None:
        raise RestError(400, 50024, "Cannot execute action on this channel type")
    return guild


# ----- webhooks -----


class _WebhookBody(msgspec.Struct):
    name: str | None = None
    channel_id: str | None = None


def list_webhooks(call: Call) -> Outcome:
    """GET /channels/{channel_id}/webhooks and /guilds/{guild_id}/webhooks."""
    key = "channel_id" if "channel_id" in call.params else "guild_id"
    owner = call.channel() if key == "channel_id" else call.guild()
    return Outcome(200, [hook for hook in call.world.webhooks if hook[key] == owner["id"]])


def create_webhook(call: Call) -> Outcome:
    """POST /channels/{channel_id}/webhooks."""
    channel, guild, given = call.channel(), _guild(call), call.read(_WebhookBody)
    id_ = call.new_id()
    webhook = {
        "id": id_,
        "type": _INCOMING,
        "guild_id": guild["id"],
        "channel_id": channel["id"],
        "user": partial_user(call.world.user),
        "name": given.name or "",
        "avatar": None,
        "token": f"webhook-{id_}",
        "application_id": None,
    }
    return _changed(call, webhook, (*call.world.webhooks, webhook), 200, webhook)


def get_webhook(call: Call) -> Outcome:
    """GET /webhooks/{webhook_id}, also with its token."""
    return Outcome(200, _shown(call, _webhook(call)))


def edit_webhook(call: Call) -> Outcome:
    """PATCH /webhooks/{webhook_id}, also with its token."""
    webhook, given = _webhook(call), call.read(_WebhookBody)
    new = {
        **webhook,
        "name": given.name or webhook["name"],
        "channel_id": given.channel_id or webhook["channel_id"],
    }
    webhooks = tuple(new if hook is webhook else hook for hook in call.world.webhooks)
    return _changed(call, new, webhooks, 200, _shown(call, new))


def delete_webhook(call: Call) -> Outcome:
    """DELETE /webhooks/{webhook_id}, also with its token."""
    webhook = _webhook(call)
    webhooks = tuple(hook for hook in call.world.webhooks if hook is not webhook)
    return _changed(call, webhook, webhooks, 204, None)


def execute(call: Call) -> Outcome:
    """POST /webhooks/{webhook_id}/{webhook_token}: send a message as the webhook."""
    webhook, body = _webhook(call), call.body
    channel_id = call.query.get("thread_id", webhook["channel_id"])
    if call.world.channel(channel_id) is None:
        raise unknown("Channel")
    name = body.get("username") or webhook["name"]
    author = {"id": webhook["id"], "username": name, "avatar": None, "discriminator": "0000"}
    message = from_body(
        call, body, channel_id, author={**author, "bot": True}, webhook_id=webhook["id"]
    )
    status = 200 if call.flag("wait") else 204
    return _sent(call, message, "MESSAGE_CREATE", status)


def by_token(route: Handler, of_webhook: Handler) -> Handler:
    """Return the route of a path that a webhook and an interaction can have."""

    def handle(call: Call) -> Outcome:
        is_webhook = _find(call, call.params["interaction_token"]) is not None
        return (of_webhook if is_webhook else route)(call)

    return handle


def get_message(call: Call) -> Outcome:
    """GET /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}."""
    return Outcome(200, public(_message(call)))


def edit_message(call: Call) -> Outcome:
    """PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}."""
    return _sent(call, edited(call, _message(call), call.body), "MESSAGE_UPDATE", 200)


def delete_message(call: Call) -> Outcome:
    """DELETE /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}."""
    message = _message(call)
    keys = {"id": message["id"], "channel_id": message["channel_id"]}
    gone = {**keys, "guild_id": _webhook(call)["guild_id"]}
    return Outcome(204, None, (("MESSAGE_DELETE", gone),))


def _find(call: Call, token: str | None) -> Data | None:
    for webhook in call.world.webhooks:
        if webhook["id"] == call.params["application_id"] and token in (None, webhook["token"]):
            return webhook
    return None


def _webhook(call: Call) -> Data:
    webhook = _find(call, call.params.get("interaction_token"))
    if webhook is None:
        raise unknown("Webhook")
    return webhook


def _shown(call: Call, webhook: Data) -> Data:
    """Return a webhook as a request with its token sees it: without the user."""
    if "interaction_token" not in call.params:
        return webhook
    return {key: value for key, value in webhook.items() if key != "user"}


def _message(call: Call) -> Data:
    message = call.world.message(call.params["message_id"])
    if message is None or message.get("webhook_id") != call.params["application_id"]:
        raise unknown("Message")
    return message


def _sent(call: Call, message: Data, name: str, status: int) -> Outcome:
    json = None if status == 204 else public(message)
    return Outcome(status, json, ((name, with_guild(call.world, message)),))


def _changed(
    call: Call, webhook: Data, webhooks: tuple[Data, ...], status: int, json: Any
) -> Outcome:
    place = {"guild_id": webhook["guild_id"], "channel_id": webhook["channel_id"]}
    world = call.world.with_fields(webhooks=webhooks)
    return Outcome(status, json, (("WEBHOOKS_UPDATE", place),), world)


# ----- invites -----


class _InviteBody(msgspec.Struct):
    max_age: int = _DEFAULT_MAX_AGE
    max_uses: int = 0
    temporary: bool = False


def list_invites(call: Call) -> Outcome:
    """GET /channels/{channel_id}/invites and /guilds/{guild_id}/invites."""
    kind = "channel" if "channel_id" in call.params else "guild"
    owner = call.channel() if kind == "channel" else call.guild()
    return Outcome(200, [i for i in call.world.invites if i[kind]["id"] == owner["id"]])


def create_invite(call: Call) -> Outcome:
    """POST /channels/{channel_id}/invites."""
    channel, guild, given = call.channel(), _guild(call), call.read(_InviteBody)
    code = call.new_id()
    settings = {
        "code": code,
        "inviter": partial_user(call.world.user),
        "max_age": given.max_age,
        "max_uses": given.max_uses,
        "temporary": given.temporary,
        "uses": 0,
        "created_at": call.timestamp,
    }
    invite = {
        "id": code,
        "type": _GUILD_INVITE,
        "guild": {"id": guild["id"], "name": guild["name"], "icon": guild["icon"]},
        "channel": {"id": channel["id"], "name": channel["name"], "type": channel["type"]},
        "expires_at": None,
        **settings,
    }
    data = {**settings, "channel_id": channel["id"], "guild_id": guild["id"]}
    world = call.world.with_fields(invites=(*call.world.invites, invite))
    return Outcome(200, invite, (("INVITE_CREATE", data),), world)


def get_invite(call: Call) -> Outcome:
    """GET /invites/{invite_code}."""
    return Outcome(200, _invite(call))


def delete_invite(call: Call) -> Outcome:
    """DELETE /invites/{invite_code}."""
    invite = _invite(call)
    world = call.world.with_fields(invites=tuple(i for i in call.world.invites if i is not invite))
    data = {
        "channel_id": invite["channel"]["id"],
        "guild_id": invite["guild"]["id"],
        "code": invite["code"],
    }
    return Outcome(200, invite, (("INVITE_DELETE", data),), world)


def _invite(call: Call) -> Data:
    for invite in call.world.invites:
        if invite["code"] == call.params["invite_code"]:
            return invite
    raise unknown("Invite")
