"""version number → Dialect: every difference between the versions of the protocol, as data.

Nothing else in the package compares a version. A field that differs between versions is a field of
`Dialect`; whoever wants to know how version 3 differs from version 10 reads the two values below.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from gateway_proto.errors import LocalProtocolError

__all__ = [
    "DIALECTS",
    "Compression",
    "Dialect",
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


class HeartbeatForm(enum.Enum):
    """What a heartbeat carries."""

    SEQUENCE = "sequence"
    UNIX_MILLISECONDS = "unix milliseconds"


class PresenceForm(enum.Enum):
    """How a presence is written."""

    GAME = "game, idle_since"
    ACTIVITIES = "since, activities, status, afk"


@attrs.frozen(kw_only=True)
class Dialect:
    """One version of the protocol."""

    version: int
    api_url: str
    """The base under which `/gateway` lies."""
    query: tuple[tuple[str, str], ...]
    """Parameters of the gateway's URL; empty: the URL is used as it was given."""
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
    intents: bool
    """Whether Identify must carry `intents`."""
    presence_form: PresenceForm
    presence_in_identify: bool
    resume_with_token: bool
    resume_url_in_ready: bool
    redirects: bool
    """Whether RECONNECT names the URL to go to."""
    guilds_in_ready: bool
    """Whether READY holds whole guilds; else GUILD_CREATE brings each behind it."""
    many_guilds_a_request: bool
    """Whether one members request may name several guilds."""
    payload_limit: int
    """Bytes of one encoded payload that a client may send."""
    send_limit: tuple[int, float]
    """Payloads, seconds."""
    presence_limit: tuple[int, float]
    """Presence updates, seconds."""
    heartbeat_reserve: int
    """Places of `send_limit` that are kept free for heartbeats."""
    invalid_session_wait: tuple[float, float]
    """Seconds between which to wait, by chance, before the next Identify after INVALID_SESSION."""
    failed_resume_close: int | None
    """The close code that answers a resume of a dead session; None: INVALID_SESSION answers it."""
    closes: Mapping[int, Then] = attrs.field(hash=False)
    """Close code → what the client does next. A code that is not here means RESUME."""

    def after_close(self, code: int | None) -> Then:
        """What a client does after the peer closed with `code` (None: no close frame was read)."""
        return self.closes.get(code, Then.RESUME) if code is not None else Then.RESUME


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

# The unofficial document of 2016-02-20; what it leaves open is taken from clients of the time.
_V3 = Dialect(
    version=3,
    api_url="https://discordapp.com/api",
    query=(),
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
    intents=False,
    presence_form=PresenceForm.GAME,
    presence_in_identify=False,
    resume_with_token=False,
    resume_url_in_ready=False,
    redirects=True,
    guilds_in_ready=True,
    many_guilds_a_request=True,
    payload_limit=4096,
    send_limit=(120, 60.0),
    presence_limit=(1, 12.0),
    heartbeat_reserve=4,
    invalid_session_wait=(0.0, 0.0),
    failed_resume_close=4006,
    closes=MappingProxyType(
        {
            1000: Then.IDENTIFY,
            1001: Then.RESUME,
            1012: Then.RESUME,
            4000: Then.RESUME,
            4001: Then.IDENTIFY,
            4002: Then.IDENTIFY,
            4003: Then.IDENTIFY,
            4004: Then.STOP,
            4005: Then.IDENTIFY,
            4006: Then.IDENTIFY,
            4007: Then.IDENTIFY,
            4008: Then.IDENTIFY,
            4009: Then.IDENTIFY,
            4010: Then.STOP,
        }
    ),
)

# The official documentation of 2026-08; 4001, 4003 and 4005 as its engineers explain them.
_V10 = Dialect(
    version=10,
    api_url="https://discord.com/api/v10",
    query=(("v", "10"), ("encoding", "json")),
    compressions=frozenset(
        {Compression.NONE, Compression.PAYLOAD, Compression.ZLIB_STREAM},
    ),
    lookup_cacheable=True,
    lookup_authorized=False,
    greets=True,
    acks=True,
    heartbeat_form=HeartbeatForm.SEQUENCE,
    commands=_COMMANDS | {Opcode.REQUEST_SOUNDBOARD_SOUNDS, Opcode.REQUEST_CHANNEL_INFO},
    identify_version=False,
    property_prefix="",
    property_names=("os", "browser", "device"),
    large_threshold=50,
    large_threshold_range=(50, 250),
    intents=True,
    presence_form=PresenceForm.ACTIVITIES,
    presence_in_identify=True,
    resume_with_token=True,
    resume_url_in_ready=True,
    redirects=False,
    guilds_in_ready=False,
    many_guilds_a_request=False,
    payload_limit=4096,
    send_limit=(120, 60.0),
    presence_limit=(5, 20.0),
    heartbeat_reserve=4,
    invalid_session_wait=(1.0, 5.0),
    failed_resume_close=None,
    closes=MappingProxyType(
        {
            1000: Then.RESUME,
            1001: Then.RESUME,
            4000: Then.RESUME,
            4001: Then.IDENTIFY,
            4002: Then.RESUME,
            4003: Then.IDENTIFY,
            4004: Then.STOP,
            4005: Then.IDENTIFY,
            4007: Then.IDENTIFY,
            4008: Then.RESUME,
            4009: Then.IDENTIFY,
            4010: Then.STOP,
            4011: Then.STOP,
            4012: Then.STOP,
            4013: Then.STOP,
            4014: Then.STOP,
        }
    ),
)

DIALECTS: Mapping[int, Dialect] = MappingProxyType({d.version: d for d in (_V3, _V10)})
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
