"""REST routes of guilds, members, roles, channels and users."""

from __future__ import annotations

from tests.server.support import (
    APP,
    CHANNEL,
    GUILD,
    code_of,
    create_message,
    dispatched_names,
    listening,
    ok,
    rest_server,
    sent_payloads,
)


def test_guild_and_its_lists_are_read() -> None:
    server = rest_server()

    guild = ok(server, "GET", f"{GUILD}?with_counts=1")

    assert (guild["name"], guild["approximate_member_count"]) == ("Test", 3)
    assert "members" not in guild
    assert "approximate_member_count" not in ok(server, "GET", GUILD)
    assert [c["name"] for c in ok(server, "GET", f"{GUILD}/channels")] == ["general", "Voice"]
    assert [r["name"] for r in ok(server, "GET", f"{GUILD}/roles")] == ["@everyone"]
    assert ok(server, "GET", f"{GUILD}/emojis") == []
    assert ok(server, "GET", "/api/users/@me/guilds")[0]["name"] == "Test"
    assert ok(server, "GET", "/api/users/@me/channels") == []
    assert code_of(server, "GET", "/api/guilds/404") == (404, 10004)


def test_guild_is_edited_and_left() -> None:
    server = rest_server()
    listener = listening(server)

    assert ok(server, "PATCH", GUILD, {"name": "New", "id": "5"})["name"] == "New"
    assert code_of(server, "PATCH", GUILD, {"name": 5}) == (400, 50035)
    ok(server, "DELETE", "/api/users/@me/guilds/1000")

    assert dispatched_names(listener) == ["GUILD_UPDATE", "GUILD_DELETE"]
    assert server.world.guilds == ()


def test_members_are_listed_and_searched() -> None:
    server = rest_server()

    def ids(path: str) -> list[str]:
        return [member["user"]["id"] for member in ok(server, "GET", f"{GUILD}/members{path}")]

    assert ids("?limit=1000") == ["4000", "4001", APP]
    assert ids("?limit=1&after=4000") == ["4001"]
    assert ids("?after=x") == ["4000"]
    assert ids("/search?query=MEMBER&limit=9") == ["4000", "4001"]
    assert ok(server, "GET", f"{GUILD}/members/4001")["user"]["username"] == "member-2"
    assert code_of(server, "GET", f"{GUILD}/members/404") == (404, 10007)


def test_member_is_edited_and_removed() -> None:
    server = rest_server()
    listener = listening(server)
    member, role = f"{GUILD}/members/4001", ok(server, "POST", f"{GUILD}/roles", {"name": "r"})

    edited = ok(server, "PATCH", member, {"nick": "n", "mute": None})
    assert (edited["nick"], edited["mute"]) == ("n", False)
    assert ok(server, "PATCH", f"{GUILD}/members/@me", {"nick": "me"})["nick"] == "me"
    ok(server, "PUT", f"{member}/roles/{role['id']}")
    assert ok(server, "GET", member)["roles"] == [role["id"]]
    ok(server, "DELETE", f"{member}/roles/{role['id']}")
    assert ok(server, "GET", member)["roles"] == []
    ok(server, "DELETE", member)
    ok(server, "PUT", f"{GUILD}/bans/4000")
    ok(server, "PUT", f"{GUILD}/bans/{APP}")
    ok(server, "DELETE", f"{GUILD}/bans/4000")
    assert code_of(server, "PUT", f"{GUILD}/bans/404") == (404, 10013)
    assert code_of(server, "PUT", f"{GUILD}/members/{APP}/roles/404")[0] == 404
    assert dispatched_names(listener) == [
        "GUILD_ROLE_CREATE", *["GUILD_MEMBER_UPDATE"] * 4, "GUILD_MEMBER_REMOVE", "GUILD_BAN_ADD",
        "GUILD_MEMBER_REMOVE", "GUILD_BAN_ADD", "GUILD_MEMBER_REMOVE", "GUILD_BAN_REMOVE",
    ]  # fmt: skip


def test_ban_of_a_user_without_membership_removes_no_member() -> None:
    server = rest_server()
    server.world = server.world.after("CHANNEL_CREATE", {"id": "7", "recipients": [{"id": "9"}]})
    listener = listening(server)

    ok(server, "PUT", f"{GUILD}/bans/9")

    assert dispatched_names(listener) == ["GUILD_BAN_ADD"]


def test_unban_names_a_complete_user() -> None:
    server = rest_server()
    listener = listening(server)

    ok(server, "PUT", f"{GUILD}/bans/4000")
    ok(server, "DELETE", f"{GUILD}/bans/4000")
    ok(server, "DELETE", f"{GUILD}/bans/404")

    *_, known, unknown = (payload["d"]["user"] for payload in sent_payloads(listener))
    assert (known["id"], known["avatar"]) == ("4000", None)
    assert (unknown["id"], unknown["avatar"]) == ("404", None)


def test_null_field_of_a_channel_is_its_default() -> None:
    server = rest_server()
    nulls = {"type": None, "topic": None, "nsfw": None, "permission_overwrites": None}

    new = ok(server, "POST", f"{GUILD}/channels", {"name": "new", **nulls})
    path = f"/api/channels/{new['id']}"
    edited = ok(server, "PATCH", path, {"topic": "x", "permission_overwrites": [{"id": "1"}]})
    reset = ok(server, "PATCH", path, nulls)

    assert (new["type"], new["topic"], new["nsfw"], new["permission_overwrites"]) == (
        0,
        None,
        False,
        [],
    )
    assert edited == {**new, "topic": "x", "permission_overwrites": [{"id": "1"}]}
    assert reset == new
    assert ok(server, "POST", f"{GUILD}/channels", {"name": "v", "type": 2})["bitrate"] == 64000


def test_roles_are_created_edited_and_deleted() -> None:
    server = rest_server()
    role = ok(server, "POST", f"{GUILD}/roles", {"name": "r", "color": 5, "x": 1})
    path = f"{GUILD}/roles/{role['id']}"

    assert (role["name"], "x" in role) == ("r", False)
    assert ok(server, "PATCH", path, {"name": "s"})["color"] == 5
    assert ok(server, "GET", path)["name"] == "s"
    ok(server, "DELETE", path)
    assert code_of(server, "GET", path) == (404, 10011)
    assert code_of(server, "DELETE", f"{GUILD}/roles/1000") == (400, 50028)


def test_channels_and_threads_are_created_edited_and_deleted() -> None:
    server = rest_server()
    listener = listening(server)
    channel = ok(server, "POST", f"{GUILD}/channels", {"name": "new"})
    path = f"/api/v10/channels/{channel['id']}"

    assert ok(server, "PATCH", path, {"topic": "t"})["topic"] == "t"
    thread = ok(server, "POST", f"{path}/threads", {"name": "th", "type": 12})
    inside = f"/api/v10/channels/{thread['id']}"
    assert (thread["parent_id"], thread["type"]) == (channel["id"], 12)
    active = ok(server, "GET", f"{GUILD}/threads/active")["threads"]
    assert [found["id"] for found in active] == [thread["id"]]
    assert ok(server, "PATCH", inside, {"archived": True})["thread_metadata"]["archived"] is True
    assert ok(server, "GET", f"{GUILD}/threads/active")["threads"] == []
    ok(server, "PUT", f"{inside}/thread-members/@me")
    ok(server, "DELETE", f"{inside}/thread-members/@me")
    ok(server, "DELETE", inside)
    ok(server, "POST", f"{path}/typing")
    assert ok(server, "DELETE", path)["id"] == channel["id"]
    assert code_of(server, "GET", path) == (404, 10003)
    assert dispatched_names(listener) == [
        "CHANNEL_CREATE", "CHANNEL_UPDATE", "THREAD_CREATE", "THREAD_UPDATE",
        "THREAD_MEMBERS_UPDATE", "THREAD_MEMBERS_UPDATE", "THREAD_DELETE", "CHANNEL_DELETE",
    ]  # fmt: skip


def test_thread_of_a_message_has_its_id() -> None:
    server = rest_server()
    message = create_message(server)

    thread = ok(server, "POST", f"{CHANNEL}/messages/{message['id']}/threads", {"name": "t"})

    assert thread["id"] == message["id"]


def test_invalid_channels_are_answered_with_400() -> None:
    server = rest_server()

    for body in ({}, {"name": 5}, {"name": "x", "type": "y"}):
        assert code_of(server, "POST", f"{GUILD}/channels", body) == (400, 50035)
    assert code_of(server, "POST", f"{CHANNEL}/threads", {"name": ""}) == (400, 50035)


def test_users_and_the_application_are_read_and_edited() -> None:
    server = rest_server()

    assert ok(server, "GET", "/api/users/4000")["username"] == "member-1"
    assert code_of(server, "GET", "/api/users/404") == (404, 10013)
    edited = ok(server, "PATCH", "/api/users/@me", {"username": "new", "avatar": None})
    assert (edited["username"], server.world.user["username"]) == ("new", "new")
    assert ok(server, "PATCH", "/api/users/@me", {"avatar": "data:,"})["username"] == "new"
    application = ok(server, "PATCH", "/api/applications/@me", {"description": "d", "id": "5"})
    assert (application["description"], application["id"]) == ("d", APP)
