"""Control route: HTTP requests that inspect and control a server, for tests in any language.

Paths follow the prefix `ServerConfig.control`:

    GET  /connections                     open connections
    GET  /sessions                        sessions, also those that can be resumed
    GET  /received?after=NUMBER           received entries above a number
    GET  /wait?event=NAME&after=NUMBER&timeout=SECONDS   the first such entry, once there is one
    POST /reset                           initial state: no sessions, no entries
    POST /dispatch   {"t", "d"}           dispatch, to the sessions of a gateway
    POST /send       {"op", "d"}          op 1, 7, 9, 10 or 11
    POST /close      {"code", "reason"}   close
    POST /drop       {}                   drop, without a close frame
    POST /scenario   [{"what", ...}]      faults from the next connection on

With "connection": NUMBER in its body a request is about that connection alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args
from urllib.parse import parse_qs

import attrs
import msgspec

from gateway_proto._checks import rejected, shown
from gateway_proto.commands import Command
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    ReconnectRequested,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.server.faults import Scenario
from gateway_proto.server.http_routes import HttpResponse
from gateway_proto.server.received_log import ReceivedLog
from gateway_proto.state import State
from gateway_proto.versions import Opcode

if TYPE_CHECKING:
    from gateway_proto.server.connection import ServerConnection
    from gateway_proto.server.session import ServerSession

__all__ = ["ControllableServer", "Wait", "control_refusal", "handle_control_request"]

_SELECTORS = ("connection", "method", "target", "path", "status", "op", "code", "session")
"""Fields of an entry that a request may name to wait for it."""
_EVENTS = (
    *sorted(command.__name__ for command in get_args(Command)),
    *("Closed", "HttpRequested", "MalformedPayload", "Opened", "Ready", "Resumed"),
)
_SECONDS = 10.0
_MAX_SECONDS = 600.0
_PORT = re.compile(r":[0-9]*\Z")
_FIELD = re.compile(r"`\$\.(\w+)`")
_BRACKETS = re.compile(r"\A\[(.*:.*)\]\Z")
T = TypeVar("T", bound=msgspec.Struct)


class ControllableServer(Protocol):
    """Interface of a server for the control route."""

    received_log: ReceivedLog

    @property
    def sessions(self) -> dict[str, ServerSession]:
        """The sessions, by id."""
        ...

    @property
    def open_connections(self) -> Collection[ServerConnection]:
        """Connections with a WebSocket, or the request for one, that are not CLOSED, by number."""
        ...

    def dispatch(
        self, name: str, data: Any, *, now: float, to: Callable[[ServerSession], bool] | None = None
    ) -> int:
        """Dispatch to sessions; return their number."""
        ...

    def set_scenario(self, scenario: Scenario) -> None:
        """Inject the faults of a scenario, from the next connection on."""
        ...

    def reset(self, *, now: float) -> None:
        """Return to the initial state."""
        ...


class _Drop(msgspec.Struct, forbid_unknown_fields=True):
    connection: int | None = None


class _Close(msgspec.Struct, forbid_unknown_fields=True):
    code: int = 1000
    reason: str = ""
    connection: int | None = None


class _Dispatch(msgspec.Struct, forbid_unknown_fields=True):
    t: str
    d: Any = None
    connection: int | None = None


class _Send(msgspec.Struct, forbid_unknown_fields=True):
    op: int
    d: Any = None
    connection: int | None = None


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Wait(msgspec.Struct, frozen=True):
    """A request that waits for an entry."""

    after: int
    """Number that the entry must exceed."""
    seconds: float
    wanted: dict[str, str]
    """Fields of the entry, as text."""

    def is_for(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry is wanted."""
        return entry["number"] > self.after and all(
            str(entry.get(name)) == value for name, value in self.wanted.items()
        )

    def in_vain(self) -> HttpResponse:
        """Return the answer after the timeout."""
        what = ", ".join(f"{name} {value}" for name, value in self.wanted.items()) or "entry"
        return _json(
            408, {"message": f"no {what} after entry {self.after} within {self.seconds:g} s"}
        )


class _NotFoundError(Exception):
    """The connection of a request does not exist."""


def control_refusal(headers: Mapping[str, str], hosts: Collection[str]) -> HttpResponse | None:
    """Return the answer to a request that a web page has caused; None for other requests.

    Browsers name a page's origin in Origin, and how far it is from the server in Sec-Fetch-Site:
    <https://www.w3.org/TR/fetch-metadata/>. A page that has made its own name resolve to this
    server (DNS rebinding) sends that name as Host.
    """
    if "origin" in headers or headers.get("sec-fetch-site", "none").lower() != "none":
        return _json(403, {"message": "the control route does not answer web pages"})
    host = headers.get("host", "")
    name = _PORT.sub("", host).lower()
    if name == "localhost" or _is_loopback(name) or name in map(str.lower, hosts):
        return None
    message = (
        f"invalid Host {host[:100]!r}: expected localhost, a loopback address, or one of "
        "ServerConfig.control_hosts (serve --control-host)"
    )
    return _json(403, {"message": message})


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(_BRACKETS.sub(r"\1", name)).is_loopback
    except ValueError:
        return False


def handle_control_request(
    server: ControllableServer, method: str, path: str, query: str, body: bytes, *, now: float
) -> HttpResponse | Wait:
    """Return the answer to a request, or its wait; `path` follows the prefix."""
    try:
        match method, path.strip("/"):
            case "GET", "connections":
                return _json(200, [_connection(c) for c in server.open_connections])
            case "GET", "sessions":
                return _json(200, [_session(s) for s in server.sessions.values()])
            case "GET", "received":
                (after,) = _parameters(query, "after")
                return _json(200, server.received_log.after(_number("after", after or "0")))
            case "GET", "wait":
                return _wait(query)
            case "POST", "reset":
                _body(body, _Nothing)
                server.reset(now=now)
                return _json(200, {})
            case "POST", "dispatch":
                return _count(_dispatch(server, _body(body, _Dispatch), now))
            case "POST", "send":
                send = _body(body, _Send)
                message = _message(send.op, send.d)
                chosen = _chosen(server, send.connection)
                for connection in chosen:
                    connection.send(message, now=now)
                return _count(len(chosen))
            case "POST", "close":
                close = _body(body, _Close)
                chosen = _chosen(server, close.connection)
                for connection in chosen:
                    connection.close(close.code, close.reason, now=now)
                return _count(len(chosen))
            case "POST", "drop":
                chosen = _chosen(server, _body(body, _Drop).connection)
                for connection in chosen:
                    connection.drop(now=now)
                return _count(len(chosen))
            case "POST", "scenario":
                scenario = Scenario.from_json(body)
                server.set_scenario(scenario)
                return _count(len(scenario.faults))
    except _NotFoundError as error:
        return _json(404, {"message": str(error)})
    except LocalProtocolError as error:
        return _json(400, {"message": str(error)})
    return _json(404, {"message": f"unknown control request {method} {path[:100]}"})


def _dispatch(server: ControllableServer, dispatch: _Dispatch, now: float) -> int:
    if dispatch.connection is None:
        return server.dispatch(dispatch.t, dispatch.d, now=now)
    (connection,) = _chosen(server, dispatch.connection)
    session = connection.session
    if session is None:
        raise LocalProtocolError(f"connection {connection.number} has no session yet")
    return server.dispatch(dispatch.t, dispatch.d, now=now, to=lambda one: one is session)


def _chosen(server: ControllableServer, number: int | None) -> list[ServerConnection]:
    """Return the connection with a number, or all that have a session."""
    open_ = [c for c in server.open_connections if c.state in (State.IDENTIFYING, State.READY)]
    if number is None:
        return [c for c in open_ if c.session is not None]
    chosen = [c for c in open_ if c.number == number]
    if not chosen:
        raise _NotFoundError(f"connection {number} is not open")
    return chosen


def _message(op: int, d: Any) -> ServerMessage:
    match op:
        case Opcode.HEARTBEAT:
            return HeartbeatRequested()
        case Opcode.RECONNECT:
            return ReconnectRequested(d["url"] if isinstance(d, Mapping) and "url" in d else None)
        case Opcode.INVALID_SESSION:
            return SessionInvalidated(resumable=d is True)
        case Opcode.HELLO if isinstance(d, Mapping) and type(d.get("heartbeat_interval")) is int:
            return Hello(d["heartbeat_interval"])
        case Opcode.HEARTBEAT_ACK:
            return HeartbeatAcked()
    raise LocalProtocolError(
        f"op {op} cannot be sent: it may be 1, 7, 9 (d: true or false), "
        '10 (d: {"heartbeat_interval": MILLISECONDS}) or 11; for op 0 there is POST /dispatch'
    )


def _body(body: bytes, type_: type[T]) -> T:
    try:
        value = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise LocalProtocolError(f"the body is not JSON: {error}") from None
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        name = _FIELD.search(str(error))
        wrong = value if name is None else value.get(name[1])
        raise LocalProtocolError(f"invalid body: {error}, not {shown(wrong)}") from None


def _wait(query: str) -> Wait:
    after, timeout, event, *fields = _parameters(query, "after", "timeout", "event", *_SELECTORS)
    if event is not None and event not in _EVENTS:
        raise rejected("event", event, f"one of {', '.join(_EVENTS)}")
    seconds = _SECONDS if timeout is None else _float(timeout)
    if not 0 <= seconds <= _MAX_SECONDS:
        raise rejected("timeout", timeout, f"seconds from 0 to {_MAX_SECONDS:g}")
    selected = dict(zip(("event", *_SELECTORS), (event, *fields), strict=True))
    wanted = {name: value for name, value in selected.items() if value is not None}
    return Wait(_number("after", after or "0"), seconds, wanted)


def _parameters(query: str, *names: str) -> list[str | None]:
    """Return the values of these parameters; raises `LocalProtocolError` for others."""
    given = parse_qs(query, keep_blank_values=True)
    for name, values in given.items():
        if name not in names:
            raise rejected("parameter", name, f"one of {', '.join(names)}")
        if len(values) > 1:
            raise rejected(name, values, "one value")
    return [given[name][0] if name in given else None for name in names]


def _float(text: str) -> float:
    # Not float() alone, which accepts "nan", "1_0" and blanks.
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII) else -1.0


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise rejected(name, text, "the number of an entry")
    return int(text)


def _connection(connection: ServerConnection) -> dict[str, Any]:
    session = connection.session
    return {
        "number": connection.number,
        "state": connection.state.value,
        "version": connection.version.number,
        "encoding": connection.encoding.value,
        "compression": connection.compression.value,
        "buffered_bytes": connection.buffered_bytes,
        "session": None if session is None else _session(session),
    }


def _session(session: ServerSession) -> dict[str, Any]:
    presence = session.presence
    return {
        "id": session.id,
        "sequence": session.sequence,
        "shard": session.shard,
        "intents": session.intents,
        "presence": None if presence is None else attrs.asdict(presence),
        "connection": None if session.connection is None else session.connection.number,
    }


def _count(count: int) -> HttpResponse:
    return _json(200, {"count": count})


def _json(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(body))
