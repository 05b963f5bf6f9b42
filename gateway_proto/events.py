"""server → client, and local: the events, as values that both roles share.

What a server sends, the client role receives as an equal object. The events of the wire come
first, then those that the machine itself has to tell.
"""

from __future__ import annotations

import enum
from typing import Any, TypeAlias, TypeVar

import attrs
import msgspec

from gateway_proto._layers.payloads import to_json
from gateway_proto.commands import Command
from gateway_proto.dialects import Then

__all__ = [
    "By",
    "Closed",
    "DialFailed",
    "DialPlanned",
    "Dispatch",
    "Event",
    "GatewayFound",
    "GaveUp",
    "HeartbeatAcked",
    "HeartbeatRequested",
    "HeartbeatSent",
    "Hello",
    "HttpRequested",
    "MalformedPayload",
    "Opened",
    "Purpose",
    "Ready",
    "ReconnectRequested",
    "Resumed",
    "ServerEvent",
    "ServerMessage",
    "SessionInvalidated",
    "SessionStartLimit",
    "Unknown",
    "UrlRefused",
]

T = TypeVar("T")
_UNDECODED = msgspec.UNSET


@attrs.frozen
class Hello:
    """Op 10: the first payload of versions that greet."""

    heartbeat_interval: int
    """Milliseconds."""


@attrs.frozen
class Dispatch:
    """Op 0: something happened. `raw` is the JSON text of `d`, decoded when it is asked for."""

    name: str
    sequence: int | None
    raw: bytes = attrs.field(repr=False)
    _data: Any = attrs.field(default=_UNDECODED, init=False, repr=False, eq=False)

    @property
    def data(self) -> Any:
        """`d`, decoded once; raises `msgspec.DecodeError` where it holds what JSON does not."""
        if self._data is _UNDECODED:
            object.__setattr__(self, "_data", msgspec.json.decode(self.raw))
        return self._data

    def decode(self, type_: type[T]) -> T:
        """`d` decoded straight into a type that msgspec knows; raises `msgspec.ValidationError`."""
        return msgspec.json.decode(self.raw, type=type_)

    @classmethod
    def of(cls, name: str, data: Any, sequence: int | None = None) -> Dispatch:
        """A dispatch of any JSON value; the server role counts `sequence` by itself.

        Raises `LocalProtocolError` for data that JSON does not have.
        """
        return Dispatch(name, sequence, to_json(data))


@attrs.frozen
class Ready(Dispatch):
    """The READY dispatch: a session begins."""

    session_id: str = attrs.field(kw_only=True)
    resume_gateway_url: str | None = attrs.field(default=None, kw_only=True)
    heartbeat_interval: int | None = attrs.field(default=None, kw_only=True)
    """Milliseconds, in versions that do not greet."""
    shard: tuple[int, int] | None = attrs.field(default=None, kw_only=True)
    """As it was identified, whether or not the server repeats it."""
    version: int = attrs.field(kw_only=True)
    fingerprint: str = attrs.field(default="", kw_only=True, repr=False)
    """Of the token, so that a stored session is not resumed with another."""


@attrs.frozen
class Resumed(Dispatch):
    """The RESUMED dispatch: all that was missed has been replayed."""

    heartbeat_interval: int | None = attrs.field(default=None, kw_only=True)
    """Milliseconds, in versions that do not greet."""


@attrs.frozen
class HeartbeatRequested:
    """Op 1 of the server; the machine has answered it already."""


@attrs.frozen
class HeartbeatAcked:
    """Op 11: the server heard a heartbeat."""

    latency: float | None = attrs.field(default=None, eq=False)
    """Seconds since the scheduled heartbeat; None where none was waiting for it."""


@attrs.frozen
class ReconnectRequested:
    """Op 7: go to another connection; `url` is where, if version 3 says it."""

    url: str | None = None


@attrs.frozen
class SessionInvalidated:
    """Op 9: the session cannot be had, or (`resumable`) not at once."""

    resumable: bool = False


@attrs.frozen
class Unknown:
    """A payload with an op code that the dialect does not know, or with none."""

    op: int | float | None
    raw: bytes = b"null"
    """The JSON text of `d`."""
    message: str | None = None
    """The error text that some servers send in place of an op code."""


@attrs.frozen
class MalformedPayload:
    """A message that is no payload. It was skipped, or the connection closed because of it."""

    error: str


@attrs.frozen
class Opened:
    """The WebSocket is open."""

    path: str = "/"
    """The target of the request: path and query."""


@attrs.frozen
class HeartbeatSent:
    """A heartbeat went out; `d` is what it carried."""

    d: int | str | None


@attrs.frozen
class SessionStartLimit:
    """How many sessions may still be opened, of `GET /gateway/bot`."""

    total: int
    remaining: int
    reset_after: int
    """Milliseconds."""
    max_concurrency: int = 1


@attrs.frozen
class GatewayFound:
    """The lookup's answer."""

    url: str
    shards: int | None = None
    session_start_limit: SessionStartLimit | None = None


@attrs.frozen
class UrlRefused:
    """The network named a URL to which the token must not go; see `Config.trusted_hosts`."""

    url: str
    why: str


class By(enum.Enum):
    """Who ended a connection."""

    SELF = "self"
    PEER = "peer"
    TRANSPORT = "transport"


@attrs.frozen(kw_only=True)
class Closed:
    """The last event of each connection, exactly one."""

    code: int | None
    """The close code or, where the HTTP answer refused, its status; None: there was none."""
    reason: str = ""
    by: By
    then: Then
    error: str | None = None
    """What went wrong, in a sentence; None if nothing did."""
    retry_after: float | None = None
    """Seconds to wait at least, where an answer named them or INVALID_SESSION asks for them."""
    unsent: tuple[Command, ...] = ()
    """Commands that waited for room under the rate limit, and now wait no more."""


class Purpose(enum.Enum):
    """What a dial is for."""

    LOOKUP = "look up"
    IDENTIFY = "identify"
    RESUME = "resume"


@attrs.frozen(kw_only=True)
class DialPlanned:
    """The client decided what comes next, and why."""

    purpose: Purpose
    url: str
    delay: float
    """Seconds from the decision to the dial."""
    reason: str


@attrs.frozen
class DialFailed:
    """No transport could be had."""

    url: str
    error: str


@attrs.frozen
class GaveUp:
    """The client's life is over; it dials no more."""

    reason: str


@attrs.frozen
class HttpRequested:
    """The server role answered an HTTP request that was no upgrade."""

    method: str
    path: str
    status: int


ServerMessage: TypeAlias = (
    Hello | Dispatch | HeartbeatRequested | HeartbeatAcked | ReconnectRequested | SessionInvalidated
)
"""What a server may send."""

Event: TypeAlias = (
    ServerMessage
    | Unknown
    | MalformedPayload
    | Opened
    | HeartbeatSent
    | GatewayFound
    | UrlRefused
    | DialPlanned
    | DialFailed
    | Closed
    | GaveUp
)
"""What a client receives."""

ServerEvent: TypeAlias = Command | MalformedPayload | Opened | HttpRequested | Closed
"""What a server receives."""
