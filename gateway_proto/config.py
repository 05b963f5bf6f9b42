"""Client configuration, checked when it is created."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, cast

import attrs

from gateway_proto._checks import (
    BOOL,
    CALLBACK,
    COUNT,
    DURATION,
    INTENTS,
    POSITIVE,
    SECONDS,
    SHARD,
    TEXT,
    TOKEN,
    Check,
    Checks,
    Each,
    ErrorCheck,
    as_member,
    as_tuple,
    check_fields,
    instance_of,
    integer,
    is_text,
    member_of,
    number,
    optional,
    rejected,
    word_of,
)
from gateway_proto._repr import FieldMethods
from gateway_proto._version import __version__
from gateway_proto.commands import IdentifyProperties, UpdatePresence
from gateway_proto.errors import LocalProtocolError
from gateway_proto.timing.heartbeat import EarlyHeartbeats, ZombiePolicy
from gateway_proto.urls import Url, UrlPolicy
from gateway_proto.versions import (
    VERSIONS,
    CloseCodePolicy,
    Compression,
    Encoding,
    NextAction,
    ProtocolVersion,
)
from gateway_proto.wire.compression import has_zstd

__all__ = ["Config"]

_MAX_URL_LENGTH = 2048
_MAX_HEADER_LENGTH = 512


def _bare(token: str) -> str:
    # The HTTP header has the prefix "Bot ", Identify and Resume do not:
    # https://docs.discord.com/developers/reference#authentication
    return token.removeprefix("Bot ") if isinstance(token, str) else token


def _protocol_version(value: int | ProtocolVersion) -> ProtocolVersion:
    known: ProtocolVersion | None = VERSIONS.get(value) if isinstance(value, int) else None
    return cast("ProtocolVersion", value) if known is None else known


def _compression(value: Compression | str) -> Compression:
    return as_member(Compression, value)


def _encoding(value: Encoding | str) -> Encoding:
    return as_member(Encoding, value)


def _has_etf() -> bool:
    from gateway_proto.encoding import etf  # on first use, as few programs need it

    return etf.available()


_NO_POLICIES: Mapping[int, CloseCodePolicy] = MappingProxyType({})


def _closes(value: Mapping[int, CloseCodePolicy]) -> Mapping[int, CloseCodePolicy]:
    given: Any = value
    if not isinstance(given, Mapping):
        return value
    return MappingProxyType(dict(given)) if given else _NO_POLICIES


@functools.cache
def _query_of(
    version: int, encoding: Encoding, compression: Compression
) -> tuple[tuple[str, str], ...]:
    """Return the query parameters, which all connections of a kind share."""
    query = (("v", str(version)), ("encoding", encoding.value))
    return (*query, ("compress", compression.value)) if compression.is_stream else query


def _shard(value: Iterable[int] | None) -> tuple[int, int] | None:
    pair: tuple[int, int] | None = as_tuple(value)
    return pair


def _hosts(values: Iterable[str]) -> tuple[str, ...]:
    hosts: tuple[str, ...] = as_tuple(values)
    return hosts


def _intents_error(name: str, value: Any) -> LocalProtocolError | None:
    if INTENTS.allows(value):
        return None
    expected = INTENTS.expected
    if not isinstance(value, int) or isinstance(value, bool):
        expected = "an Intents or int, such as Intents.GUILDS | Intents.GUILD_MESSAGES"
        if isinstance(value, str | Iterable):
            expected += ', or Intents.parse("guilds,guild_messages")'
    return rejected(name, value, expected)


def _url_error(name: str, url: Any) -> LocalProtocolError | None:
    if not _URL_TEXT.allows(url):
        return _URL_TEXT.error(name, url)
    try:
        Url.parse(url)
    except LocalProtocolError as error:
        return LocalProtocolError(f"invalid {name}: {error}")
    return None


def _close_policies_error(name: str, policies: Any) -> LocalProtocolError | None:
    try:
        _MAPPING.named(name, policies)
        for code, policy in policies.items():
            _CLOSE_CODE.named(f"{name} key", code)
            _POLICY.named(f"{name}[{code}]", policy)
            for field, check in _POLICY_FIELDS.items():
                check.named(f"{name}[{code}].{field}", getattr(policy, field))
    except LocalProtocolError as error:
        return error
    return None


def _is_header_value(value: Any) -> bool:
    # RFC 9110, 5.5: visible ASCII, with blanks between words.
    return (
        isinstance(value, str)
        and len(value) <= _MAX_HEADER_LENGTH
        and value.isascii()
        and value.isprintable()
        and value != ""
        and value == value.strip()
    )


def _is_host(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    # URLs from the network contain the ASCII form of an international name.
    is_name = all(part.isascii() and part.replace("-", "").isalnum() for part in value.split("."))
    host = value if is_name else f"[{value}]"
    try:
        return Url.parse(f"wss://{host}") == Url("wss", value.lower(), 443)
    except LocalProtocolError:
        return False


_MAPPING = instance_of(Mapping, "a mapping of close codes to CloseCodePolicy")
_CLOSE_CODE = Check(
    # RFC 6455, 7.4.1: no close frame carries the three.
    lambda code: integer(1000, 4999).allows(code) and code not in (1005, 1006, 1015),
    "an int from 1000 to 4999 that a close frame carries: not 1005, 1006 or 1015",
)
_VERSION = instance_of(
    ProtocolVersion, f"one of {', '.join(map(str, VERSIONS))}, or a ProtocolVersion"
)
_PRESENCE = optional(
    instance_of(UpdatePresence, "an UpdatePresence, such as UpdatePresence([Activity('chess')])")
)
_UNIX_TIME = number(-(10**12), 10**12, "seconds")
_HOSTS = Each(
    Check(_is_host, "a host alone, such as 'gateway.example', in the form that DNS has"),
    "a tuple of str, such as ('gateway.example',)",
)
_URL_TEXT = Check(
    lambda value: is_text(value) and len(value) <= _MAX_URL_LENGTH,
    f"a URL as a str, of at most {_MAX_URL_LENGTH} characters",
)
_HEADER_VALUE = Check(
    _is_header_value,
    f"printable ASCII, of at most {_MAX_HEADER_LENGTH} characters, without a blank at either end",
)
_POLICY = instance_of(
    CloseCodePolicy, "a CloseCodePolicy, such as CloseCodePolicy(NextAction.IDENTIFY, 'why')"
)
_POLICY_FIELDS = {
    "next_action": member_of(NextAction),
    "meaning": TEXT,
    "action_if_resuming": optional(member_of(NextAction)),
    "min_delay": SECONDS,
    "caused_by_command": BOOL,
}
_URL = optional(ErrorCheck(_url_error))


@attrs.frozen(kw_only=True, repr=False, eq=False)
class Config(FieldMethods):
    """Client configuration. Times are seconds, sizes are bytes.

    Construction raises `LocalProtocolError` for invalid values and combinations.
    """

    token: str = attrs.field(converter=_bare, repr=False)
    bot: bool = True
    """Whether HTTP requests send the token as a bot's, with the prefix "Bot"."""
    version: ProtocolVersion = attrs.field(default=VERSIONS[10], converter=_protocol_version)
    """Protocol version, as a number or a `ProtocolVersion`."""
    api_url: str | None = None
    """Base URL of `/gateway`; None means that of the version."""
    gateway_url: str | None = None
    """URL to connect to without a lookup; None means a lookup."""
    compression: Compression = attrs.field(default=Compression.NONE, converter=_compression)
    """Compression, as an enum member or a str such as "zlib-stream"."""
    encoding: Encoding = attrs.field(default=Encoding.JSON, converter=_encoding)
    """Encoding, as an enum member, "json" or "etf"."""
    intents: int | None = None
    """Gateway intents, required from version 8, allowed from version 6; 0 means no intents.
    <https://docs.discord.com/developers/events/gateway#gateway-intents>"""
    shard: tuple[int, int] | None = attrs.field(default=None, converter=_shard)
    """Shard id and number of shards; None means no sharding."""
    properties: IdentifyProperties = IdentifyProperties()
    large_threshold: int | None = None
    guild_subscriptions: bool | None = None
    """Versions 6 and 7: whether to receive presence and typing events of guilds."""
    presence: UpdatePresence | None = None

    random: Callable[[], float] | None = attrs.field(default=None, repr=False, eq=False)
    """Random source returning floats in [0, 1). Adapters default to `random.random`. The core
    defaults to the constant 0.5; set this if you run several clients."""
    unix_offset: float | None = None
    """Unix time minus the caller's monotonic clock, for heartbeats of version 3. None means that
    the adapters measure it."""

    heartbeat_as_integer: bool = False
    """Whether heartbeats of version 3 send an integer, not a str as in the documented example."""
    resume_with_token: bool | None = None
    """Whether Resume contains the token; None means the default of the version."""

    zombie_policy: ZombiePolicy = ZombiePolicy.TRAFFIC_THEN_ACK
    """Evidence that the peer still responds."""
    early_heartbeats: EarlyHeartbeats = EarlyHeartbeats.AFTER_ANSWER
    """Time of the first heartbeat after Resume."""
    close_policies: Mapping[int, CloseCodePolicy] = attrs.field(
        factory=dict, converter=_closes, hash=False
    )
    """Policies of close codes that replace those of the version."""
    identify_on_same_connection: bool = False
    """Whether to identify again on the same connection after INVALID_SESSION."""
    restore_voice_states: bool = False
    """Whether the last `UpdateVoiceState` of each guild is sent again in a new session."""
    skip_malformed: bool | None = None
    """Whether to skip a malformed message instead of reconnecting. None means: unless messages
    share a compression context."""
    resume_within: float | None = None
    """Seconds after its loss for which a session is resumed; None means no limit."""
    wait_for_identify_slot: bool = False
    """Whether each Identify waits for `grant_identify`, after an `IdentifySlotNeeded`."""
    max_concurrency: int = 1
    """Identifies allowed in 5 seconds: `session_start_limit.max_concurrency`."""
    use_gateway_bot: bool = False
    """Whether to look up `/gateway/bot`, which returns the remaining session starts."""
    late_heartbeat_threshold: float = 1.0
    """Seconds of delay after which a late heartbeat is reported."""
    clock_jump_threshold: float = 5.0
    """Seconds of a jump of unix time, relative to `now`, that count as a system suspend."""
    command_delay_threshold: float = 5.0
    """Seconds in the queue after which a delayed command is reported."""
    payload_limit: int | None = None
    """Maximum bytes of one encoded payload; None means the limit of the version."""

    trusted_hosts: tuple[str, ...] = attrs.field(default=(), converter=_hosts)
    """Hosts allowed in URLs from the network, in addition to the endpoint's own."""
    allow_plaintext: bool = False
    """Whether ws and http may connect to other hosts than loopback."""

    user_agent: str = f"DiscordBot (gateway_proto, {__version__})"
    handshake_timeout: float = 20.0
    hello_timeout: float = 20.0
    ready_timeout: float = 60.0
    """From Identify, or the first answer to Resume, to READY or RESUMED."""
    resume_timeout: float = 15.0
    """From Resume to the first answer: a dispatch, RESUMED or INVALID_SESSION. Without one, the
    next URL is tried, or the session is dropped."""
    close_timeout: float = 5.0
    message_limit: int = 64 * 2**20
    """Maximum bytes of one message, compressed and decompressed."""
    events_limit: int = 16 * 2**20
    """Maximum bytes of the messages of queued events. Above it, received messages stay compressed
    in a backlog, and the adapters stop reading."""
    output_limit: int = 16 * 2**20
    """Maximum bytes of output that the peer has not read; above it, the connection is dropped."""
    command_queue_limit: int = 1000
    """Maximum number of queued commands."""

    backoff_initial: float = 1.0
    """Limit of the random delay after the first failure. It doubles with each further failure to
    reach HELLO, and grows by 30 % with each further loss of a connection."""
    backoff_max: float = 60.0
    """Maximum delay between connections that are lost after Identify; also the delay after a second
    HTTP status 401 or 403."""
    dial_backoff_max: float = 15.0
    """Maximum delay between dials in an outage, which ends with HELLO, and between connections that
    are lost without Identify; `backoff_max` limits it too."""
    backoff_reset_after: float = 60.0
    """Seconds in READY after which the backoffs of lost connections are reset."""
    resume_attempts: int = 3
    """Number of failed Resumes on the resume URL, and then on the main URL, before Identify. One
    without an answer is not repeated; equal URLs count once."""
    gateway_attempts: int = 3
    """Number of failed dials in a row, or rejected upgrades, after which the gateway is looked up
    again."""
    identify_attempts: int | None = None
    """Number of connections in a row that end between Identify and READY before the client gives
    up. None means no limit."""
    identify_budget: int = 900
    """Maximum number of Identifies in 24 hours, by all shards of a `ShardManager`; the client then
    waits. Servers reset the token after 1000:
    <https://docs.discord.com/developers/events/gateway#rate-limiting>."""
    identify_reserve: int = 100
    """Session starts of 1000 that are left to other clients, in proportion if the total is smaller.
    If no more remain, by `/gateway/bot`, the client waits for the reset before it identifies."""
    dial_attempts: int | None = None
    """Number of dials in a row that fail, or end in an HTTP error, before the client gives up.
    None means no limit."""

    _CHECKS: ClassVar[Checks] = {
        "token": TOKEN,
        "bot": BOOL,
        "version": _VERSION,
        "api_url": _URL,
        "gateway_url": _URL,
        "compression": word_of(Compression),
        "encoding": word_of(Encoding),
        "intents": optional(ErrorCheck(_intents_error)),
        "shard": optional(SHARD),
        "properties": instance_of(IdentifyProperties, "an IdentifyProperties"),
        "large_threshold": optional(COUNT),
        "guild_subscriptions": optional(BOOL),
        "presence": _PRESENCE,
        "random": optional(CALLBACK),
        "unix_offset": optional(_UNIX_TIME),
        "heartbeat_as_integer": BOOL,
        "resume_with_token": optional(BOOL),
        "zombie_policy": member_of(ZombiePolicy),
        "early_heartbeats": member_of(EarlyHeartbeats),
        "close_policies": ErrorCheck(_close_policies_error),
        "identify_on_same_connection": BOOL,
        "restore_voice_states": BOOL,
        "skip_malformed": optional(BOOL),
        "resume_within": optional(SECONDS),
        "wait_for_identify_slot": BOOL,
        "max_concurrency": POSITIVE,
        "use_gateway_bot": BOOL,
        "late_heartbeat_threshold": SECONDS,
        "clock_jump_threshold": SECONDS,
        "command_delay_threshold": SECONDS,
        "payload_limit": optional(POSITIVE),
        "trusted_hosts": _HOSTS,
        "allow_plaintext": BOOL,
        "user_agent": _HEADER_VALUE,
        "handshake_timeout": DURATION,
        "hello_timeout": DURATION,
        "ready_timeout": DURATION,
        "resume_timeout": DURATION,
        "close_timeout": SECONDS,
        "message_limit": POSITIVE,
        "events_limit": POSITIVE,
        "output_limit": POSITIVE,
        "command_queue_limit": COUNT,
        "backoff_initial": SECONDS,
        "backoff_max": SECONDS,
        "dial_backoff_max": SECONDS,
        "backoff_reset_after": SECONDS,
        "resume_attempts": COUNT,
        "gateway_attempts": POSITIVE,
        "identify_attempts": optional(POSITIVE),
        "identify_budget": COUNT,
        "identify_reserve": COUNT,
        "dial_attempts": optional(POSITIVE),
    }

    def __attrs_post_init__(self) -> None:
        check_fields(self, self._CHECKS)
        version = f"version {self.version.number}"
        compression, encoding = self.compression, self.encoding
        if self.api_url is not None and self.gateway_url is not None:
            raise LocalProtocolError("give Config.api_url or Config.gateway_url, not both")
        if compression not in self.version.compressions:
            raise LocalProtocolError(
                f"{version} has no {compression.value} compression: choose another "
                "Config.compression"
            )
        if encoding is Encoding.ETF and compression is Compression.PAYLOAD:
            raise LocalProtocolError(
                "payload compression is for json: with etf set Config.compression to a stream, or "
                "none"
            )
        if encoding is Encoding.ETF and not _has_etf():
            raise LocalProtocolError(
                "Config.encoding etf needs erlpack: install gateway-proto[etf]"
            )
        if compression is Compression.ZSTD_STREAM and not has_zstd():
            raise LocalProtocolError(
                "Config.compression zstd-stream needs Python 3.14 or backports.zstd: install "
                "gateway-proto[zstd]"
            )
        if self.version.intents_required and self.intents is None:
            raise LocalProtocolError(
                f"{version} needs intents: set Config.intents, such as Intents.unprivileged() "
                "(0 is none)"
            )
        if self.intents and not self.version.intents:
            raise LocalProtocolError(f"{version} has no intents: leave Config.intents out")
        if self.shard is not None and not self.version.shards:
            raise LocalProtocolError(f"{version} has no shards: leave Config.shard out")
        if self.large_threshold is not None:
            integer(*self.version.large_threshold_range).named(
                "Config.large_threshold", self.large_threshold
            )
        if self.guild_subscriptions is not None and not self.version.guild_subscriptions:
            raise LocalProtocolError(
                f"{version} has no guild_subscriptions: leave Config.guild_subscriptions out"
            )
        _ = self.url_policy  # raises for a URL that would send the token in plain text

    @property
    def endpoint(self) -> Url:
        """Configured URL of the lookup or of the gateway."""
        if self.gateway_url is not None:
            return Url.parse(self.gateway_url)
        base = Url.parse(self.api_url or self.version.api_url).under("gateway")
        return base.under("bot") if self.use_gateway_bot else base

    @property
    def url_policy(self) -> UrlPolicy:
        """Policy for URLs from the network: which of them may receive the token."""
        return UrlPolicy(self.endpoint, self.trusted_hosts, allow_plaintext=self.allow_plaintext)

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Query parameters of the gateway's URL."""
        version = self.version
        if not version.negotiates_in_url:
            return ()
        return _query_of(version.number, self.encoding, self.compression)

    def __reduce__(self) -> tuple[Any, ...]:
        # A view of a dict cannot be pickled; processes that share shards receive a copy.
        values = {field.name: getattr(self, field.name) for field in attrs.fields(Config)}
        return partial(Config, **{**values, "close_policies": dict(self.close_policies)}), ()

    def next_random(self) -> float:
        """Return a number from 0 to 1.

        Raises `LocalProtocolError` if `random` returns anything else.
        """
        if self.random is None:
            return 0.5
        number = self.random()
        if not isinstance(number, float | int) or not 0 <= number <= 1:
            raise rejected("Config.random()", number, "a float from 0 to 1")
        return number


def check_is_config(value: object) -> None:
    """Raise `LocalProtocolError`, which does not show the value, unless it is a `Config`."""
    # A common mistake is to pass a token, or a mapping with one.
    if not isinstance(value, Config):
        raise LocalProtocolError(
            f"config is of type {type(value).__name__}: expected a Config, such as "
            "Config(token=..., intents=Intents.GUILDS)"
        )
