"""HTTP requests ↔ a running server: the control route, for tests in any language.

Under the prefix that `ServerConfig.control` names:

    GET  /connections                     who is connected
    GET  /sessions                        and what may still be resumed
    GET  /received?after=NUMBER           what clients sent, behind an entry's number
    POST /dispatch   {"t", "d"}           dispatch, to whom a gateway would
    POST /send       {"op", "d"}          op 1, 7, 9, 10 or 11
    POST /close      {"code", "reason"}   close
    POST /drop       {}                   cut, without a close frame
    POST /scenario   [{"what", ...}]      what goes wrong from the next connection on

With "connection": NUMBER in its body a request is about that connection alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs

import attrs
import msgspec

from gateway_proto._layers.state import State
from gateway_proto._telling import ServerSession, Telling
from gateway_proto.dialects import Opcode
from gateway_proto.endpoint import Answer
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    ReconnectRequested,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.faults import Scenario
from gateway_proto.journal import Journal

__all__ = ["Controlled", "control", "control_refusal"]

_PORT = re.compile(r":[0-9]*\Z")
_BRACKETS = re.compile(r"\A\[(.*:.*)\]\Z")
T = TypeVar("T", bound=msgspec.Struct)


class Controlled(Protocol):
    """What the route needs of a server."""

    sessions: dict[str, ServerSession]
    journal: Journal

    @property
    def open_connections(self) -> Collection[Telling]:
        """Those that have asked for a WebSocket and are not CLOSED, by number."""
        ...

    def dispatch(
        self, name: str, data: Any, *, now: float, to: Callable[[ServerSession], bool] | None = None
    ) -> int:
        """Dispatch to sessions; returns to how many."""
        ...

    def play(self, scenario: Scenario) -> None:
        """Let go wrong what a scenario says, from the next connection on."""
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


class _NotFoundError(Exception):
    """What was asked for is not there."""


def control_refusal(headers: Mapping[str, str], hosts: Collection[str]) -> Answer | None:
    """Return the answer to a request that a web page has caused; None if it is none.

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


def control(
    server: Controlled, method: str, path: str, query: str, body: bytes, *, now: float
) -> Answer:
    """The answer to a request; `path` is what stands behind the prefix."""
    try:
        match method, path.strip("/"):
            case "GET", "connections":
                return _json(200, [_connection(c) for c in server.open_connections])
            case "GET", "sessions":
                return _json(200, [_session(s) for s in server.sessions.values()])
            case "GET", "received":
                return _json(200, server.journal.after(_after(query)))
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
                server.play(scenario)
                return _count(len(scenario.faults))
    except _NotFoundError as error:
        return _json(404, {"message": str(error)})
    except LocalProtocolError as error:
        return _json(400, {"message": str(error)})
    return _json(404, {"message": f"there is no {method} {path[:100]} here"})


def _dispatch(server: Controlled, dispatch: _Dispatch, now: float) -> int:
    if dispatch.connection is None:
        return server.dispatch(dispatch.t, dispatch.d, now=now)
    (connection,) = _chosen(server, dispatch.connection)
    session = connection.session
    if session is None:
        raise LocalProtocolError(f"connection {connection.number} has no session yet")
    return server.dispatch(dispatch.t, dispatch.d, now=now, to=lambda one: one is session)


def _chosen(server: Controlled, number: int | None) -> list[Telling]:
    """One connection, or all that have a session."""
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
        return msgspec.json.decode(body or b"{}", type=type_)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise LocalProtocolError(f"the body is not understood: {error}") from None


def _after(query: str) -> int:
    after = parse_qs(query).get("after", ["0"])[-1]
    if not (after.isascii() and after.isdecimal() and len(after) < 20):
        raise LocalProtocolError(f"after={after[:30]} is not the number of an entry")
    return int(after)


def _connection(connection: Telling) -> dict[str, Any]:
    session = connection.session
    return {
        "number": connection.number,
        "state": connection.state.value,
        "version": connection.dialect.version,
        "encoding": connection.encoding.value,
        "compression": connection.compression.value,
        "waiting": connection.waiting,
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


def _count(count: int) -> Answer:
    return _json(200, {"count": count})


def _json(status: int, body: Any) -> Answer:
    return Answer(status, msgspec.json.encode(body))
