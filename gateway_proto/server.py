"""connections ↔ sessions: the server role. Who is connected, and what a session missed.

A `Server` outlives its connections, as a gateway does: a client that comes back with Resume gets
what it missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from gateway_proto._layers.payloads import to_json
from gateway_proto.commands import Identify, Resume
from gateway_proto.dialects import DIALECTS, Dialect
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Dispatch, GatewayFound, SessionStartLimit
from gateway_proto.server_connection import ServerConnection

__all__ = ["Server", "ServerConfig", "ServerSession"]

_USER: Mapping[str, Any] = {
    "id": "80351110224678912",
    "username": "gateway_proto",
    "discriminator": "0",
    "global_name": None,
    "avatar": None,
    "bot": True,
    "verified": True,
    "mfa_enabled": False,
    "flags": 0,
    "email": None,
}


def _bare_tokens(tokens: Any) -> frozenset[str] | None:
    return None if tokens is None else frozenset(token.removeprefix("Bot ") for token in tokens)


def _versions(versions: Iterable[int]) -> tuple[int, ...]:
    return tuple(versions)


def _known_versions(_config: Any, _field: Any, versions: tuple[int, ...]) -> None:
    if not versions or set(versions) - DIALECTS.keys():
        known = ", ".join(map(str, DIALECTS))
        raise LocalProtocolError(f"versions {versions} are not one or more of {known}")


@attrs.frozen(kw_only=True)
class ServerConfig:
    """What a server is told. Times are seconds unless they say otherwise, sizes are bytes."""

    tokens: frozenset[str] | None = attrs.field(default=None, converter=_bare_tokens, repr=False)
    """Those that are let in; None: all."""
    versions: tuple[int, ...] = attrs.field(
        default=tuple(DIALECTS), converter=_versions, validator=_known_versions
    )
    heartbeat_interval: int = 41250
    """Milliseconds."""
    heartbeat_tolerance: float = 1.5
    """Intervals without a heartbeat after which the connection is closed."""
    url: str | None = None
    """What lookups answer and READY names; by default ws and the Host that the client asked."""
    shards: int = 1
    """How many `/gateway/bot` recommends."""
    max_concurrency: int = 1
    """How many of them `/gateway/bot` lets identify at once."""
    user: Mapping[str, Any] = _USER
    guilds: tuple[Mapping[str, Any], ...] = ()
    """Whole guild objects; each needs an `id`."""
    random: Callable[[], float] | None = attrs.field(default=None, repr=False, eq=False)
    """Chance, for session ids that cannot be guessed; None: the adapters take the system's."""
    replay_limit: int = 1000
    """Dispatches that a session keeps for a resume."""
    session_lifetime: float = 300.0
    """How long a session without a connection may be resumed."""
    handshake_timeout: float = 20.0
    identify_timeout: float = 60.0
    close_timeout: float = 5.0
    message_limit: int = 65536
    output_limit: int = 64 * 2**20
    """Of what waits for a client that does not read; beyond it the connection is dropped."""


class ServerSession:
    """What the server keeps of a client between its connections."""

    def __init__(self, id_: str, identify: Identify, dialect: Dialect, replay_limit: int) -> None:
        self.id: str = id_
        self.token: str = identify.token
        self.shard: tuple[int, int] | None = identify.shard
        self.intents: int | None = identify.intents
        self.compress: bool = identify.compress
        self.dialect: Dialect = dialect
        self.sequence: int = 0
        """Of the last dispatch."""
        self.connection: ServerConnection | None = None
        """None while the client is away."""
        self._replay: deque[Dispatch] = deque(maxlen=replay_limit)
        self._forgotten = 0  # the sequence up to which dispatches were let go

    def next(self, name: str, raw: bytes, *, replay: bool = True) -> Dispatch:
        """The next dispatch, kept for a replay."""
        self.sequence += 1
        dispatch = Dispatch(name, self.sequence, raw)
        if replay:
            if len(self._replay) == self._replay.maxlen:
                self._forgotten = self._replay[0].sequence or 0 if self._replay else self.sequence
            self._replay.append(dispatch)
        return dispatch

    def missed(self, after: int) -> list[Dispatch] | None:
        """The dispatches after a sequence; None where they are no longer all there."""
        if after < self._forgotten:
            return None
        return [dispatch for dispatch in self._replay if (dispatch.sequence or 0) > after]


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
