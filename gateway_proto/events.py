"""Events of connections and clients, as values that both roles share.

The client role receives an event as an object equal to the one that the server sent. Events of the
protocol come first, then local ones. They are msgspec structs: the decoder creates dispatches
directly, and a class takes a thirtieth of the import time of an attrs class.

Source: <https://docs.discord.com/developers/events/gateway-events#receive-events>.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from gateway_proto._checks import integer, optional, rejected
from gateway_proto._repr import RedactedRepr
from gateway_proto.commands import (
    Command,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
)
from gateway_proto.encoding.raw_value import (
    DECODE_ERRORS,
    decode_json,
    decode_leniently,
    decode_raw,
    encode_json,
)
from gateway_proto.versions import Encoding, NextAction

__all__ = [
    "ChannelInfo",
    "ClockJumped",
    "Closed",
    "CommandsDelayed",
    "DialFailed",
    "DialPurpose",
    "DialScheduled",
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
    "Initiator",
    "MalformedPayload",
    "Opened",
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
    "UnknownPayload",
    "UploadedFile",
    "UrlRejected",
]

T = TypeVar("T")
EVENT_SIZE = 256  # bytes that each event counts for in a limit, in addition to its message
_MAX_SEQUENCE = 2**63 - 1
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=_MAX_SEQUENCE)]
_IS_SEQUENCE = optional(integer(0, _MAX_SEQUENCE))


class Dispatch(RedactedRepr, frozen=True, eq=False, dict=True, tag_field="op", tag=0):
    """Op 0: dispatch, decoded directly from a payload.

    <https://docs.discord.com/developers/events/gateway-events#payload-structure>
    """

    # `dict=True` gives instances a `__dict__`, in which `data` caches the decoded `d`. CPython
    # creates it on first use, so events whose `data` is not read pay only for an empty pointer.

    name: str = msgspec.field(name="t")
    sequence: _Sequence | None = msgspec.field(name="s")
    _d: msgspec.Raw = msgspec.field(name="d", default=msgspec.Raw(b"null"))

    @property
    def raw(self) -> bytes:
        """Undecoded `d`: JSON text or an ETF term."""
        return bytes(self._d)

    @property
    def data(self) -> Any:
        """Value of `d`, decoded once. Raises `DataError` if it cannot be decoded.

        Accepts everything that Python's json module accepts: lone surrogates, NaN, large numbers.
        """
        kept = self.__dict__
        if kept:
            return kept["data"]
        try:
            # A decoder made once takes a tenth less time than a call with a type.
            value = decode_json(self._d)
        except DECODE_ERRORS:
            value = decode_leniently(self._d)
        kept["data"] = value
        return value

    def decode(self, type_: type[T]) -> T:
        """Decode `d` directly into a type that msgspec supports. Raises `DataError`.

        In ETF, ids are ints or text: declare such a field as `int | str`.
        """
        return decode_raw(self._d, type_)

    @classmethod
    def of(cls, name: str, data: Any, sequence: int | None = None) -> Dispatch:
        """Return a dispatch with any JSON value. The server role sets `sequence` when it sends it.

        Raises `LocalProtocolError` for data that JSON cannot represent, for a name that is not a
        str, and for a sequence that is not an int from 0 on.
        """
        if not isinstance(name, str):
            raise rejected("name", name, "a str, such as 'MESSAGE_CREATE'")
        _IS_SEQUENCE.named("sequence", sequence)
        return Dispatch(str(name), sequence, msgspec.Raw(encode_json(data)))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        rest = (getattr(self, name) for name in self.__struct_fields__ if name != "_d")
        return self.raw, *rest


class Hello(msgspec.Struct, frozen=True):
    """Op 10: the first payload in versions that send HELLO.

    <https://docs.discord.com/developers/events/gateway-events#hello>
    """

    heartbeat_interval: int
    """Milliseconds."""


class Ready(Dispatch, frozen=True, eq=False, kw_only=True):
    """READY dispatch: start of a session.

    <https://docs.discord.com/developers/events/gateway-events#ready>
    """

    session_id: str
    resume_gateway_url: str | None = None
    heartbeat_interval: int | None = None
    """Milliseconds, in versions without HELLO."""
    shard: tuple[int, int] | None = None
    """The shard of Identify, also if the server does not repeat it."""
    version: int
    token_fingerprint: str = ""
    """Fingerprint of the token, so that a stored session is not resumed with another token."""
    encoding: Encoding = Encoding.JSON
    """Encoding of this connection."""


class Resumed(Dispatch, frozen=True, eq=False, kw_only=True):
    """RESUMED dispatch: all missed dispatches have been replayed.

    <https://docs.discord.com/developers/events/gateway-events#resumed>
    """

    heartbeat_interval: int | None = None
    """Milliseconds, in versions without HELLO."""


class EncodingIgnored(msgspec.Struct, frozen=True):
    """The server sends payloads in another encoding than the requested one.

    Both encodings are decoded. But a server that ignores `encoding=` in the URL may be unable to
    decode what the client sends.
    """

    expected: Encoding
    received: Encoding


class HeartbeatRequested(msgspec.Struct, frozen=True):
    """Op 1 of the server. The connection has already sent the requested heartbeat.

    <https://docs.discord.com/developers/events/gateway-events#heartbeat>
    """


class HeartbeatAcked(msgspec.Struct, frozen=True, eq=False):
    """Op 11: acknowledgement of a heartbeat. Equality ignores the latency.

    <https://docs.discord.com/developers/events/gateway#sending-heartbeats>
    """

    latency: float | None = None
    """Seconds since the scheduled heartbeat. None means that none was unacknowledged."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeartbeatAcked)

    def __hash__(self) -> int:
        return hash(HeartbeatAcked)


class ReconnectRequested(msgspec.Struct, frozen=True):
    """Op 7: request to reconnect. In version 3 `url` is the gateway to connect to.

    <https://docs.discord.com/developers/events/gateway-events#reconnect>
    """

    url: str | None = None


class SessionInvalidated(msgspec.Struct, frozen=True):
    """Op 9: the session is invalid, or (`resumable`) can be resumed later.

    <https://docs.discord.com/developers/events/gateway-events#invalid-session>
    """

    resumable: bool = False


class UnknownPayload(msgspec.Struct, frozen=True):
    """Payload without an op code, or with one that the protocol version does not define."""

    op: int | float | None
    raw: bytes = b"null"
    """Undecoded `d`: JSON text or an ETF term."""
    message: str | None = None
    """Error text that some servers send in place of an op code."""
    name: str | None = None
    """`t` of the payload."""


class MalformedPayload(msgspec.Struct, frozen=True):
    """Message that is not a payload. It was skipped, or the connection closed because of it."""

    error: str
    excerpt: str = ""
    """First 100 characters of the message, with invalid UTF-8 escaped."""


class Opened(msgspec.Struct, frozen=True):
    """The WebSocket is open."""

    path: str = "/"
    """Target of the request: path and query."""


class HeartbeatSent(msgspec.Struct, frozen=True):
    """A heartbeat with this `d` was sent."""

    d: int | str | None


class HeartbeatLate(msgspec.Struct, frozen=True):
    """A heartbeat was sent much later than scheduled: the event loop was blocked."""

    seconds: float


class ClockJumped(msgspec.Struct, frozen=True):
    """Unix time jumped relative to `now`: the system was suspended, or its clock was set."""

    seconds: float


class CommandsDelayed(msgspec.Struct, frozen=True):
    """Commands are delayed by the rate limits for longer than the configured time."""

    count: int
    seconds: float
    """Delay of the oldest command so far."""


class IdentifySlotNeeded(msgspec.Struct, frozen=True):
    """The connection is waiting for an identify slot. Call `grant_identify()` when one is free.

    Heartbeats continue meanwhile, without a time limit. One shard of a key may identify in five
    seconds, see `IdentifyQueue`. With the adapters, call `grant_identify` of the gateway.

    <https://docs.discord.com/developers/events/gateway#sharding-max-concurrency>
    """

    shard_id: int
    key: int


class IdentifyBudgetSpent(msgspec.Struct, frozen=True):
    """No session may be opened now: the Identify budget of the day is used. The client waits.

    See `Config.identify_budget` and `Config.identify_reserve`. Discord allows 1000 in 24 hours:
    <https://docs.discord.com/developers/events/gateway#identifying>.
    """

    seconds: float | None
    """Seconds until the next Identify is possible. None means never."""
    reason: str


class SessionIgnored(msgspec.Struct, frozen=True):
    """The session passed to the client cannot be resumed, so the client identifies."""

    reason: str


class GuildMembers(RedactedRepr, frozen=True):
    """Answer to `RequestGuildMembers`, joined from all chunks."""

    guild_id: str
    members: tuple[Any, ...]
    not_found: tuple[Any, ...] = ()
    """Requested ids that are not members."""
    presences: tuple[Any, ...] = ()


class SoundboardSounds(RedactedRepr, frozen=True):
    """Answer to `RequestSoundboardSounds`: the sounds by guild id."""

    sounds: dict[str, tuple[Any, ...]]


class ChannelInfo(RedactedRepr, frozen=True):
    """Answer to `RequestChannelInfo`."""

    guild_id: str
    channels: tuple[Any, ...]


class RequestAnswered(msgspec.Struct, frozen=True):
    """The complete answer to a request arrived; `number` is the return value of `request`."""

    number: int
    request: RequestGuildMembers | RequestSoundboardSounds | RequestChannelInfo
    answer: GuildMembers | SoundboardSounds | ChannelInfo


class RequestFailed(msgspec.Struct, frozen=True):
    """A request failed: its answer will not arrive, or not completely."""

    number: int
    request: RequestGuildMembers | RequestSoundboardSounds | RequestChannelInfo
    reason: str
    retry_after: float | None = None
    """Seconds until the request may be repeated. None means the server named no time."""


class SessionStartLimit(msgspec.Struct, frozen=True):
    """Budget of new sessions, from `GET /gateway/bot`.

    <https://docs.discord.com/developers/events/gateway#session-start-limit-object>
    """

    total: int
    remaining: int
    reset_after: int
    """Milliseconds."""
    max_concurrency: int = 1


class GatewayFound(msgspec.Struct, frozen=True):
    """Answer to the gateway lookup."""

    url: str
    shards: int | None = None
    session_start_limit: SessionStartLimit | None = None


class UrlRejected(msgspec.Struct, frozen=True):
    """A URL from the network that must not receive the token; see `Config.trusted_hosts`."""

    url: str
    reason: str


class Initiator(enum.Enum):
    """Initiator of the end of a connection."""

    SELF = "self"
    PEER = "peer"
    TRANSPORT = "transport"


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """End of a connection: its last event, exactly once."""

    code: int | None
    """Close code, or the status of a response that rejected the upgrade. None means neither."""
    reason: str = ""
    initiator: Initiator
    next_action: NextAction
    error: str | None = None
    """Description of the error. None means that there was no error."""
    retry_after: float | None = None
    """Minimum delay of the next dial in seconds, from a response or because of INVALID_SESSION."""
    unsent: tuple[Command, ...] = ()
    """Commands that were still queued because of the rate limits."""
    last_sent: tuple[Command, ...] = ()
    """The last commands sent, if the close code means that a command was invalid."""


class DialPurpose(enum.Enum):
    """Purpose of a dial."""

    LOOKUP = "lookup"
    IDENTIFY = "identify"
    RESUME = "resume"


class DialScheduled(msgspec.Struct, frozen=True, kw_only=True):
    """The client scheduled its next dial."""

    purpose: DialPurpose
    url: str
    delay: float
    """Seconds from the decision to the dial."""
    reason: str


class DialFailed(msgspec.Struct, frozen=True):
    """The transport could not be established."""

    url: str
    error: str


class GaveUp(msgspec.Struct, frozen=True):
    """The client has stopped permanently and will not reconnect."""

    reason: str


class UploadedFile(msgspec.Struct, frozen=True):
    """File of a multipart request."""

    name: str
    """Name of the form field, such as "files[0]"."""
    filename: str
    content_type: str
    data: bytes


class HttpRequested(msgspec.Struct, frozen=True):
    """The server role answered an HTTP request, or rejected an upgrade."""

    method: str
    path: str
    """Path without the query."""
    status: int
    """Status of the response. 0 means that the request gets no response."""
    query: str = ""
    json: Any = None
    """JSON body, or `payload_json` of a multipart body. None means without JSON."""
    files: tuple[UploadedFile, ...] = ()
    route: str | None = None
    """Route of the documentation, such as "/channels/{channel_id}/messages". None means that no
    route matches."""


ServerMessage: TypeAlias = (
    Hello | Dispatch | HeartbeatRequested | HeartbeatAcked | ReconnectRequested | SessionInvalidated
)
"""Messages that a server may send."""

Event: TypeAlias = (
    ServerMessage
    | UnknownPayload
    | MalformedPayload
    | Opened
    | HeartbeatSent
    | HeartbeatLate
    | ClockJumped
    | CommandsDelayed
    | IdentifySlotNeeded
    | IdentifyBudgetSpent
    | EncodingIgnored
    | SessionIgnored
    | RequestAnswered
    | RequestFailed
    | GatewayFound
    | UrlRejected
    | DialScheduled
    | DialFailed
    | Closed
    | GaveUp
)
"""Events that a client receives."""

ServerEvent: TypeAlias = Command | MalformedPayload | Opened | HttpRequested | Closed
"""Events that a server receives."""
