"""The simulation of clients, servers and faults from one seed, with checked invariants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import attrs

from gateway_proto._checks import CALLBACK, SECONDS, instance_of, optional
from gateway_proto.config import Config
from gateway_proto.events import Event
from gateway_proto.testing.simulation.chaos import ChaosController
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.config import (
    EVENTS_LIMIT,
    MESSAGE_LIMIT,
    SEED,
    SimulationConfig,
)
from gateway_proto.testing.simulation.fault_kinds import FAULT_KINDS
from gateway_proto.testing.simulation.history import History
from gateway_proto.testing.simulation.identify_service import IdentifyService
from gateway_proto.testing.simulation.invariants import INVARIANTS
from gateway_proto.testing.simulation.network import API, Network
from gateway_proto.testing.simulation.observer import InvariantViolation
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.versions import VERSIONS

__all__ = ["Report", "Simulation"]

_CONFIG = optional(instance_of(SimulationConfig, "a SimulationConfig"))
_CLIENT_CONFIG = optional(instance_of(Config, "a Config"))
_HANDLE = optional(CALLBACK)

_QUIET = 120.0
"""Seconds without dispatches at the end of a recovery phase, so that all can be handled."""
_YEAR = 365 * 86400.0


@attrs.frozen(kw_only=True)
class Report:
    """The result of a simulation."""

    seed: int
    seconds: float
    """Simulated time, summed over all clients."""
    digest: str
    """The digest of the history: equal for equal histories."""
    events: int
    """The number of events that clients received."""
    fault_counts: Counter[str] = attrs.field(hash=False)
    """The number of faults of each kind."""

    @property
    def years(self) -> float:
        """`seconds` in years of 365 days."""
        return self.seconds / _YEAR


class Simulation:
    """Clients, servers, the network between them and their faults, from one seed.

    Fault phases and recovery phases alternate. `run` raises `InvariantViolation` as soon as an
    invariant does not hold. `handle` is called with the `ClientProcess` and the event for each
    event that an application takes; it may call `bot.send`. `client_config` is the
    clients' configuration; its token, shard, URLs and random source are replaced.
    """

    fault_kinds: ClassVar[Mapping[str, str]] = FAULT_KINDS
    """The description of each kind of fault, by name."""

    def __init__(
        self,
        seed: int,
        config: SimulationConfig | None = None,
        *,
        client_config: Config | None = None,
        handle: Callable[[ClientProcess, Event], None] | None = None,
    ) -> None:
        SEED.named("seed", seed)
        _CONFIG.named("config", config)
        _CLIENT_CONFIG.named("client_config", client_config)
        _HANDLE.named("handle", handle)
        self.seed: int = seed
        self.config: SimulationConfig = (
            SimulationConfig.for_seed(seed) if config is None else config
        )
        own = config is not None or client_config is not None or handle is not None
        rng = SeededRandom(seed)
        self._scheduler = scheduler = Scheduler()
        self.observer: History = History(scheduler, seed, _replay(seed, self.config, own=own))
        self.network: Network = Network(scheduler, rng.child("network"), self.config, self.observer)
        self.chaos: ChaosController = ChaosController(
            scheduler, rng.child("weather"), self.config, self.network
        )
        self.observer.begin([kind(self.observer, self.network, self.config) for kind in INVARIANTS])
        self._random = rng
        config = self.config
        identify_service = None
        if config.sharded:
            identify_service = IdentifyService(scheduler, max_concurrency=config.max_concurrency)
        self.clients: tuple[ClientProcess, ...] = tuple(
            ClientProcess(
                number,
                _config(config, number, rng.child(f"client {number}"), client_config),
                scheduler=scheduler,
                dial=self.network.dial,
                observer=self.observer,
                random=rng.child(f"process {number}"),
                identify_service=identify_service,
                queue_limit=config.queue_limit,
                handle=handle,
            )
            for number in range(config.clients)
        )
        """The clients, each in its own process."""
        self._quiet = False
        self._is_recovery = False
        for bot in self.clients:
            scheduler.at(0.0, bot.start)
            self._schedule_fault(bot, rng.child(f"trouble {bot.number}"))
        for number in range(config.servers):
            self._schedule_dispatch(number, rng.child(f"dispatches {number}"))
        if config.fault_interval is not None:
            scheduler.at(config.fault_phase, self._begin_recovery)

    @classmethod
    def for_seed(cls, seed: int, *, excluded_faults: Iterable[str] = ()) -> Simulation:
        """Return the simulation for a seed, without the excluded kinds of faults."""
        config = SimulationConfig.for_seed(seed, excluded_faults=excluded_faults)
        simulation = cls(seed, config)
        simulation.observer.replay = _replay(seed, config, own=False)
        return simulation

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self._scheduler.now

    @property
    def fault_counts(self) -> Counter[str]:
        """The number of faults of each kind so far."""
        return self.chaos.counts

    @property
    def report(self) -> Report:
        """The result so far."""
        return Report(
            seed=self.seed,
            seconds=self.now * len(self.clients),
            digest=self.observer.digest,
            events=self.observer.events,
            fault_counts=Counter(self.fault_counts),
        )

    def run(self, seconds: float) -> Report:
        """Advance the time. Raises `InvariantViolation` if an invariant does not hold."""
        SECONDS.named("seconds", seconds)
        try:
            self._scheduler.run(self.now + seconds)
        except InvariantViolation:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise self.observer.broken("OnlyLocalProtocolError", what, None) from error
        return self.report

    # ----- fault phases and recovery phases -----

    def _schedule_fault(self, bot: ClientProcess, rng: SeededRandom) -> None:
        every = self.config.fault_interval
        if every is None:
            return

        def inject() -> None:
            if not self._is_recovery:
                self.chaos.inject(bot)
            self._scheduler.after(rng.uniform(0.0, 2 * every), inject)

        self._scheduler.after(rng.uniform(0.0, 2 * every), inject)

    def _schedule_dispatch(self, number: int, rng: SeededRandom) -> None:
        every = self.config.dispatch_interval
        if every is None:
            return

        def tick() -> None:
            if not self._quiet:
                self.network.servers[number].tick()
            self._scheduler.after(rng.uniform(0.0, 2 * every), tick)

        self._scheduler.after(rng.uniform(0.0, 2 * every), tick)

    def _begin_recovery(self) -> None:
        """Begin a recovery phase: no faults, and fast applications."""
        self._is_recovery = True
        self.network.recover()
        for bot in self.clients:
            bot.slowness = 0.0
            bot.start()
        self._scheduler.after(self.config.recovery_phase - _QUIET, self._stop_dispatches)
        self._scheduler.after(self.config.recovery_phase, self._end_recovery)

    def _stop_dispatches(self) -> None:
        self._quiet = True

    def _end_recovery(self) -> None:
        """Check that each client is READY or has given up, and begin a fault phase."""
        for bot in self.clients:
            self.observer.recovery_ended(bot)
        self._is_recovery = self._quiet = False
        self._scheduler.after(self.config.fault_phase, self._begin_recovery)


def _replay(seed: int, config: SimulationConfig, *, own: bool) -> str:
    if own:
        return f"the same Simulation with the seed {seed}"
    without = (
        f" --without {','.join(sorted(config.excluded_faults))}" if config.excluded_faults else ""
    )
    return f"gateway-proto simulate --seed {seed}{without}"


def _config(
    config: SimulationConfig, number: int, rng: SeededRandom, client_config: Config | None
) -> Config:
    """Return the configuration of a client."""
    version = VERSIONS[config.version]
    own: dict[str, Any] = {
        "token": f"secret-of-{0 if config.sharded else number}-that-nobody-may-see",
        "api_url": f"https://{API}/api",
        "gateway_url": None,
        "shard": (number, config.clients) if config.sharded else None,
        "wait_for_identify_slot": config.sharded,
        "max_concurrency": config.max_concurrency,
        "random": rng.random,
        "unix_offset": 0.0,
        "version": version,
        "encoding": config.encoding,
        "compression": config.compression,
        "identify_budget": config.identify_budget,
        "message_limit": MESSAGE_LIMIT,
        "events_limit": EVENTS_LIMIT,
    }
    if client_config is None:
        return Config(intents=0 if version.intents_required else None, **own)
    return attrs.evolve(client_config, **own)
