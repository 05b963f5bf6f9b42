"""Server configuration, checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from gateway_proto._checks import (
    BOOL,
    CALLBACK,
    COUNT,
    DURATION,
    INTENTS,
    POSITIVE,
    SECONDS,
    Check,
    Each,
    as_tuple,
    as_words,
    instance_of,
    integer,
    is_text,
    number,
    optional,
    token_problem,
)
from gateway_proto.errors import LocalProtocolError
from gateway_proto.server.faults import Scenario
from gateway_proto.server.world import World
from gateway_proto.urls import Url
from gateway_proto.versions import VERSIONS

__all__ = ["ServerConfig"]

_MAX_URL = 2048


def _bare_tokens(tokens: Iterable[str] | None) -> frozenset[str] | None:
    members: Any = as_tuple(tokens)
    # Unhashable members stay as they are, for the error.
    if not isinstance(members, tuple) or not all(isinstance(token, str) for token in members):
        return members  # type: ignore[no-any-return]
    return frozenset(token.removeprefix("Bot ") for token in members)


def _check_tokens(_config: Any, _field: Any, tokens: Any) -> None:
    if tokens is None:
        return
    if not isinstance(tokens, frozenset | tuple):
        raise LocalProtocolError(
            f"ServerConfig.tokens is of type {type(tokens).__name__}: expected a collection of "
            'str, such as {"token"}, or None'
        )
    for token in tokens:
        problem = token_problem(token)
        if problem is not None:
            raise LocalProtocolError(f"a token of ServerConfig.tokens {problem}")


def _versions(versions: Iterable[int]) -> tuple[int, ...]:
    numbers: tuple[int, ...] = as_tuple(versions)
    return numbers


def _is_prefix(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"(/[\w.-]+)+", value, re.ASCII) is not None


def _is_url(value: Any) -> bool:
    if not is_text(value) or len(value) > _MAX_URL:
        return False
    try:
        return Url.parse(value).scheme in ("ws", "wss")
    except LocalProtocolError:
        return False


def _is_host(value: Any) -> bool:
    # As the Host header has it: an IPv6 address has brackets around it.
    return (
        isinstance(value, str)
        and re.fullmatch(r"[\w.-]+|\[[0-9a-fA-F:.]+\]", value, re.ASCII) is not None
    )


_KNOWN_VERSIONS = f"one or more of {', '.join(map(str, VERSIONS))}"
_VERSIONS = Each(
    Check(lambda value: integer(0).allows(value) and value in VERSIONS, _KNOWN_VERSIONS),
    f"a tuple of {_KNOWN_VERSIONS}",
    least=1,
)
_URL = optional(Check(_is_url, "the URL of a gateway as a str, such as 'wss://gateway.example'"))
_PREFIX = optional(Check(_is_prefix, "the beginning of a path, such as '/control'"))
_HOST = Check(_is_host, "the name or address of a host, without a port, such as 'gateway'")
_CONTROL_HOSTS = Each(_HOST, "hosts without a port, such as ['gateway']")
_WORLD = instance_of(World, "a World, such as World([{'id': '1'}]) or World.from_json(text)")
_UNIX_TIME = number(-(10**12), 10**12, "seconds")
_SCENARIO = instance_of(Scenario, "a Scenario, such as Scenario([Fault('drop')])")


@attrs.frozen(kw_only=True)
class ServerConfig:
    """Server configuration. Times are seconds unless they say otherwise, sizes are bytes.

    Construction raises `LocalProtocolError` for a value that is not allowed, with field, value and
    what is allowed.
    """

    tokens: frozenset[str] | None = attrs.field(
        default=None, converter=_bare_tokens, validator=_check_tokens, repr=False
    )
    """Accepted tokens; None means all."""
    versions: tuple[int, ...] = attrs.field(
        default=tuple(VERSIONS), converter=_versions, validator=_VERSIONS
    )
    heartbeat_interval: int = attrs.field(default=41250, validator=integer(1, 2**31 - 1))
    """Milliseconds between heartbeats, as HELLO announces it."""
    heartbeat_tolerance: float = attrs.field(
        default=1.5, validator=number(0, 10**6, "intervals", is_open=True)
    )
    """Number of intervals without a heartbeat after which the connection is closed."""
    url: str | None = attrs.field(default=None, validator=_URL)
    """URL in lookups and READY; None means the Host of the client's request."""
    tls: bool = attrs.field(default=False, validator=BOOL)
    """Whether clients use TLS, so that the URL begins with wss. Adapters set it."""
    shards: int = attrs.field(default=1, validator=POSITIVE)
    """Number of shards that `/gateway/bot` recommends."""
    max_concurrency: int = attrs.field(default=1, validator=POSITIVE)
    """Number of concurrent Identifies that `/gateway/bot` allows."""
    world: World = attrs.field(default=World(), validator=_WORLD)
    """The bot's user, and its guilds."""
    scenario: Scenario = attrs.field(default=Scenario(), validator=_SCENARIO)
    """Faults to inject."""
    allowed_intents: int | None = attrs.field(default=None, validator=optional(INTENTS))
    """Intents that Identify may have, else close code 4014; None means all."""
    guilds_per_shard: int = attrs.field(default=2500, validator=COUNT)
    """Number of guilds of a shard above which Identify gets close code 4011."""
    identify_seconds: float = attrs.field(default=0.0, validator=SECONDS)
    """Seconds between two Identifies of one key, else INVALID_SESSION; 5 at Discord."""
    identifies_per_day: int = attrs.field(default=1000, validator=COUNT)
    """Number of sessions in 24 hours, above which Identify gets close code 4004."""
    members_seconds: float | None = attrs.field(default=30.0, validator=optional(SECONDS))
    """Seconds between two requests of one bot for all members of a guild, else RATE_LIMITED; 0 or
    None means no limit."""
    control: str | None = attrs.field(default=None, validator=_PREFIX)
    """Path prefix of the control route, such as "/control"; None means no control route. Everyone
    who can reach the port may use it."""
    control_hosts: tuple[str, ...] = attrs.field(
        default=(), converter=as_words, validator=_CONTROL_HOSTS
    )
    """Names in the Host header that the control route answers, in addition to localhost and
    loopback addresses."""
    received_log_limit: int = attrs.field(default=10_000, validator=COUNT)
    """Number of received commands and requests that the control route keeps."""
    requests_limit: int = attrs.field(default=10_000, validator=COUNT)
    """Number of HTTP requests that `Server.rest` keeps."""
    requests_bytes: int = attrs.field(default=16 * 2**20, validator=COUNT)
    """Size of the bodies of the requests that `Server.rest` keeps."""
    unix_offset: float | None = attrs.field(default=None, validator=optional(_UNIX_TIME))
    """Unix time minus `now`, for new ids and timestamps; adapters replace None."""
    random: Callable[[], float] | None = attrs.field(
        default=None, validator=optional(CALLBACK), repr=False, eq=False
    )
    """Random source in [0, 1), for session ids that cannot be guessed; adapters replace None."""
    replay_limit: int = attrs.field(default=1000, validator=COUNT)
    """Number of dispatches that a session keeps for a resume."""
    replay_bytes: int = attrs.field(default=16 * 2**20, validator=COUNT)
    """Size of those dispatches. Above it the oldest are dropped, as above `replay_limit`."""
    sessions_limit: int = attrs.field(default=10_000, validator=POSITIVE)
    """Number of sessions. Above it the oldest without a connection is dropped; if all have one,
    Identify gets INVALID_SESSION."""
    session_lifetime: float = attrs.field(default=300.0, validator=SECONDS)
    """Seconds for which a session without a connection can be resumed."""
    handshake_timeout: float = attrs.field(default=20.0, validator=DURATION)
    identify_timeout: float = attrs.field(default=60.0, validator=DURATION)
    close_timeout: float = attrs.field(default=5.0, validator=SECONDS)
    message_limit: int = attrs.field(default=65536, validator=POSITIVE)
    events_limit: int = attrs.field(default=16 * 2**20, validator=POSITIVE)
    """Size of the messages whose events are pending. Above it, received messages wait."""
    output_limit: int = attrs.field(default=64 * 2**20, validator=POSITIVE)
    """Size of the pending output of a connection; above it the connection is dropped."""
