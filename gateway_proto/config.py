"""caller's choices → Config: everything that a client is told, in one value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from gateway_proto.commands import Properties, UpdatePresence
from gateway_proto.dialects import DIALECTS, Compression, Dialect, dialect
from gateway_proto.errors import LocalProtocolError
from gateway_proto.urls import Trust, Url

__all__ = ["Config"]


def _bare(token: str) -> str:
    # The HTTP header wants "Bot ", the gateway a bare token: with the prefix no resume succeeds.
    return token.removeprefix("Bot ")


def _compression(value: Compression | str) -> Compression:
    try:
        return Compression(value)
    except ValueError:
        known = ", ".join(member.value for member in Compression)
        raise LocalProtocolError(f"there is no compression {value!r}: use one of {known}") from None


def _check_token(_config: Config, _field: attrs.Attribute[str], token: str) -> None:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise LocalProtocolError("the token is empty, or has a space or a character that none has")


def _check_shard(_config: Config, _field: Any, shard: tuple[int, int] | None) -> None:
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise LocalProtocolError(f"shard {shard} is not (id, count) with id below count")


@attrs.frozen(kw_only=True)
class Config:
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
    intents: int | None = None
    """Required from version 8 on; 0 is none."""
    shard: tuple[int, int] | None = attrs.field(default=None, validator=_check_shard)
    """Shard id, count of shards."""
    properties: Properties = Properties()
    large_threshold: int | None = None
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

    trusted_hosts: tuple[str, ...] = ()
    """Hosts that URLs out of the network may name, beside the endpoint's own."""
    allow_plaintext: bool = False
    """Whether ws and http may go to another machine."""

    user_agent: str = "DiscordBot (gateway_proto, 0.1)"
    handshake_timeout: float = 20.0
    greeting_timeout: float = 20.0
    session_timeout: float = 60.0
    """From Identify or Resume to READY or RESUMED."""
    close_timeout: float = 5.0
    message_limit: int = 64 * 2**20
    """Of one message, as it arrives and as it inflates."""
    waiting_limit: int = 1000
    """Commands that may wait for room under the rate limit."""

    backoff_first: float = 1.0
    backoff_longest: float = 60.0
    stable_after: float = 60.0
    """How long READY must last for the backoff to begin anew."""
    resume_attempts: int = 3
    """Resumes that may fail on the resume URL, and as many on the main URL, before Identify."""
    identify_attempts: int = 10
    """Open connections in a row that may end before READY before the client gives up."""
    identify_budget: int = 900
    """Identifies in 24 hours after which the client gives up; 1000 would cost the token."""
    dial_attempts: int | None = None
    """Dials in a row that may fail, or end in an HTTP error, before the client gives up; None: it
    never does for that, since a network that is away comes back."""

    def __attrs_post_init__(self) -> None:
        if self.api_url is not None and self.gateway_url is not None:
            raise LocalProtocolError("give api_url or gateway_url, not both")
        if self.compression not in self.dialect.compressions:
            raise LocalProtocolError(
                f"version {self.dialect.version} has no {self.compression.value} compression"
            )
        if self.dialect.intents and self.intents is None:
            raise LocalProtocolError(
                f"version {self.dialect.version} needs intents: set Config.intents (0 is none)"
            )
        # Says now, not at the first dial, what is wrong with a URL.
        _ = self.trust

    @property
    def endpoint(self) -> Url:
        """Where the token was sent by its owner: the URL of the lookup or of the gateway."""
        if self.gateway_url is not None:
            return Url.parse(self.gateway_url)
        return Url.parse(self.api_url or self.dialect.api_url).under("gateway")

    @property
    def trust(self) -> Trust:
        """Which URLs out of the network the token may go to."""
        return Trust(self.endpoint, self.trusted_hosts, allow_plaintext=self.allow_plaintext)

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters of the gateway's URL."""
        if self.compression is Compression.ZLIB_STREAM:
            return (*self.dialect.query, ("compress", self.compression.value))
        return self.dialect.query

    def chance(self) -> float:
        """A number in [0, 1)."""
        return 0.5 if self.random is None else self.random()
