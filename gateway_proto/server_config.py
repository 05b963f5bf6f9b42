"""caller's choices → ServerConfig: everything that a server is told, in one value."""

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
from gateway_proto.dialects import DIALECTS
from gateway_proto.errors import LocalProtocolError
from gateway_proto.faults import Scenario
from gateway_proto.urls import Url
from gateway_proto.world import World

__all__ = ["ServerConfig"]

_LONGEST_URL = 2048


def _bare_tokens(tokens: Iterable[str] | None) -> frozenset[str] | None:
    members: Any = as_tuple(tokens)
    # Members that have no hash stay as they are, for the error.
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
    if not is_text(value) or len(value) > _LONGEST_URL:
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


_KNOWN_VERSIONS = f"one or more of {', '.join(map(str, DIALECTS))}"
_VERSIONS = Each(
    Check(lambda value: integer(0).allows(value) and value in DIALECTS, _KNOWN_VERSIONS),
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
    """Those that are let in; None: all."""
    versions: tuple[int, ...] = attrs.field(
        default=tuple(DIALECTS), converter=_versions, validator=_VERSIONS
    )
    heartbeat_interval: int = attrs.field(default=41250, validator=integer(1, 2**31 - 1))
    """Milliseconds."""
    heartbeat_tolerance: float = attrs.field(
        default=1.5, validator=number(0, 10**6, "intervals", is_open=True)
    )
    """Intervals without a heartbeat after which the connection is closed."""
    url: str | None = attrs.field(default=None, validator=_URL)
    """What lookups answer and READY names; by default the Host that the client asked."""
    tls: bool = attrs.field(default=False, validator=BOOL)
    """Whether clients come over TLS, so that such a URL begins with wss; the adapters know it."""
    shards: int = attrs.field(default=1, validator=POSITIVE)
    """How many `/gateway/bot` recommends."""
    max_concurrency: int = attrs.field(default=1, validator=POSITIVE)
    """How many of them `/gateway/bot` lets identify at once."""
    world: World = attrs.field(default=World(), validator=_WORLD)
    """Who the bot is, and the guilds that it is in."""
    scenario: Scenario = attrs.field(default=Scenario(), validator=_SCENARIO)
    """What goes wrong, and when."""
    allowed_intents: int | None = attrs.field(default=None, validator=optional(INTENTS))
    """Those that may be asked for, else close code 4014; None: all."""
    guilds_per_shard: int = attrs.field(default=2500, validator=COUNT)
    """More of them cost close code 4011."""
    identify_seconds: float = attrs.field(default=0.0, validator=SECONDS)
    """Between two Identifies of one key, else INVALID_SESSION; 5 at the real gateway."""
    identifies_a_day: int = attrs.field(default=1000, validator=COUNT)
    """More of them are not let in any more."""
    members_seconds: float | None = attrs.field(default=30.0, validator=optional(SECONDS))
    """Between two requests of one bot for all members of one guild, else RATE_LIMITED; 0 or None
    means no limit."""
    control: str | None = attrs.field(default=None, validator=_PREFIX)
    """Where the control route lies, such as "/control"; None: there is none. Whoever reaches the
    port may use it."""
    control_hosts: tuple[str, ...] = attrs.field(
        default=(), converter=as_words, validator=_CONTROL_HOSTS
    )
    """Names in the Host header that the control route answers, in addition to localhost and
    loopback addresses."""
    journal_limit: int = attrs.field(default=10_000, validator=COUNT)
    """Entries of what clients sent that the control route keeps."""
    requests_limit: int = attrs.field(default=10_000, validator=COUNT)
    """HTTP requests that `Server.rest` keeps."""
    requests_bytes: int = attrs.field(default=16 * 2**20, validator=COUNT)
    """Of the bodies of the requests that `Server.rest` keeps."""
    unix_offset: float | None = attrs.field(default=None, validator=optional(_UNIX_TIME))
    """Unix time minus `now`, for new ids and timestamps; None: the adapters take the system's."""
    random: Callable[[], float] | None = attrs.field(
        default=None, validator=optional(CALLBACK), repr=False, eq=False
    )
    """Chance, for session ids that cannot be guessed; None: the adapters take the system's."""
    replay_limit: int = attrs.field(default=1000, validator=COUNT)
    """Dispatches that a session keeps for a resume."""
    replay_bytes: int = attrs.field(default=16 * 2**20, validator=COUNT)
    """Of those dispatches. Beyond it the oldest are dropped, as beyond `replay_limit`."""
    sessions_limit: int = attrs.field(default=10_000, validator=POSITIVE)
    """Sessions. Beyond it the oldest without a connection is dropped; if there is none, Identify is
    answered with INVALID_SESSION."""
    session_lifetime: float = attrs.field(default=300.0, validator=SECONDS)
    """How long a session without a connection may be resumed."""
    handshake_timeout: float = attrs.field(default=20.0, validator=DURATION)
    identify_timeout: float = attrs.field(default=60.0, validator=DURATION)
    close_timeout: float = attrs.field(default=5.0, validator=SECONDS)
    message_limit: int = attrs.field(default=65536, validator=POSITIVE)
    events_limit: int = attrs.field(default=16 * 2**20, validator=POSITIVE)
    """Of the messages whose events wait to be taken. Above it, received messages wait."""
    output_limit: int = attrs.field(default=64 * 2**20, validator=POSITIVE)
    """Of what waits for a client that does not read; beyond it the connection is dropped."""
