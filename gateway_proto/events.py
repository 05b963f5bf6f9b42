"""server → client, and local: the events, as values that both roles share.

What a server sends, the client role receives as an equal object. The events of the wire come
first, then those that the machine itself has to tell. They are msgspec's structs: the decoder makes
the most frequent one by itself, and a class costs a thirtieth of one of attrs at import.
"""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import msgspec

from gateway_proto._layers.dispatch import Dispatch
from gateway_proto._terse import Terse
from gateway_proto.commands import (
    Command,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
)
from gateway_proto.dialects import Encoding, Then

__all__ = [
    "By",
    "ChannelInfo",
    "Closed",
    "CommandsWait",
    "DialFailed",
    "DialPlanned",
    "Dispatch",
    "EncodingIgnored",
    "Event",
    "GatewayFound",
    "GaveUp",
    "GuildMembers",
    "HeartbeatAcked",
    "HeartbeatLate",
    "HeartbeatRequested",
    "HeartbeatSent",
    "Hello",
    "HttpRequested",
    "IdentifyBudgetSpent",
    "IdentifySlotNeeded",
    "MalformedPayload",
    "Opened",
    "Purpose",
    "Ready",
    "ReconnectRequested",
    "RequestAnswered",
    "RequestFailed",
    "Resumed",
    "ServerEvent",
    "ServerMessage",
    "SessionIgnored",
    "SessionInvalidated",
    "SessionStartLimit",
    "SoundboardSounds",
    "Suspended",
    "Unknown",
    "UploadedFile",
    "UrlRefused",
]


class Hello(msgspec.Struct, frozen=True):
    """Op 10: the first payload of versions that greet."""

    heartbeat_interval: int
    """Milliseconds."""


class Ready(Dispatch, frozen=True, eq=False, kw_only=True):
    """The READY dispatch: a session begins."""

    session_id: str
    resume_gateway_url: str | None = None
    heartbeat_interval: int | None = None
    """Milliseconds, in versions that do not greet."""
    shard: tuple[int, int] | None = None
    """As it was identified, whether or not the server repeats it."""
    version: int
    fingerprint: str = ""
    """Of the token, so that a stored session is not resumed with another."""
    encoding: Encoding = Encoding.JSON
    """Of this connection."""


class Resumed(Dispatch, frozen=True, eq=False, kw_only=True):
    """The RESUMED dispatch: all that was missed has been replayed."""

    heartbeat_interval: int | None = None
    """Milliseconds, in versions that do not greet."""


class EncodingIgnored(msgspec.Struct, frozen=True):
    """The server writes its payloads in another encoding than the one asked for.

    Both are read. But a server that ignores `encoding=` in the URL may not read what it is sent.
    """

    expected: Encoding
    received: Encoding


class HeartbeatRequested(msgspec.Struct, frozen=True):
    """Op 1 of the server; the machine has answered it already."""


class HeartbeatAcked(msgspec.Struct, frozen=True, eq=False):
    """Op 11: the server heard a heartbeat. Two are equal whatever their latency."""

    latency: float | None = None
    """Seconds since the scheduled heartbeat; None where none was waiting for it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeartbeatAcked)

    def __hash__(self) -> int:
        return hash(HeartbeatAcked)


class ReconnectRequested(msgspec.Struct, frozen=True):
    """Op 7: go to another connection; `url` is where, if version 3 says it."""

    url: str | None = None


class SessionInvalidated(msgspec.Struct, frozen=True):
    """Op 9: the session cannot be had, or (`resumable`) not at once."""

    resumable: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """A payload with an op code that the dialect does not know, or with none."""

    op: int | float | None
    raw: bytes = b"null"
    """`d` as it came: its JSON text or its ETF term."""
    message: str | None = None
    """The error text that some servers send in place of an op code."""
    name: str | None = None
    """The payload's `t`."""


class MalformedPayload(msgspec.Struct, frozen=True):
    """A message that is no payload. It was skipped, or the connection closed because of it."""

    error: str
    excerpt: str = ""
    """The first 100 characters of the message; bytes that are not UTF-8 are escaped."""


class Opened(msgspec.Struct, frozen=True):
    """The WebSocket is open."""

    path: str = "/"
    """The target of the request: path and query."""


class HeartbeatSent(msgspec.Struct, frozen=True):
    """A heartbeat went out; `d` is what it carried."""

    d: int | str | None


class HeartbeatLate(msgspec.Struct, frozen=True):
    """A heartbeat went out much later than it was due: something blocks the loop."""

    seconds: float


class Suspended(msgspec.Struct, frozen=True):
    """Unix time has jumped against the caller's clock: the machine slept, or the clock was set."""

    seconds: float


class CommandsWait(msgspec.Struct, frozen=True):
    """Commands wait long for room under the rate limits."""

    count: int
    seconds: float
    """How long the first of them has waited."""


class IdentifySlotNeeded(msgspec.Struct, frozen=True):
    """The connection waits for an identify slot: call `grant_identify` when it is free.

    The connection sends heartbeats meanwhile, without a time limit. One shard of a key may identify
    in five seconds, see `IdentifyQueue`. With the adapters, call `grant_identify` of the gateway.
    """

    shard_id: int
    key: int


class IdentifyBudgetSpent(msgspec.Struct, frozen=True):
    """No session may be opened now: the Identifies of the day are used. The client waits.

    See `Config.identify_budget` and `Config.identify_reserve`.
    """

    seconds: float | None
    """Until the next Identify is possible; None means never."""
    reason: str


class SessionIgnored(msgspec.Struct, frozen=True):
    """The session that was passed to the client cannot be resumed; the client identifies."""

    reason: str


class GuildMembers(Terse, frozen=True):
    """The answer to `RequestGuildMembers`: all of its chunks."""

    guild_id: str
    members: tuple[Any, ...]
    not_found: tuple[Any, ...] = ()
    """Ids that are no members."""
    presences: tuple[Any, ...] = ()


class SoundboardSounds(Terse, frozen=True):
    """The answer to `RequestSoundboardSounds`: guild id → its sounds."""

    sounds: dict[str, tuple[Any, ...]]


class ChannelInfo(Terse, frozen=True):
    """The answer to `RequestChannelInfo`."""

    guild_id: str
    channels: tuple[Any, ...]


class RequestAnswered(msgspec.Struct, frozen=True):
    """The whole answer to a request has come; `number` is what `request` returned."""

    number: int
    request: RequestGuildMembers | RequestSoundboardSounds | RequestChannelInfo
    answer: GuildMembers | SoundboardSounds | ChannelInfo


class RequestFailed(msgspec.Struct, frozen=True):
    """A request will not be answered, or not whole."""

    number: int
    request: RequestGuildMembers | RequestSoundboardSounds | RequestChannelInfo
    why: str
    retry_after: float | None = None
    """Seconds, where the server limits the request and says for how long."""


class SessionStartLimit(msgspec.Struct, frozen=True):
    """How many sessions may still be opened, of `GET /gateway/bot`."""

    total: int
    remaining: int
    reset_after: int
    """Milliseconds."""
    max_concurrency: int = 1


class GatewayFound(msgspec.Struct, frozen=True):
    """The lookup's answer."""

    url: str
    shards: int | None = None
    session_start_limit: SessionStartLimit | None = None


class UrlRefused(msgspec.Struct, frozen=True):
    """The network named a URL to which the token must not go; see `Config.trusted_hosts`."""

    url: str
    why: str


class By(enum.Enum):
    """Who ended a connection."""

    SELF = "self"
    PEER = "peer"
    TRANSPORT = "transport"


class Closed(msgspec.Struct, frozen=True, kw_only=True):
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
    last_sent: tuple[Command, ...] = ()
    """Where the close code says that a command was bad: the last that were sent."""


class Purpose(enum.Enum):
    """What a dial is for."""

    LOOKUP = "look up"
    IDENTIFY = "identify"
    RESUME = "resume"


class DialPlanned(msgspec.Struct, frozen=True, kw_only=True):
    """The client decided what comes next, and why."""

    purpose: Purpose
    url: str
    delay: float
    """Seconds from the decision to the dial."""
    reason: str


class DialFailed(msgspec.Struct, frozen=True):
    """No transport could be had."""

    url: str
    error: str


class GaveUp(msgspec.Struct, frozen=True):
    """The client's life is over; it dials no more."""

    reason: str


class UploadedFile(msgspec.Struct, frozen=True):
    """A file of a multipart request."""

    name: str
    """Of the form's field, such as "files[0]"."""
    filename: str
    content_type: str
    data: bytes


class HttpRequested(msgspec.Struct, frozen=True):
    """The server role answered an HTTP request, or refused an upgrade."""

    method: str
    path: str
    """Without the query."""
    status: int
    """Of the response; 0: the request gets no answer."""
    query: str = ""
    json: Any = None
    """The body, or `payload_json` of a multipart body; None if it has none that is JSON."""
    files: tuple[UploadedFile, ...] = ()
    route: str | None = None
    """The route as the documentation writes it, such as "/channels/{channel_id}/messages"; None if
    there is no such route."""


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
    | HeartbeatLate
    | Suspended
    | CommandsWait
    | IdentifySlotNeeded
    | IdentifyBudgetSpent
    | EncodingIgnored
    | SessionIgnored
    | RequestAnswered
    | RequestFailed
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
