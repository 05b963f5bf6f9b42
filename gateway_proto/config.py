"""caller's choices → Config: everything that a client is told, in one value."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from gateway_proto._layers import etf
from gateway_proto._layers.inflate import has_zstd
from gateway_proto._layers.payloads import encode
from gateway_proto._layers.spelling import spell
from gateway_proto._terse import Told
from gateway_proto._timing.heartbeats import EarlyHeartbeats, ZombiePolicy
from gateway_proto._version import __version__
from gateway_proto.commands import (
    Command,
    Heartbeat,
    Identify,
    Properties,
    Resume,
    UpdatePresence,
)
from gateway_proto.dialects import DIALECTS, AfterClose, Compression, Dialect, Encoding, dialect
from gateway_proto.errors import LocalProtocolError
from gateway_proto.urls import Trust, Url

__all__ = ["Config"]

E = TypeVar("E", bound=enum.Enum)


def _bare(token: str) -> str:
    # The HTTP header wants "Bot ", the gateway a bare token: with the prefix no resume succeeds.
    return token.removeprefix("Bot ")


def _word(value: E | str, kind: type[E], what: str) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise LocalProtocolError(f"there is no {what} {value!r}: use one of {known}") from None


def _compression(value: Compression | str) -> Compression:
    return _word(value, Compression, "compression")


def _encoding(value: Encoding | str) -> Encoding:
    return _word(value, Encoding, "encoding")


def _closes(value: Mapping[int, AfterClose]) -> Mapping[int, AfterClose]:
    return MappingProxyType(dict(value))


def _check_token(_config: Config, _field: attrs.Attribute[str], token: str) -> None:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise LocalProtocolError("the token is empty, or has a space or a character that none has")


def _check_shard(_config: Config, _field: Any, shard: tuple[int, int] | None) -> None:
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise LocalProtocolError(f"shard {shard} is not (id, count) with id below count")


@attrs.frozen(kw_only=True, repr=False)
class Config(Told):
    """What a client is told. Times are seconds, sizes are bytes.

    Construction raises `LocalProtocolError` where values do not fit each other.
    """

    token: str = attrs.field(converter=_bare, validator=_check_token, repr=False)
    bot: bool = True
    """Whether HTTP requests carry the token as a bot's, behind the word Bot."""
    dialect: Dialect = attrs.field(default=DIALECTS[10], converter=dialect)
    """A version's number will do."""
    api_url: str | None = None
    """The base under which `/gateway` lies; by default that of the dialect."""
    gateway_url: str | None = None
    """Connect here, without a lookup."""
    compression: Compression = attrs.field(default=Compression.NONE, converter=_compression)
    """Its word, such as "zlib-stream", will do."""
    encoding: Encoding = attrs.field(default=Encoding.JSON, converter=_encoding)
    """Its word, "json" or "etf", will do."""
    intents: int | None = None
    """Required from version 8 on, known from version 6 on; 0 is none."""
    shard: tuple[int, int] | None = attrs.field(default=None, validator=_check_shard)
    """Shard id, count of shards."""
    properties: Properties = Properties()
    large_threshold: int | None = None
    guild_subscriptions: bool | None = None
    """Versions 6 and 7: whether presences and typing of guilds come."""
    presence: UpdatePresence | None = None

    random: Callable[[], float] | None = attrs.field(default=None, repr=False, eq=False)
    """Chance: a number in [0, 1). None: the adapters take `random.random`, the pure machine the
    constant 0.5, which is the same for every client: pass one where there are several."""
    unix_offset: float | None = None
    """Unix time minus the caller's monotonic clock, for version 3, whose heartbeats carry unix
    time. None: the adapters measure it."""

    heartbeat_as_integer: bool = False
    """Version 3's heartbeat as an integer, not as the text that the document's example shows."""
    resume_with_token: bool | None = None
    """Whether Resume carries the token; by default as the dialect's clients do."""

    zombie_policy: ZombiePolicy = ZombiePolicy.TRAFFIC_THEN_ACK
    """What proves that a peer lives."""
    early_heartbeats: EarlyHeartbeats = EarlyHeartbeats.AFTER_ANSWER
    """Whether to beat between Resume and its answer."""
    closes: Mapping[int, AfterClose] = attrs.field(factory=dict, converter=_closes, hash=False)
    """Close codes that mean something else than in the dialect's own table."""
    identify_on_same_connection: bool = False
    """After INVALID_SESSION: identify again on the open connection, not on a new one."""
    restore_voice_states: bool = False
    """Whether the last `UpdateVoiceState` of each guild is sent again in a new session."""
    skip_malformed: bool | None = None
    """Whether a message that is no payload is skipped, not a reason to reconnect; None: it is
    where no compression context runs on."""
    resume_within: float | None = None
    """Seconds after its loss for which a session is resumed; None: the server says when it is too
    late."""
    ask_to_identify: bool = False
    """Whether each Identify waits for `grant_identify`, after an `IdentifySlotNeeded`."""
    max_concurrency: int = 1
    """How many keys may identify at once: `session_start_limit.max_concurrency`."""
    lookup_bot: bool = False
    """Look up `/gateway/bot`, which tells how many sessions may still be opened."""
    late_after: float = 1.0
    """A heartbeat that is sent so much too late is reported."""
    suspended_after: float = 5.0
    """A jump of unix time against the caller's clock that means: the machine slept."""
    waiting_reported_after: float = 5.0
    """A command that has waited so long for room is reported."""
    payload_limit: int | None = None
    """Bytes of one encoded payload; by default what the dialect's gateways take."""

    trusted_hosts: tuple[str, ...] = ()
    """Hosts that URLs out of the network may name, beside the endpoint's own."""
    allow_plaintext: bool = False
    """Whether ws and http may go to another machine."""

    user_agent: str = f"DiscordBot (gateway_proto, {__version__})"
    handshake_timeout: float = 20.0
    greeting_timeout: float = 20.0
    session_timeout: float = 60.0
    """From Identify, or the first answer to Resume, to READY or RESUMED."""
    resume_timeout: float = 15.0
    """From Resume to the first answer: a dispatch, RESUMED or INVALID_SESSION. Without one, the
    session is tried at the next URL, or given up."""
    close_timeout: float = 5.0
    message_limit: int = 64 * 2**20
    """Of one message, as it arrives and as it inflates."""
    waiting_limit: int = 1000
    """Commands that may wait for room under the rate limit."""

    backoff_first: float = 1.0
    """The limit of the first random wait after a failure; it doubles with each further failure."""
    backoff_longest: float = 60.0
    """The longest wait between connections that open and are lost, until READY has lasted for
    `stable_after`; also the wait after a second 401 or 403."""
    dial_backoff_longest: float = 15.0
    """The longest wait between dials of an outage, which ends with HELLO; `backoff_longest` limits
    it too."""
    stable_after: float = 60.0
    """How long READY must last for the backoff of lost connections to start over."""
    resume_attempts: int = 3
    """Resumes that may fail on the resume URL, and as many on the main URL, before Identify; those
    without an answer are not repeated, and equal URLs count once."""
    gateway_attempts: int = 3
    """Dials in a row to the gateway that a lookup named that may fail before it is looked up again;
    upgrades that are refused count too."""
    identify_attempts: int | None = None
    """Connections in a row that may end between Identify and READY before the client gives up;
    None: it never does for that, since an outage may look so."""
    identify_budget: int = 900
    """Identifies in 24 hours, by all shards of a `Fleet`, after which the client waits; 1000 would
    cost the token."""
    identify_reserve: int = 100
    """Sessions of 1000 that are left to others, in proportion if the total is smaller: with no more
    remaining, as `/gateway/bot` says, the client waits for the reset before it identifies."""
    dial_attempts: int | None = None
    """Dials in a row that may fail, or end in an HTTP error, before the client gives up; None: it
    never does for that, since a network that is away comes back."""

    def __attrs_post_init__(self) -> None:
        version = f"version {self.dialect.version}"
        compression, encoding = self.compression, self.encoding
        if self.api_url is not None and self.gateway_url is not None:
            raise LocalProtocolError("give api_url or gateway_url, not both")
        if compression not in self.dialect.compressions:
            raise LocalProtocolError(f"{version} has no {compression.value} compression")
        if encoding is Encoding.ETF and compression is Compression.PAYLOAD:
            raise LocalProtocolError(
                "payload compression is for json: with etf use a stream, or none"
            )
        if encoding is Encoding.ETF and not etf.available():
            raise LocalProtocolError("etf needs erlpack: install gateway-proto[etf]")
        if compression is Compression.ZSTD_STREAM and not has_zstd():
            raise LocalProtocolError(
                "zstd-stream needs Python 3.14 or backports.zstd: install gateway-proto[zstd]"
            )
        if self.dialect.intents_required and self.intents is None:
            raise LocalProtocolError(f"{version} needs intents: set Config.intents (0 is none)")
        if self.intents and not self.dialect.intents:
            raise LocalProtocolError(f"{version} has no intents: leave Config.intents out")
        if self.shard is not None and not self.dialect.shards:
            raise LocalProtocolError(f"{version} has no shards: leave Config.shard out")
        if self.guild_subscriptions is not None and not self.dialect.guild_subscriptions:
            raise LocalProtocolError(f"{version} has no guild_subscriptions: leave it out")
        # Say now, not at the first dial, what is wrong with a URL or with Identify.
        _ = self.trust
        self.spell(self.identify(self.presence))

    @property
    def endpoint(self) -> Url:
        """Where the token was sent by its owner: the URL of the lookup or of the gateway."""
        if self.gateway_url is not None:
            return Url.parse(self.gateway_url)
        base = Url.parse(self.api_url or self.dialect.api_url).under("gateway")
        return base.under("bot") if self.lookup_bot else base

    @property
    def trust(self) -> Trust:
        """Which URLs out of the network the token may go to."""
        return Trust(self.endpoint, self.trusted_hosts, allow_plaintext=self.allow_plaintext)

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters of the gateway's URL."""
        dialect, compression = self.dialect, self.compression
        if not dialect.in_query:
            return ()
        query = (("v", str(dialect.version)), ("encoding", self.encoding.value))
        return (*query, ("compress", compression.value)) if compression.in_query else query

    def identify(self, presence: UpdatePresence | None) -> Identify:
        """The Identify of a client with this config, and a presence."""
        return Identify(
            token=self.token,
            properties=self.properties,
            intents=self.intents,
            compress=self.compression is Compression.PAYLOAD,
            large_threshold=self.large_threshold,
            shard=self.shard,
            presence=presence,
            guild_subscriptions=self.guild_subscriptions,
        )

    def spell(self, command: Command) -> str | bytes:
        """The message that says a command, checked; raises `LocalProtocolError`."""
        op, d = spell(command, self.dialect, intents=self.intents)
        text = encode(op, d, self.encoding)
        limit = self.payload_limit or self.dialect.payload_limit
        # What the machine sends by itself is made of the server's own words.
        if len(text) > limit and not isinstance(command, Resume | Heartbeat):
            raise LocalProtocolError(
                f"{type(command).__name__} has {len(text)} bytes, more than the {limit} that a "
                "gateway takes"
            )
        return text.decode() if self.encoding is Encoding.JSON else text

    def __reduce__(self) -> tuple[Any, ...]:
        # As it is for a dialect: processes that share the shards are sent it.
        values = {field.name: getattr(self, field.name) for field in attrs.fields(Config)}
        return partial(Config, **{**values, "closes": dict(self.closes)}), ()

    def after_close(self, code: int | None) -> AfterClose:
        """What the client does after the peer closed with `code`."""
        own = self.closes.get(code) if code is not None else None
        return own or self.dialect.after_close(code)

    def chance(self) -> float:
        """A number in [0, 1)."""
        return 0.5 if self.random is None else self.random()
