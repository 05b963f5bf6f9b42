"""Client connections with policies of Config, for their tests."""

from __future__ import annotations

from typing import Any

import attrs

from gateway_proto import ClientConnection, Config, Session, UpdateVoiceState
from gateway_proto.session import token_fingerprint
from tests.connections import ready, receive, sent_payloads, unframed

__all__ = [
    "CONFIG",
    "SESSION",
    "VOICE",
    "config_with",
    "connection_with",
    "ready_with",
    "receive_hello",
    "sent_ops",
]
CONFIG = Config(token="t0ken", intents=0, gateway_url="ws://localhost", random=lambda: 0.5)


SESSION = Session(id="s", sequence=7, version=10, token_fingerprint=token_fingerprint("t0ken"))
VOICE = UpdateVoiceState("1", None)


def config_with(**changes: Any) -> Config:
    """Return the configuration with these changes."""
    return attrs.evolve(CONFIG, **changes)


def connection_with(session: Session | None = None, **changes: Any) -> ClientConnection:
    """Return a connection with these changes of its configuration."""
    return unframed(config_with(**changes), session)


def receive_hello(connection: ClientConnection, interval: int = 10_000) -> ClientConnection:
    """Pass HELLO to the connection and return it."""
    receive(connection, 10, {"heartbeat_interval": interval})
    return connection


def ready_with(**changes: Any) -> ClientConnection:
    """Return a connection in READY with these changes of its configuration."""
    return ready(config_with(**changes), interval=10_000)


def sent_ops(connection: ClientConnection) -> list[int]:
    """Return the op codes of the payloads that the connection wants to send."""
    return [payload["op"] for payload in sent_payloads(connection)]
