"""The simulation of clients, servers and faults from one seed, with checked invariants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from gateway_proto.config import Config
from gateway_proto.dialects import DIALECTS
from gateway_proto.events import Event
from gateway_proto.testing.agenda import Agenda
from gateway_proto.testing.bot import Bot
from gateway_proto.testing.chance import Chance
from gateway_proto.testing.history import History
from gateway_proto.testing.invariants import INVARIANTS
from gateway_proto.testing.network import API, Network
from gateway_proto.testing.setting import EVENTS_LIMIT, MESSAGE_LIMIT, Setting
from gateway_proto.testing.turns import IdentifyTurns
from gateway_proto.testing.watch import InvariantBroken
from gateway_proto.testing.weather import Weather

__all__ = ["Report", "Simulation"]

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
    troubles: Counter[str] = attrs.field(hash=False)
    """The number of faults of each kind."""

    @property
    def years(self) -> float:
        """`seconds` in years of 365 days."""
        return self.seconds / _YEAR


class Simulation:
    """Clients, servers, the network between them and their faults, from one seed.

    Fault phases and recovery phases alternate. `run` raises `InvariantBroken` as soon as an
    invariant does not hold. `handle` is called with the `Bot` and the event for each event that an
    application takes; it may call `bot.send`. `config` is the clients' configuration; its token,
    shard, URLs and random source are replaced.
    """

    def __init__(
        self,
        seed: int,
        setting: Setting | None = None,
        *,
        config: Config | None = None,
        handle: Callable[[Bot, Event], None] | None = None,
    ) -> None:
        self.seed: int = seed
        self.setting: Setting = Setting.of(seed) if setting is None else setting
        own = setting is not None or config is not None or handle is not None
        chance = Chance(seed)
        self._agenda = agenda = Agenda()
        self.watch: History = History(agenda, seed, _replay(seed, self.setting, own=own))
        self.network: Network = Network(agenda, chance.child("network"), self.setting, self.watch)
        self.weather: Weather = Weather(agenda, chance.child("weather"), self.setting, self.network)
        self.watch.begin([kind(self.watch, self.network, self.setting) for kind in INVARIANTS])
        self._chance = chance
        setting = self.setting
        turns = None
        if setting.sharded:
            turns = IdentifyTurns(agenda, max_concurrency=setting.max_concurrency)
        self.bots: tuple[Bot, ...] = tuple(
            Bot(
                number,
                _config(setting, number, chance.child(f"client {number}"), config),
                agenda=agenda,
                dial=self.network.dial,
                watch=self.watch,
                chance=chance.child(f"process {number}"),
                turns=turns,
                queue_limit=setting.queue_limit,
                handle=handle,
            )
            for number in range(setting.clients)
        )
        """The clients, each in its own process."""
        self._quiet = False
        self._calm = False
        for bot in self.bots:
            agenda.at(0.0, bot.start)
            self._plan_trouble(bot, chance.child(f"trouble {bot.number}"))
        for number in range(setting.servers):
            self._plan_dispatch(number, chance.child(f"dispatches {number}"))
        if setting.trouble_every is not None:
            agenda.at(setting.storm, self._begin_recovery)

    @classmethod
    def of(cls, seed: int, *, without: Iterable[str] = ()) -> Simulation:
        """Return the simulation for a seed, without some kinds of faults."""
        setting = Setting.of(seed, without=without)
        simulation = cls(seed, setting)
        simulation.watch.replay = _replay(seed, setting, own=False)
        return simulation

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self._agenda.now

    @property
    def troubles(self) -> Counter[str]:
        """The number of faults of each kind so far."""
        return self.weather.counts

    @property
    def report(self) -> Report:
        """The result so far."""
        return Report(
            seed=self.seed,
            seconds=self.now * len(self.bots),
            digest=self.watch.digest,
            events=self.watch.events,
            troubles=Counter(self.troubles),
        )

    def run(self, seconds: float) -> Report:
        """Advance the time. Raises `InvariantBroken` if an invariant does not hold."""
        try:
            self._agenda.run(self.now + seconds)
        except InvariantBroken:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise self.watch.broken("OnlyLocalProtocolError", what, None) from error
        return self.report

    # ----- fault phases and recovery phases -----

    def _plan_trouble(self, bot: Bot, chance: Chance) -> None:
        every = self.setting.trouble_every
        if every is None:
            return

        def strike() -> None:
            if not self._calm:
                self.weather.strike(bot)
            self._agenda.after(chance.between(0.0, 2 * every), strike)

        self._agenda.after(chance.between(0.0, 2 * every), strike)

    def _plan_dispatch(self, number: int, chance: Chance) -> None:
        every = self.setting.dispatch_every
        if every is None:
            return

        def tick() -> None:
            if not self._quiet:
                self.network.providers[number].tick()
            self._agenda.after(chance.between(0.0, 2 * every), tick)

        self._agenda.after(chance.between(0.0, 2 * every), tick)

    def _begin_recovery(self) -> None:
        """Begin a recovery phase: no faults, and fast applications."""
        self._calm = True
        self.network.recover()
        for bot in self.bots:
            bot.slowness = 0.0
            bot.start()
        self._agenda.after(self.setting.calm - _QUIET, self._stop_dispatches)
        self._agenda.after(self.setting.calm, self._end_recovery)

    def _stop_dispatches(self) -> None:
        self._quiet = True

    def _end_recovery(self) -> None:
        """Check that each client is READY or has given up, and begin a fault phase."""
        for bot in self.bots:
            self.watch.rested(bot)
        self._calm = self._quiet = False
        self._agenda.after(self.setting.storm, self._begin_recovery)


def _replay(seed: int, setting: Setting, *, own: bool) -> str:
    if own:
        return f"the same Simulation with the seed {seed}"
    without = f" --without {','.join(sorted(setting.without))}" if setting.without else ""
    return f"gateway-proto simulate --seed {seed}{without}"


def _config(setting: Setting, number: int, chance: Chance, config: Config | None) -> Config:
    """Return the configuration of a client."""
    dialect = DIALECTS[setting.version]
    own: dict[str, Any] = {
        "token": f"secret-of-{0 if setting.sharded else number}-that-nobody-may-see",
        "api_url": f"https://{API}/api",
        "gateway_url": None,
        "shard": (number, setting.clients) if setting.sharded else None,
        "ask_to_identify": setting.sharded,
        "max_concurrency": setting.max_concurrency,
        "random": chance.random,
        "unix_offset": 0.0,
        "dialect": dialect,
        "encoding": setting.encoding,
        "compression": setting.compression,
        "identify_budget": setting.identify_budget,
        "message_limit": MESSAGE_LIMIT,
        "events_limit": EVENTS_LIMIT,
    }
    if config is None:
        return Config(intents=0 if dialect.intents_required else None, **own)
    return attrs.evolve(config, **own)
