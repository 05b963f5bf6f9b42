"""Changes of the world by dispatches, as later sessions and requests see it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.server import Server, ServerConfig, World
from tests.server.support import identify_on, send_payload, sent_payloads

GUILD = {"guild_id": "1000"}
FRIEND = {"id": "9", "username": "friend"}
WORLD = World.with_guild("Test", members=2)


def _guild(world: World, guild_id: str = "1000") -> Any:
    guild = world.guild(guild_id)
    assert guild is not None
    return guild


def _ids(values: Any) -> list[str]:
    return [value["id"] for value in values]


def _after(*dispatches: tuple[str, Any], world: World = WORLD) -> World:
    for name, data in dispatches:
        world = world.after(name, data)
    return world


def test_channel_is_created_updated_and_deleted_with_its_threads() -> None:
    created = _after(
        ("CHANNEL_CREATE", {**GUILD, "id": "5", "type": 0, "name": "new"}),
        ("THREAD_CREATE", {**GUILD, "id": "6", "type": 11, "parent_id": "5", "name": "t"}),
        ("CHANNEL_UPDATE", {**GUILD, "id": "5", "type": 0, "topic": "chess"}),
    )

    channel = created.channel("5")
    assert channel is not None and (channel["name"], channel["topic"]) == ("new", "chess")
    thread = created.channel("6")
    assert thread is not None and thread["thread_metadata"]["archived"] is False
    deleted = created.after("CHANNEL_DELETE", {**GUILD, "id": "5", "type": 0})
    assert deleted.channel("5") is None and deleted.channel("6") is None
    assert created.after("THREAD_DELETE", {**GUILD, "id": "6"}).channel("6") is None


def test_threads_of_a_list_sync_are_added_to_the_world() -> None:
    sync = {**GUILD, "threads": [{"id": "6", "parent_id": "2000", "name": "t"}, {"name": "x"}]}

    world = WORLD.after("THREAD_LIST_SYNC", sync)

    assert _ids(_guild(world)["threads"]) == ["6"]


def test_role_is_created_updated_and_removed_from_its_members() -> None:
    world = _after(
        ("GUILD_ROLE_CREATE", {**GUILD, "role": {"id": "7", "name": "mods", "color": 5}}),
        ("GUILD_ROLE_UPDATE", {**GUILD, "role": {"id": "7", "hoist": True}}),
        ("GUILD_MEMBER_ADD", {**GUILD, "user": FRIEND, "roles": ["7"]}),
    )

    role = _guild(world)["roles"][-1]
    assert (role["name"], role["hoist"], role["colors"]["primary_color"]) == ("mods", True, 5)
    without = _guild(world.after("GUILD_ROLE_DELETE", {**GUILD, "role_id": "7"}))
    assert _ids(without["roles"]) == ["1000"]
    assert without["members"][-1]["roles"] == []


def test_member_joins_changes_and_leaves() -> None:
    world = _after(
        ("GUILD_MEMBER_ADD", {**GUILD, "user": FRIEND}),
        ("GUILD_MEMBER_UPDATE", {**GUILD, "user": {"id": "9"}, "nick": "f"}),
        ("PRESENCE_UPDATE", {**GUILD, "user": {"id": "9"}, "status": "idle"}),
        ("VOICE_STATE_UPDATE", {**GUILD, "user_id": "9", "channel_id": "2001", "member": {}}),
    )

    guild = _guild(world)
    assert guild["member_count"] == 4
    member = guild["members"][-1]
    assert (member["user"]["username"], member["nick"]) == ("friend", "f")
    assert guild["presences"][0]["status"] == "idle"
    assert guild["voice_states"][0]["channel_id"] == "2001"
    left = _guild(world.after("GUILD_MEMBER_REMOVE", {**GUILD, "user": FRIEND}))
    assert (left["member_count"], left["presences"], left["voice_states"]) == (3, [], [])
    leave = {**GUILD, "user_id": "9", "channel_id": None}
    assert _guild(world.after("VOICE_STATE_UPDATE", leave))["voice_states"] == []


def test_member_count_that_is_not_a_number_is_replaced() -> None:
    odd = World([{"id": "1000", "name": "g", "member_count": "many"}])

    joined = odd.after("GUILD_MEMBER_ADD", {**GUILD, "user": FRIEND})

    assert _guild(joined)["member_count"] == 2
    odd = World([{"id": "1000", "name": "g", "member_count": "many"}])
    left = odd.after("GUILD_MEMBER_REMOVE", {**GUILD, "user": FRIEND})
    assert _guild(left)["member_count"] == 1


def test_guild_is_joined_changed_and_left() -> None:
    joined = WORLD.after("GUILD_CREATE", {"id": "5", "name": "five"})

    assert [guild["name"] for guild in joined.guilds] == ["Test", "five"]
    changed = joined.after("GUILD_UPDATE", {"id": "5", "name": "six"})
    assert [guild["name"] for guild in changed.guilds] == ["Test", "six"]
    assert changed.after("GUILD_DELETE", {"id": "5", "unavailable": True}) is changed
    assert changed.after("GUILD_DELETE", {"id": "5"}).guild("5") is None
    assert changed.after("GUILD_DELETE", {"id": "404"}) is changed
    assert changed.after("GUILD_UPDATE", {"id": "404"}) is changed


@pytest.mark.parametrize(
    ("kind", "create", "update", "delete", "key"),
    [
        ("soundboard_sounds", "GUILD_SOUNDBOARD_SOUND_CREATE", "GUILD_SOUNDBOARD_SOUND_UPDATE",
         "GUILD_SOUNDBOARD_SOUND_DELETE", "sound_id"),
        ("stage_instances", "STAGE_INSTANCE_CREATE", "STAGE_INSTANCE_UPDATE",
         "STAGE_INSTANCE_DELETE", "id"),
        ("guild_scheduled_events", "GUILD_SCHEDULED_EVENT_CREATE", "GUILD_SCHEDULED_EVENT_UPDATE",
         "GUILD_SCHEDULED_EVENT_DELETE", "id"),
    ],
)  # fmt: skip
def test_listed_object_is_created_updated_and_deleted(
    kind: str, create: str, update: str, delete: str, key: str
) -> None:
    world = _after((create, {**GUILD, key: "5", "name": "a"}))
    world = _after((update, {**GUILD, key: "5", "name": "b"}), world=world)

    (found,) = _guild(world)[kind]
    assert (found[key], found["name"]) == ("5", "b")
    assert _guild(world.after(delete, {**GUILD, key: "5"}))[kind] == []
    assert world.after(create, {**GUILD, "name": "without id"}) is world


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        ("GUILD_EMOJIS_UPDATE", "emojis", "id"),
        ("GUILD_STICKERS_UPDATE", "stickers", "id"),
        ("GUILD_SOUNDBOARD_SOUNDS_UPDATE", "soundboard_sounds", "sound_id"),
    ],
)
def test_dispatched_list_replaces_the_list_of_the_guild(name: str, kind: str, key: str) -> None:
    world = WORLD.after(name, {**GUILD, kind: [{key: "5", "name": "a"}]})

    assert [value[key] for value in _guild(world)[kind]] == ["5"]
    assert _guild(world.after(name, {**GUILD, kind: 5}))[kind] == []


def test_user_update_and_ready_change_the_bot_user() -> None:
    me = WORLD.user["id"]

    assert WORLD.after("USER_UPDATE", {"id": me, "username": "x"}).user["username"] == "x"
    assert WORLD.after("USER_UPDATE", FRIEND) is WORLD
    ready = WORLD.after("READY", {"user": FRIEND})
    assert (ready.user["id"], ready.guilds) == ("9", ())
    assert WORLD.after("READY", {}) is WORLD


def test_message_is_stored_changed_and_deleted() -> None:
    message = {"id": "50", "channel_id": "2000", "content": "a", "author": FRIEND}
    world = _after(
        ("MESSAGE_CREATE", message),
        ("MESSAGE_CREATE", {**message, "id": "40", "member": {"roles": 5}}),
        ("MESSAGE_UPDATE", {"id": "50", "content": "b"}),
    )

    found = world.message("50", "2000")
    assert found is not None and (found["content"], found["author"]["id"]) == ("b", "9")
    assert world.message("50", "1") is None
    assert world.after("MESSAGE_DELETE", {"id": "50"}).message("50") is None
    bulk = world.after("MESSAGE_DELETE_BULK", {"ids": ["50", "40"]})
    assert bulk.messages == ()
    assert world.after("MESSAGE_DELETE_BULK", {}).messages == world.messages
    assert world.after("MESSAGE_UPDATE", {"id": "404"}) is world


def test_only_the_last_thousand_messages_are_stored() -> None:
    world = WORLD
    for number in range(1, 1102):
        world = world.after("MESSAGE_CREATE", {"id": str(number)})

    assert (len(world.messages), world.messages[0]["id"]) == (1000, "102")


def test_messages_are_ordered_by_id_whatever_their_order() -> None:
    world = WORLD
    for id_ in ("50", "100", "9", "60", "50"):
        world = world.after("MESSAGE_CREATE", {"id": id_, "content": id_})

    assert _ids(world.messages) == ["9", "50", "60", "100"]
    found = world.message("50")
    assert found is not None and found["content"] == "50"
    world = world.after("MESSAGE_DELETE", {"id": "050"})  # the same id
    assert _ids(world.messages) == ["9", "60", "100"]
    assert world.after("MESSAGE_DELETE", {"id": "050"}) is world
    assert world.message("x") is None


def test_message_older_than_a_thousand_changes_nothing() -> None:
    world = WORLD
    for number in range(1000, 2000):
        world = world.after("MESSAGE_CREATE", {"id": str(number)})

    assert world.after("MESSAGE_CREATE", {"id": "999"}) is world
    newer = world.after("MESSAGE_CREATE", {"id": "1500", "content": "b"})
    assert (len(newer.messages), newer.messages[500]["content"]) == (1000, "b")


def test_guild_is_found_after_guilds_changed() -> None:
    world = _after(("GUILD_CREATE", {"id": "2"}))
    assert world.guild("2") is not None

    assert world.after("MESSAGE_CREATE", {"id": "5"}).guild("2") is world.guild("2")
    assert world.after("GUILD_DELETE", {"id": "2"}).guild("2") is None


def test_private_channel_and_interaction_are_stored() -> None:
    world = _after(
        ("CHANNEL_CREATE", {"id": "70", "recipients": [FRIEND, {}]}),
        ("INTERACTION_CREATE", {"id": "80", "token": "t"}),
    )

    assert world.channel("70") is not None
    assert world.known_user("9") is not None
    assert _ids(world.interactions) == ["80"]
    assert world.known_user("404") is None
    assert WORLD.known_user("4001") is not None
    assert WORLD.known_user(WORLD.user["id"]) is WORLD.user


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("CHANNEL_CREATE", {**GUILD, "id": "x"}),
        ("CHANNEL_CREATE", {"id": "x"}),
        ("CHANNEL_CREATE", {"guild_id": [], "id": "5"}),
        ("CHANNEL_CREATE", {"guild_id": "404", "id": "5"}),
        ("CHANNEL_CREATE", [1]),
        ("GUILD_CREATE", {"id": None}),
        ("GUILD_ROLE_CREATE", {**GUILD, "role": 5}),
        ("GUILD_ROLE_CREATE", {**GUILD, "role": {}}),
        ("GUILD_MEMBER_ADD", {**GUILD, "user": 5}),
        ("GUILD_MEMBER_ADD", {**GUILD, "user": {}}),
        ("PRESENCE_UPDATE", GUILD),
        ("MESSAGE_CREATE", {"content": "without id"}),
        ("INTERACTION_CREATE", {"token": "t"}),
        ("TYPING_START", GUILD),
        ("MINE", {}),
    ],
)
def test_invalid_or_unrelated_dispatch_has_no_effect(name: str, data: Any) -> None:
    assert WORLD.after(name, data) is WORLD


def test_invalid_members_of_a_dispatched_guild_are_left_out() -> None:
    data = {"id": "5", "name": "x", "members": [{}, {"user": {"id": "9"}, "roles": 5}, 7]}

    guild = _guild(WORLD.after("GUILD_CREATE", {**data, "channels": [{"name": "x"}]}), "5")

    assert [member["user"]["id"] for member in guild["members"]] == ["9", WORLD.user["id"]]
    assert guild["channels"] == []


def test_new_session_gets_the_changed_world() -> None:
    server = Server(ServerConfig(world=WORLD))
    server.dispatch("GUILD_CREATE", {"id": "5", "name": "five"}, now=0.0)
    connection = server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")
    identify_on(connection, intents=129)

    names = [p["d"]["name"] for p in sent_payloads(connection) if p["t"] == "GUILD_CREATE"]

    assert names == ["Test", "five"]
    send_payload(connection, 4, {"guild_id": "5", "channel_id": "1", "self_mute": False})
    assert _guild(server.world, "5")["voice_states"][0]["channel_id"] == "1"


def test_new_world_in_the_config_replaces_the_changed_one() -> None:
    server = Server(ServerConfig(world=WORLD))
    server.dispatch("GUILD_CREATE", {"id": "5", "name": "five"}, now=0.0)

    server.config = ServerConfig(world=World.with_guild("Test", members=2))
    assert server.world.guild("5") is not None
    server.config = ServerConfig(world=World.with_guild("Other"))
    assert [guild["name"] for guild in server.world.guilds] == ["Other"]


def test_dispatch_without_etf_form_has_no_effect() -> None:
    pytest.importorskip("erlpack")
    server = Server(ServerConfig(world=WORLD))
    deep: Any = 0
    for _ in range(600):
        deep = [deep]

    with pytest.raises(LocalProtocolError):
        server.dispatch("GUILD_CREATE", {"id": "5", "name": "five", "x": deep}, now=0.0)

    assert server.world.guild("5") is None
