"""connections ↔ sessions: the server role. Who is connected, and what a session missed.

A `Server` outlives its connections, as a gateway does: a client that comes back with Resume gets
what it missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_proto._layers.payloads import to_json
from gateway_proto.commands import Identify, Resume
from gateway_proto.dialects import Dialect
from gateway_proto.events import GatewayFound, SessionStartLimit
from gateway_proto.server_config import ServerConfig
from gateway_proto.server_connection import ServerConnection, ServerSession

__all__ = ["Server"]


class Server:
    """Sessions, and whoever is connected. `now` is seconds of one clock for all of it."""

    def __init__(self, config: ServerConfig | None = None) -> None:
        self.config: ServerConfig = config or ServerConfig()
        self.sessions: dict[str, ServerSession] = {}
        """By id: those with a connection, and those that may still be resumed."""
        self.connections: set[ServerConnection] = set()
        """Those that are not CLOSED."""
        self._away: dict[str, float] = {}  # ids of sessions without a connection, oldest first
        self._count = 0

    def accept(
        self, *, now: float, framing: bool = True, target: str = "/", host: str = "localhost"
    ) -> ServerConnection:
        """A connection for a transport that was opened to this server.

        With `framing=False` the WebSocket was accepted elsewhere; `target` and `host` are then
        the path and query, and the Host header, of its request.
        """
        self._forget(now)
        connection = ServerConnection(self, now=now, framing=framing)
        self.connections.add(connection)
        if not framing:
            connection.begin(target, host, now=now)
        return connection

    def dispatch(
        self,
        name: str,
        data: Any,
        *,
        now: float,
        to: Callable[[ServerSession], bool] | None = None,
    ) -> int:
        """Dispatch any JSON value to the sessions that `to` picks, or to all; returns how many.

        A session whose client is away keeps it for the resume. Raises `LocalProtocolError` for
        data that JSON does not have.
        """
        raw = to_json(data)
        self._forget(now)
        sessions = [
            session
            for session in self.sessions.values()
            if (to is None or to(session)) and session.dialect.knows(name)
        ]
        for session in sessions:
            dispatch = session.next(name, raw)
            if session.connection is not None:
                session.connection.write(dispatch, now=now)
        return len(sessions)

    # ----- for the connections -----

    def found(self, url: str) -> GatewayFound:
        """What `/gateway/bot` answers."""
        concurrency = self.config.max_concurrency
        limit = SessionStartLimit(1000, 1000, 0, max_concurrency=concurrency)
        return GatewayFound(url, self.config.shards, limit)

    def open_session(self, identify: Identify, dialect: Dialect) -> ServerSession:
        """A new session."""
        self._count += 1
        draw = self.config.random or (lambda: 0.5)
        unguessable = "".join(f"{int(draw() * 2**32):08x}" for _ in range(4))
        session = ServerSession(
            f"{unguessable}{self._count:x}", identify, dialect, self.config.replay_limit
        )
        self.sessions[session.id] = session
        return session

    def find_session(self, resume: Resume, dialect: Dialect, *, now: float) -> ServerSession | None:
        """The session that a client may go on with; None: it may not."""
        self._forget(now)
        session = self.sessions.get(resume.session_id)
        if session is None or session.dialect is not dialect:
            return None
        token = resume.token
        if token is None:
            return None if dialect.resume_with_token else session
        return session if token.removeprefix("Bot ") == session.token else None

    def leave(self, connection: ServerConnection, *, now: float, forget: bool) -> None:
        """A connection is closed."""
        self.connections.discard(connection)
        session = connection.session
        if session is None or session.connection is not connection:
            return
        session.connection = None
        if forget:
            del self.sessions[session.id]
        else:
            self._away[session.id] = now

    def back(self, session: ServerSession) -> None:
        """A session has a connection again."""
        self._away.pop(session.id, None)

    def allows(self, token: str) -> bool:
        """Whether a token is let in."""
        tokens = self.config.tokens
        return tokens is None or token.removeprefix("Bot ") in tokens

    def _forget(self, now: float) -> None:
        while self._away:
            id_, since = next(iter(self._away.items()))
            if since + self.config.session_lifetime > now:
                return
            del self._away[id_]
            del self.sessions[id_]
