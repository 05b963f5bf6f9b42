"""Client connections with policies of Config, for their tests."""

from __future__ import annotations

from typing import Any

import attrs

from gateway_proto import (
    ClientConnection,
    Config,
    Session,
    UpdateVoiceState,
    fingerprint,
)
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


SESSION = Session(id="s", sequence=7, dialect=10, fingerprint=fingerprint("t0ken"))
VOICE = UpdateVoiceState("1", None)


def config_with(**changes: Any) -> Config:
    return attrs.evolve(CONFIG, **changes)


def connection_with(session: Session | None = None, **changes: Any) -> ClientConnection:
    return unframed(config_with(**changes), session)


def receive_hello(connection: ClientConnection, interval: int = 10_000) -> ClientConnection:
    receive(connection, 10, {"heartbeat_interval": interval})
    return connection


def ready_with(**changes: Any) -> ClientConnection:
    return ready(config_with(**changes), interval=10_000)


def sent_ops(connection: ClientConnection) -> list[int]:
    return [payload["op"] for payload in sent_payloads(connection)]
