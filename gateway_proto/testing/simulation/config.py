"""The configuration of a simulation, which a seed determines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import attrs

from gateway_proto._checks import (
    BOOL,
    COUNT,
    DURATION,
    POSITIVE,
    SECONDS,
    Check,
    Checks,
    as_words,
    check_fields,
    integer,
    member_of,
    optional,
    rejected,
    shown,
)
from gateway_proto.encoding import etf
from gateway_proto.errors import LocalProtocolError
from gateway_proto.testing.simulation.fault_kinds import FAULT_KINDS
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.versions import VERSIONS, Compression, Encoding
from gateway_proto.wire.compression import has_zstd

__all__ = ["EVENTS_LIMIT", "MESSAGE_LIMIT", "SimulationConfig"]

MESSAGE_LIMIT = 256 * 1024
"""The message limit of a simulated client in bytes."""
EVENTS_LIMIT = 100_000
"""The limit of waiting events of a simulated client in bytes."""
SEED = integer(-(2**63), 2**64 - 1)
"""Check of a seed."""
MANY = integer(1, 1000)
"""Check of a number of clients, servers, machines or shards: each takes memory and time."""


def as_kinds(kinds: Iterable[str]) -> frozenset[str]:
    """Return kinds of faults, or one, as a set; `check_kinds` rejects anything else."""
    names: Any = as_words(kinds)
    is_text = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
    return frozenset(names) if is_text else names


def check_kinds(owner: Any, kinds: Any, known: Mapping[str, str]) -> None:
    """Raise `LocalProtocolError` unless all are known kinds of faults."""
    if not isinstance(kinds, frozenset):
        name = f"{type(owner).__name__}.excluded_faults"
        raise rejected(name, kinds, "kinds of faults, such as ('cut',)")
    unknown = sorted(kinds - known.keys())
    if unknown:
        raise LocalProtocolError(
            f"unknown fault kind {shown(unknown[0])}: expected one of {', '.join(known)}"
        )


@attrs.frozen(kw_only=True)
class SimulationConfig:
    """Configuration of a simulation. Times are in seconds unless stated otherwise."""

    clients: int = 3
    servers: int = 2
    version: int = 10
    encoding: Encoding = Encoding.JSON
    compression: Compression = Compression.NONE
    sharded: bool = False
    """Whether the clients are the shards of one bot and share identify slots."""
    max_concurrency: int = 1
    """The number of shards that may identify at once."""
    heartbeat_interval: int = 41250
    """Milliseconds."""
    latency: float = 0.05
    """The minimum latency one way."""
    dispatch_interval: float | None = 120.0
    """The mean time between two numbered dispatches to a session. None means no dispatches."""
    fault_interval: float | None = 900.0
    """The mean time between two faults of one client. None means no faults."""
    excluded_faults: frozenset[str] = attrs.field(default=frozenset(), converter=as_kinds)
    """Kinds of faults that are left out, see `FAULT_KINDS`."""
    fault_phase: float = 4 * 3600.0
    """The length of a fault phase."""
    recovery_phase: float = 3000.0
    """The length of a recovery phase. At its end each client is READY or has given up."""
    queue_limit: int = 40
    """The number of waiting events at which a client pauses reading."""
    identify_budget: int = 900
    """The maximum number of Identifies of a client in 24 hours."""

    _CHECKS: ClassVar[Checks] = {
        "clients": MANY,
        "servers": MANY,
        "version": Check(
            lambda value: integer(0).allows(value) and value in VERSIONS,
            f"one of {', '.join(map(str, VERSIONS))}",
        ),
        "encoding": member_of(Encoding),
        "compression": member_of(Compression),
        "sharded": BOOL,
        "max_concurrency": POSITIVE,
        "heartbeat_interval": integer(1, 2**31 - 1),
        "latency": SECONDS,
        "dispatch_interval": optional(DURATION),
        "fault_interval": optional(DURATION),
        "fault_phase": DURATION,
        "recovery_phase": DURATION,
        "queue_limit": POSITIVE,
        "identify_budget": COUNT,
    }

    def __attrs_post_init__(self) -> None:
        check_fields(self, self._CHECKS)
        check_kinds(self, self.excluded_faults, FAULT_KINDS)

    @classmethod
    def for_seed(cls, seed: int, *, excluded_faults: Iterable[str] = ()) -> SimulationConfig:
        """Return the configuration for a seed; all versions and encodings have their seeds."""
        SEED.named("seed", seed)
        rng = SeededRandom(f"setting {seed}")
        version = rng.choice((3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10, 10))
        known = VERSIONS[version]
        encoding = rng.choice((Encoding.JSON, Encoding.JSON, Encoding.ETF))
        if not etf.available():
            encoding = Encoding.JSON
        compressions = sorted(known.compressions, key=lambda compression: compression.value)
        compression = rng.choice(compressions)
        if (encoding is Encoding.ETF and compression is Compression.PAYLOAD) or (
            compression is Compression.ZSTD_STREAM and not has_zstd()
        ):
            compression = Compression.NONE
        return cls(
            clients=1 + rng.randrange(4),
            servers=1 + rng.randrange(3),
            version=version,
            encoding=encoding,
            compression=compression,
            sharded=rng.happens(0.5) and known.shards and known.sends_hello,
            max_concurrency=1 + rng.randrange(2),
            heartbeat_interval=rng.choice((30000, 41250, 41250, 45000)),
            latency=rng.choice((0.002, 0.02, 0.08, 0.25)),
            dispatch_interval=rng.choice((30.0, 300.0, 900.0)),
            fault_interval=rng.choice((150.0, 900.0, 1800.0, 3600.0)),
            excluded_faults=as_kinds(excluded_faults),
            identify_budget=rng.choice((20, 900, 900, 900)),
        )
