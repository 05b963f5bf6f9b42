"""Every difference between the versions of the protocol, as data.

No other module compares version numbers. Each difference between versions is a field of
`ProtocolVersion`, and each version below lists only its differences from the previous one.
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
    "VERSIONS",
    "CloseCodePolicy",
    "Compression",
    "Encoding",
    "HeartbeatFormat",
    "NextAction",
    "Opcode",
    "PresenceFormat",
    "ProtocolVersion",
    "protocol_version",
]


class Opcode(enum.IntEnum):
    """Op codes of all versions, with the names of the documentation.

    <https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-opcodes>
    """

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


class NextAction(enum.Enum):
    """Next action of a client after a connection has closed."""

    RESUME = "resume"
    IDENTIFY = "identify"
    STOP = "stop"


class Compression(enum.Enum):
    """Compression of the server's messages; the values are those of the command line.

    <https://docs.discord.com/developers/events/gateway#encoding-and-compression>
    """

    NONE = "none"
    PAYLOAD = "payload"
    """Single messages as one complete zlib stream each, requested by `compress` in Identify."""
    ZLIB_STREAM = "zlib-stream"
    """One zlib context per connection, requested in the URL query."""

    ZSTD_STREAM = "zstd-stream"
    """One zstd context per connection, requested in the URL query. Each message is one payload."""

    @property
    def is_stream(self) -> bool:
        """Whether it is requested in the URL query and uses one context per connection."""
        return self in (Compression.ZLIB_STREAM, Compression.ZSTD_STREAM)


class Encoding(enum.Enum):
    """Encoding of payloads; the values are those of the URL query."""

    JSON = "json"
    ETF = "etf"
    """External Term Format: <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>."""


class HeartbeatFormat(enum.Enum):
    """Content of a heartbeat."""

    SEQUENCE = "sequence"
    UNIX_MILLISECONDS = "unix_milliseconds"


class PresenceFormat(enum.Enum):
    """Fields of an encoded presence."""

    GAME = "game"
    STATUS_AND_GAME = "status_and_game"
    ACTIVITIES = "activities"


class CloseCodePolicy(msgspec.Struct, frozen=True):
    """Policy of a client after a close code of the server."""

    next_action: NextAction
    meaning: str
    """Short description of the code."""
    action_if_resuming: NextAction | None = None
    """Action instead of `next_action` if the code answers a Resume."""
    min_delay: float = 0.0
    """Minimum delay in seconds."""
    caused_by_command: bool = False
    """Whether the code means an invalid command. The client stops if the same command causes it
    twice."""


class ProtocolVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Version of the protocol."""

    number: int
    api_url: str
    """Base URL of `/gateway`."""
    negotiates_in_url: bool
    """Whether the gateway URL names version, encoding and compression. Else it is used unchanged,
    and the form of the first payload determines the encoding."""
    compressions: frozenset[Compression]
    lookup_cacheable: bool
    lookup_authorized: bool
    """Whether `GET /gateway` carries the Authorization header."""
    sends_hello: bool
    """Whether the server starts with HELLO, which then has the heartbeat interval. Else READY and
    RESUMED have it."""
    acks_heartbeats: bool
    """Whether the server acknowledges heartbeats."""
    heartbeat_format: HeartbeatFormat
    commands: frozenset[Opcode]
    """Op codes that a client may send."""
    version_in_identify: bool
    """Whether Identify has the version as `v`."""
    property_prefix: str
    property_names: tuple[str, ...]
    large_threshold: int
    """Default of Identify.large_threshold."""
    large_threshold_range: tuple[int, int]
    shards: bool
    """Whether Identify may have `shard`."""
    intents: bool
    """Whether Identify may have `intents`."""
    intents_required: bool
    guild_subscriptions: bool
    """Whether Identify may have `guild_subscriptions`, which intents replaced."""
    presence_format: PresenceFormat
    presence_in_identify: bool
    resume_with_token: bool
    resume_url_in_ready: bool
    reconnect_has_url: bool
    """Whether RECONNECT may have the URL of the next connection."""
    guilds_in_ready: bool
    """Whether READY has complete guilds. Else a GUILD_CREATE for each guild follows."""
    trace_in_ready: bool
    """Whether READY and RESUMED have `_trace`."""
    threads: bool
    """Whether there are THREAD_* dispatches."""
    private_channels: bool
    """Whether CHANNEL_CREATE is dispatched for direct messages."""
    content_intent: bool
    """Whether message content requires the intent MESSAGE_CONTENT."""
    voice_guild_required: bool
    """Whether a voice state requires `guild_id`."""
    multi_guild_requests: bool
    """Whether one members request may name several guilds."""
    members_by_user: bool
    """Whether a members request may have `user_ids`, `presences` and `nonce`, and its chunks have
    numbers."""
    payload_limit: int
    """Maximum bytes of an encoded payload of a client."""
    send_limit: tuple[int, float]
    """Payloads, seconds. Heartbeats and Identify count, too."""
    presence_limit: tuple[int, float]
    """Presence updates, seconds."""
    members_limit: tuple[int, float] | None
    """Requests for all members of one guild, seconds."""
    identify_seconds: float
    """Seconds between two Identifies of one key."""
    invalid_session_wait: tuple[float, float]
    """Range in seconds of the random delay of Identify after INVALID_SESSION."""
    invalid_session_has_flag: bool
    """Whether `d` of INVALID_SESSION is a boolean: the session can be resumed."""
    failed_resume_close: int | None
    """Close code for a Resume of an ended session. None means that INVALID_SESSION answers it."""
    close_policies: Mapping[int, CloseCodePolicy]
    """Policies by close code. Other codes mean RESUME."""

    def __hash__(self) -> int:
        return hash(self.number)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mappingproxy can be neither pickled nor copied.
        return partial(
            ProtocolVersion,
            **{**msgspec.structs.asdict(self), "close_policies": dict(self.close_policies)},
        ), ()

    def has_dispatch(self, name: str) -> bool:
        """Whether the version has dispatches of this name."""
        return self.threads or not name.startswith("THREAD_")

    def close_policy(self, code: int | None) -> CloseCodePolicy:
        """Return the policy after the peer closed with `code` (None: without a close frame)."""
        if code is None:
            return _WITHOUT_CODE
        after = self.close_policies.get(code) or _REGISTERED_CLOSES.get(code)
        if after is not None:
            return after
        return _RESERVED_CLOSE if 1000 <= code < 3000 else _UNKNOWN_CLOSE


_UNKNOWN_CLOSE = CloseCodePolicy(NextAction.RESUME, "an undocumented code")
_RESERVED_CLOSE = CloseCodePolicy(NextAction.RESUME, "a reserved WebSocket close code")
_WITHOUT_CODE = CloseCodePolicy(NextAction.RESUME, "no close code")
# https://www.iana.org/assignments/websocket/websocket.xml#close-code-number
_REGISTERED_CLOSES = {
    code: CloseCodePolicy(NextAction.RESUME, meaning)
    for code, meaning in {
        1000: "normal closure",
        1001: "going away",
        1002: "protocol error",
        1003: "unsupported data",
        1007: "invalid payload data",
        1008: "policy violation",
        1009: "message too big",
        1010: "missing WebSocket extension",
        1011: "internal server error",
        1012: "service restart",
        1013: "try again later",
        1014: "bad gateway",
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

# https://github.com/discord/discord-api-docs/issues/33 (2016-04-25)
_OLD_CLOSES = {
    1000: CloseCodePolicy(NextAction.IDENTIFY, "normal closure"),
    1001: CloseCodePolicy(NextAction.RESUME, "going away"),
    1012: CloseCodePolicy(NextAction.RESUME, "service restart"),
    4000: CloseCodePolicy(NextAction.RESUME, "unknown error"),
    4001: CloseCodePolicy(NextAction.IDENTIFY, "unknown op code", caused_by_command=True),
    4002: CloseCodePolicy(NextAction.IDENTIFY, "undecodable payload", caused_by_command=True),
    4003: CloseCodePolicy(NextAction.IDENTIFY, "not authenticated"),
    4004: CloseCodePolicy(NextAction.STOP, "invalid token"),
    4005: CloseCodePolicy(NextAction.IDENTIFY, "already authenticated"),
    4006: CloseCodePolicy(NextAction.IDENTIFY, "session no longer valid"),
    4007: CloseCodePolicy(NextAction.IDENTIFY, "invalid sequence"),
    4008: CloseCodePolicy(NextAction.IDENTIFY, "rate limited", min_delay=5.0),
    4009: CloseCodePolicy(NextAction.IDENTIFY, "session timed out"),
}

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
# as of 2026-08. 1000: https://github.com/discord/discord-api-docs/issues/2922.
# 4001 is never resumable: https://github.com/discord/discord-api-docs/pull/7172.
# 4003 and 4005: https://github.com/discord/discord-api-docs/issues/7059.
# 4009: most sessions can be resumed: https://github.com/discordjs/discord.js/issues/11601. If a
# Resume is answered with 4009, identify.
_CLOSES = {
    1000: CloseCodePolicy(
        NextAction.RESUME, "normal closure", action_if_resuming=NextAction.IDENTIFY
    ),
    1001: CloseCodePolicy(NextAction.RESUME, "going away"),
    4000: CloseCodePolicy(NextAction.RESUME, "unknown error"),
    4001: CloseCodePolicy(NextAction.IDENTIFY, "unknown op code", caused_by_command=True),
    4002: CloseCodePolicy(NextAction.RESUME, "undecodable payload", caused_by_command=True),
    4003: CloseCodePolicy(NextAction.IDENTIFY, "not authenticated"),
    4004: CloseCodePolicy(NextAction.STOP, "invalid token"),
    4005: CloseCodePolicy(NextAction.IDENTIFY, "already authenticated"),
    4007: CloseCodePolicy(NextAction.IDENTIFY, "invalid sequence"),
    4008: CloseCodePolicy(NextAction.RESUME, "rate limited", min_delay=5.0),
    4009: CloseCodePolicy(
        NextAction.RESUME, "session timed out", action_if_resuming=NextAction.IDENTIFY
    ),
    # https://docs.discord.com/developers/events/gateway#sharding-for-large-bots
    4010: CloseCodePolicy(
        NextAction.STOP, "invalid shard: large bots need a multiple of the recommended shard count"
    ),
    # https://docs.discord.com/developers/events/gateway#sharding
    4011: CloseCodePolicy(NextAction.STOP, "sharding required: use more shards"),
    4012: CloseCodePolicy(NextAction.STOP, "unsupported API version"),
    4013: CloseCodePolicy(NextAction.STOP, "invalid intents"),
    # https://docs.discord.com/developers/events/gateway#privileged-intents
    4014: CloseCodePolicy(
        NextAction.STOP, "disallowed intents: enable them in the developer portal or request fewer"
    ),
}

# The unofficial document of 2016-02-20, completed from clients of that time:
# https://github.com/DiscordAPI/docs/blob/b8c8a7ca43b39a4d1d2871a6d3901ee378bbbae5/docs/reference/websockets/general.rst
_V3 = ProtocolVersion(
    number=3,
    api_url="https://discordapp.com/api",
    negotiates_in_url=False,
    compressions=frozenset({Compression.NONE, Compression.PAYLOAD}),
    lookup_cacheable=False,
    lookup_authorized=True,
    sends_hello=False,
    acks_heartbeats=False,
    heartbeat_format=HeartbeatFormat.UNIX_MILLISECONDS,
    commands=_COMMANDS | {Opcode.VOICE_SERVER_PING},
    version_in_identify=True,
    property_prefix="$",
    property_names=("os", "browser", "device", "referrer", "referring_domain"),
    large_threshold=100,
    large_threshold_range=(50, 250),
    shards=False,
    intents=False,
    intents_required=False,
    guild_subscriptions=False,
    presence_format=PresenceFormat.GAME,
    presence_in_identify=False,
    resume_with_token=False,
    resume_url_in_ready=False,
    reconnect_has_url=True,
    guilds_in_ready=True,
    trace_in_ready=False,
    threads=False,
    private_channels=True,
    content_intent=False,
    voice_guild_required=False,
    multi_guild_requests=True,
    members_by_user=False,
    payload_limit=4096,
    send_limit=(120, 60.0),
    presence_limit=(1, 12.0),
    members_limit=None,
    identify_seconds=5.0,
    invalid_session_wait=(0.0, 0.0),
    invalid_session_has_flag=False,
    failed_resume_close=4006,
    close_policies=MappingProxyType({**_OLD_CLOSES, 4010: _CLOSES[4010]}),
)

# 2016-03-31: version and encoding move to the URL query, and op 9 reports invalid sessions:
# https://github.com/discord/discord-api-docs/commit/2664e99c
_V4 = msgspec.structs.replace(
    _V3,
    number=4,
    negotiates_in_url=True,
    lookup_cacheable=True,
    heartbeat_format=HeartbeatFormat.SEQUENCE,
    version_in_identify=False,
    large_threshold=50,
    shards=True,
    resume_with_token=True,
    guilds_in_ready=False,
    trace_in_ready=True,
    presence_limit=(5, 60.0),
    failed_resume_close=None,
)

# 2016-06-06: HELLO has the heartbeat interval, and the server acknowledges heartbeats:
# https://github.com/discord/discord-api-docs/commit/08036cec
_V5 = msgspec.structs.replace(
    _V4,
    number=5,
    sends_hello=True,
    acks_heartbeats=True,
    reconnect_has_url=False,
    close_policies=MappingProxyType(
        {code: _V4.close_policies[code] for code in _V4.close_policies if code != 4006}
    ),
)

# July 2016, with later additions. It is the oldest version in service today, by the same gateways
# as version 10, so it has their close codes, limits and resume URL:
# https://docs.discord.com/developers/reference#api-versioning
_V6 = msgspec.structs.replace(
    _V5,
    number=6,
    api_url="https://discord.com/api/v6",
    compressions=frozenset(Compression),
    lookup_authorized=False,
    commands=_COMMANDS,
    property_names=("os", "browser", "device"),
    intents=True,
    guild_subscriptions=True,
    presence_format=PresenceFormat.STATUS_AND_GAME,
    presence_in_identify=True,
    resume_url_in_ready=True,
    voice_guild_required=True,
    members_by_user=True,
    presence_limit=(5, 20.0),
    members_limit=(1, 30.0),
    invalid_session_wait=(1.0, 5.0),
    invalid_session_has_flag=True,
    close_policies=MappingProxyType(_CLOSES),
)

# Never documented; its clients used the gateway of version 6:
# https://github.com/discord/discord-api-docs/pull/2097
_V7 = msgspec.structs.replace(_V6, number=7, api_url="https://discord.com/api/v7")

# 2020-09-24: intents are required, `activities` replaces `game`, and bots get no CHANNEL_CREATE for
# direct messages: https://docs.discord.com/developers/change-log.
_V8 = msgspec.structs.replace(
    _V7,
    number=8,
    api_url="https://discord.com/api/v8",
    property_prefix="",
    intents_required=True,
    guild_subscriptions=False,
    presence_format=PresenceFormat.ACTIVITIES,
    private_channels=False,
    multi_guild_requests=False,
)

# 2021-04-28: threads. https://github.com/discord/discord-api-docs/commit/478af37a
_V9 = msgspec.structs.replace(_V8, number=9, api_url="https://discord.com/api/v9", threads=True)

# 2022-02-14: message content requires an intent:
# https://github.com/discord/discord-api-docs/commit/97590099
# The documentation of 2026-08 has the requests for sounds and channel info only in this version.
_V10 = msgspec.structs.replace(
    _V9,
    number=10,
    api_url="https://discord.com/api/v10",
    content_intent=True,
    commands=_COMMANDS | {Opcode.REQUEST_SOUNDBOARD_SOUNDS, Opcode.REQUEST_CHANNEL_INFO},
)

VERSIONS: Mapping[int, ProtocolVersion] = MappingProxyType(
    {d.number: d for d in (_V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10)}
)
"""Supported versions, by number."""


def protocol_version(version: int | ProtocolVersion) -> ProtocolVersion:
    """Return a version by its number. Raises `LocalProtocolError` if it is not supported."""
    if isinstance(version, ProtocolVersion):
        return version
    try:
        return VERSIONS[version]
    except (KeyError, TypeError):
        known = ", ".join(map(str, VERSIONS))
        raise LocalProtocolError(
            f"unsupported version {version!r}: expected one of {known}"
        ) from None
