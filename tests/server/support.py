"""Connections of a server without sockets, their payloads, and HTTP requests."""

from __future__ import annotations

import json
from typing import Any

from gateway_proto import State
from gateway_proto.server import Server, ServerConfig, ServerConnection, World
from gateway_proto.server.interactions import slash_command

V10 = "/?v=10&encoding=json"
GUILDS = ({"id": "1", "name": "g"}, {"id": "2", "name": "h"})


def accept_connection(server: Server | None = None, target: str = V10) -> ServerConnection:
    return (server or Server()).accept(now=0.0, framing=False, target=target)


def send_payload(
    connection: ServerConnection, op: Any, d: Any = None, *, now: float = 0.0, **r: Any
) -> None:
    connection.receive_message(json.dumps({"op": op, "d": d, **r}), now=now)


def sent_payloads(connection: ServerConnection) -> list[dict[str, Any]]:
    return [json.loads(message) for message in connection.messages_to_send()]


def identify_on(connection: ServerConnection, **changes: Any) -> None:
    send_payload(connection, 2, {"token": "t", "intents": 0, "properties": {}, **changes})


def ready_connection(server: Server | None = None, target: str = V10) -> ServerConnection:
    connection = accept_connection(server, target)
    identify_on(connection)
    assert connection.state is State.READY
    return connection


def disconnected_session(server: Server) -> str:
    connection = ready_connection(server)
    connection.receive_eof(now=0.0)
    assert connection.session is not None
    return connection.session.id


def resume_on(
    server: Server, session_id: str, seq: int, *, now: float = 0.0, **changes: Any
) -> ServerConnection:
    connection = server.accept(now=now, framing=False, target=changes.pop("target", V10))
    connection.messages_to_send()
    d = {"token": "t", "session_id": session_id, "seq": seq, **changes}
    send_payload(connection, 6, d, now=now)
    return connection


def sent_close_code(connection: ServerConnection) -> int | None:
    closing = connection.close_to_send()
    return None if closing is None else closing[0]


def http(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str | None = "t",
    content_type: str = "application/json",
    now: float = 0.0,
) -> tuple[int, Any]:
    """Return status and JSON of the response to an HTTP request, or (0, None) without response."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = server.accept(now=now)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n"
    if token is not None:
        head += f"Authorization: Bot {token}\r\n"
    head += f"Content-Type: {content_type}\r\n\r\n"
    connection.receive_data(head.encode() + raw, now=now)
    answered = connection.data_to_send()
    if not answered:
        return 0, None
    status, _, text = answered.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(text) if text else None


APP = World().application["id"]
CHANNEL = "/api/v10/channels/2000"
COMMANDS = f"/api/v10/applications/{APP}/commands"
GUILD = "/api/v10/guilds/1000"
ALL = (1 << 26) - 1


def rest_server(**config: Any) -> Server:
    return Server(ServerConfig(world=World.with_guild("Test", members=2), **config))


def listening(server: Server, intents: int = ALL) -> Any:
    connection = server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")
    identify_on(connection, intents=intents)
    sent_payloads(connection)
    return connection


def dispatched_names(connection: Any) -> list[str]:
    return [payload["t"] for payload in sent_payloads(connection)]


def ok(server: Server, method: str, path: str, body: Any = None) -> Any:
    status, answer = http(server, method, path, body)
    assert status < 300, answer
    return answer


def code_of(server: Server, method: str, path: str, body: Any = None) -> tuple[int, int]:
    status, answer = http(server, method, path, body)
    return status, answer["code"]


def create_message(server: Server, content: str = "hi", **body: Any) -> dict[str, Any]:
    message: dict[str, Any] = ok(
        server, "POST", f"{CHANNEL}/messages", {"content": content, **body}
    )
    return message


def slash_callback(server: Server, **fields: Any) -> str:
    data = slash_command(server.world, "ping", id_="80", token="tok", **fields)
    server.dispatch("INTERACTION_CREATE", data, now=0.0)
    return "/api/v10/interactions/80/tok/callback"


WEBHOOK = f"/api/v10/webhooks/{APP}/tok"
ORIGINAL = f"{WEBHOOK}/messages/@original"
