"""Client connections of version 10, and a link to a server."""

from __future__ import annotations

from typing import Any

from gateway_proto import Client, ClientConnection, Config, Session
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import token_fingerprint
from gateway_proto.testing import Link
from tests.connections import after_hello, ready, unframed

__all__ = ["CONFIG", "SESSION", "after_hello_v10", "linked", "ready_v10", "unframed_v10"]


CONFIG = Config(token="t0ken", intents=5, api_url="http://localhost/api/v10", random=lambda: 0.25)
SESSION = Session(
    id="s1",
    sequence=7,
    resume_url="ws://localhost:77/resume?x=1",
    version=10,
    token_fingerprint=token_fingerprint("t0ken"),
)


def linked(config: Config = CONFIG, **server: Any) -> Link:
    """Return a link of a client and a server at time 100."""
    return Link(Client(config), Server(ServerConfig(**server)), now=100.0)


def unframed_v10(config: Config = CONFIG, session: Session | None = None) -> ClientConnection:
    """Return a connection that waits for HELLO."""
    return unframed(config, session)


def after_hello_v10(config: Config = CONFIG, session: Session | None = None) -> ClientConnection:
    """Return a connection that has received HELLO."""
    return after_hello(config, session)


def ready_v10() -> ClientConnection:
    """Return a connection that has received READY."""
    return ready(CONFIG, session_id="s1", resume_gateway_url="ws://localhost:77")
