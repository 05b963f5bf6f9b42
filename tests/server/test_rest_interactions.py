"""REST routes of interactions and application commands."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.server import World
from gateway_proto.server.interactions import (
    button_press,
    chat_message,
    command_options,
    find_command,
    modal_submit,
    resolved_objects,
    shown_modals,
    slash_command,
)
from gateway_proto.server.world_objects import make_attachment
from tests.server.support import (
    APP,
    CHANNEL,
    COMMANDS,
    ORIGINAL,
    WEBHOOK,
    code_of,
    create_message,
    dispatched_names,
    http,
    listening,
    ok,
    rest_server,
    sent_payloads,
    slash_callback,
)


def test_interaction_is_answered_edited_and_followed_up() -> None:
    server = rest_server()
    listener = listening(server)
    path = slash_callback(server)

    answered = ok(
        server, "POST", f"{path}?with_response=true", {"type": 4, "data": {"content": "pong"}}
    )

    message = answered["resource"]["message"]
    assert (message["content"], message["type"]) == ("pong", 20)
    assert message["interaction_metadata"]["user"]["id"] == "4000"
    assert ok(server, "GET", ORIGINAL)["content"] == "pong"
    assert ok(server, "GET", ORIGINAL.replace("@", "%40"))["content"] == "pong"
    assert ok(server, "PATCH", ORIGINAL, {"content": "new"})["content"] == "new"
    more = ok(server, "POST", WEBHOOK, {"content": "more"})
    assert ok(server, "GET", f"{WEBHOOK}/messages/{more['id']}")["content"] == "more"
    ok(server, "DELETE", ORIGINAL)
    assert dispatched_names(listener) == [
        "INTERACTION_CREATE", "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_CREATE",
        "MESSAGE_DELETE",
    ]  # fmt: skip
    assert code_of(server, "GET", ORIGINAL) == (404, 10008)
    assert code_of(server, "POST", path, {"type": 4}) == (400, 40060)


def test_deferred_response_is_edited_by_the_first_followup() -> None:
    server = rest_server()
    path = slash_callback(server)
    assert http(server, "POST", path, {"type": 5}, token=None) == (204, None)
    loading = ok(server, "GET", ORIGINAL)

    done = ok(server, "POST", WEBHOOK, {"content": "late"})

    assert (loading["flags"], done["flags"], done["id"]) == (128, 0, loading["id"])
    assert done["content"] == "late"


def test_ephemeral_response_is_not_dispatched() -> None:
    server = rest_server()
    path = slash_callback(server)
    listener = listening(server)

    ok(server, "POST", path, {"type": 4, "data": {"content": "only you", "flags": 64}})

    assert sent_payloads(listener) == []
    assert ok(server, "GET", ORIGINAL)["content"] == "only you"
    assert ok(server, "PATCH", ORIGINAL, {"content": "x"})["flags"] == 64
    assert ok(server, "GET", f"{CHANNEL}/messages") == []
    ok(server, "DELETE", ORIGINAL)
    assert sent_payloads(listener) == []


def test_button_updates_its_message() -> None:
    server = rest_server()
    message = create_message(server)
    press = button_press(
        server.world, "b", message_id=message["id"], id_="80", token="tok", values=["x"]
    )
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    ok(
        server,
        "POST",
        "/api/v10/interactions/80/tok/callback",
        {"type": 7, "data": {"content": "new"}},
    )

    assert ok(server, "GET", ORIGINAL)["content"] == "new"
    assert press["data"] == {"custom_id": "b", "component_type": 3, "values": ["x"]}


@pytest.mark.parametrize(("type_", "status"), [(6, 204), (9, 204), (8, 204), (None, 400)])
def test_callbacks_without_a_new_message_are_accepted(type_: Any, status: int) -> None:
    server = rest_server()
    id_ = create_message(server)["id"]
    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    path = "/api/v10/interactions/80/tok/callback"
    assert http(server, "POST", path, {"type": type_})[0] == status


def test_deferred_update_keeps_the_message() -> None:
    server = rest_server()
    id_ = create_message(server)["id"]
    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    ok(server, "POST", "/api/v10/interactions/80/tok/callback", {"type": 6})

    assert ok(server, "PATCH", ORIGINAL, {"content": "later"})["id"] == id_


def test_modal_callback_has_no_message_in_its_response() -> None:
    server = rest_server()
    path = slash_callback(server)

    answered = ok(server, "POST", f"{path}?with_response=1", {"type": 9, "data": {}})

    assert answered["resource"] == {"type": 9}


def test_unknown_interaction_or_message_is_answered_with_404() -> None:
    server = rest_server()
    slash_callback(server)

    assert code_of(server, "POST", "/api/interactions/80/x/callback", {"type": 4}) == (404, 10062)
    assert code_of(server, "POST", "/api/interactions/81/tok/callback", {"type": 4}) == (404, 10062)
    assert code_of(server, "POST", "/api/interactions/80/tok/callback", {"type": 7}) == (404, 10008)
    assert code_of(server, "GET", f"/api/webhooks/{APP}/x/messages/@original") == (404, 10015)
    assert code_of(server, "POST", WEBHOOK, {"content": "x"}) == (404, 10015)


def test_interaction_in_private_channel_is_answered_there() -> None:
    server = rest_server()
    channel = ok(server, "POST", "/api/users/@me/channels", {"recipient_id": "4001"})
    path = slash_callback(server, channel_id=channel["id"])

    ok(server, "POST", path, {"type": 4, "data": {"content": "x"}})

    (interaction,) = server.world.interactions
    assert (interaction["user"]["id"], interaction["context"]) == ("4001", 1)
    ok(server, "DELETE", ORIGINAL)
    assert ok(server, "POST", "/api/users/@me/channels", {"recipient_id": "4001"}) == channel
    assert code_of(server, "POST", "/api/users/@me/channels", {})[1] == 50033


def test_private_channel_is_created_without_a_dispatch() -> None:
    server = rest_server()
    listener = listening(server)

    channel = ok(server, "POST", "/api/users/@me/channels", {"recipient_id": "4001"})
    ok(server, "POST", f"/api/channels/{channel['id']}/messages", {"content": "x"})

    assert dispatched_names(listener) == ["MESSAGE_CREATE"]
    assert server.world.private_channels == (channel,)


def test_components_of_messages_and_modals_have_ids() -> None:
    server = rest_server()
    body = {"components": [{"type": 1, "components": [{"type": 2, "custom_id": "b"}]}]}

    sent = ok(server, "POST", "/api/channels/2000/messages", body)
    edited = ok(server, "PATCH", f"/api/channels/2000/messages/{sent['id']}", body)
    modal = modal_submit(server.world, "m", {"a": "x"}, id_="81", token="t")["data"]
    built = chat_message(server.world, "x", id_="82", **body)

    for components in (one["components"] for one in (sent, edited, modal, built)):
        assert (components[0]["id"], components[0]["components"][0]["id"]) == (1, 2)


def test_interactions_are_built_from_the_world() -> None:
    server = rest_server()
    command = ok(server, "POST", f"{COMMANDS}", {"name": "ping", "description": "d"})
    options = {"a": "x", "b": 1, "c": True, "d": 0.5}

    built = slash_command(server.world, "ping", options, id_="80", token="tok", user_id="4001")

    assert built["data"]["id"] == command["id"]
    assert [option["type"] for option in built["data"]["options"]] == [3, 4, 5, 10]
    assert (built["member"]["user"]["id"], built["guild_id"]) == ("4001", "1000")
    modal = modal_submit(server.world, "m", {"a": "x"}, id_="81", token="tok2")
    assert modal["data"]["components"][0]["components"][0]["value"] == "x"
    guild_command = ok(
        server,
        "POST",
        f"/api/applications/{APP}/guilds/1000/commands",
        {"name": "g", "description": "d"},
    )
    built = slash_command(server.world, "g", id_="82", token="t")
    assert (built["data"]["id"], built["data"]["guild_id"]) == (guild_command["id"], "1000")
    message = chat_message(server.world, "x", id_="1", timestamp="t", channel_id="2000")
    assert (message["guild_id"], message["timestamp"]) == ("1000", "t")


def test_slash_command_prefers_the_command_of_the_guild() -> None:
    world = rest_server().world
    commands = [
        {"id": "70", "name": "a", "type": 1, "options": [{"name": "x", "type": 10}, {}, 5]},
        {"id": "71", "name": "a", "type": 1, "guild_id": "1000", "options": None},
        {"id": "72", "name": "b", "type": 2},
    ]
    world = world.with_fields(commands=tuple(commands))

    found = [find_command(world, "a", "1000"), find_command(world, "a")]

    assert [command and command["id"] for command in found] == ["71", "70"]
    assert find_command(world, "b") is None
    assert [option["name"] for option in command_options(commands[0])] == ["x"]
    assert command_options(commands[1]) == []


def test_shown_modals_are_listed_newest_first() -> None:
    server = rest_server()
    for id_ in ("80", "81", "82"):
        data = slash_command(server.world, "ping", id_=id_, token=id_)
        server.dispatch("INTERACTION_CREATE", data, now=0.0)
    for id_ in ("80", "81"):
        body = {"type": 9, "data": {"custom_id": id_}}
        ok(server, "POST", f"/api/v10/interactions/{id_}/{id_}/callback", body)

    shown = [(modal["custom_id"], opened["id"]) for modal, opened in shown_modals(server.world)]

    assert shown == [("81", "81"), ("80", "80")]
    row = {"type": 10}
    message = {"id": "5"}
    made = modal_submit(server.world, "m", [row], id_="83", token="t", message=message)
    assert (made["data"]["components"], made["message"]) == ([{**row, "id": 1}], message)
    assert "resolved" not in made["data"]


def test_submitted_modal_has_the_objects_of_its_values() -> None:
    world = World.with_guild("Test", members=2)
    file = make_attachment(
        5, "a.txt", size=3, url="https://cdn.example/a", content_type="text/plain"
    )
    resolved = {"attachments": {"5": file}, **resolved_objects(world, "2000", 5, ["4001"])}

    made = modal_submit(world, "m", {}, id_="83", token="t", resolved=resolved)

    found = made["data"]["resolved"]
    assert found["attachments"]["5"] == {**file, "id": "5", "proxy_url": "https://cdn.example/a"}
    assert found["users"]["4001"]["username"] == "member-2"
    assert set(found["members"]) == {"4001"}
    with pytest.raises(LocalProtocolError, match="invalid value '4001': expected an id of the gui"):
        resolved_objects(world, "2000", 8, ["4001"])


def test_builders_name_the_object_missing_in_the_world() -> None:
    world = World.with_guild("Test", members=0, channels=())

    with pytest.raises(LocalProtocolError, match="missing text channel"):
        chat_message(world, "x", id_="1")
    world = World.with_guild("Test", members=0)
    with pytest.raises(LocalProtocolError, match="missing user in the channel"):
        chat_message(world, "x", id_="1")
    for wrong in ({"author_id": "404"}, {"channel_id": "404"}):
        with pytest.raises(LocalProtocolError, match=r"invalid (user|channel)_id '404'"):
            chat_message(world, "x", id_="1", **wrong)
    with pytest.raises(LocalProtocolError, match="message_id"):
        button_press(world, "b", message_id="404", id_="1", token="t")


def test_pressed_button_has_no_values() -> None:
    server = rest_server()
    id_ = create_message(server)["id"]

    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")

    assert press["data"] == {"custom_id": "b", "component_type": 2}
    assert press["message"]["id"] == id_


def test_component_interaction_is_answered_with_its_own_message() -> None:
    server = rest_server()
    id_ = create_message(server)["id"]
    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    ok(server, "POST", "/api/interactions/80/tok/callback", {"type": 4, "data": {"content": "x"}})

    assert ok(server, "GET", ORIGINAL)["type"] == 0


# ----- application commands -----


@pytest.mark.parametrize("path", [COMMANDS, f"/api/v10/applications/{APP}/guilds/1000/commands"])
def test_commands_are_replaced_created_edited_and_deleted(path: str) -> None:
    server = rest_server()
    ping, other = {"name": "ping", "description": "d"}, {"name": "Info", "type": 2}

    first = ok(server, "PUT", path, [ping, other])

    assert ok(server, "GET", path) == first
    again = ok(server, "PUT", path, [ping])
    assert [command["id"] for command in again] == [first[0]["id"]]
    assert http(server, "POST", path, ping)[0] == 200
    status, new = http(server, "POST", path, {**ping, "name": "new"})
    assert status == 201
    one = f"{path}/{new['id']}"
    assert ok(server, "PATCH", one, {"description": "e"})["description"] == "e"
    assert ok(server, "GET", one)["description"] == "e"
    ok(server, "DELETE", one)
    assert code_of(server, "GET", one) == (404, 10063)
    assert len(ok(server, "GET", path)) == 1


def test_invalid_commands_are_answered_with_400() -> None:
    server = rest_server()

    for body in ({}, [5], [{"name": "x"}], [{"name": "", "type": 2}], [{"name": "x"}] * 111):
        assert code_of(server, "PUT", COMMANDS, body) == (400, 50035)
    assert code_of(server, "GET", "/api/applications/5/commands") == (404, 10002)
    assert ok(server, "GET", f"/api/applications/{APP}/guilds/1000/commands/permissions") == []


@pytest.mark.parametrize(
    ("type_", "values", "resolved"),
    [
        (5, ["4000"], {"users": ["4000"], "members": ["4000"]}),
        (6, ["1000"], {"roles": ["1000"]}),
        (7, ["1000", "4001"], {"roles": ["1000"], "users": ["4001"], "members": ["4001"]}),
        (8, ["2000"], {"channels": ["2000"]}),
    ],
)
def test_menu_of_objects_has_the_selected_ones(
    type_: int, values: list[str], resolved: dict[str, list[str]]
) -> None:
    server = rest_server()
    menu = {"type": type_, "custom_id": "menu"}
    message = create_message(server, components=[{"type": 1, "components": [menu]}])
    given = {"message_id": message["id"], "id_": "80", "token": "tok"}

    data = button_press(server.world, "menu", values=values, **given)["data"]

    assert (data["component_type"], data["values"]) == (type_, values)
    assert {kind: list(found) for kind, found in data["resolved"].items()} == resolved
    with pytest.raises(LocalProtocolError, match="invalid value '404': expected an id of the"):
        button_press(server.world, "menu", values=["404"], **given)
