"""State that a server shares with its connections: sessions, world, limits and received entries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from gateway_proto._checks import (
    CALLBACK,
    ID,
    SHARD,
    Check,
    as_id,
    is_id,
    is_text,
    optional,
    rejected,
)
from gateway_proto.commands import Identify
from gateway_proto.encoding.raw_value import check_term, encode_json, value_of_caller
from gateway_proto.events import GatewayFound, HttpRequested
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.control_routes import Wait, control_refusal, handle_control_request
from gateway_proto.server.dispatches import EncodedDispatch
from gateway_proto.server.faults import Fault, Scenario
from gateway_proto.server.http_routes import HttpResponse, handle_api_request
from gateway_proto.server.limits import IdentifyLimits
from gateway_proto.server.members import MembersLimit
from gateway_proto.server.received_log import ReceivedLog
from gateway_proto.server.rest import Rest, as_entry
from gateway_proto.server.rest_call import Route
from gateway_proto.server.session import ServerSession, SessionRegistry
from gateway_proto.server.world import World
from gateway_proto.versions import ProtocolVersion
from gateway_proto.wire.frames import HttpRequest
from gateway_proto.wire.payload import Payload

if TYPE_CHECKING:
    from gateway_proto.server.connection import ServerConnection

__all__ = ["ServerContext"]

_INTENTS_END = 1 << 32
_NAME = Check(lambda name: is_text(name) and 0 < len(name) <= 256, "a str such as 'MESSAGE_CREATE'")
_TO = optional(CALLBACK)


class ServerContext:
    """State of a server, for its connections and for the control route."""

    def __init__(self, config: ServerConfig, find_route: Callable[[str], Route | None]) -> None:
        self.config: ServerConfig = config
        self._world = self._configured_world = config.world
        self._configured_scenario = config.scenario
        self.registry: SessionRegistry = SessionRegistry(lambda: self.config)
        self.identifies: IdentifyLimits = IdentifyLimits(lambda: self.config)
        self.rest: Rest = Rest(lambda: self.config, find_route)
        self.received_log: ReceivedLog = ReceivedLog(config.received_log_limit)
        self.connections: set[ServerConnection] = set()
        self._waits: dict[ServerConnection, Wait] = {}
        self._upgrades = 0
        self._upgrades_before = 0  # the scenario
        self._members_limit = MembersLimit()

    @property
    def sessions(self) -> dict[str, ServerSession]:
        """The sessions, by id."""
        return self.registry.sessions

    @property
    def open_connections(self) -> list[ServerConnection]:
        """Connections with a WebSocket, or the request for one, that are not CLOSED, by number."""
        numbered = [(c.number, c) for c in self.connections if c.number is not None]
        return [connection for _, connection in sorted(numbered, key=lambda pair: pair[0])]

    @property
    def world(self) -> World:
        """The world of the configuration, changed by the dispatches since."""
        if self.config.world is not self._configured_world:
            if self.config.world != self._configured_world:
                self._world = self.config.world
            self._configured_world = self.config.world
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._configured_world, self._world = self.config.world, world

    # ----- for the server and the control route -----

    def dispatch(
        self,
        name: str,
        data: Any,
        *,
        now: float,
        to: Callable[[ServerSession], bool] | None = None,
    ) -> int:
        """Dispatch data to the sessions that `to` picks, or that a gateway would choose."""
        raw, value = _checked(name, data, to)
        sessions = self._recipients(name, data, value, to, now)
        world = self.world.after(name, value)
        if world.guilds is not self.world.guilds or world.user is not self.world.user:
            check_term(raw)  # later sessions may receive it as ETF
        whole = EncodedDispatch(name, raw)
        bare = None if to is not None else self.world.without_content(name, data)
        partial = whole if bare is None else EncodedDispatch(name, encode_json(bare))
        # Encode for all sessions before one receives it, so that an error changes nothing.
        encoded = [
            (whole if bare is None or session.has_message_content else partial).encoded(
                session.encoding
            )
            for session in sessions
        ]
        self.world = world
        for session, dispatch in zip(sessions, encoded, strict=True):
            numbered = session.add_dispatch(dispatch)
            if session.connection is not None:
                session.connection._send_numbered(numbered, now)
        return len(sessions)

    def recipients(
        self, name: str, data: Any, *, now: float, to: Callable[[ServerSession], bool] | None
    ) -> list[ServerSession]:
        """Return the sessions that `dispatch` would choose."""
        _, value = _checked(name, data, to)
        return self._recipients(name, data, value, to, now)

    def _recipients(
        self,
        name: str,
        data: Any,
        value: Any,
        to: Callable[[ServerSession], bool] | None,
        now: float,
    ) -> list[ServerSession]:
        self.registry.expire(now)
        guild_id = _guild_id(name, data)
        return [
            session
            for session in self.sessions.values()
            if (session.receives(name, guild_id, value) if to is None else to(session))
        ]

    def set_scenario(self, scenario: Scenario) -> None:
        """Inject the faults of a scenario; its first connection is the next one."""
        self.config = attrs.evolve(self.config, scenario=scenario)
        self._upgrades_before = self._upgrades

    def reset(self, *, now: float) -> None:
        """Drop every WebSocket, and return to the initial state."""
        for connection in self.open_connections:
            connection.drop(now=now)
        for session in list(self.sessions.values()):
            self.registry.forget(session)
        self.received_log.clear()
        self.identifies.clear()
        self._members_limit.clear()
        self._upgrades = self._upgrades_before = 0
        self.config = attrs.evolve(self.config, scenario=self._configured_scenario)
        self.world = self.config.world
        self.rest.clear()

    # ----- HTTP requests -----

    def gateway_found(self, url: str, *, now: float) -> GatewayFound:
        """Return the gateway that `/gateway/bot` reports."""
        return GatewayFound(url, self.config.shards, self.identifies.session_start_limit(now=now))

    def answer_request(
        self, request: HttpRequest, url: str, *, now: float
    ) -> tuple[HttpResponse | Wait | None, HttpRequested | None]:
        """Return the answer to a request, and its event; None for no answer, and no event yet.

        `url` is the URL of the gateway in lookups.
        """
        prefix = self.config.control
        path, _, query = request.target.partition("?")
        if prefix is not None and f"{path}/".startswith(f"{prefix}/"):
            answered = self._answer_control(request, path.removeprefix(prefix), query, now)
            if isinstance(answered, Wait):
                return answered, None
            return answered, HttpRequested(request.method, path, answered.status, query)
        token = request.headers.get("authorization", "")
        authorized = bool(token) and self.is_token_allowed(token)
        found = self.gateway_found(url, now=now)
        response, requested = self.rest.answer(
            self,
            request.method,
            request.target,
            request.body,
            request.headers.get("content-type", ""),
            authorized=authorized,
            usual=lambda method, route: handle_api_request(
                method, route, found=found, authorized=authorized
            ),
            now=now,
        )
        self.log_received("HttpRequested", None, **as_entry(requested))
        return response, requested

    def note_refusal(self, request: HttpRequest, status: int, number: int | None) -> HttpRequested:
        """Add the entry of an upgrade that was rejected with a status; return its event."""
        path, _, query = request.target.partition("?")
        requested = HttpRequested(request.method, path, status, query)
        self.log_received("HttpRequested", number, **as_entry(requested))
        return requested

    def _answer_control(
        self, request: HttpRequest, path: str, query: str, now: float
    ) -> HttpResponse | Wait:
        refusal = control_refusal(request.headers, self.config.control_hosts)
        if refusal is not None:
            return refusal
        return handle_control_request(self, request.method, path, query, request.body, now=now)

    def wait(self, connection: ServerConnection, wait: Wait) -> None:
        """Answer the request of a connection after the first entry that it waits for."""
        entry = next(filter(wait.is_for, self.received_log.after(wait.after)), None)
        if entry is None:
            self._waits[connection] = wait
        else:
            connection._end_wait(HttpResponse(200, msgspec.json.encode(entry)))

    def unmet_wait(self, connection: ServerConnection) -> HttpResponse:
        """Return the answer to a request that has waited for too long."""
        return self._waits[connection].in_vain()

    def log_received(self, event: str, connection: int | None, **fields: Any) -> None:
        """Add an entry if there is a control route."""
        if self.config.control is not None:
            self._check_waits(self.received_log.log_received(connection, event, **fields))

    def log_payload(self, event: str, connection: int | None, payload: Payload) -> None:
        """Add the entry of a command if there is a control route."""
        if self.config.control is not None:
            self._check_waits(self.received_log.log_payload(connection, event, payload))

    def _check_waits(self, entry: Mapping[str, Any]) -> None:
        for connection, wait in list(self._waits.items()):
            if wait.is_for(entry):
                connection._end_wait(HttpResponse(200, msgspec.json.encode(entry)))

    # ----- connections and their sessions -----

    def next_upgrade(self) -> tuple[int, tuple[Fault, ...]]:
        """Count a connection; return its number and its faults."""
        self._upgrades += 1
        return self._upgrades, self.config.scenario.for_connection(
            self._upgrades - self._upgrades_before
        )

    def connection_closed(self, connection: ServerConnection, *, now: float, forget: bool) -> None:
        """Remove a connection, and forget its session or keep it for a resume."""
        self.connections.discard(connection)
        self._waits.pop(connection, None)
        session = connection.session
        if session is not None and session.connection is connection:
            self.registry.detach(session, now=now, forget=forget)

    def is_token_allowed(self, token: str) -> bool:
        """Whether a token is accepted."""
        tokens = self.config.tokens
        return tokens is None or token.removeprefix("Bot ") in tokens

    def identify_error(
        self, identify: Identify, version: ProtocolVersion, *, now: float
    ) -> tuple[int, str] | None:
        """Return the close code and reason for an Identify; None if it is accepted.

        <https://docs.discord.com/developers/topics/opcodes-and-status-codes>
        """
        config, shard, intents = self.config, identify.shard, identify.intents
        allowed = config.allowed_intents
        if not self.is_token_allowed(identify.token):
            return 4004, "Authentication failed"
        if shard is not None and not SHARD.allows(shard):
            return 4010, "Invalid shard"
        if not self.identifies.has_sessions_left(now=now):
            return 4004, "Authentication failed: too many sessions today"
        if version.intents_required if intents is None else not 0 <= intents < _INTENTS_END:
            return 4013, "Invalid intent(s)"
        if intents is not None and allowed is not None and intents & ~allowed:
            return 4014, "Disallowed intent(s)"
        if len(self.world.guilds_of(shard)) > config.guilds_per_shard:
            return 4011, "Sharding required"
        return None

    def open_session(
        self, identify: Identify, version: ProtocolVersion, *, now: float
    ) -> ServerSession | None:
        """Open a session; None if there are too many, or Identify came too early."""
        is_allowed = self.registry.has_capacity(now=now)
        if not (is_allowed and self.identifies.take(identify.shard, now=now)):
            return None
        return self.registry.open(identify, version)

    def members_wait(self, token: str, guild_id: str, *, now: float) -> float:
        """Return the seconds until a bot may ask for all members; 0 counts the request."""
        seconds = self.config.members_seconds
        if not seconds:
            return 0.0
        return self._members_limit.seconds_left(token, guild_id, seconds, now=now)


def _checked(name: Any, data: Any, to: Any) -> tuple[bytes, Any]:
    """Return the data of a dispatch as JSON and decoded; raises `LocalProtocolError`."""
    _check_name(name)
    _TO.named("to", to)
    raw = encode_json(data)
    return raw, value_of_caller(raw)  # a msgspec.Raw may be anything


def _guild_id(name: str, data: Any) -> str | None:
    """Return the guild of a dispatch, or None; raises `LocalProtocolError` if it is invalid."""
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
    """Return the documented name that `name` is similar to; None for a documented name."""
    from gateway_proto.intents import DispatchName

    if name in DispatchName.__members__:
        return None
    from difflib import get_close_matches  # only needed for other names

    return next(iter(get_close_matches(name.upper(), DispatchName.__members__, 1, 0.9)), None)
