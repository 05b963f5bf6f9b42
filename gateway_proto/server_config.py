"""caller's choices → ServerConfig: everything that a server is told, in one value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from gateway_proto.dialects import DIALECTS
from gateway_proto.errors import LocalProtocolError
from gateway_proto.faults import Scenario
from gateway_proto.world import World

__all__ = ["ServerConfig"]


def _bare_tokens(tokens: Any) -> frozenset[str] | None:
    return None if tokens is None else frozenset(token.removeprefix("Bot ") for token in tokens)


def _versions(versions: Iterable[int]) -> tuple[int, ...]:
    return tuple(versions)


def _known_versions(_config: Any, _field: Any, versions: tuple[int, ...]) -> None:
    if not versions or set(versions) - DIALECTS.keys():
        known = ", ".join(map(str, DIALECTS))
        raise LocalProtocolError(f"versions {versions} are not one or more of {known}")


def _prefix(_config: Any, _field: Any, prefix: str | None) -> None:
    if prefix is not None and not re.fullmatch(r"(/[\w.-]+)+", prefix):
        raise LocalProtocolError(f"{prefix!r} is not the beginning of a path, such as '/control'")


@attrs.frozen(kw_only=True)
class ServerConfig:
    """What a server is told. Times are seconds unless they say otherwise, sizes are bytes."""

    tokens: frozenset[str] | None = attrs.field(default=None, converter=_bare_tokens, repr=False)
    """Those that are let in; None: all."""
    versions: tuple[int, ...] = attrs.field(
        default=tuple(DIALECTS), converter=_versions, validator=_known_versions
    )
    heartbeat_interval: int = 41250
    """Milliseconds."""
    heartbeat_tolerance: float = 1.5
    """Intervals without a heartbeat after which the connection is closed."""
    url: str | None = None
    """What lookups answer and READY names; by default the Host that the client asked."""
    tls: bool = False
    """Whether clients come over TLS, so that such a URL begins with wss; the adapters know it."""
    shards: int = 1
    """How many `/gateway/bot` recommends."""
    max_concurrency: int = 1
    """How many of them `/gateway/bot` lets identify at once."""
    world: World = World()
    """Who the bot is, and the guilds that it is in."""
    scenario: Scenario = Scenario()
    """What goes wrong, and when."""
    allowed_intents: int | None = None
    """Those that may be asked for, else close code 4014; None: all."""
    guilds_per_shard: int = 2500
    """More of them cost close code 4011."""
    identify_seconds: float = 0.0
    """Between two Identifies of one key, else INVALID_SESSION; 5 at the real gateway."""
    identifies_a_day: int = 1000
    """More of them are not let in any more."""
    control: str | None = attrs.field(default=None, validator=_prefix)
    """Where the control route lies, such as "/control"; None: there is none. Whoever reaches the
    port may use it."""
    journal_limit: int = 10_000
    """Entries of what clients sent that the control route keeps."""
    random: Callable[[], float] | None = attrs.field(default=None, repr=False, eq=False)
    """Chance, for session ids that cannot be guessed; None: the adapters take the system's."""
    replay_limit: int = 1000
    """Dispatches that a session keeps for a resume."""
    session_lifetime: float = 300.0
    """How long a session without a connection may be resumed."""
    handshake_timeout: float = 20.0
    identify_timeout: float = 60.0
    close_timeout: float = 5.0
    message_limit: int = 65536
    events_limit: int = 16 * 2**20
    """Of the messages whose events wait to be taken. Above it, received messages wait."""
    output_limit: int = 64 * 2**20
    """Of what waits for a client that does not read; beyond it the connection is dropped."""
