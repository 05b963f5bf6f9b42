"""version number → Dialect: every difference between the versions of the protocol, as data.

Nothing else in the package compares a version. A field that differs between versions is a field of
`Dialect`; each version below says only in what it differs from the one before it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from gateway_proto.errors import LocalProtocolError

__all__ = [
    "DIALECTS",
    "AfterClose",
    "Compression",
    "Dialect",
    "Encoding",
    "HeartbeatForm",
    "Opcode",
    "PresenceForm",
    "Then",
    "dialect",
]


class Opcode(enum.IntEnum):
    """The documentation's names of the op codes; a dialect says which of them it knows."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE_UPDATE = 3
    VOICE_STATE_UPDATE = 4
    VOICE_SERVER_PING = 5
    RESUME = 6
    RECONNECT = 7
    REQUEST_GUILD_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11
    REQUEST_SOUNDBOARD_SOUNDS = 31
    REQUEST_CHANNEL_INFO = 43


class Then(enum.Enum):
    """What comes after a connection has closed."""

    RESUME = "resume"
    IDENTIFY = "identify"
    STOP = "stop"


class Compression(enum.Enum):
    """How the server's messages are compressed; the values are the command line's words."""

    NONE = "none"
    PAYLOAD = "payload"
    """Single messages as a complete zlib stream each, asked for by `compress` in Identify."""
    ZLIB_STREAM = "zlib-stream"
    """One zlib context a connection, asked for in the query of the URL."""

    ZSTD_STREAM = "zstd-stream"
    """One zstd context a connection, asked for in the query of the URL; one message a payload."""

    @property
    def in_query(self) -> bool:
        """Whether the URL asks for it, and one context runs as long as the connection."""
        return self in (Compression.ZLIB_STREAM, Compression.ZSTD_STREAM)


class Encoding(enum.Enum):
    """How payloads are written; the values are those of the query."""

    JSON = "json"
    ETF = "etf"
    """The External Term Format of Erlang."""


class HeartbeatForm(enum.Enum):
    """What a heartbeat carries."""

    SEQUENCE = "sequence"
    UNIX_MILLISECONDS = "unix milliseconds"


class PresenceForm(enum.Enum):
    """How a presence is written."""

    GAME = "game, idle_since"
    STATUS_AND_GAME = "since, game, status, afk"
    ACTIVITIES = "since, activities, status, afk"


class AfterClose(msgspec.Struct, frozen=True):
    """What a client does after a close code of the server."""

    then: Then
    meaning: str
    """The code in a few words, for people."""
    resuming: Then | None = None
    """What it does instead where the code answers its Resume."""
    wait: float = 0.0
    """Seconds to wait at least."""
    blames_command: bool = False
    """Whether something that the client sent was bad: twice after the same command, it stops."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the protocol."""

    version: int
    api_url: str
    """The base under which `/gateway` lies."""
    in_query: bool
    """Whether the gateway's URL names version, encoding and compression; else it is used as it was
    given, and the form of the first payload says the encoding."""
    compressions: frozenset[Compression]
    lookup_cacheable: bool
    lookup_authorized: bool
    """Whether `GET /gateway` carries the Authorization header."""
    greets: bool
    """Whether the server speaks first, with HELLO; HELLO then carries the heartbeat interval,
    else READY and RESUMED carry it."""
    acks: bool
    heartbeat_form: HeartbeatForm
    commands: frozenset[Opcode]
    """Op codes that a client may send."""
    identify_version: bool
    """Whether Identify carries the version, as `v`."""
    property_prefix: str
    property_names: tuple[str, ...]
    large_threshold: int
    """Sent when the caller names none."""
    large_threshold_range: tuple[int, int]
    shards: bool
    """Whether Identify may carry `shard`."""
    intents: bool
    """Whether Identify may carry `intents`."""
    intents_required: bool
    guild_subscriptions: bool
    """Whether Identify may carry `guild_subscriptions`, what intents replaced."""
    presence_form: PresenceForm
    presence_in_identify: bool
    resume_with_token: bool
    resume_url_in_ready: bool
    redirects: bool
    """Whether RECONNECT may name the URL to go to."""
    guilds_in_ready: bool
    """Whether READY holds whole guilds; else GUILD_CREATE brings each behind it."""
    trace_in_ready: bool
    """Whether READY and RESUMED carry `_trace`."""
    threads: bool
    """Whether the dispatches THREAD_* exist."""
    private_channels: bool
    """Whether CHANNEL_CREATE is dispatched for direct messages."""
    content_intent: bool
    """Whether the content of messages needs an intent of its own."""
    voice_guild_required: bool
    """Whether a voice state must name its guild."""
    many_guilds_a_request: bool
    """Whether one members request may name several guilds."""
    members_by_user: bool
    """Whether a members request may have `user_ids`, `presences` and `nonce`, and its chunks are
    numbered."""
    payload_limit: int
    """Bytes of one encoded payload that a client may send."""
    send_limit: tuple[int, float]
    """Payloads, seconds; heartbeats and Identify count too."""
    presence_limit: tuple[int, float]
    """Presence updates, seconds."""
    members_limit: tuple[int, float] | None
    """Requests for all members of one guild, seconds."""
    identify_seconds: float
    """Between two Identifies of one key."""
    invalid_session_wait: tuple[float, float]
    """Seconds between which to wait, by chance, before the next Identify after INVALID_SESSION."""
    invalid_session_says: bool
    """Whether INVALID_SESSION carries a boolean: may it be resumed."""
    failed_resume_close: int | None
    """The close code that answers a resume of a dead session; None: INVALID_SESSION answers it."""
    closes: Mapping[int, AfterClose]
    """Close code → what the client does next. A code that is not here means RESUME."""

    def __hash__(self) -> int:
        return hash(self.version)

    def __reduce__(self) -> tuple[Any, ...]:
        # A view of a dict can be neither pickled nor copied.
        return partial(Dialect, **{**msgspec.structs.asdict(self), "closes": dict(self.closes)}), ()

    def knows(self, name: str) -> bool:
        """Whether there are dispatches of that name."""
        return self.threads or not name.startswith("THREAD_")

    def after_close(self, code: int | None) -> AfterClose:
        """What a client does after the peer closed with `code` (None: no close frame was read)."""
        if code is None:
            return _WITHOUT_CODE
        after = self.closes.get(code) or _REGISTERED_CLOSES.get(code)
        if after is not None:
            return after
        return _RESERVED_CLOSE if 1000 <= code < 3000 else _UNKNOWN_CLOSE


_UNKNOWN_CLOSE = AfterClose(Then.RESUME, "a code that the documentation does not know")
_RESERVED_CLOSE = AfterClose(Then.RESUME, "a reserved WebSocket close code")
_WITHOUT_CODE = AfterClose(Then.RESUME, "no close code")
# https://www.iana.org/assignments/websocket/websocket.xml#close-code-number
_REGISTERED_CLOSES = {
    code: AfterClose(Then.RESUME, meaning)
    for code, meaning in {
        1000: "a normal end",
        1001: "the server goes away",
        1002: "a WebSocket protocol error",
        1003: "a kind of message that it does not accept",
        1007: "data that does not fit the message's type",
        1008: "a violation of its policy",
        1009: "a message that is too big for it",
        1010: "a WebSocket extension that it needs",
        1011: "an internal error of the server",
        1012: "the server restarts",
        1013: "try again later",
        1014: "a bad gateway: a server behind it does not answer",
    }.items()
}

_COMMANDS = frozenset(
    {
        Opcode.HEARTBEAT,
        Opcode.IDENTIFY,
        Opcode.PRESENCE_UPDATE,
        Opcode.VOICE_STATE_UPDATE,
        Opcode.RESUME,
        Opcode.REQUEST_GUILD_MEMBERS,
    }
)

_OLD_CLOSES = {
    1000: AfterClose(Then.IDENTIFY, "a normal end"),
    1001: AfterClose(Then.RESUME, "the server goes away"),
    1012: AfterClose(Then.RESUME, "the gateway restarts"),
    4000: AfterClose(Then.RESUME, "unknown error"),
    4001: AfterClose(Then.IDENTIFY, "unknown op code", blames_command=True),
    4002: AfterClose(Then.IDENTIFY, "a payload it cannot decode", blames_command=True),
    4003: AfterClose(Then.IDENTIFY, "not authenticated"),
    4004: AfterClose(Then.STOP, "the token is not accepted: is it right?"),
    4005: AfterClose(Then.IDENTIFY, "already authenticated: a second Identify was sent"),
    4006: AfterClose(Then.IDENTIFY, "the session is no longer valid"),
    4007: AfterClose(Then.IDENTIFY, "invalid sequence"),
    4008: AfterClose(Then.IDENTIFY, "too many payloads", wait=5.0),
    4009: AfterClose(Then.IDENTIFY, "the session timed out"),
}

# The documentation of 2026-08; 4001, 4003 and 4005 as its engineers explain them. 4009: most
# sessions that "timed out" can be resumed; where not, the second one is told.
_CLOSES = {
    1000: AfterClose(Then.RESUME, "a normal end", resuming=Then.IDENTIFY),
    1001: AfterClose(Then.RESUME, "the server goes away"),
    4000: AfterClose(Then.RESUME, "unknown error"),
    4001: AfterClose(Then.IDENTIFY, "unknown op code", blames_command=True),
    4002: AfterClose(Then.RESUME, "a payload it cannot decode", blames_command=True),
    4003: AfterClose(Then.IDENTIFY, "not authenticated"),
    4004: AfterClose(Then.STOP, "the token is not accepted: is it right?"),
    4005: AfterClose(Then.IDENTIFY, "already authenticated: a second Identify was sent"),
    4007: AfterClose(Then.IDENTIFY, "invalid sequence"),
    4008: AfterClose(Then.RESUME, "too many payloads", wait=5.0),
    4009: AfterClose(Then.RESUME, "the session timed out", resuming=Then.IDENTIFY),
    4010: AfterClose(Then.STOP, "no such shard: is the count a multiple of the one given?"),
    4011: AfterClose(Then.STOP, "too many guilds for this many shards: take more shards"),
    4012: AfterClose(Then.STOP, "this version of the protocol is not spoken there"),
    4013: AfterClose(Then.STOP, "an intent that there is not"),
    4014: AfterClose(
        Then.STOP, "an intent that is not allowed: enable it in the developer portal, or ask less"
    ),
}

# The unofficial document of 2016-02-20; what it leaves open is taken from clients of the time.
_V3 = Dialect(
    version=3,
    api_url="https://discordapp.com/api",
    in_query=False,
    compressions=frozenset({Compression.NONE, Compression.PAYLOAD}),
    lookup_cacheable=False,
    lookup_authorized=True,
    greets=False,
    acks=False,
    heartbeat_form=HeartbeatForm.UNIX_MILLISECONDS,
    commands=_COMMANDS | {Opcode.VOICE_SERVER_PING},
    identify_version=True,
    property_prefix="$",
    property_names=("os", "browser", "device", "referrer", "referring_domain"),
    large_threshold=100,
    large_threshold_range=(50, 250),
    shards=False,
    intents=False,
    intents_required=False,
    guild_subscriptions=False,
    presence_form=PresenceForm.GAME,
    presence_in_identify=False,
    resume_with_token=False,
    resume_url_in_ready=False,
    redirects=True,
    guilds_in_ready=True,
    trace_in_ready=False,
    threads=False,
    private_channels=True,
    content_intent=False,
    voice_guild_required=False,
    many_guilds_a_request=True,
    members_by_user=False,
    payload_limit=4096,
    send_limit=(120, 60.0),
    presence_limit=(1, 12.0),
    members_limit=None,
    identify_seconds=5.0,
    invalid_session_wait=(0.0, 0.0),
    invalid_session_says=False,
    failed_resume_close=4006,
    closes=MappingProxyType({**_OLD_CLOSES, 4010: _CLOSES[4010]}),
)

# 2016-03-31: version and encoding go to the query, the session's failures to op 9.
_V4 = msgspec.structs.replace(
    _V3,
    version=4,
    in_query=True,
    lookup_cacheable=True,
    heartbeat_form=HeartbeatForm.SEQUENCE,
    identify_version=False,
    large_threshold=50,
    shards=True,
    resume_with_token=True,
    guilds_in_ready=False,
    trace_in_ready=True,
    presence_limit=(5, 60.0),
    failed_resume_close=None,
)

# 2016-06-06: the server greets with the heartbeat interval, and acknowledges heartbeats.
_V5 = msgspec.structs.replace(
    _V4,
    version=5,
    greets=True,
    acks=True,
    redirects=False,
    closes=MappingProxyType({code: _V4.closes[code] for code in _V4.closes if code != 4006}),
)

# July 2016, and what was added while it was current; the oldest that is answered today, by the
# same gateways as version 10, so it has their close codes, limits and resume URL.
_V6 = msgspec.structs.replace(
    _V5,
    version=6,
    api_url="https://discord.com/api/v6",
    compressions=frozenset(Compression),
    lookup_authorized=False,
    commands=_COMMANDS,
    property_names=("os", "browser", "device"),
    intents=True,
    guild_subscriptions=True,
    presence_form=PresenceForm.STATUS_AND_GAME,
    presence_in_identify=True,
    resume_url_in_ready=True,
    voice_guild_required=True,
    members_by_user=True,
    presence_limit=(5, 20.0),
    members_limit=(1, 30.0),
    invalid_session_wait=(1.0, 5.0),
    invalid_session_says=True,
    closes=MappingProxyType(_CLOSES),
)

# Never documented; clients that named it meant version 6.
_V7 = msgspec.structs.replace(_V6, version=7, api_url="https://discord.com/api/v7")

# 2020-09-24: intents are required, activities take the place of the game, and bots get no
# CHANNEL_CREATE for direct messages: <https://docs.discord.com/developers/change-log>.
_V8 = msgspec.structs.replace(
    _V7,
    version=8,
    api_url="https://discord.com/api/v8",
    property_prefix="",
    intents_required=True,
    guild_subscriptions=False,
    presence_form=PresenceForm.ACTIVITIES,
    private_channels=False,
    many_guilds_a_request=False,
)

# 2021-04-28: threads.
_V9 = msgspec.structs.replace(_V8, version=9, api_url="https://discord.com/api/v9", threads=True)

# 2022-02-14: the content of messages is an intent of its own. The documentation of 2026-08 knows
# the soundboard and channel info here.
_V10 = msgspec.structs.replace(
    _V9,
    version=10,
    api_url="https://discord.com/api/v10",
    content_intent=True,
    commands=_COMMANDS | {Opcode.REQUEST_SOUNDBOARD_SOUNDS, Opcode.REQUEST_CHANNEL_INFO},
)

DIALECTS: Mapping[int, Dialect] = MappingProxyType(
    {d.version: d for d in (_V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10)}
)
"""Every version that this package speaks."""


def dialect(version: int | Dialect) -> Dialect:
    """The dialect of a version; raises `LocalProtocolError` for one that is not spoken."""
    if isinstance(version, Dialect):
        return version
    try:
        return DIALECTS[version]
    except (KeyError, TypeError):
        known = ", ".join(map(str, DIALECTS))
        raise LocalProtocolError(
            f"version {version!r} is not spoken here: use one of {known}"
        ) from None
