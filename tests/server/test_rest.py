"""REST routes: answered out of the world, recorded, scripted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import HttpRequested, LocalProtocolError, Server, ServerConfig, World
from gateway_proto._rest_call import iso_time
from gateway_proto.interactions import (
    button_press,
    chat_message,
    command_options,
    find_command,
    modal_submit,
    shown_modals,
    slash_command,
)
from tests.server.talk import http, identify_on, said

APP = World().application["id"]
CHANNEL = "/api/v10/channels/2000"
COMMANDS = f"/api/v10/applications/{APP}/commands"
GUILD = "/api/v10/guilds/1000"
ALL = (1 << 26) - 1


def _server(**config: Any) -> Server:
    return Server(ServerConfig(world=World.with_guild("Test", members=2), **config))


def _listening(server: Server, intents: int = ALL) -> Any:
    connection = server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")
    identify_on(connection, intents=intents)
    said(connection)
    return connection


def _names(connection: Any) -> list[str]:
    return [payload["t"] for payload in said(connection)]


def _ok(server: Server, method: str, path: str, body: Any = None) -> Any:
    status, answer = http(server, method, path, body)
    assert status < 300, answer
    return answer


def _code(server: Server, method: str, path: str, body: Any = None) -> tuple[int, int]:
    status, answer = http(server, method, path, body)
    return status, answer["code"]


def _message(server: Server, content: str = "hi", **body: Any) -> dict[str, Any]:
    message: dict[str, Any] = _ok(
        server, "POST", f"{CHANNEL}/messages", {"content": content, **body}
    )
    return message


# ----- messages -----


def test_created_message_is_dispatched_as_message_create() -> None:
    server = _server()
    listener, without_content = _listening(server), _listening(server, ALL & ~(1 << 15))
    other = _listening(server, 1)

    message = _message(server, "hi <@4000> <@&1000> <@9>", nonce="n", tts=True)

    (created,) = said(listener)
    assert created["t"] == "MESSAGE_CREATE"
    assert {**created["d"], **message} == created["d"]
    assert (created["d"]["guild_id"], "joined_at" in created["d"]["member"]) == ("1000", True)
    # A bot reads its own messages without the intent.
    assert said(without_content)[0]["d"]["content"] == message["content"]
    assert said(other) == []
    assert [user["id"] for user in message["mentions"]] == ["4000"]
    assert (message["mention_roles"], message["nonce"]) == (["1000"], "n")
    assert message["timestamp"] == "2026-01-01T00:00:00.000000+00:00"


def test_message_is_read_edited_and_deleted() -> None:
    server = _server()
    listener = _listening(server)
    path = f"{CHANNEL}/messages/{_message(server)['id']}"

    edited = _ok(server, "PATCH", path, {"content": "new", "embeds": [{}], "components": [],
                                         "flags": 4, "attachments": []})  # fmt: skip

    assert (edited["content"], edited["embeds"], edited["flags"]) == ("new", [{"type": "rich"}], 4)
    assert edited["edited_timestamp"] is not None
    assert _ok(server, "GET", path) == edited
    assert _ok(server, "DELETE", path) is None
    assert _names(listener) == ["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"]
    assert _code(server, "GET", path) == (404, 10008)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 50006),
        ({"content": "x" * 2001}, 50035),
        ({"content": "x", "embeds": [{}] * 11}, 50035),
        ({"content": 5}, 50035),
        ([1], 50035),
        (b"{", 50109),
        (b"[" * 60_000, 50109),
        ({"content": "x", "message_reference": {"message_id": "404"}}, 50035),
    ],
)
def test_invalid_body_is_answered_with_400(body: Any, code: int) -> None:
    server = _server()

    assert _code(server, "POST", f"{CHANNEL}/messages", body) == (400, code)
    assert server.world.messages == ()


def test_reply_names_the_referenced_message() -> None:
    server = _server()
    first = _message(server)

    reply = _message(server, "re", message_reference={"message_id": first["id"]})
    lost = _message(
        server, "re", message_reference={"message_id": "404", "fail_if_not_exists": False}
    )

    assert (reply["type"], reply["referenced_message"]["content"]) == (19, "hi")
    assert (lost["type"], lost["referenced_message"]) == (19, None)


def test_null_in_a_body_is_treated_as_absent() -> None:
    server = _server()
    allowed = {"parse": None, "users": None, "roles": None}

    sent = _message(server, "<@4000> <@&1000> @everyone", tts=None, allowed_mentions=allowed)

    assert sent["tts"] is False
    assert (sent["mentions"], sent["mention_roles"], sent["mention_everyone"]) == ([], [], False)


def test_allowed_mentions_limit_the_mentioned_users() -> None:
    server = _server()
    content = "<@4000> <@4001> <@&1000> @everyone"

    nobody = _message(server, content, allowed_mentions={"parse": []})
    one = _message(server, content, allowed_mentions={"parse": ["everyone"], "users": ["4001"]})

    assert (nobody["mentions"], nobody["mention_roles"]) == ([], [])
    assert nobody["mention_everyone"] is False
    assert ([user["id"] for user in one["mentions"]], one["mention_everyone"]) == (["4001"], True)


def test_poll_and_stickers_make_a_valid_message() -> None:
    server = _server()

    message = _message(server, "", poll={"question": {"text": "?"}}, sticker_ids=["5"])

    assert message["poll"]["question"]["text"] == "?"
    assert message["sticker_items"][0]["id"] == "5"


def _multipart(*parts: tuple[str, bytes]) -> tuple[bytes, str]:
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return body + b"--b--\r\n", "multipart/form-data; boundary=b"


def test_files_of_a_multipart_body_become_attachments() -> None:
    server = _server()
    payload = {"content": "x", "attachments": [{"id": 0, "description": "d", "filename": "y"}]}
    body, type_ = _multipart(
        ('name="payload_json"', json.dumps(payload).encode()),
        ('name="files[0]"; filename="a.txt"\r\nContent-Type: text/plain', b"\r\n\x00data"),
        ('name="files[1]"; filename="b"', b""),
    )

    status, message = http(server, "POST", f"{CHANNEL}/messages", body, content_type=type_)

    assert status == 200
    first, second = message["attachments"]
    assert (first["filename"], first["description"], first["size"]) == ("y", "d", 7)
    assert (second["filename"], second["content_type"]) == ("b", "application/octet-stream")
    requested = server.rest.requests[-1]
    assert requested.json == payload
    assert [file.data for file in requested.files] == [b"\r\n\x00data", b""]
    kept = _ok(server, "PATCH", f"{CHANNEL}/messages/{message['id']}",
               {"attachments": [{"id": first["id"]}]})  # fmt: skip
    assert [attachment["id"] for attachment in kept["attachments"]] == [first["id"]]


def test_files_of_an_edit_are_added() -> None:
    server = _server()
    path = f"{CHANNEL}/messages/{_message(server)['id']}"
    body, type_ = _multipart(('name="files[0]"; filename="a.txt"', b"data"))

    _, message = http(server, "PATCH", path, body, content_type=type_)

    assert [attachment["filename"] for attachment in message["attachments"]] == ["a.txt"]


def test_form_fields_replace_the_json_payload() -> None:
    server = _server()
    body, type_ = _multipart(('name="content"', b"hi"))

    status, message = http(server, "POST", f"{CHANNEL}/messages", body, content_type=type_)

    assert (status, message["content"]) == (200, "hi")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"x", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=b"),
        (b"--b\r\nno name\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b"),
        (b'--b\r\nX: x; name="x"\r\n--b--', "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\n" * 200, "multipart/form-data; boundary=b"),
    ],
)
def test_invalid_multipart_body_is_answered_with_400(body: bytes, content_type: str) -> None:
    status, answer = http(_server(), "POST", f"{CHANNEL}/messages", body, content_type=content_type)

    assert (status, answer["code"]) == (400, 50109)


def test_json_body_over_one_mebibyte_is_answered_with_413() -> None:
    body = b'"' + b"x" * 2**20 + b'"'

    assert _code(_server(), "POST", f"{CHANNEL}/messages", body) == (413, 40005)


def test_messages_are_listed_around_a_given_id() -> None:
    server = _server()
    ids = [_message(server, str(n))["id"] for n in range(5)]
    path = f"{CHANNEL}/messages"

    def listed(query: str) -> list[int]:
        return [ids.index(message["id"]) for message in _ok(server, "GET", f"{path}?{query}")]

    assert listed("") == [4, 3, 2, 1, 0]
    assert listed("limit=2") == [4, 3]
    assert listed(f"before={ids[2]}&limit=1") == [1]
    assert listed(f"after={ids[1]}&limit=2") == [3, 2]
    assert listed(f"around={ids[2]}&limit=3") == [3, 2, 1]
    assert listed("before=x&limit=zero") == [4, 3, 2, 1, 0]


def test_messages_are_deleted_in_bulk() -> None:
    server = _server()
    listener = _listening(server)
    ids = [_message(server)["id"] for _ in range(2)]

    _ok(server, "POST", f"{CHANNEL}/messages/bulk-delete", {"messages": ids})

    assert _names(listener)[-1] == "MESSAGE_DELETE_BULK"
    assert server.world.messages == ()
    assert _code(server, "POST", f"{CHANNEL}/messages/bulk-delete", {"messages": "x"})[1] == 50035


def test_message_of_another_user_cannot_be_edited() -> None:
    server = _server()
    server.dispatch("MESSAGE_CREATE", chat_message(server.world, "x", id_="7"), now=0.0)

    assert _code(server, "PATCH", f"{CHANNEL}/messages/7", {"content": "y"}) == (403, 50005)


@pytest.mark.parametrize("path", ["pins", "messages/pins"])
def test_message_is_pinned(path: str) -> None:
    server = _server()
    listener = _listening(server)
    id_ = _message(server)["id"]

    _ok(server, "PUT", f"{CHANNEL}/{path}/{id_}")

    assert _names(listener)[1:] == ["MESSAGE_UPDATE", "CHANNEL_PINS_UPDATE"]
    found = _ok(server, "GET", f"{CHANNEL}/{path}")
    message = found[0] if path == "pins" else found["items"][0]["message"]
    assert message["id"] == id_
    _ok(server, "DELETE", f"{CHANNEL}/{path}/{id_}")
    assert _ok(server, "GET", f"{CHANNEL}/pins") == []


def test_reactions_are_added_listed_and_removed() -> None:
    server = _server()
    listener = _listening(server)
    path = f"{CHANNEL}/messages/{_message(server)['id']}"
    reactions = f"{path}/reactions"
    said(listener)

    _ok(server, "PUT", f"{reactions}/%F0%9F%91%8D/@me")
    _ok(server, "PUT", f"{reactions}/name:55/@me")

    message = _ok(server, "GET", path)
    assert [r["emoji"]["name"] for r in message["reactions"]] == ["👍", "name"]
    assert (message["reactions"][0]["count"], message["reactions"][0]["me"]) == (1, True)
    assert "user_ids" not in message["reactions"][0]
    assert [u["id"] for u in _ok(server, "GET", f"{reactions}/name:55")] == [APP]
    assert _ok(server, "GET", f"{reactions}/other:56") == []
    _ok(server, "DELETE", f"{reactions}/name:55/@me")
    _ok(server, "DELETE", f"{reactions}/%F0%9F%91%8D/{APP}")
    assert _ok(server, "GET", path)["reactions"] == []
    _ok(server, "PUT", f"{reactions}/a:name:55/@me")
    _ok(server, "DELETE", f"{reactions}/name:55")
    _ok(server, "DELETE", reactions)
    assert _names(listener) == [
        "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE",
        "MESSAGE_REACTION_REMOVE", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE_EMOJI",
        "MESSAGE_REACTION_REMOVE_ALL",
    ]  # fmt: skip
    assert _code(server, "PUT", f"{reactions}/name:x/@me") == (400, 10014)


def test_reaction_to_an_unknown_message_has_no_effect() -> None:
    world = World.with_guild("Test")

    for name in ("MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE_ALL"):
        assert world.after(name, {"message_id": "5", "emoji": {"name": "x"}}) is world
    known = world.after("MESSAGE_CREATE", {"id": "5"})
    assert known.after("MESSAGE_REACTION_ADD", {"message_id": "5", "emoji": 5}) is known


# ----- interactions -----


def _slash(server: Server, **fields: Any) -> str:
    data = slash_command(server.world, "ping", id_="80", token="tok", **fields)
    server.dispatch("INTERACTION_CREATE", data, now=0.0)
    return "/api/v10/interactions/80/tok/callback"


WEBHOOK = f"/api/v10/webhooks/{APP}/tok"
ORIGINAL = f"{WEBHOOK}/messages/@original"


def test_interaction_is_answered_edited_and_followed_up() -> None:
    server = _server()
    listener = _listening(server)
    path = _slash(server)

    answered = _ok(
        server, "POST", f"{path}?with_response=true", {"type": 4, "data": {"content": "pong"}}
    )

    message = answered["resource"]["message"]
    assert (message["content"], message["type"]) == ("pong", 20)
    assert message["interaction_metadata"]["user"]["id"] == "4000"
    assert _ok(server, "GET", ORIGINAL)["content"] == "pong"
    assert _ok(server, "GET", ORIGINAL.replace("@", "%40"))["content"] == "pong"
    assert _ok(server, "PATCH", ORIGINAL, {"content": "new"})["content"] == "new"
    more = _ok(server, "POST", WEBHOOK, {"content": "more"})
    assert _ok(server, "GET", f"{WEBHOOK}/messages/{more['id']}")["content"] == "more"
    _ok(server, "DELETE", ORIGINAL)
    assert _names(listener) == [
        "INTERACTION_CREATE", "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_CREATE",
        "MESSAGE_DELETE",
    ]  # fmt: skip
    assert _code(server, "GET", ORIGINAL) == (404, 10008)
    assert _code(server, "POST", path, {"type": 4}) == (400, 40060)


def test_deferred_response_is_edited_by_the_first_followup() -> None:
    server = _server()
    path = _slash(server)
    assert http(server, "POST", path, {"type": 5}, token=None) == (204, None)
    loading = _ok(server, "GET", ORIGINAL)

    done = _ok(server, "POST", WEBHOOK, {"content": "late"})

    assert (loading["flags"], done["flags"], done["id"]) == (128, 0, loading["id"])
    assert done["content"] == "late"


def test_ephemeral_response_is_not_dispatched() -> None:
    server = _server()
    path = _slash(server)
    listener = _listening(server)

    _ok(server, "POST", path, {"type": 4, "data": {"content": "only you", "flags": 64}})

    assert said(listener) == []
    assert _ok(server, "GET", ORIGINAL)["content"] == "only you"
    assert _ok(server, "PATCH", ORIGINAL, {"content": "x"})["flags"] == 64
    assert _ok(server, "GET", f"{CHANNEL}/messages") == []
    _ok(server, "DELETE", ORIGINAL)
    assert said(listener) == []


def test_button_updates_its_message() -> None:
    server = _server()
    message = _message(server)
    press = button_press(
        server.world, "b", message_id=message["id"], id_="80", token="tok", values=["x"]
    )
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    _ok(
        server,
        "POST",
        "/api/v10/interactions/80/tok/callback",
        {"type": 7, "data": {"content": "new"}},
    )

    assert _ok(server, "GET", ORIGINAL)["content"] == "new"
    assert press["data"] == {"custom_id": "b", "component_type": 3, "values": ["x"]}


@pytest.mark.parametrize(("type_", "status"), [(6, 204), (9, 204), (8, 204), (None, 400)])
def test_callbacks_without_a_new_message_are_accepted(type_: Any, status: int) -> None:
    server = _server()
    id_ = _message(server)["id"]
    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    path = "/api/v10/interactions/80/tok/callback"
    assert http(server, "POST", path, {"type": type_})[0] == status


def test_deferred_update_keeps_the_message() -> None:
    server = _server()
    id_ = _message(server)["id"]
    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    _ok(server, "POST", "/api/v10/interactions/80/tok/callback", {"type": 6})

    assert _ok(server, "PATCH", ORIGINAL, {"content": "later"})["id"] == id_


def test_modal_callback_has_no_message_in_its_response() -> None:
    server = _server()
    path = _slash(server)

    answered = _ok(server, "POST", f"{path}?with_response=1", {"type": 9, "data": {}})

    assert answered["resource"] == {"type": 9}


def test_unknown_interaction_or_message_is_answered_with_404() -> None:
    server = _server()
    _slash(server)

    assert _code(server, "POST", "/api/interactions/80/x/callback", {"type": 4}) == (404, 10062)
    assert _code(server, "POST", "/api/interactions/81/tok/callback", {"type": 4}) == (404, 10062)
    assert _code(server, "POST", "/api/interactions/80/tok/callback", {"type": 7}) == (404, 10008)
    assert _code(server, "GET", f"/api/webhooks/{APP}/x/messages/@original") == (404, 10015)
    assert _code(server, "POST", WEBHOOK, {"content": "x"}) == (404, 10015)


def test_interaction_in_private_channel_is_answered_there() -> None:
    server = _server()
    channel = _ok(server, "POST", "/api/users/@me/channels", {"recipient_id": "4001"})
    path = _slash(server, channel_id=channel["id"])

    _ok(server, "POST", path, {"type": 4, "data": {"content": "x"}})

    (interaction,) = server.world.interactions
    assert (interaction["user"]["id"], interaction["context"]) == ("4001", 1)
    _ok(server, "DELETE", ORIGINAL)
    assert _ok(server, "POST", "/api/users/@me/channels", {"recipient_id": "4001"}) == channel
    assert _code(server, "POST", "/api/users/@me/channels", {})[1] == 50033


def test_private_channel_is_created_without_a_dispatch() -> None:
    server = _server()
    listener = _listening(server)

    channel = _ok(server, "POST", "/api/users/@me/channels", {"recipient_id": "4001"})
    _ok(server, "POST", f"/api/channels/{channel['id']}/messages", {"content": "x"})

    assert _names(listener) == ["MESSAGE_CREATE"]
    assert server.world.private_channels == (channel,)


def test_components_of_messages_and_modals_have_ids() -> None:
    server = _server()
    body = {"components": [{"type": 1, "components": [{"type": 2, "custom_id": "b"}]}]}

    sent = _ok(server, "POST", "/api/channels/2000/messages", body)
    edited = _ok(server, "PATCH", f"/api/channels/2000/messages/{sent['id']}", body)
    modal = modal_submit(server.world, "m", {"a": "x"}, id_="81", token="t")["data"]
    built = chat_message(server.world, "x", id_="82", **body)

    for components in (one["components"] for one in (sent, edited, modal, built)):
        assert (components[0]["id"], components[0]["components"][0]["id"]) == (1, 2)


def test_interactions_are_built_from_the_world() -> None:
    server = _server()
    command = _ok(server, "POST", f"{COMMANDS}", {"name": "ping", "description": "d"})
    options = {"a": "x", "b": 1, "c": True, "d": 0.5}

    built = slash_command(server.world, "ping", options, id_="80", token="tok", user_id="4001")

    assert built["data"]["id"] == command["id"]
    assert [option["type"] for option in built["data"]["options"]] == [3, 4, 5, 10]
    assert (built["member"]["user"]["id"], built["guild_id"]) == ("4001", "1000")
    modal = modal_submit(server.world, "m", {"a": "x"}, id_="81", token="tok2")
    assert modal["data"]["components"][0]["components"][0]["value"] == "x"
    guild_command = _ok(
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
    world = _server().world
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
    server = _server()
    for id_ in ("80", "81", "82"):
        data = slash_command(server.world, "ping", id_=id_, token=id_)
        server.dispatch("INTERACTION_CREATE", data, now=0.0)
    for id_ in ("80", "81"):
        body = {"type": 9, "data": {"custom_id": id_}}
        _ok(server, "POST", f"/api/v10/interactions/{id_}/{id_}/callback", body)

    shown = [(modal["custom_id"], opened["id"]) for modal, opened in shown_modals(server.world)]

    assert shown == [("81", "81"), ("80", "80")]
    row = {"type": 10}
    message = {"id": "5"}
    made = modal_submit(server.world, "m", [row], id_="83", token="t", message=message)
    assert (made["data"]["components"], made["message"]) == ([{**row, "id": 1}], message)


def test_builders_name_the_object_missing_in_the_world() -> None:
    world = World.with_guild("Test", members=0, channels=())

    with pytest.raises(LocalProtocolError, match="no text channel"):
        chat_message(world, "x", id_="1")
    world = World.with_guild("Test", members=0)
    with pytest.raises(LocalProtocolError, match="nobody but the bot"):
        chat_message(world, "x", id_="1")
    for wrong in ({"author_id": "404"}, {"channel_id": "404"}):
        with pytest.raises(LocalProtocolError, match=r"invalid (user|channel)_id '404'"):
            chat_message(world, "x", id_="1", **wrong)
    with pytest.raises(LocalProtocolError, match="message_id"):
        button_press(world, "b", message_id="404", id_="1", token="t")


def test_pressed_button_has_no_values() -> None:
    server = _server()
    id_ = _message(server)["id"]

    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")

    assert press["data"] == {"custom_id": "b", "component_type": 2}
    assert press["message"]["id"] == id_


def test_component_interaction_is_answered_with_its_own_message() -> None:
    server = _server()
    id_ = _message(server)["id"]
    press = button_press(server.world, "b", message_id=id_, id_="80", token="tok")
    server.dispatch("INTERACTION_CREATE", press, now=0.0)

    _ok(server, "POST", "/api/interactions/80/tok/callback", {"type": 4, "data": {"content": "x"}})

    assert _ok(server, "GET", ORIGINAL)["type"] == 0


# ----- application commands -----


@pytest.mark.parametrize("path", [COMMANDS, f"/api/v10/applications/{APP}/guilds/1000/commands"])
def test_commands_are_replaced_created_edited_and_deleted(path: str) -> None:
    server = _server()
    ping, other = {"name": "ping", "description": "d"}, {"name": "Info", "type": 2}

    first = _ok(server, "PUT", path, [ping, other])

    assert _ok(server, "GET", path) == first
    again = _ok(server, "PUT", path, [ping])
    assert [command["id"] for command in again] == [first[0]["id"]]
    assert http(server, "POST", path, ping)[0] == 200
    status, new = http(server, "POST", path, {**ping, "name": "new"})
    assert status == 201
    one = f"{path}/{new['id']}"
    assert _ok(server, "PATCH", one, {"description": "e"})["description"] == "e"
    assert _ok(server, "GET", one)["description"] == "e"
    _ok(server, "DELETE", one)
    assert _code(server, "GET", one) == (404, 10063)
    assert len(_ok(server, "GET", path)) == 1


def test_invalid_commands_are_answered_with_400() -> None:
    server = _server()

    for body in ({}, [5], [{"name": "x"}], [{"name": "", "type": 2}], [{"name": "x"}] * 111):
        assert _code(server, "PUT", COMMANDS, body) == (400, 50035)
    assert _code(server, "GET", "/api/applications/5/commands") == (404, 10002)
    assert _ok(server, "GET", f"/api/applications/{APP}/guilds/1000/commands/permissions") == []


# ----- guilds, members, roles, channels, users -----


def test_guild_and_its_lists_are_read() -> None:
    server = _server()

    guild = _ok(server, "GET", f"{GUILD}?with_counts=1")

    assert (guild["name"], guild["approximate_member_count"]) == ("Test", 3)
    assert "members" not in guild
    assert "approximate_member_count" not in _ok(server, "GET", GUILD)
    assert [c["name"] for c in _ok(server, "GET", f"{GUILD}/channels")] == ["general", "Voice"]
    assert [r["name"] for r in _ok(server, "GET", f"{GUILD}/roles")] == ["@everyone"]
    assert _ok(server, "GET", f"{GUILD}/emojis") == []
    assert _ok(server, "GET", "/api/users/@me/guilds")[0]["name"] == "Test"
    assert _ok(server, "GET", "/api/users/@me/channels") == []
    assert _code(server, "GET", "/api/guilds/404") == (404, 10004)


def test_guild_is_edited_and_left() -> None:
    server = _server()
    listener = _listening(server)

    assert _ok(server, "PATCH", GUILD, {"name": "New", "id": "5"})["name"] == "New"
    assert _code(server, "PATCH", GUILD, {"name": 5}) == (400, 50035)
    _ok(server, "DELETE", "/api/users/@me/guilds/1000")

    assert _names(listener) == ["GUILD_UPDATE", "GUILD_DELETE"]
    assert server.world.guilds == ()


def test_members_are_listed_and_searched() -> None:
    server = _server()

    def ids(path: str) -> list[str]:
        return [member["user"]["id"] for member in _ok(server, "GET", f"{GUILD}/members{path}")]

    assert ids("?limit=1000") == ["4000", "4001", APP]
    assert ids("?limit=1&after=4000") == ["4001"]
    assert ids("?after=x") == ["4000"]
    assert ids("/search?query=MEMBER&limit=9") == ["4000", "4001"]
    assert _ok(server, "GET", f"{GUILD}/members/4001")["user"]["username"] == "member-2"
    assert _code(server, "GET", f"{GUILD}/members/404") == (404, 10007)


def test_member_is_edited_and_removed() -> None:
    server = _server()
    listener = _listening(server)
    member, role = f"{GUILD}/members/4001", _ok(server, "POST", f"{GUILD}/roles", {"name": "r"})

    edited = _ok(server, "PATCH", member, {"nick": "n", "mute": None})
    assert (edited["nick"], edited["mute"]) == ("n", False)
    assert _ok(server, "PATCH", f"{GUILD}/members/@me", {"nick": "me"})["nick"] == "me"
    _ok(server, "PUT", f"{member}/roles/{role['id']}")
    assert _ok(server, "GET", member)["roles"] == [role["id"]]
    _ok(server, "DELETE", f"{member}/roles/{role['id']}")
    assert _ok(server, "GET", member)["roles"] == []
    _ok(server, "DELETE", member)
    _ok(server, "PUT", f"{GUILD}/bans/4000")
    _ok(server, "PUT", f"{GUILD}/bans/{APP}")
    _ok(server, "DELETE", f"{GUILD}/bans/4000")
    assert _code(server, "PUT", f"{GUILD}/bans/404") == (404, 10013)
    assert _code(server, "PUT", f"{GUILD}/members/{APP}/roles/404")[0] == 404
    assert _names(listener) == [
        "GUILD_ROLE_CREATE", *["GUILD_MEMBER_UPDATE"] * 4, "GUILD_MEMBER_REMOVE", "GUILD_BAN_ADD",
        "GUILD_MEMBER_REMOVE", "GUILD_BAN_ADD", "GUILD_MEMBER_REMOVE", "GUILD_BAN_REMOVE",
    ]  # fmt: skip


def test_ban_of_a_user_without_membership_removes_no_member() -> None:
    server = _server()
    server.world = server.world.after("CHANNEL_CREATE", {"id": "7", "recipients": [{"id": "9"}]})
    listener = _listening(server)

    _ok(server, "PUT", f"{GUILD}/bans/9")

    assert _names(listener) == ["GUILD_BAN_ADD"]


def test_unban_names_a_complete_user() -> None:
    server = _server()
    listener = _listening(server)

    _ok(server, "PUT", f"{GUILD}/bans/4000")
    _ok(server, "DELETE", f"{GUILD}/bans/4000")
    _ok(server, "DELETE", f"{GUILD}/bans/404")

    *_, known, unknown = (payload["d"]["user"] for payload in said(listener))
    assert (known["id"], known["avatar"]) == ("4000", None)
    assert (unknown["id"], unknown["avatar"]) == ("404", None)


def test_null_field_of_a_channel_is_its_default() -> None:
    server = _server()
    nulls = {"type": None, "topic": None, "nsfw": None, "permission_overwrites": None}

    new = _ok(server, "POST", f"{GUILD}/channels", {"name": "new", **nulls})
    path = f"/api/channels/{new['id']}"
    edited = _ok(server, "PATCH", path, {"topic": "x", "permission_overwrites": [{"id": "1"}]})
    reset = _ok(server, "PATCH", path, nulls)

    assert (new["type"], new["topic"], new["nsfw"], new["permission_overwrites"]) == (
        0,
        None,
        False,
        [],
    )
    assert edited == {**new, "topic": "x", "permission_overwrites": [{"id": "1"}]}
    assert reset == new
    assert _ok(server, "POST", f"{GUILD}/channels", {"name": "v", "type": 2})["bitrate"] == 64000


def test_roles_are_created_edited_and_deleted() -> None:
    server = _server()
    role = _ok(server, "POST", f"{GUILD}/roles", {"name": "r", "color": 5, "x": 1})
    path = f"{GUILD}/roles/{role['id']}"

    assert (role["name"], "x" in role) == ("r", False)
    assert _ok(server, "PATCH", path, {"name": "s"})["color"] == 5
    assert _ok(server, "GET", path)["name"] == "s"
    _ok(server, "DELETE", path)
    assert _code(server, "GET", path) == (404, 10011)
    assert _code(server, "DELETE", f"{GUILD}/roles/1000") == (400, 50028)


def test_channels_and_threads_are_created_edited_and_deleted() -> None:
    server = _server()
    listener = _listening(server)
    channel = _ok(server, "POST", f"{GUILD}/channels", {"name": "new"})
    path = f"/api/v10/channels/{channel['id']}"

    assert _ok(server, "PATCH", path, {"topic": "t"})["topic"] == "t"
    thread = _ok(server, "POST", f"{path}/threads", {"name": "th", "type": 12})
    inside = f"/api/v10/channels/{thread['id']}"
    assert (thread["parent_id"], thread["type"]) == (channel["id"], 12)
    active = _ok(server, "GET", f"{GUILD}/threads/active")["threads"]
    assert [found["id"] for found in active] == [thread["id"]]
    assert _ok(server, "PATCH", inside, {"archived": True})["thread_metadata"]["archived"] is True
    assert _ok(server, "GET", f"{GUILD}/threads/active")["threads"] == []
    _ok(server, "PUT", f"{inside}/thread-members/@me")
    _ok(server, "DELETE", f"{inside}/thread-members/@me")
    _ok(server, "DELETE", inside)
    _ok(server, "POST", f"{path}/typing")
    assert _ok(server, "DELETE", path)["id"] == channel["id"]
    assert _code(server, "GET", path) == (404, 10003)
    assert _names(listener) == [
        "CHANNEL_CREATE", "CHANNEL_UPDATE", "THREAD_CREATE", "THREAD_UPDATE",
        "THREAD_MEMBERS_UPDATE", "THREAD_MEMBERS_UPDATE", "THREAD_DELETE", "CHANNEL_DELETE",
    ]  # fmt: skip


def test_thread_of_a_message_has_its_id() -> None:
    server = _server()
    message = _message(server)

    thread = _ok(server, "POST", f"{CHANNEL}/messages/{message['id']}/threads", {"name": "t"})

    assert thread["id"] == message["id"]


def test_invalid_channels_are_answered_with_400() -> None:
    server = _server()

    for body in ({}, {"name": 5}, {"name": "x", "type": "y"}):
        assert _code(server, "POST", f"{GUILD}/channels", body) == (400, 50035)
    assert _code(server, "POST", f"{CHANNEL}/threads", {"name": ""}) == (400, 50035)


def test_users_and_the_application_are_read_and_edited() -> None:
    server = _server()

    assert _ok(server, "GET", "/api/users/4000")["username"] == "member-1"
    assert _code(server, "GET", "/api/users/404") == (404, 10013)
    edited = _ok(server, "PATCH", "/api/users/@me", {"username": "new", "avatar": None})
    assert (edited["username"], server.world.user["username"]) == ("new", "new")
    assert _ok(server, "PATCH", "/api/users/@me", {"avatar": "data:,"})["username"] == "new"
    application = _ok(server, "PATCH", "/api/applications/@me", {"description": "d", "id": "5"})
    assert (application["description"], application["id"]) == ("d", APP)


# ----- what is recorded, and what is unknown -----


def test_requests_are_recorded_without_their_token() -> None:
    server = _server(tokens={"secret-token"})
    connection = server.accept(now=0.0)
    connection.receive_data(
        b"POST /api/v10/channels/2000/messages?a=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 15\r\n"
        b'Authorization: Bot secret-token\r\n\r\n{"content":"x"}',
        now=0.0,
    )

    (requested,) = server.rest.requests
    assert requested == HttpRequested(
        "POST", "/api/v10/channels/2000/messages", 200, "a=1", {"content": "x"},
        route="/channels/{channel_id}/messages",
    )  # fmt: skip
    assert connection.events()[0] == requested
    assert "secret-token" not in repr(server.rest.requests)


def test_only_the_last_requests_are_kept() -> None:
    server = _server(requests_limit=2, requests_bytes=40)
    for _ in range(3):
        http(server, "GET", "/api/x")
    assert (len(server.rest.requests), len(server.rest.unknown)) == (2, 2)

    http(server, "POST", "/api/x", {"content": "x" * 50})
    assert len(server.rest.requests) == 0


def test_unknown_route_is_answered_with_404_and_listed() -> None:
    server = _server()

    assert http(server, "GET", "/api/v10/x") == (404, {"message": "404: Not Found", "code": 0})
    assert http(server, "DELETE", GUILD)[0] == 405
    assert [requested.path for requested in server.rest.unknown] == ["/api/v10/x", GUILD]


@pytest.mark.parametrize("token", [None, "wrong"])
def test_route_without_valid_token_is_answered_with_401(token: str | None) -> None:
    server = _server(tokens={"t"})

    assert http(server, "GET", GUILD, token=token)[0] == 401
    assert http(_server(), "GET", GUILD, token=None)[0] == 401


def test_body_without_etf_form_is_rejected_and_has_no_effect() -> None:
    pytest.importorskip("erlpack")
    server = _server()
    deep: Any = 0
    for _ in range(600):
        deep = [deep]

    answered = http(server, "PATCH", GUILD, {"description": deep})

    assert answered[0] == 400
    assert server.world.guilds[0]["description"] is None


# ----- scripts -----


def test_scripted_reply_replaces_the_answer_once() -> None:
    server = _server()
    path = "/channels/{channel_id}/messages"

    server.rest.reply("POST", path, status=500, json={"message": "x"}, times=1)
    server.rest.reply("GET", "/api/v10/more/{x}", body=b"{", headers={"X-A": "b"})

    assert http(server, "POST", f"{CHANNEL}/messages", {"content": "x"})[0] == 500
    assert http(server, "POST", f"{CHANNEL}/messages", {"content": "x"})[0] == 200
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /api/v10/more/5 HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)
    answered = connection.data_to_send()
    assert b"X-A: b\r\n" in answered and answered.endswith(b"\r\n\r\n{")
    assert http(server, "GET", "/api/v10/more/5/6")[0] == 404
    assert [requested.status for requested in server.rest.requests] == [500, 200, 200, 404]


def test_scripted_reply_for_several_times_ends_after_them() -> None:
    server = _server()
    server.rest.reply("GET", "/users/@me", status=503, times=2)

    statuses = [http(server, "GET", "/api/users/@me")[0] for _ in range(3)]

    assert statuses == [503, 503, 200]


@pytest.mark.parametrize(
    ("scope", "header"),
    [
        ("user", b"X-RateLimit-Bucket: gateway_proto\r\n"),
        ("global", b"X-RateLimit-Global: true\r\n"),
    ],
)
def test_rate_limit_has_the_documented_headers_and_body(scope: str, header: bytes) -> None:
    server = _server()
    server.rest.rate_limit("GET", "/users/@me", retry_after=0.5, scope=scope)
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /api/users/@me HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)

    answered = connection.data_to_send()

    assert answered.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 0.5\r\n" in answered and header in answered
    body = json.loads(answered.partition(b"\r\n\r\n")[2])
    assert (body["retry_after"], body["global"]) == (0.5, scope == "global")
    assert http(server, "GET", "/api/users/@me")[0] == 200


def _answer_text(server: Server, target: str) -> tuple[str, bytes]:
    """Return the head of the answer to GET in lower case, and the body."""
    connection = server.accept(now=0.0)
    connection.receive_data(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), now=0.0)
    head, _, body = connection.data_to_send().partition(b"\r\n\r\n")
    return head.decode().lower(), body


@pytest.mark.parametrize("target", ["/api/gateway", "/api/users/@me", "/api/none", "/api/limited"])
def test_rest_answer_has_the_via_header(target: str) -> None:
    server = _server()
    server.rest.rate_limit("GET", "/limited")

    head, _ = _answer_text(server, target)

    assert head.count("\r\nvia: 1.1 google") == 1


def test_via_header_of_a_reply_replaces_the_default() -> None:
    server = _server()
    server.rest.reply("GET", "/x", status=429, headers={"via": "1.1 own"})

    head, _ = _answer_text(server, "/x")

    assert head.count("\r\nvia: ") == 1 and "via: 1.1 own" in head


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"message": "400: Bad Request", "code": 0}),
        (500, {"message": "500: Internal Server Error", "code": 0}),
        (599, {"message": "599: Unknown Error", "code": 0}),
        (429, {"message": "You are being rate limited.", "retry_after": 1.0, "global": False}),
    ],
)
def test_error_reply_without_body_has_the_default_body(status: int, body: dict[str, Any]) -> None:
    server = _server()
    server.rest.reply("GET", "/x", status=status)

    head, text = _answer_text(server, "/x")

    assert "content-type: application/json" in head
    assert json.loads(text) == body


@pytest.mark.parametrize("arguments", [{"status": 204}, {}, {"status": 500, "body": b""}])
def test_reply_with_an_empty_body_has_no_content_type(arguments: dict[str, Any]) -> None:
    server = _server()
    server.rest.reply("GET", "/x", **arguments)

    head, text = _answer_text(server, "/x")

    assert "content-type" not in head
    assert text == b""


def test_ignored_request_has_no_answer_until_the_timeout() -> None:
    server = _server(handshake_timeout=5.0)
    server.rest.ignore("GET", "/users/@me")
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /api/users/@me HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)

    assert connection.data_to_send() == b""
    assert server.rest.requests[-1].status == 0
    connection.handle_timer(now=5.0)
    assert connection.state.value == "closed"
    assert http(server, "GET", "/api/users/@me")[0] == 200


def test_content_type_of_a_reply_replaces_the_default() -> None:
    server = _server()
    server.rest.reply("GET", "/x", body=b"<html>", headers={"Content-Type": "text/html"})
    connection = server.accept(now=0.0)
    connection.receive_data(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)

    assert connection.data_to_send().lower().count(b"content-type") == 1


def test_clear_removes_requests_and_scripts() -> None:
    server = _server()
    server.rest.reply("GET", "/users/@me", status=500)
    assert http(server, "GET", "/api/users/@me")[0] == 500

    server.rest.clear()

    assert len(server.rest.requests) == 0
    assert http(server, "GET", "/api/users/@me")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"method": "get"}, "invalid method 'get'"),
        ({"path": "users"}, "invalid path 'users'"),
        ({"status": 100}, "invalid status 100"),
        ({"times": 0}, "invalid times 0"),
        ({"body": "text"}, "invalid body 'text'"),
        ({"json": object()}, "JSON"),
        ({"headers": {"a b": "c"}}, "invalid header name 'a b'"),
        ({"headers": {"Content-Length": "5"}}, "invalid header name"),
        ({"headers": {"a": "b\r\nc"}}, "invalid header a"),
    ],
)
def test_script_with_invalid_arguments_is_rejected(arguments: dict[str, Any], error: str) -> None:
    rest = _server().rest

    with pytest.raises(LocalProtocolError, match=error):
        rest.reply(**{"method": "GET", "path": "/x", **arguments})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000+00:00"),
        (951782400.5, "2000-02-29T00:00:00.500000+00:00"),
        (1767225599.0, "2025-12-31T23:59:59.000000+00:00"),
    ],
)
def test_time_is_formatted_as_iso_8601(seconds: float, text: str) -> None:
    assert iso_time(seconds) == text


def test_ids_increase_and_contain_the_time() -> None:
    server = _server(unix_offset=1420070400.0)

    first, second = server.rest.new_id(now=1.0), server.rest.new_id(now=1.0)

    assert (int(first) >> 22, int(second) - int(first)) == (1000, 1)
