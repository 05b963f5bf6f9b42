"""The configuration of a simulated fleet, which a seed determines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import attrs

from gateway_proto._checks import (
    COUNT,
    DURATION,
    POSITIVE,
    SECONDS,
    Check,
    Checks,
    check_fields,
    integer,
    number,
    optional,
)
from gateway_proto.testing.simulation.config import (
    MANY,
    SEED,
    SimulationConfig,
    as_kinds,
    check_kinds,
)
from gateway_proto.testing.simulation.fleet.fault_kinds import FLEET_FAULT_KINDS
from gateway_proto.testing.simulation.rng import SeededRandom

__all__ = ["FleetSimulationConfig"]


@attrs.frozen(kw_only=True)
class FleetSimulationConfig:
    """Configuration of a simulated fleet. Times are in seconds unless stated otherwise."""

    machines: int = 3
    shards: int = 6
    consumers: int = 2
    """The number of consumers of the feed, which form one group."""
    handling: float = 0.01
    """The mean time in which a consumer handles an event."""
    max_concurrency: int = 1
    """The number of shards that may identify at once."""
    ttl: float = 3.0
    """The time after which a member whose heartbeats stopped counts as dead."""
    interval: float = 0.5
    """The time between two heartbeats of a member."""
    look_interval: float = 2.0
    """The time between two looks at the generations, while no change is under way."""
    max_moves: int = 4
    """The number of shards that a member releases at once."""
    heartbeat_interval: int = 10_000
    """Milliseconds between two heartbeats of a connection to the gateway."""
    latency: float = 0.02
    """The minimum latency to the gateway one way."""
    store_latency: float = 0.001
    """The minimum latency to the store one way."""
    loss: float = 0.002
    """The probability that a request to the store is lost, and that its answer is."""
    dispatch_interval: float = 0.5
    """The mean time between two dispatches to a session."""
    fault_interval: float | None = 3.0
    """The mean time between two faults. None means no faults."""
    excluded_faults: frozenset[str] = attrs.field(default=frozenset(), converter=as_kinds)
    """Kinds of faults that are left out, see `FLEET_FAULT_KINDS`."""
    fault_phase: float = 140.0
    """The length of a fault phase."""
    recovery_phase: float = 90.0
    """The length of a recovery phase. After it each shard is READY at one machine."""
    settle: float = 75.0
    """The part of a recovery phase after which no shard moves."""
    identify_budget: int = 1000
    """The number of Identifies in 24 hours that the lookup reports."""
    identify_reserve: int = 100
    """Of 1000 Identifies of the budget, the number that the fleet leaves to others."""

    _CHECKS: ClassVar[Checks] = {
        "machines": MANY,
        "shards": MANY,
        "consumers": integer(0, 1000),
        "handling": SECONDS,
        "max_concurrency": POSITIVE,
        "ttl": DURATION,
        "interval": DURATION,
        "look_interval": DURATION,
        "max_moves": POSITIVE,
        "heartbeat_interval": integer(1, 2**31 - 1),
        "latency": SECONDS,
        "store_latency": SECONDS,
        "loss": Check(number(0, 1, "").allows, "a probability from 0 to 1"),
        "dispatch_interval": DURATION,
        "fault_interval": optional(DURATION),
        "fault_phase": DURATION,
        "recovery_phase": DURATION,
        "settle": SECONDS,
        "identify_budget": COUNT,
        "identify_reserve": COUNT,
    }

    def __attrs_post_init__(self) -> None:
        check_fields(self, self._CHECKS)
        check_kinds(self, self.excluded_faults, FLEET_FAULT_KINDS)

    @property
    def cycle(self) -> float:
        """The length of a fault phase and the recovery phase after it."""
        return self.fault_phase + self.recovery_phase

    def servers(self) -> SimulationConfig:
        """Return the configuration of the gateway's servers and network."""
        return SimulationConfig(
            clients=self.shards,
            servers=1,
            sharded=True,
            max_concurrency=self.max_concurrency,
            heartbeat_interval=self.heartbeat_interval,
            latency=self.latency,
        )

    @classmethod
    def for_seed(cls, seed: int, *, excluded_faults: Iterable[str] = ()) -> FleetSimulationConfig:
        """Return the configuration for a seed."""
        SEED.named("seed", seed)
        rng = SeededRandom(f"fleet setting {seed}")
        ttl, interval = rng.choice(((3.0, 0.5), (3.0, 1.0), (6.0, 2.0), (10.0, 2.0)))
        config = cls(
            machines=2 + rng.randrange(3),
            shards=2 + rng.randrange(5),
            max_concurrency=1 + rng.randrange(2),
            ttl=ttl,
            interval=interval,
            max_moves=rng.choice((1, 4, 4)),
            latency=rng.choice((0.002, 0.02, 0.08)),
            store_latency=rng.choice((0.0005, 0.001, 0.01)),
            loss=rng.choice((0.0, 0.002, 0.02)),
            dispatch_interval=rng.choice((0.4, 1.0, 3.0)),
            fault_interval=rng.choice((2.0, 3.0, 6.0)),
            excluded_faults=as_kinds(excluded_faults),
            identify_budget=rng.choice((40, 1000, 1000, 1000)),
            # One would be too slow: an acknowledgement takes 60 ms on average if the store is slow.
            consumers=2 + rng.randrange(2),
            handling=rng.choice((0.001, 0.01)),
        )
        # Two of them need the whole recovery phase for what waits after a change, or more.
        is_busy = config.store_latency >= 0.01 and config.dispatch_interval < 1.0
        return attrs.evolve(config, consumers=4) if is_busy else config
