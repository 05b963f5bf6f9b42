"""Builders of client connections without framing, and access to what they send and report."""

from __future__ import annotations

import json
from typing import Any

from gateway_proto import ClientConnection, Closed, Config, Session

__all__ = ["after_hello", "close_event", "ready", "receive", "sent_payloads", "unframed"]


def unframed(config: Config, session: Session | None = None) -> ClientConnection:
    """Return an open connection at time 0 that takes and gives whole messages."""
    return ClientConnection(config, "ws://localhost", now=0.0, session=session, framing=False)


def after_hello(
    config: Config, session: Session | None = None, *, interval: int = 40_000
) -> ClientConnection:
    """Return a connection that has received HELLO with this heartbeat interval."""
    connection = unframed(config, session)
    receive(connection, 10, {"heartbeat_interval": interval})
    return connection


def ready(
    config: Config, session: Session | None = None, *, interval: int = 40_000, **d: Any
) -> ClientConnection:
    """Return a connection that has received READY, without pending output and events."""
    connection = after_hello(config, session, interval=interval)
    receive(connection, 0, {"session_id": "s", **d}, s=1, t="READY")
    connection.messages_to_send()
    connection.events()
    return connection


def receive(connection: Any, op: int, d: Any = None, *, now: float = 0.0, **fields: Any) -> None:
    """Pass a payload of the server to the connection, in JSON."""
    connection.receive_message(json.dumps({"op": op, "d": d, **fields}), now=now)


def sent_payloads(connection: Any) -> list[dict[str, Any]]:
    """Return the payloads that the connection wants to send, decoded."""
    return [json.loads(message) for message in connection.messages_to_send()]


def close_event(connection: ClientConnection) -> Closed:
    """Return the last event, which has to be `Closed`."""
    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    return closed
