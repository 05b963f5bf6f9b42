"""Builders of Discord's objects: every documented required field is set."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.server import World
from gateway_proto.server.world_objects import (
    complete_components,
    complete_guild,
    make_channel,
    make_guild,
    make_member,
    make_message,
    make_role,
    make_thread,
    make_user,
    make_voice_state,
)

# Not optional in <https://docs.discord.com/developers/resources/guild#guild-object> and
# <https://docs.discord.com/developers/events/gateway-events#guild-create>.
GUILD_FIELDS = """
id name icon splash discovery_splash owner_id afk_channel_id afk_timeout verification_level
default_message_notifications explicit_content_filter roles emojis features mfa_level
application_id system_channel_id system_channel_flags rules_channel_id vanity_url_code
description banner premium_tier preferred_locale public_updates_channel_id nsfw_level
premium_progress_bar_enabled safety_alerts_channel_id incidents_data joined_at large
member_count voice_states members channels threads presences stage_instances
guild_scheduled_events soundboard_sounds
"""
MESSAGE_FIELDS = """
id channel_id author content timestamp edited_timestamp tts mention_everyone mentions
mention_roles attachments embeds pinned type
"""
USER = make_user(9, "friend")


def test_partial_guild_gets_every_documented_field() -> None:
    (guild,) = World([{"id": 1, "name": "g"}]).guilds

    assert guild.keys() >= set(GUILD_FIELDS.split())
    assert [role["name"] for role in guild["roles"]] == ["@everyone"]
    assert [member["user"]["id"] for member in guild["members"]] == [World().user["id"]]
    assert guild["owner_id"] == World().user["id"]


def test_given_fields_of_a_guild_are_kept() -> None:
    given = {
        "id": "1",
        "name": "g",
        "owner_id": "5",
        "member_count": 7,
        "roles": [{"id": "1", "name": "@everyone", "permissions": "8"}],
        "members": [{"user": World().user, "nick": "me"}],
        "channels": [{"id": "2", "type": type_} for type_ in (0, 2, 4, 15)],
        "threads": [{"id": "3", "thread_metadata": {"archived": True}}],
        "emojis": [{"id": "4"}],
        "stickers": [{"id": "6"}],
        "voice_states": [{"user_id": "5", "channel_id": "2"}],
        "presences": [{"user": {"id": "5"}}],
    }

    (guild,) = World([given]).guilds

    assert (guild["owner_id"], guild["member_count"]) == ("5", 7)
    assert [role["permissions"] for role in guild["roles"]] == ["8"]
    assert [member["nick"] for member in guild["members"]] == ["me"]
    assert ["bitrate" in channel for channel in guild["channels"]] == [False, True, False, False]
    assert guild["threads"][0]["thread_metadata"]["archived"] is True
    assert (guild["emojis"][0]["animated"], guild["stickers"][0]["type"]) == (False, 2)


def test_lists_of_completed_objects_are_not_shared() -> None:
    first, second = (complete_guild({"id": id_}, World().user) for id_ in ("1", "2"))

    first["features"].append("COMMUNITY")

    assert second["features"] == []


def test_builders_set_missing_fields() -> None:
    message = make_message(7, "hi", channel_id=5, author=USER, member=make_member(USER))

    assert message.keys() >= set(MESSAGE_FIELDS.split())
    assert (message["channel_id"], message["author"]["discriminator"]) == ("5", "0")
    assert message["member"]["joined_at"] is not None
    assert make_message(7, "hi", channel_id=5, author={})["author"]["id"] == "0"
    assert make_role(3, "mods")["permissions"] == "0"
    assert make_channel(3, "dm", type_=1)["recipients"] == []
    thread = make_thread(3, "t", guild_id="1", parent_id="2", owner_id="9")
    assert (thread["parent_id"], thread["thread_metadata"]["locked"]) == ("2", False)
    assert make_voice_state(9, 2, 1)["user_id"] == "9"
    assert make_guild(1, "g", user=World().user)["id"] == "1"


def test_with_guild_has_channels_members_and_an_owner() -> None:
    world = World.with_guild("Test", members=3, channels=["a", "b"], voice_channels="v")

    (guild,) = world.guilds
    assert [(c["id"], c["name"], c["type"]) for c in guild["channels"]] == [
        ("2000", "a", 0), ("2001", "b", 0), ("2002", "v", 2),
    ]  # fmt: skip
    assert [m["user"]["id"] for m in guild["members"]] == ["4000", "4001", "4002", world.user["id"]]
    assert (guild["owner_id"], guild["member_count"]) == ("4000", 4)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": ""}, "invalid name ''"),
        ({"members": -1}, "invalid members -1"),
        ({"channels": [5]}, "channels"),
        ({"voice_channels": None}, "voice_channels"),
    ],
)
def test_with_guild_rejects_invalid_arguments(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(LocalProtocolError, match=error):
        World.with_guild(**arguments)


@pytest.mark.parametrize("field", ["private_channels", "messages", "commands", "interactions"])
def test_other_objects_require_an_id(field: str) -> None:
    fields: dict[str, Any] = {field: [{"name": "x"}]}

    with pytest.raises(LocalProtocolError, match=f"World.{field}"):
        World(**fields)
    fields = {field: [{"id": "5"}]}
    assert getattr(World(**fields), field)[0]["id"] == "5"


def test_application_is_completed_and_must_be_a_mapping() -> None:
    world = World(application={"id": "5", "tags": ["x"]})

    assert (world.application["id"], world.application["tags"]) == ("5", ["x"])
    assert {"summary", "verify_key", "event_webhooks_status"} <= world.application.keys()
    with pytest.raises(LocalProtocolError, match=r"World.application"):
        World(application=[])  # type: ignore[arg-type]


def test_components_without_ids_are_numbered() -> None:
    button = {"type": 2, "custom_id": "b"}
    row = {"type": 1, "components": [button, {**button, "id": 2}, {**button, "id": 0}]}
    section = {"type": 9, "components": [{"type": 10}], "accessory": button}
    label = {"type": 18, "component": {"type": 4, "id": "x"}}
    components = [row, {"type": 17, "components": [section]}, label, 5]

    found = complete_components(components)

    row_found, container, label_found = found
    assert [row_found["id"], *(one["id"] for one in row_found["components"])] == [1, 3, 2, 4]
    (section_found,) = container["components"]
    assert (container["id"], section_found["id"]) == (5, 6)
    assert [section_found["components"][0]["id"], section_found["accessory"]["id"]] == [7, 8]
    assert (label_found["id"], label_found["component"]["id"]) == (9, "x")
    assert "id" not in button
    assert complete_components(None) == []


def test_components_nested_too_deep_are_kept() -> None:
    deep: dict[str, Any] = {"type": 1}
    for _ in range(900):
        deep = {"type": 1, "components": [deep]}

    (found,) = complete_components([deep])

    assert found["components"][0]["id"] == 2


def test_message_is_built_with_ids_of_components() -> None:
    row = {"type": 1, "components": [{"type": 2, "custom_id": "b"}]}

    message = make_message(1, "x", channel_id=2, author={"id": "3"}, components=[row])

    assert message["components"][0]["components"][0]["id"] == 2
