"""Server role: sessions over many connections, and dispatches to them.

A `Server` outlives its connections, as a gateway does: a client that resumes receives the
dispatches that it missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_proto._checks import BOOL, TEXT, as_now, instance_of
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.connection import ServerConnection
from gateway_proto.server.context import ServerContext
from gateway_proto.server.faults import Scenario
from gateway_proto.server.rest import Rest
from gateway_proto.server.rest_routes import find_route
from gateway_proto.server.session import ServerSession
from gateway_proto.server.world import World

__all__ = ["Server"]

_SERVER_CONFIG = instance_of(ServerConfig, "a ServerConfig, such as ServerConfig(tokens={'t'})")
_SESSION = instance_of(ServerSession, "a ServerSession, one of Server.sessions")
_WORLD = instance_of(World, "a World, such as World([{'id': '1'}])")


class Server:
    """A gateway server: its sessions and connections. `now` is seconds of one clock for all."""

    def __init__(self, config: ServerConfig | None = None) -> None:
        if config is not None:
            _SERVER_CONFIG.named("config", config)
        self._context = ServerContext(ServerConfig() if config is None else config, find_route)

    def accept(
        self, *, now: float, framing: bool = True, target: str = "/", host: str = "localhost"
    ) -> ServerConnection:
        """Return a connection for a transport that was opened to this server.

        With `framing=False` the WebSocket was accepted elsewhere; `target` and `host` are then
        the path and query, and the Host header, of its request.
        """
        now = as_now(now)
        BOOL.named("framing", framing)
        TEXT.named("target", target)
        TEXT.named("host", host)
        self._context.registry.expire(now)
        connection = ServerConnection(self._context, now=now, framing=framing)
        self._context.connections.add(connection)
        if not framing:
            connection._accept_upgraded(target, host, now=now)
        return connection

    def dispatch(
        self,
        name: str,
        data: Any,
        *,
        now: float,
        to: Callable[[ServerSession], bool] | None = None,
    ) -> int:
        """Dispatch any JSON value to the sessions that `to` picks; return their number.

        Without `to` the sessions are those that a gateway would choose: by the version, by the
        shard of the guild, and by the intents that a dispatch of this name needs. A session without
        MESSAGE_CONTENT receives a message of a guild without its content.

        A session without a connection keeps the dispatch for the resume. Raises
        `LocalProtocolError` for data that JSON does not have, except nan, which becomes null; and
        for a name that is similar to a documented one, such as "message_create". Other names are
        allowed: servers have names of their own.
        """
        return self._context.dispatch(name, data, now=as_now(now), to=to)

    def recipients(
        self,
        name: str,
        data: Any,
        *,
        now: float,
        to: Callable[[ServerSession], bool] | None = None,
    ) -> list[ServerSession]:
        """Return the sessions that `dispatch` would choose, and change nothing.

        Raises `LocalProtocolError` as `dispatch` does.
        """
        return self._context.recipients(name, data, now=as_now(now), to=to)

    def set_scenario(self, scenario: Scenario) -> None:
        """Inject the faults of a scenario; its first connection is the next one."""
        self._context.set_scenario(scenario)

    def reset(self, *, now: float) -> None:
        """Return to the initial state: drop every connection, and forget sessions and counts.

        World and scenario are those that the server was made with. Connections without a WebSocket,
        such as those of the control route, stay.
        """
        self._context.reset(now=as_now(now))

    def expire_session(self, session: ServerSession) -> None:
        """Let a session expire: it can no longer be resumed, and receives no dispatches."""
        _SESSION.named("session", session)
        self._context.registry.forget(session)

    @property
    def config(self) -> ServerConfig:
        """The configuration. A new one applies from the next request, Identify or dispatch on."""
        return self._context.config

    @config.setter
    def config(self, config: ServerConfig) -> None:
        _SERVER_CONFIG.named("config", config)
        self._context.config = config

    @property
    def sessions(self) -> dict[str, ServerSession]:
        """Sessions by id: those with a connection, and those that can be resumed."""
        return self._context.sessions

    @property
    def connections(self) -> set[ServerConnection]:
        """Connections that are not CLOSED."""
        return self._context.connections

    @property
    def open_connections(self) -> list[ServerConnection]:
        """Connections with a WebSocket, or the request for one, that are not CLOSED, by number."""
        return self._context.open_connections

    @property
    def rest(self) -> Rest:
        """The REST routes: recorded requests and scripted responses."""
        return self._context.rest

    @property
    def world(self) -> World:
        """The world of the configuration, changed by the dispatches since."""
        return self._context.world

    @world.setter
    def world(self, world: World) -> None:
        _WORLD.named("world", world)
        self._context.world = world
