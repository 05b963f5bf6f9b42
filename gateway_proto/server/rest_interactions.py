"""REST routes of interactions and application commands.

<https://docs.discord.com/developers/interactions/receiving-and-responding> and
<https://docs.discord.com/developers/interactions/application-commands>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_proto.server.message_objects import edited, from_body, public, with_guild
from gateway_proto.server.rest_call import Call, Outcome, RestError, invalid_body, unknown
from gateway_proto.server.world import World

__all__ = [
    "RESPONSE",
    "callback",
    "command_permissions",
    "delete_command",
    "delete_response",
    "edit_command",
    "edit_response",
    "followup",
    "get_command",
    "get_response",
    "list_commands",
    "replace_commands",
    "upsert_command",
]

Data = Mapping[str, Any]

# https://docs.discord.com/developers/resources/message#message-object-message-flags
_EPHEMERAL = 1 << 6
_LOADING = 1 << 7
# https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-interaction-callback-type
_MESSAGE, _DEFERRED, _DEFERRED_UPDATE, _UPDATE = 4, 5, 6, 7
_MODAL = 9
_WITHOUT_MESSAGE = (8, _MODAL, 10, 12)
"""Autocomplete, modal, premium required and launch activity."""
RESPONSE = "response"
"""Key of an interaction under which the world stores its response."""


def _interaction(call: Call, what: str) -> Data:
    token = call.params["interaction_token"]
    for interaction in reversed(call.world.interactions):
        if interaction.get("token") == token:
            return interaction
    raise unknown(what)


def _answered(world: World, interaction: Data, message_id: str | None, modal: Data | None) -> World:
    """Return the world after the response to an interaction: a message, a modal or neither."""
    new = {**interaction, RESPONSE: {"message_id": message_id, "modal": modal}}
    kept = (new if one is interaction else one for one in world.interactions)
    return world.with_fields(interactions=tuple(kept))


def _user(interaction: Data) -> Any:
    member = interaction.get("member")
    return member.get("user") if isinstance(member, Mapping) else interaction.get("user")


def _response_fields(call: Call, interaction: Data) -> dict[str, Any]:
    user, type_ = _user(interaction), interaction.get("type")
    metadata = {
        "id": interaction["id"],
        "type": type_,
        "user": user,
        "authorizing_integration_owners": interaction.get("authorizing_integration_owners", {}),
    }
    fields = {
        "application_id": call.world.application["id"],
        "webhook_id": call.world.application["id"],
        "interaction_metadata": metadata,
    }
    data = interaction.get("data")
    if type_ == 2 and isinstance(data, Mapping):
        name = data.get("name")
        fields |= {
            "type": 20,  # CHAT_INPUT_COMMAND
            "interaction": {"id": interaction["id"], "type": 2, "name": name, "user": user},
        }
    return fields


def callback(call: Call) -> Outcome:
    """POST /interactions/{interaction_id}/{interaction_token}/callback."""
    interaction = _interaction(call, "interaction")
    if str(interaction["id"]) != call.params["interaction_id"]:
        raise unknown("interaction")
    if RESPONSE in interaction:
        raise RestError(400, 40060, "Interaction has already been acknowledged.")
    type_, data = call.body.get("type"), call.body.get("data")
    data = data if isinstance(data, dict) else {}
    world, name = call.world, ""
    message: Data | None = None
    if type_ in (_MESSAGE, _DEFERRED):
        message = _new_response(call, interaction, data, is_deferred=type_ == _DEFERRED)
        name = "MESSAGE_CREATE"
    elif type_ in (_UPDATE, _DEFERRED_UPDATE):
        old = _component_message(world, interaction)
        message = edited(call, old, data) if type_ == _UPDATE else old
        name = "MESSAGE_UPDATE" if type_ == _UPDATE else ""
    elif type_ not in _WITHOUT_MESSAGE:
        raise invalid_body("type", "BASE_TYPE_CHOICES", "Value must be one of {4, 5, 6, 7, 8, 9}.")
    message_id = None if message is None else message["id"]
    world = _answered(world, interaction, message_id, data if type_ == _MODAL else None)
    outcome = _sent(world, message, name)
    if not call.flag("with_response"):
        return Outcome(204, None, outcome.dispatches, outcome.world)
    return Outcome(200, _callback(interaction, type_, message), outcome.dispatches, outcome.world)


def _callback(interaction: Data, type_: Any, message: Data | None) -> dict[str, Any]:
    about = {"id": interaction["id"], "type": interaction.get("type")}
    if message is None:
        return {"interaction": about, "resource": {"type": type_}}
    loading, ephemeral = bool(message["flags"] & _LOADING), bool(message["flags"] & _EPHEMERAL)
    about |= {
        "response_message_id": message["id"],
        "response_message_loading": loading,
        "response_message_ephemeral": ephemeral,
    }
    return {"interaction": about, "resource": {"type": type_, "message": public(message)}}


def _channel_id(interaction: Data) -> str:
    return str(interaction.get("channel_id", "0"))


def _new_response(
    call: Call, interaction: Data, data: Data, *, is_deferred: bool = False
) -> dict[str, Any]:
    fields = _response_fields(call, interaction)
    channel_id = _channel_id(interaction)
    message = from_body(call, data, channel_id, may_be_empty=is_deferred, **fields)
    if is_deferred:
        message["flags"] |= _LOADING
    return message


def _component_message(world: World, interaction: Data) -> Data:
    message = interaction.get("message")
    found = world.message(str(message.get("id"))) if isinstance(message, Mapping) else None
    if found is None:
        raise unknown("Message")
    return found


def _sent(world: World, message: Data | None, name: str) -> Outcome:
    """Return the outcome of a message. Ephemeral messages are not dispatched."""
    if message is None or not name:
        return Outcome(204, None, (), world)
    if message["flags"] & _EPHEMERAL:
        return Outcome(200, public(message), (), world.after(name, message))
    return Outcome(200, public(message), ((name, with_guild(world, message)),), world)


def _response(call: Call) -> tuple[Data, Data]:
    """Return the interaction and the message of the path, which may be "@original"."""
    interaction = _interaction(call, "Webhook")
    message_id = call.params.get("message_id", "@original")
    if message_id == "@original":
        message_id = str(interaction.get(RESPONSE, {}).get("message_id"))
    message = call.world.message(message_id)
    if message is None or message["channel_id"] != _channel_id(interaction):
        raise unknown("Message")
    return interaction, message


def get_response(call: Call) -> Outcome:
    """GET /webhooks/{application_id}/{interaction_token}/messages/{message_id}."""
    return Outcome(200, public(_response(call)[1]))


def edit_response(call: Call) -> Outcome:
    """PATCH /webhooks/{application_id}/{interaction_token}/messages/{message_id}."""
    return _edited(call, _response(call)[1])


def _edited(call: Call, message: Data) -> Outcome:
    flags = message["flags"] & ~_LOADING
    new = edited(call, {**message, "flags": flags}, call.body)
    return _sent(call.world, {**new, "flags": new["flags"] | flags}, "MESSAGE_UPDATE")


def delete_response(call: Call) -> Outcome:
    """DELETE /webhooks/{application_id}/{interaction_token}/messages/{message_id}."""
    interaction, message = _response(call)
    gone = {"id": message["id"], "channel_id": message["channel_id"]}
    if interaction.get("guild_id") is not None:
        gone["guild_id"] = interaction["guild_id"]
    if message["flags"] & _EPHEMERAL:
        return Outcome(204, None, (), call.world.after("MESSAGE_DELETE", gone))
    return Outcome(204, None, (("MESSAGE_DELETE", gone),))


def followup(call: Call) -> Outcome:
    """POST /webhooks/{application_id}/{interaction_token}."""
    interaction = _interaction(call, "Webhook")
    if RESPONSE not in interaction:
        raise unknown("Webhook")
    original = call.world.message(str(interaction[RESPONSE]["message_id"]))
    if original is not None and original["flags"] & _LOADING:
        # https://docs.discord.com/developers/interactions/receiving-and-responding#followup-messages
        # The first followup after a deferred response edits that response.
        return _edited(call, original)
    message = _new_response(call, interaction, call.body)
    return _sent(call.world, message, "MESSAGE_CREATE")


# ----- application commands -----

_CHAT_INPUT = 1


def _scope(call: Call) -> str | None:
    """Return the guild of the commands of the path, or None for global commands."""
    if call.params["application_id"] != call.world.application["id"]:
        raise unknown("Application")
    return call.guild()["id"] if "guild_id" in call.params else None


def _of_scope(world: World, scope: str | None) -> list[Data]:
    return [command for command in world.commands if command.get("guild_id") == scope]


def _others(world: World, scope: str | None) -> list[Data]:
    return [command for command in world.commands if command.get("guild_id") != scope]


def _command(call: Call, scope: str | None) -> Data:
    wanted = call.params["command_id"]
    for command in _of_scope(call.world, scope):
        if command["id"] == wanted:
            return command
    raise unknown("application command")


def _key(command: Data) -> tuple[Any, Any]:
    return command.get("name"), command.get("type")


def _new_command(call: Call, body: Any, scope: str | None, old: Data | None) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise invalid_body("_errors", "DICT_TYPE_CONVERT", "Only dictionaries may be used here")
    type_ = body.get("type") or _CHAT_INPUT
    required = ("name", "description") if type_ == _CHAT_INPUT else ("name",)
    for field, most in zip(required, (32, 100), strict=False):
        value = body.get(field)
        if not isinstance(value, str) or not 1 <= len(value) <= most:
            text = f"Must be between 1 and {most} in length."
            raise invalid_body(field, "BASE_TYPE_BAD_LENGTH", text)
    command = {
        "name_localizations": None,
        "description": "",
        "description_localizations": None,
        "options": [],
        "default_member_permissions": None,
        "dm_permission": True,
        "nsfw": False,
        "integration_types": [0],
        "contexts": None,
        **body,
        "id": call.new_id() if old is None else old["id"],
        "application_id": call.world.application["id"],
        "version": call.new_id(),
        "type": type_,
    }
    return command if scope is None else {**command, "guild_id": scope}


def list_commands(call: Call) -> Outcome:
    """GET /applications/{application_id}/commands, also of a guild."""
    return Outcome(200, _of_scope(call.world, _scope(call)))


def get_command(call: Call) -> Outcome:
    """GET /applications/{application_id}/commands/{command_id}, also of a guild."""
    return Outcome(200, _command(call, _scope(call)))


def upsert_command(call: Call) -> Outcome:
    """POST /applications/{application_id}/commands, also of a guild."""
    scope = _scope(call)
    new = _new_command(call, call.body, scope, None)
    old = next((c for c in _of_scope(call.world, scope) if _key(c) == _key(new)), None)
    if old is not None:
        new["id"] = old["id"]
    kept = [command for command in call.world.commands if command is not old]
    world = call.world.with_fields(commands=(*kept, new))
    return Outcome(201 if old is None else 200, new, world=world)


# https://docs.discord.com/developers/interactions/application-commands#registering-a-command
_MAX_COMMANDS = 110
"""100 chat input commands, 5 user and 5 message commands."""


def replace_commands(call: Call) -> Outcome:
    """PUT /applications/{application_id}/commands, also of a guild."""
    scope = _scope(call)
    if not isinstance(call.json, list) or len(call.json) > _MAX_COMMANDS:
        raise invalid_body("_errors", "BASE_TYPE_BAD_LENGTH", "Must be a list of at most 110.")
    old = {_key(command): command for command in _of_scope(call.world, scope)}
    new = []
    for body in call.json:
        command = _new_command(call, body, scope, None)
        before = old.get(_key(command))
        new.append(command if before is None else {**command, "id": before["id"]})
    world = call.world.with_fields(commands=(*_others(call.world, scope), *new))
    return Outcome(200, new, world=world)


def edit_command(call: Call) -> Outcome:
    """PATCH /applications/{application_id}/commands/{command_id}, also of a guild."""
    scope = _scope(call)
    old = _command(call, scope)
    new = _new_command(call, {**old, **call.body}, scope, old)
    kept = tuple(new if command is old else command for command in call.world.commands)
    return Outcome(200, new, world=call.world.with_fields(commands=kept))


def delete_command(call: Call) -> Outcome:
    """DELETE /applications/{application_id}/commands/{command_id}, also of a guild."""
    old = _command(call, _scope(call))
    kept = tuple(command for command in call.world.commands if command is not old)
    return Outcome(204, None, world=call.world.with_fields(commands=kept))


def command_permissions(call: Call) -> Outcome:
    """GET /applications/{application_id}/guilds/{guild_id}/commands/permissions."""
    _scope(call)
    return Outcome(200, [])
