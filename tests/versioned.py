"""Builders of client and server connections of every protocol version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import ClientConnection, Config, Session
from gateway_proto.server import Server, ServerConfig, ServerConnection
from gateway_proto.session import token_fingerprint
from gateway_proto.versions import VERSIONS
from tests.connections import receive, sent_payloads, unframed

__all__ = [
    "HOLD",
    "accepted_of",
    "config_of",
    "greeted_of",
    "identify_of",
    "ready_of",
    "server_payloads",
    "session_of",
    "unframed_of",
    "versions",
]
HOLD = 10**9


def config_of(version: int, **changes: Any) -> Config:
    """Return a configuration of a version with these changes."""
    return Config(
        **{
            "token": "t0ken",
            "version": version,
            "intents": 0,
            "unix_offset": 0.0,
            "gateway_url": "ws://localhost",
            **changes,
        }
    )


def session_of(version: int) -> Session:
    """Return a session that can be resumed in a version."""
    return Session(
        id="s", sequence=7, version=version, token_fingerprint=token_fingerprint("t0ken")
    )


def unframed_of(version: int, session: Session | None = None, **changes: Any) -> ClientConnection:
    """Return a connection of a version without framing."""
    return unframed(config_of(version, **changes), session)


def greeted_of(version: int, session: Session | None = None, **changes: Any) -> ClientConnection:
    """Return a connection that has received HELLO if the version has it."""
    connection = unframed_of(version, session, **changes)
    if VERSIONS[version].sends_hello:
        receive(connection, 10, {"heartbeat_interval": HOLD})
    return connection


def identify_of(version: int, **changes: Any) -> Any:
    """Return the `d` of Identify."""
    (identify,) = sent_payloads(greeted_of(version, **changes))
    assert identify["op"] == 2
    return identify["d"]


def ready_of(version: int, **changes: Any) -> ClientConnection:
    """Return a connection of a version that has received READY."""
    connection = greeted_of(version, **changes)
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": HOLD}, s=1, t="READY")
    connection.messages_to_send()
    connection.events()
    return connection


def accepted_of(version: int, server: Server | None = None) -> ServerConnection:
    """Return a connection of a server, accepted in a version."""
    target = "/" if version == 3 else f"/?v={version}&encoding=json"
    return (server or Server()).accept(now=0.0, framing=False, target=target)


def server_payloads(version: int, **config: Any) -> list[dict[str, Any]]:
    """Return the payloads of a server in response to Identify."""
    connection = accepted_of(version, Server(ServerConfig(**config)))
    connection.receive_message(json.dumps({"op": 2, "d": {"token": "t", "intents": 513}}), now=0.0)
    return sent_payloads(connection)


def versions(*which: int) -> Any:
    """Run a test for all versions, with `version in which` as its second parameter."""
    return pytest.mark.parametrize(("version", "does"), [(v, v in which) for v in VERSIONS])
