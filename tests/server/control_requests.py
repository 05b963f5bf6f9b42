"""Requests to the control route of a server with one connected client."""

from __future__ import annotations

import json
from typing import Any

from gateway_proto import Client, Config, Intents, Ready
from gateway_proto.server import Server, ServerConfig
from gateway_proto.testing import Link

__all__ = ["CONFIG", "ask", "connected", "post"]


CONFIG = Config(
    token="secret", intents=Intents.GUILDS, gateway_url="ws://localhost", random=lambda: 0.5
)


def connected(**config: Any) -> tuple[Link, Server]:
    """Return a link whose client has received READY, and its server."""
    server = Server(ServerConfig(control="/control", **config))
    link = Link(Client(CONFIG), server)
    link.client.expect(Ready)
    return link, server


def ask(
    server: Server,
    request: str,
    body: Any = None,
    *,
    now: float = 0.0,
    headers: str = "",
    host: str = "localhost:8080",
) -> tuple[int, Any]:
    """Return status and body of the response to a request."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    method, _, target = request.partition(" ")
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}"
    head += f"Content-Length: {len(raw)}\r\n\r\n"
    connection = server.accept(now=now)
    connection.receive_data(head.encode() + raw, now=now)
    answer = connection.data_to_send()
    status, _, text = answer.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(text)


def post(link: Link, server: Server, path: str, body: Any) -> tuple[int, Any]:
    """Send a POST request below /control and return status and body."""
    return ask(server, f"POST /control/{path}", body, now=link.now)
