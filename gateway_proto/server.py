"""connections ↔ sessions: the server role. Who is connected, and what a session missed.

A `Server` outlives its connections, as a gateway does: a client that comes back with Resume gets
what it missed.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from gateway_proto._checks import (
    CALLBACK,
    ID,
    Check,
    as_id,
    instance_of,
    is_id,
    is_text,
    optional,
    rejected,
)
from gateway_proto._control import Wait, control
from gateway_proto._layers.payloads import Payload
from gateway_proto._layers.raw import check_term, to_json, to_term, value_of_caller
from gateway_proto._members import MembersLimit
from gateway_proto._telling import ServerSession
from gateway_proto.commands import Identify, Resume
from gateway_proto.dialects import Dialect, Encoding
from gateway_proto.endpoint import Answer
from gateway_proto.events import GatewayFound, SessionStartLimit
from gateway_proto.faults import Fault, Scenario
from gateway_proto.journal import Journal
from gateway_proto.rest import Rest
from gateway_proto.server_config import ServerConfig
from gateway_proto.server_connection import ServerConnection
from gateway_proto.shards import identify_key
from gateway_proto.world import World

__all__ = ["Server"]

_DAY = 86400.0
_NAME = Check(lambda name: is_text(name) and 0 < len(name) <= 256, "a str such as 'MESSAGE_CREATE'")
_TO = optional(CALLBACK)
_SERVER_CONFIG = instance_of(ServerConfig, "a ServerConfig, such as ServerConfig(tokens={'t'})")


class Server:
    """Sessions, and whoever is connected. `now` is seconds of one clock for all of it."""

    def __init__(self, config: ServerConfig | None = None) -> None:
        if config is not None:
            _SERVER_CONFIG.named("config", config)
        self.config: ServerConfig = ServerConfig() if config is None else config
        self._world = self._first_world = self.config.world
        self._first_scenario = self.config.scenario
        self.sessions: dict[str, ServerSession] = {}
        """By id: those with a connection, and those that may still be resumed."""
        self.connections: set[ServerConnection] = set()
        """Those that are not CLOSED."""
        self._waiting: set[ServerConnection] = set()  # for an entry of the journal
        self._away: dict[str, float] = {}  # ids of sessions without a connection, oldest first
        self._count = 0
        self._identified: deque[float] = deque()  # when, today
        self.journal: Journal = Journal(self.config.journal_limit)
        """What clients sent, where there is a control route."""
        self.rest: Rest = Rest(lambda: self.config)
        """The REST routes: what was requested, and what is answered instead."""
        self._upgrades = 0
        self._upgrades_before = 0  # the scenario
        self._key_free_at: dict[int, float] = {}
        self._members_limit = MembersLimit()

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
        """Dispatch any JSON value to the sessions that `to` picks; returns how many.

        Without `to` those get it that a gateway would choose: by the version, by the shard of its
        guild, and by the intents that a dispatch of this name needs; without MESSAGE_CONTENT a
        message of a guild comes without what is written in it.

        A session whose client is away keeps it for the resume. Raises `LocalProtocolError` for
        data that JSON does not have, and for a name that is nearly that of a documented dispatch,
        such as "message_create". Other names are allowed: servers have names of their own.
        """
        _check_name(name)
        _TO.named("to", to)
        raw = to_json(data)
        value = value_of_caller(raw)  # a msgspec.Raw may be anything
        self._forget(now)
        guild_id = _guild_id(name, data)
        sessions = [
            session
            for session in self.sessions.values()
            if (session.gets(name, guild_id, value) if to is None else to(session))
        ]
        world = self.world.after(name, value)
        if world.guilds is not self.world.guilds or world.user is not self.world.user:
            check_term(raw)  # later sessions may get it as ETF
        bare = self.world.without_content(name, data)
        whole = _Encoded(raw)
        partial = whole if bare is None else _Encoded(to_json(bare))
        # Encoded for all before any of them gets it: what cannot be encoded changes nothing.
        raws = []
        for session in sessions:
            encoded = whole if to is not None or session.reads_content else partial
            raws.append(encoded.term if session.encoding is Encoding.ETF else encoded.json)
        self.world = world
        for session, session_raw in zip(sessions, raws, strict=True):
            dispatch = session.next(name, session_raw)
            if session.connection is not None:
                session.connection.write(dispatch, now=now)
        return len(sessions)

    def play(self, scenario: Scenario) -> None:
        """Let go wrong what a scenario says; its first connection is the next one."""
        self.config = attrs.evolve(self.config, scenario=scenario)
        self._upgrades_before = self._upgrades

    def reset(self, *, now: float) -> None:
        """Return to the start: drop every connection, and forget sessions, journal and counts.

        World and scenario are those that the server was made with. The connections of the control
        route stay.
        """
        for connection in self.open_connections:
            connection.drop(now=now)
        for session in list(self.sessions.values()):
            self.forget(session)
        self.journal.clear()
        self._identified.clear()
        self._key_free_at.clear()
        self._members_limit.clear()
        self._upgrades = self._upgrades_before = 0
        self.config = attrs.evolve(self.config, scenario=self._first_scenario)
        self.world = self.config.world
        self.rest.clear()

    def forget(self, session: ServerSession) -> None:
        """Let a session expire: nobody can resume it any more, and nothing is dispatched to it."""
        self.sessions.pop(session.id, None)
        self._away.pop(session.id, None)
        session.connection = None

    @property
    def open_connections(self) -> list[ServerConnection]:
        """Those that have asked for a WebSocket and are not CLOSED, by number."""
        numbered = [(c.number, c) for c in self.connections if c.number is not None]
        return [connection for _, connection in sorted(numbered, key=lambda pair: pair[0])]

    @property
    def world(self) -> World:
        """The world of the settings, changed by the dispatches since."""
        if self.config.world is not self._first_world:
            if self.config.world != self._first_world:
                self._world = self.config.world
            self._first_world = self.config.world
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._first_world, self._world = self.config.world, world

    # ----- for the connections -----

    def found(self, url: str, *, now: float) -> GatewayFound:
        """What `/gateway/bot` answers."""
        config = self.config
        used = self._identifies_today(now)
        resets = int((self._identified[0] + _DAY - now) * 1000) if used else 0
        limit = SessionStartLimit(
            config.identifies_a_day,
            config.identifies_a_day - used,
            resets,
            config.max_concurrency,
        )
        return GatewayFound(url, config.shards, limit)

    def next_upgrade(self) -> tuple[int, tuple[Fault, ...]]:
        """The number of one more connection, and what goes wrong on it."""
        self._upgrades += 1
        return self._upgrades, self.config.scenario.of(self._upgrades - self._upgrades_before)

    def control(
        self, method: str, path: str, query: str, body: bytes, *, now: float
    ) -> Answer | Wait:
        """What the control route answers."""
        return control(self, method, path, query, body, now=now)

    def wait(self, connection: ServerConnection) -> None:
        """Let a connection check after each entry of the journal whether its wait is over."""
        self._waiting.add(connection)

    def find_entry(self, wait: Wait) -> Mapping[str, Any] | None:
        """Return the first entry of the journal that a wait is for; None if there is none yet."""
        return next(filter(wait.is_for, self.journal.after(wait.after)), None)

    def note(self, event: str, connection: int | None, **fields: Any) -> None:
        """Something came, for the journal."""
        if self.config.control is not None:
            self._check_waits(self.journal.note(connection, event, **fields))

    def note_payload(self, event: str, connection: int | None, payload: Payload) -> None:
        """A command came, for the journal."""
        if self.config.control is not None:
            self._check_waits(self.journal.note_payload(connection, event, payload))

    def _check_waits(self, entry: Mapping[str, Any]) -> None:
        for connection in list(self._waiting):
            connection.check_wait(entry)

    def has_sessions_left(self, *, now: float) -> bool:
        """Whether the day's sessions are not used up."""
        return self._identifies_today(now) < self.config.identifies_a_day

    def may_identify(self, shard: tuple[int, int] | None, *, now: float) -> bool:
        """Whether it is not too soon for a shard; if so, it is counted."""
        key = identify_key(0 if shard is None else shard[0], self.config.max_concurrency)
        if now < self._key_free_at.get(key, now):
            return False
        self._key_free_at[key] = now + self.config.identify_seconds
        self._identified.append(now)
        return True

    def members_wait(self, token: str, guild_id: str, *, now: float) -> float:
        """Return the seconds until a bot may ask for all members; 0 counts the request."""
        seconds = self.config.members_seconds
        if not seconds:
            return 0.0
        return self._members_limit.seconds_left(token, guild_id, seconds, now=now)

    def _identifies_today(self, now: float) -> int:
        while self._identified and self._identified[0] + _DAY <= now:
            self._identified.popleft()
        return len(self._identified)

    def has_capacity(self, *, now: float) -> bool:
        """Whether there may be one more session, or one without a connection can be dropped."""
        self._forget(now)
        return len(self.sessions) < self.config.sessions_limit or bool(self._away)

    def open_session(self, identify: Identify, dialect: Dialect) -> ServerSession:
        """Open a session; the oldest without a connection is dropped for it at the limit."""
        if len(self.sessions) >= self.config.sessions_limit and self._away:
            self.forget(self.sessions[next(iter(self._away))])
        self._count += 1
        draw = self.config.random or (lambda: 0.5)
        unguessable = "".join(f"{int(draw() * 2**32):08x}" for _ in range(4))
        config = self.config
        session = ServerSession(
            f"{unguessable}{self._count:x}",
            identify,
            dialect,
            config.replay_limit,
            config.replay_bytes,
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
        self._waiting.discard(connection)
        session = connection.session
        if session is None or session.connection is not connection:
            return
        self.detach(session, now=now, forget=forget)

    def detach(self, session: ServerSession, *, now: float, forget: bool) -> None:
        """Take the connection from a session, and forget the session or keep it for a resume."""
        session.connection = None
        if forget:
            self.forget(session)
        elif session.id in self.sessions:
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


class _Encoded:
    """`d`, written once for all that get it."""

    def __init__(self, json: bytes) -> None:
        self.json = json

    @functools.cached_property
    def term(self) -> bytes:
        return to_term(self.json)


def _guild_id(name: str, data: Any) -> str | None:
    """Return the guild that a dispatch is about, or None; raises `LocalProtocolError`."""
    if not isinstance(data, Mapping):
        return None
    own = name in ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE")
    key = "id" if own else "guild_id"
    value: Any = data.get(key)
    guild_id: Any = as_id(value)
    if is_id(guild_id):
        return str(guild_id)
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        raise rejected(f"{key} of the dispatch", value, ID.expected)
    return None


def _check_name(name: Any) -> None:
    _NAME.named("dispatch name", name)
    likely = _documented_name_like(name)
    if likely is not None:
        raise rejected("dispatch name", name, likely)


@functools.lru_cache(maxsize=256)
def _documented_name_like(name: str) -> str | None:
    """Return the documented name that `name` nearly is; None if it is one, or like none."""
    from gateway_proto.dispatches import DispatchName

    if name in DispatchName.__members__:
        return None
    from difflib import get_close_matches  # only needed for other names

    return next(iter(get_close_matches(name.upper(), DispatchName.__members__, 1, 0.9)), None)
