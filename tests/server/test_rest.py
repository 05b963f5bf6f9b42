"""REST routes of messages and reactions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto.server import World
from gateway_proto.server.interactions import chat_message
from tests.server.support import (
    ALL,
    APP,
    CHANNEL,
    code_of,
    create_message,
    dispatched_names,
    http,
    listening,
    ok,
    rest_server,
    sent_payloads,
)


def test_created_message_is_dispatched_as_message_create() -> None:
    server = rest_server()
    listener, without_content = listening(server), listening(server, ALL & ~(1 << 15))
    other = listening(server, 1)

    message = create_message(server, "hi <@4000> <@&1000> <@9>", nonce="n", tts=True)

    (created,) = sent_payloads(listener)
    assert created["t"] == "MESSAGE_CREATE"
    assert {**created["d"], **message} == created["d"]
    assert (created["d"]["guild_id"], "joined_at" in created["d"]["member"]) == ("1000", True)
    # A bot reads its own messages without the intent.
    assert sent_payloads(without_content)[0]["d"]["content"] == message["content"]
    assert sent_payloads(other) == []
    assert [user["id"] for user in message["mentions"]] == ["4000"]
    assert (message["mention_roles"], message["nonce"]) == (["1000"], "n")
    assert message["timestamp"] == "2026-01-01T00:00:00.000000+00:00"


def test_message_is_read_edited_and_deleted() -> None:
    server = rest_server()
    listener = listening(server)
    path = f"{CHANNEL}/messages/{create_message(server)['id']}"

    edited = ok(server, "PATCH", path, {"content": "new", "embeds": [{}], "components": [],
                                         "flags": 4, "attachments": []})  # fmt: skip

    assert (edited["content"], edited["embeds"], edited["flags"]) == ("new", [{"type": "rich"}], 4)
    assert edited["edited_timestamp"] is not None
    assert ok(server, "GET", path) == edited
    assert ok(server, "DELETE", path) is None
    assert dispatched_names(listener) == ["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"]
    assert code_of(server, "GET", path) == (404, 10008)


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
    server = rest_server()

    assert code_of(server, "POST", f"{CHANNEL}/messages", body) == (400, code)
    assert server.world.messages == ()


def test_reply_names_the_referenced_message() -> None:
    server = rest_server()
    first = create_message(server)

    reply = create_message(server, "re", message_reference={"message_id": first["id"]})
    lost = create_message(
        server, "re", message_reference={"message_id": "404", "fail_if_not_exists": False}
    )

    assert (reply["type"], reply["referenced_message"]["content"]) == (19, "hi")
    assert (lost["type"], lost["referenced_message"]) == (19, None)


def test_null_in_a_body_is_treated_as_absent() -> None:
    server = rest_server()
    allowed = {"parse": None, "users": None, "roles": None}

    sent = create_message(server, "<@4000> <@&1000> @everyone", tts=None, allowed_mentions=allowed)

    assert sent["tts"] is False
    assert (sent["mentions"], sent["mention_roles"], sent["mention_everyone"]) == ([], [], False)


def test_allowed_mentions_limit_the_mentioned_users() -> None:
    server = rest_server()
    content = "<@4000> <@4001> <@&1000> @everyone"

    nobody = create_message(server, content, allowed_mentions={"parse": []})
    one = create_message(
        server, content, allowed_mentions={"parse": ["everyone"], "users": ["4001"]}
    )

    assert (nobody["mentions"], nobody["mention_roles"]) == ([], [])
    assert nobody["mention_everyone"] is False
    assert ([user["id"] for user in one["mentions"]], one["mention_everyone"]) == (["4001"], True)


def test_poll_and_stickers_make_a_valid_message() -> None:
    server = rest_server()

    message = create_message(server, "", poll={"question": {"text": "?"}}, sticker_ids=["5"])

    assert message["poll"]["question"]["text"] == "?"
    assert message["sticker_items"][0]["id"] == "5"


def _multipart(*parts: tuple[str, bytes]) -> tuple[bytes, str]:
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return body + b"--b--\r\n", "multipart/form-data; boundary=b"


def test_files_of_a_multipart_body_become_attachments() -> None:
    server = rest_server()
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
    kept = ok(server, "PATCH", f"{CHANNEL}/messages/{message['id']}",
               {"attachments": [{"id": first["id"]}]})  # fmt: skip
    assert [attachment["id"] for attachment in kept["attachments"]] == [first["id"]]


def test_files_of_an_edit_are_added() -> None:
    server = rest_server()
    path = f"{CHANNEL}/messages/{create_message(server)['id']}"
    body, type_ = _multipart(('name="files[0]"; filename="a.txt"', b"data"))

    _, message = http(server, "PATCH", path, body, content_type=type_)

    assert [attachment["filename"] for attachment in message["attachments"]] == ["a.txt"]


def test_form_fields_replace_the_json_payload() -> None:
    server = rest_server()
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
    status, answer = http(
        rest_server(), "POST", f"{CHANNEL}/messages", body, content_type=content_type
    )

    assert (status, answer["code"]) == (400, 50109)


def test_json_body_over_one_mebibyte_is_answered_with_413() -> None:
    body = b'"' + b"x" * 2**20 + b'"'

    assert code_of(rest_server(), "POST", f"{CHANNEL}/messages", body) == (413, 40005)


def test_messages_are_listed_around_a_given_id() -> None:
    server = rest_server()
    ids = [create_message(server, str(n))["id"] for n in range(5)]
    path = f"{CHANNEL}/messages"

    def listed(query: str) -> list[int]:
        return [ids.index(message["id"]) for message in ok(server, "GET", f"{path}?{query}")]

    assert listed("") == [4, 3, 2, 1, 0]
    assert listed("limit=2") == [4, 3]
    assert listed(f"before={ids[2]}&limit=1") == [1]
    assert listed(f"after={ids[1]}&limit=2") == [3, 2]
    assert listed(f"around={ids[2]}&limit=3") == [3, 2, 1]
    assert listed("before=x&limit=zero") == [4, 3, 2, 1, 0]


def test_messages_are_deleted_in_bulk() -> None:
    server = rest_server()
    listener = listening(server)
    ids = [create_message(server)["id"] for _ in range(2)]

    ok(server, "POST", f"{CHANNEL}/messages/bulk-delete", {"messages": ids})

    assert dispatched_names(listener)[-1] == "MESSAGE_DELETE_BULK"
    assert server.world.messages == ()
    assert code_of(server, "POST", f"{CHANNEL}/messages/bulk-delete", {"messages": "x"})[1] == 50035


def test_message_of_another_user_cannot_be_edited() -> None:
    server = rest_server()
    server.dispatch("MESSAGE_CREATE", chat_message(server.world, "x", id_="7"), now=0.0)

    assert code_of(server, "PATCH", f"{CHANNEL}/messages/7", {"content": "y"}) == (403, 50005)


@pytest.mark.parametrize("path", ["pins", "messages/pins"])
def test_message_is_pinned(path: str) -> None:
    server = rest_server()
    listener = listening(server)
    id_ = create_message(server)["id"]

    ok(server, "PUT", f"{CHANNEL}/{path}/{id_}")

    assert dispatched_names(listener)[1:] == ["MESSAGE_UPDATE", "CHANNEL_PINS_UPDATE"]
    found = ok(server, "GET", f"{CHANNEL}/{path}")
    message = found[0] if path == "pins" else found["items"][0]["message"]
    assert message["id"] == id_
    ok(server, "DELETE", f"{CHANNEL}/{path}/{id_}")
    assert ok(server, "GET", f"{CHANNEL}/pins") == []


def test_reactions_are_added_listed_and_removed() -> None:
    server = rest_server()
    listener = listening(server)
    path = f"{CHANNEL}/messages/{create_message(server)['id']}"
    reactions = f"{path}/reactions"
    sent_payloads(listener)

    ok(server, "PUT", f"{reactions}/%F0%9F%91%8D/@me")
    ok(server, "PUT", f"{reactions}/name:55/@me")

    message = ok(server, "GET", path)
    assert [r["emoji"]["name"] for r in message["reactions"]] == ["👍", "name"]
    assert (message["reactions"][0]["count"], message["reactions"][0]["me"]) == (1, True)
    assert "user_ids" not in message["reactions"][0]
    assert [u["id"] for u in ok(server, "GET", f"{reactions}/name:55")] == [APP]
    assert ok(server, "GET", f"{reactions}/other:56") == []
    ok(server, "DELETE", f"{reactions}/name:55/@me")
    ok(server, "DELETE", f"{reactions}/%F0%9F%91%8D/{APP}")
    assert ok(server, "GET", path)["reactions"] == []
    ok(server, "PUT", f"{reactions}/a:name:55/@me")
    ok(server, "DELETE", f"{reactions}/name:55")
    ok(server, "DELETE", reactions)
    assert dispatched_names(listener) == [
        "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE",
        "MESSAGE_REACTION_REMOVE", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE_EMOJI",
        "MESSAGE_REACTION_REMOVE_ALL",
    ]  # fmt: skip
    assert code_of(server, "PUT", f"{reactions}/name:x/@me") == (400, 10014)


def test_reaction_to_an_unknown_message_has_no_effect() -> None:
    world = World.with_guild("Test")

    for name in ("MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE_ALL"):
        assert world.after(name, {"message_id": "5", "emoji": {"name": "x"}}) is world
    known = world.after("MESSAGE_CREATE", {"id": "5"})
    assert known.after("MESSAGE_REACTION_ADD", {"message_id": "5", "emoji": 5}) is known
