"""REST routes of channel webhooks, invites and the audit log."""

from __future__ import annotations

from typing import Any

from gateway_proto.server import Server
from tests.server.support import (
    CHANNEL,
    GUILD,
    code_of,
    dispatched_names,
    http,
    listening,
    ok,
    rest_server,
)


def _webhook(server: Server) -> tuple[dict[str, Any], str]:
    webhook = ok(server, "POST", f"{CHANNEL}/webhooks", {"name": "news"})
    return webhook, f"/api/v10/webhooks/{webhook['id']}"


def test_webhook_is_created_and_listed() -> None:
    server = rest_server()
    listener = listening(server)

    webhook, path = _webhook(server)

    assert (webhook["name"], webhook["channel_id"], webhook["guild_id"]) == ("news", "2000", "1000")
    assert ok(server, "GET", f"{CHANNEL}/webhooks") == [webhook]
    assert ok(server, "GET", f"{GUILD}/webhooks") == [webhook]
    assert ok(server, "GET", "/api/channels/2001/webhooks") == []
    assert ok(server, "GET", path) == webhook
    assert dispatched_names(listener) == ["WEBHOOKS_UPDATE"]


def test_webhook_needs_a_bot_or_its_own_token() -> None:
    server = rest_server()
    webhook, path = _webhook(server)

    assert http(server, "GET", path, token=None)[0] == 401
    status, shown = http(server, "GET", f"{path}/{webhook['token']}", token=None)

    assert status == 200
    assert "user" not in shown
    assert code_of(server, "GET", f"{path}/wrong") == (404, 10015)
    assert code_of(server, "GET", "/api/webhooks/404") == (404, 10015)


def test_webhook_is_edited_and_deleted() -> None:
    server = rest_server()
    other, _ = _webhook(server)
    _, path = _webhook(server)

    assert ok(server, "PATCH", path, {"channel_id": "2001"})["name"] == "news"
    assert ok(server, "PATCH", path, {"name": "old"})["channel_id"] == "2001"
    ok(server, "DELETE", path)

    assert server.world.webhooks == (other,)


def test_webhook_message_is_sent_edited_and_deleted() -> None:
    server = rest_server()
    listener = listening(server)
    webhook, path = _webhook(server)
    path = f"{path}/{webhook['token']}"

    assert ok(server, "POST", path, {"content": "one"}) is None
    sent = ok(server, "POST", f"{path}?wait=true", {"content": "two", "username": "bob"})
    one = f"{path}/messages/{sent['id']}"
    assert (sent["author"]["username"], sent["webhook_id"]) == ("bob", webhook["id"])
    assert ok(server, "PATCH", one, {"content": "three"})["content"] == "three"
    assert ok(server, "GET", one)["content"] == "three"
    ok(server, "DELETE", one)

    assert code_of(server, "GET", one) == (404, 10008)
    thread = f"{path}?thread_id=404"
    assert code_of(server, "POST", thread, {"content": "x"}) == (404, 10003)
    assert dispatched_names(listener) == [
        "WEBHOOKS_UPDATE",
        "MESSAGE_CREATE",
        "MESSAGE_CREATE",
        "MESSAGE_UPDATE",
        "MESSAGE_DELETE",
    ]


def test_message_of_a_bot_is_not_one_of_a_webhook() -> None:
    server = rest_server()
    webhook, path = _webhook(server)
    message = ok(server, "POST", f"{CHANNEL}/messages", {"content": "mine"})

    path = f"{path}/{webhook['token']}/messages/{message['id']}"

    assert code_of(server, "GET", path) == (404, 10008)


def test_invite_is_created_listed_and_deleted() -> None:
    server = rest_server()
    listener = listening(server)

    other = ok(server, "POST", f"{CHANNEL}/invites")
    invite = ok(server, "POST", f"{CHANNEL}/invites", {"max_age": 0, "max_uses": 5})
    path = f"/api/v10/invites/{invite['code']}"

    assert (other["max_age"], invite["max_age"], invite["max_uses"]) == (86400, 0, 5)
    assert invite["guild"]["id"] == "1000"
    assert ok(server, "GET", f"{CHANNEL}/invites") == [other, invite]
    assert ok(server, "GET", f"{GUILD}/invites") == [other, invite]
    assert ok(server, "GET", path) == invite
    assert ok(server, "DELETE", path) == invite
    assert code_of(server, "GET", path) == (404, 10006)
    assert dispatched_names(listener) == ["INVITE_CREATE", "INVITE_CREATE", "INVITE_DELETE"]


def test_private_channel_has_no_invites_or_webhooks() -> None:
    server = rest_server()
    channel = ok(server, "POST", "/api/users/@me/channels", {"recipient_id": "4000"})

    path = f"/api/channels/{channel['id']}"

    assert code_of(server, "POST", f"{path}/invites") == (400, 50024)
    assert code_of(server, "POST", f"{path}/webhooks") == (400, 50024)


def test_audit_log_is_empty() -> None:
    server = rest_server()

    log = ok(server, "GET", f"{GUILD}/audit-logs")

    assert log["audit_log_entries"] == []
    assert code_of(server, "GET", "/api/guilds/404/audit-logs") == (404, 10004)
