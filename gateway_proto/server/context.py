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
from gateway_proto.encoding.raw_value import (
    check_term,
    check_value_of_caller,
    encode_json,
    value_of_caller,
)
from gateway_proto.events import GatewayFound, HttpRequested
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.control_routes import Wait, control_refusal, handle_control_request
from gateway_proto.server.dispatches import EncodedDispatch
from gateway_proto.server.faults import Fault, Scenario
from gateway_proto.server.http_routes import HttpResponse, handle_api_request
from gateway_proto.server.limits import IdentifyLimits
from gateway_proto.server.members import MembersLimit
from gateway_proto.server.pending_messages import PendingMessages
from gateway_proto.server.received_log import ReceivedLog
from gateway_proto.server.rest import Rest, as_entry
from gateway_proto.server.rest_call import Route
from gateway_proto.server.session import ServerSession, SessionRegistry
from gateway_proto.server.world import World
from gateway_proto.server.world_messages import MESSAGE_CHANGES
from gateway_proto.versions import ProtocolVersion
from gateway_proto.wire.frame_events import HttpRequest
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
        self._messages = PendingMessages()  # dispatches that are not yet in `_world`
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
        self._follow_config()
        messages = self._messages.take()
        if messages:
            self._world = self._world.after_messages(
                [(name, value_of_caller(raw)) for name, raw in messages]
            )
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._configured_world, self._world = self.config.world, world
        self._messages.clear()

    def _follow_config(self) -> None:
        """Replace the world if the configuration has another one than before."""
        if self.config.world is not self._configured_world:
            if self.config.world != self._configured_world:
                self.world = self.config.world
            self._configured_world = self.config.world

    def _add_message(self, name: str, data: Any, raw: bytes) -> None:
        """Change the world by a dispatch about a message, later if possible.

        The fast path of these dispatches: each would decode and complete its message, and copy the
        list of 1,000 messages.
        """
        if not self._messages.add(self._world, name, data, raw):
            self._world = self.world.after_messages([(name, value_of_caller(raw))])
        elif self._messages.is_full:
            self._world = self.world

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
        _check_name(name)
        self._follow_config()
        is_message = name in MESSAGE_CHANGES
        old = self._world
        decodes = not is_message and old.may_change(name, data)
        if decodes:
            old = self.world
        raw, value = _checked(data, to, decodes=decodes)
        sessions = self._recipients(name, data, value, to, now)
        world = old.after(name, value) if decodes else old
        if world.guilds is not old.guilds or world.user is not old.user:
            check_term(raw)  # later sessions may receive it as ETF
        whole = partial = EncodedDispatch(name, raw)
        is_partial = is_message and to is None
        if is_partial and not all(session.has_message_content for session in sessions):
            bare = old.without_content(name, data)
            partial = whole if bare is None else EncodedDispatch(name, encode_json(bare))
        # Encode for all sessions before one receives it, so that an error changes nothing.
        encoded = [
            (whole if whole is partial or session.has_message_content else partial).encoded(
                session.encoding
            )
            for session in sessions
        ]
        if world is not old:
            self.world = world
        elif is_message:
            self._add_message(name, data, raw)
        for session, dispatch in zip(sessions, encoded, strict=True):
            numbered = session.add_dispatch(dispatch)
            if session.connection is not None:
                session.connection._send_numbered(numbered, now)
        return len(sessions)

    def recipients(
        self, name: str, data: Any, *, now: float, to: Callable[[ServerSession], bool] | None
    ) -> list[ServerSession]:
        """Return the sessions that `dispatch` would choose."""
        _check_name(name)
        _, value = _checked(data, to, decodes=True)
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
        sessions = list(self.sessions.values())
        if to is not None:
            return [session for session in sessions if to(session)]
        # Most sessions of a server are alike, so each kind is asked once.
        receives: dict[Any, bool] = {}
        found = []
        for session in sessions:
            kind = session.version.number, session.shard, session.intents
            is_chosen = receives.get(kind)
            if is_chosen is None:
                is_chosen = receives[kind] = session.receives(name, guild_id, value)
            if is_chosen:
                found.append(session)
        return found

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


def _checked(data: Any, to: Any, *, decodes: bool) -> tuple[bytes, Any]:
    """Return the data of a dispatch as JSON, and decoded or None; raises `LocalProtocolError`."""
    if to is not None:
        _TO.named("to", to)
    raw = encode_json(data)
    if decodes:
        return raw, value_of_caller(raw)
    check_value_of_caller(raw)  # a msgspec.Raw may be anything
    return raw, None


def _guild_id(name: str, data: Any) -> str | None:
    """Return the guild of a dispatch, or None; raises `LocalProtocolError` if it is invalid."""
    if not isinstance(data, dict | Mapping):  # a dict is recognized in a third of the time
        return None
    own = name in ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE")
    key = "id" if own else "guild_id"
    value: Any = data.get(key)
    if value is None:
        return None
    if type(value) is str and len(value) < 20 and value.isascii() and value.isdecimal():
        return value  # a number of 19 digits has 64 bits; most ids are such
    guild_id: Any = as_id(value)
    if is_id(guild_id):
        return str(guild_id)
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        raise rejected(f"{key} of the dispatch", value, ID.expected)
    return None


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise _NAME.error("dispatch name", name)
    _check_text_of_name(name)


@functools.lru_cache(maxsize=256)
def _check_text_of_name(name: str) -> None:
    from gateway_proto.intents import DispatchName

    _NAME.named("dispatch name", name)
    if name in DispatchName.__members__:
        return
    from difflib import get_close_matches  # only needed for other names

    likely = get_close_matches(name.upper(), DispatchName.__members__, 1, 0.9)
    if likely:
        raise rejected("dispatch name", name, likely[0])
