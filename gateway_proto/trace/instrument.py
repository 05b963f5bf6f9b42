"""Instrumentation of clients, servers and connections: their calls, outputs and states.

A wrapper would miss calls from `Server` and `ShardManager`, which hold direct references. So the
methods are patched on the instance.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gateway_proto.client.client import Client, Dial
from gateway_proto.client.connection import ClientConnection
from gateway_proto.connection import Connection
from gateway_proto.encoding.raw_value import decode_raw, encode_json
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.connection import ServerConnection
from gateway_proto.server.rest import Rest
from gateway_proto.server.server import Server
from gateway_proto.state import State
from gateway_proto.trace.byte_redaction import IncomingRedactor, OutgoingDecoder
from gateway_proto.trace.serialize import bytes_to_json, server_config_to_json, to_json_value
from gateway_proto.trace.writer import TraceLine, TraceWriter
from gateway_proto.versions import Compression
from gateway_proto.wire.compression import Decompressor, make_decompressor

__all__ = [
    "REST_PREFIX",
    "ClientInstrumentation",
    "ConnectionInstrumentation",
    "Instrumentation",
    "ServerInstrumentation",
]

REST_PREFIX = "rest."
"""Start of the names of calls on `Server.rest`."""

_CHANGES = (
    *("receive_data", "receive_message", "receive_close", "receive_eof", "handle_timer"),
    *("check_clock", "pause", "unpause", "send", "request", "grant_identify", "close"),
    *("_send_unchecked", "drop"),
)
"""The calls that change a connection."""
_RAISE_AFTER_THE_END = frozenset({"send", "request"})
_HANDS_OVER = ("events", "data_to_send", "messages_to_send", "close_to_send")
_LIMIT = 64 * 2**20
"""The maximum size in bytes of one decompressed payload."""


class Instrumentation:
    """Instrumentation of one object: a line for each call."""

    def __init__(self, log: TraceWriter, target: Any, number: int) -> None:
        self._log = log
        self._target = target
        self.number: int = number
        self.prefix: str = ""
        """Text before the names of calls in the trace."""

    def record_calls(self, *names: str) -> None:
        """Record each call of these names."""
        for name in names:
            if hasattr(self._target, name):
                setattr(self._target, name, self._watched(name))

    def record_state(self, fields: dict[str, Any]) -> None:
        """Write the state of the object."""

    def ignores(self, name: str, arguments: dict[str, Any]) -> bool:
        """Whether a call cannot have an effect."""
        return False

    def before(self) -> None:
        """Prepare for a call."""

    def record_argument(self, line: TraceLine, name: str, value: Any) -> Any:
        """Return an argument as JSON data."""
        return to_json_value(value)

    def returned(self, fields: dict[str, Any], value: Any) -> None:
        """Write the return value of a call."""
        if value is not None:
            fields["returned"] = to_json_value(value)

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
                    given[key] = self.record_argument(line, key, value)
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
                self.record_state(line.fields)
                log.end(line)

        return call

    def record_outputs(self, *names: str) -> None:
        """Record the outputs of these calls, if there are any."""
        for name in names:
            if hasattr(self._target, name):
                setattr(self._target, name, self._handing_over(name))

    def record_output(self, name: str, value: Any) -> dict[str, Any]:
        """Return an output as JSON data."""
        return {"events": to_json_value(value)}

    def _handing_over(self, name: str) -> Callable[[], Any]:
        method, log = getattr(self._target, name), self._log

        def call() -> Any:
            value = method()
            if value and not log.inside:
                log.line(at=log.now, id=self.number, took=name, **self.record_output(name, value))
            return value

        return call


class ConnectionInstrumentation(Instrumentation):
    """Instrumentation of a connection, of any role and kind."""

    def __init__(
        self,
        log: TraceWriter,
        connection: Connection[Any, Any],
        number: int,
        *,
        compression: Compression = Compression.NONE,
        client: Instrumentation | None = None,
    ) -> None:
        super().__init__(log, connection, number)
        self._client = client
        self._decompressor: Decompressor | None = None
        self._outgoing = OutgoingDecoder(self._decompress)
        self._incoming: IncomingRedactor | None = None
        if log.secrets is not None:
            self._incoming = IncomingRedactor(
                log.secrets,
                make_decompressor(compression, limit=_LIMIT),
                masked=isinstance(connection, ServerConnection),
            )
            log.unfinished[number] = self._incoming.finish
        self.record_calls(*_CHANGES)
        self.record_outputs(*_HANDS_OVER)

    def record_state(self, fields: dict[str, Any]) -> None:
        connection = self._target
        fields |= {"state": connection.state.value, "timer": connection.next_timer()}
        queued = getattr(connection, "queued_commands", ())
        if queued:
            fields["waiting"] = len(queued)
        if self._client is not None:
            self._client.record_state(fields)
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

    def record_argument(self, line: TraceLine, name: str, value: Any) -> Any:
        call, incoming = line.fields["call"], self._incoming
        if call not in ("receive_data", "receive_message"):
            return super().record_argument(line, name, value)
        if incoming is None:
            return None
        given = line.fields["with"]
        line.open += 1

        def write(clean: str | bytes | None) -> None:
            given[name] = None if clean is None else bytes_to_json(clean)
            self._log.add(line)

        receive = incoming.receive if call == "receive_data" else incoming.receive_message
        receive(value, write)
        return given.get(name)

    def record_output(self, name: str, value: Any) -> dict[str, Any]:
        match name:
            case "data_to_send":
                return {"bytes": len(value), "sent": self._outgoing.send(value)}
            case "messages_to_send":
                return {"sent": [self._outgoing.message(message) for message in value]}
            case "close_to_send":
                return {"sent": [{"close": value[0], "reason": value[1]}]}
            case _:
                return super().record_output(name, value)

    def _decompress(self, message: str | bytes) -> str | bytes | None:
        if self._decompressor is None:
            compression = getattr(self._target, "compression", Compression.NONE)
            self._decompressor = make_decompressor(compression, limit=_LIMIT)
        return self._decompressor.receive(message)


class ClientInstrumentation(Instrumentation):
    """Instrumentation of a `Client`."""

    def __init__(
        self, log: TraceWriter, client: Client, number: int, compression: Compression
    ) -> None:
        super().__init__(log, client, number)
        self._compression = compression
        self._dial: Dial | None = None
        self.record_calls("dial_succeeded", "dial_failed", "stop")
        self.record_outputs("events")

    def record_state(self, fields: dict[str, Any]) -> None:
        dial = self._target.next_dial()
        if dial is not self._dial:
            self._dial = dial
            fields["dial"] = to_json_value(dial)
        connection = self._target.connection
        if connection is not None and "state" not in fields:
            fields |= {"state": connection.state.value, "timer": connection.next_timer()}

    def returned(self, fields: dict[str, Any], value: Any) -> None:
        if isinstance(value, Connection):
            fields["made"] = self._log.number()
            ConnectionInstrumentation(
                self._log, value, fields["made"], compression=self._compression, client=self
            ).record_state(fields)


class ServerInstrumentation(Instrumentation):
    """Instrumentation of a `Server`."""

    def __init__(self, log: TraceWriter, server: Server, number: int) -> None:
        super().__init__(log, server, number)
        self._config: ServerConfig | None = None
        self.record_calls("accept", "dispatch", "set_scenario")
        _RestScripts(log, server.rest, number)

    def before(self) -> None:
        # An adapter changes the config as soon as it listens.
        config = self._target.config
        if config is self._config or self._log.secrets is None:
            return
        tokens = config.tokens
        hidden = (
            None if tokens is None else [self._log.redact_token(token) for token in sorted(tokens)]
        )
        self._log.line(id=self.number, config=server_config_to_json(config, hidden))

    def record_state(self, fields: dict[str, Any]) -> None:
        self._config = self._target.config

    def record_argument(self, line: TraceLine, name: str, value: Any) -> Any:
        if name == "to" and value is not None:
            return [session.id for session in self._target.sessions.values() if value(session)]
        if name == "data":
            return decode_raw(encode_json(value), Any)
        return super().record_argument(line, name, value)

    def returned(self, fields: dict[str, Any], value: Any) -> None:
        if not isinstance(value, Connection):
            super().returned(fields, value)
            return
        fields["made"] = self._log.number()
        ConnectionInstrumentation(self._log, value, fields["made"]).record_state(fields)


class _RestScripts(Instrumentation):
    """Instrumentation of the scripted responses of a `Server`."""

    def __init__(self, log: TraceWriter, rest: Rest, number: int) -> None:
        super().__init__(log, rest, number)
        self.prefix = REST_PREFIX
        self.record_calls("reply", "ignore", "rate_limit", "clear")

    def record_argument(self, line: TraceLine, name: str, value: Any) -> Any:
        if name == "json":
            return decode_raw(encode_json(value), Any)
        if name == "body" and isinstance(value, bytes):
            return bytes_to_json(value)
        return super().record_argument(line, name, value)
