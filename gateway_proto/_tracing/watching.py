"""Instrumentation of clients, servers and connections: their calls, outputs and states.

A wrapper would miss calls from `Server` and `Fleet`, which hold direct references. So the methods
are patched on the instance.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gateway_proto._connection import Connection
from gateway_proto._layers.inflate import Inflater, inflater
from gateway_proto._layers.raw import from_raw, to_json
from gateway_proto._layers.state import State
from gateway_proto._tracing.log import Line, Log
from gateway_proto._tracing.values import json_of_data, json_of_server_config, plain
from gateway_proto._tracing.wire import Incoming, Outgoing
from gateway_proto.client import Client, Dial
from gateway_proto.client_connection import ClientConnection
from gateway_proto.dialects import Compression
from gateway_proto.rest import Rest
from gateway_proto.server import Server
from gateway_proto.server_config import ServerConfig
from gateway_proto.server_connection import ServerConnection

__all__ = ["REST_PREFIX", "Clients", "Connections", "Servers", "Watch"]

REST_PREFIX = "rest."
"""Start of the names of calls on `Server.rest`."""

_CHANGES = (
    *("receive_data", "receive_message", "receive_close", "receive_eof", "handle_timer"),
    *("check_clock", "pause", "unpause", "send", "request", "grant_identify", "close"),
    *("write", "drop"),
)
"""The calls that change a connection."""
_RAISE_AFTER_THE_END = frozenset({"send", "request"})
_HANDS_OVER = ("events", "data_to_send", "messages_to_send", "close_to_send")
_LIMIT = 64 * 2**20
"""The maximum size in bytes of one decompressed payload."""


class Watch:
    """Instrumentation of one object: a line for each call."""

    def __init__(self, log: Log, target: Any, number: int) -> None:
        self._log = log
        self._target = target
        self.number: int = number
        self.prefix: str = ""
        """Text before the names of calls in the trace."""

    def calls(self, *names: str) -> None:
        """Record each call of these names."""
        for name in names:
            if hasattr(self._target, name):
                setattr(self._target, name, self._watched(name))

    def look(self, fields: dict[str, Any]) -> None:
        """Write the state of the object."""

    def ignores(self, name: str, arguments: dict[str, Any]) -> bool:
        """Whether a call cannot have an effect."""
        return False

    def before(self) -> None:
        """Prepare for a call."""

    def given(self, line: Line, name: str, value: Any) -> Any:
        """Return an argument as JSON data."""
        return plain(value)

    def returned(self, fields: dict[str, Any], value: Any) -> None:
        """Write the return value of a call."""
        if value is not None:
            fields["returned"] = plain(value)

    def _watched(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)
        signature, log = inspect.signature(method), self._log

        def call(*args: Any, **kwargs: Any) -> Any:
            arguments = {} if log.inside else dict(signature.bind(*args, **kwargs).arguments)
            if log.inside or (log.secrets is not None and self.ignores(name, arguments)):
                return method(*args, **kwargs)
            self.before()
            log.now = arguments.pop("now", log.now)
            line = log.begin(at=log.now, id=self.number, call=self.prefix + name)
            if log.calls:
                line.fields["inside"] = True
            if arguments:
                given = line.fields["with"] = {}
                for key, value in arguments.items():
                    given[key] = self.given(line, key, value)
            log.inside = True
            log.calls += 1
            try:
                result = method(*args, **kwargs)
                self.returned(line.fields, result)
                return result
            except BaseException as error:
                line.fields["raised"] = f"{type(error).__name__}: {error}"
                raise
            finally:
                log.inside = False
                log.calls -= 1
                self.look(line.fields)
                log.end(line)

        return call

    def hands_over(self, *names: str) -> None:
        """Record the outputs of these calls, if there are any."""
        for name in names:
            if hasattr(self._target, name):
                setattr(self._target, name, self._handing_over(name))

    def taken(self, name: str, value: Any) -> dict[str, Any]:
        """Return an output as JSON data."""
        return {"events": plain(value)}

    def _handing_over(self, name: str) -> Callable[[], Any]:
        method, log = getattr(self._target, name), self._log

        def call() -> Any:
            value = method()
            if value and not log.inside:
                log.line(at=log.now, id=self.number, took=name, **self.taken(name, value))
            return value

        return call


class Connections(Watch):
    """Instrumentation of a connection, of any role and kind."""

    def __init__(
        self,
        log: Log,
        connection: Connection[Any, Any],
        number: int,
        *,
        compression: Compression = Compression.NONE,
        life: Watch | None = None,
    ) -> None:
        super().__init__(log, connection, number)
        self._life = life
        self._inflater: Inflater | None = None
        self._outgoing = Outgoing(self._inflate)
        self._incoming: Incoming | None = None
        if log.secrets is not None:
            self._incoming = Incoming(
                log.secrets,
                inflater(compression, limit=_LIMIT),
                masked=isinstance(connection, ServerConnection),
            )
            log.unfinished[number] = self._incoming.finish
        self.calls(*_CHANGES)
        self.hands_over(*_HANDS_OVER)

    def look(self, fields: dict[str, Any]) -> None:
        connection = self._target
        fields |= {"state": connection.state.value, "timer": connection.next_timer()}
        waiting = getattr(connection, "waiting", 0)
        if isinstance(waiting, tuple) and waiting:
            fields["waiting"] = len(waiting)
        if self._life is not None:
            self._life.look(fields)
        if connection.state is State.CLOSED and self.number in self._log.unfinished:
            self._log.unfinished.pop(self.number)()

    def ignores(self, name: str, arguments: dict[str, Any]) -> bool:
        connection = self._target
        if connection.state is State.CLOSED:
            return name not in _RAISE_AFTER_THE_END
        if name == "handle_timer":
            at = connection.next_timer()
            return at is None or at > arguments["now"]
        return name == "check_clock" and not isinstance(connection, ClientConnection)

    def given(self, line: Line, name: str, value: Any) -> Any:
        call, incoming = line.fields["call"], self._incoming
        if call not in ("receive_data", "receive_message"):
            return super().given(line, name, value)
        if incoming is None:
            return None
        given = line.fields["with"]
        line.open += 1

        def write(clean: str | bytes | None) -> None:
            given[name] = None if clean is None else json_of_data(clean)
            self._log.add(line)

        receive = incoming.receive if call == "receive_data" else incoming.receive_message
        receive(value, write)
        return given.get(name)

    def taken(self, name: str, value: Any) -> dict[str, Any]:
        match name:
            case "data_to_send":
                return {"bytes": len(value), "sent": self._outgoing.send(value)}
            case "messages_to_send":
                return {"sent": [self._outgoing.message(message) for message in value]}
            case "close_to_send":
                return {"sent": [{"close": value[0], "reason": value[1]}]}
            case _:
                return super().taken(name, value)

    def _inflate(self, message: str | bytes) -> str | bytes | None:
        if self._inflater is None:
            compression = getattr(self._target, "compression", Compression.NONE)
            self._inflater = inflater(compression, limit=_LIMIT)
        return self._inflater.receive(message)


class Clients(Watch):
    """Instrumentation of a `Client`."""

    def __init__(self, log: Log, client: Client, number: int, compression: Compression) -> None:
        super().__init__(log, client, number)
        self._compression = compression
        self._dial: Dial | None = None
        self.calls("dial_succeeded", "dial_failed", "stop")
        self.hands_over("events")

    def look(self, fields: dict[str, Any]) -> None:
        dial = self._target.next_dial()
        if dial is not self._dial:
            self._dial = dial
            fields["dial"] = plain(dial)
        connection = self._target.connection
        if connection is not None and "state" not in fields:
            fields |= {"state": connection.state.value, "timer": connection.next_timer()}

    def returned(self, fields: dict[str, Any], value: Any) -> None:
        if isinstance(value, Connection):
            fields["made"] = self._log.number()
            Connections(
                self._log, value, fields["made"], compression=self._compression, life=self
            ).look(fields)


class Servers(Watch):
    """Instrumentation of a `Server`."""

    def __init__(self, log: Log, server: Server, number: int) -> None:
        super().__init__(log, server, number)
        self._config: ServerConfig | None = None
        self.calls("accept", "dispatch", "play")
        _RestScripts(log, server.rest, number)

    def before(self) -> None:
        # An adapter changes the config as soon as it listens.
        config = self._target.config
        if config is self._config or self._log.secrets is None:
            return
        tokens = config.tokens
        hidden = None if tokens is None else [self._log.hide(token) for token in sorted(tokens)]
        self._log.line(id=self.number, config=json_of_server_config(config, hidden))

    def look(self, fields: dict[str, Any]) -> None:
        self._config = self._target.config

    def given(self, line: Line, name: str, value: Any) -> Any:
        if name == "to" and value is not None:
            return [session.id for session in self._target.sessions.values() if value(session)]
        if name == "data":
            return from_raw(to_json(value), Any)
        return super().given(line, name, value)

    def returned(self, fields: dict[str, Any], value: Any) -> None:
        if not isinstance(value, Connection):
            super().returned(fields, value)
            return
        fields["made"] = self._log.number()
        Connections(self._log, value, fields["made"]).look(fields)


class _RestScripts(Watch):
    """Instrumentation of the scripted responses of a `Server`."""

    def __init__(self, log: Log, rest: Rest, number: int) -> None:
        super().__init__(log, rest, number)
        self.prefix = REST_PREFIX
        self.calls("reply", "ignore", "rate_limit", "clear")

    def given(self, line: Line, name: str, value: Any) -> Any:
        if name == "json":
            return from_raw(to_json(value), Any)
        if name == "body" and isinstance(value, bytes):
            return json_of_data(value)
        return super().given(line, name, value)
