"""A machine of a simulated fleet: its processes, one after the other, and their shards."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway_proto.fleet import Generation, GenerationRole, Generations
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.generation_keeper import GenerationKeeper
from gateway_proto.testing.simulation.fleet.generation_member import GenerationMember
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.host import Host
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner
from gateway_proto.testing.simulation.fleet.store import SimulatedStore, StoreClient
from gateway_proto.testing.simulation.network import Network
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["Machine", "MachineProcess"]

_RETRY_SECONDS = 0.2


class MachineProcess(SimulatedProcess):
    """One process of a fleet: a member of each generation that runs."""

    # Declared again, since pyright infers the types of attributes that a subclass assigns.
    alive: bool
    clock_lag: float
    frozen: bool

    def __init__(
        self,
        machine: Machine,
        member: str,
        *,
        scheduler: Scheduler,
        config: FleetSimulationConfig,
        network: Network,
        store: SimulatedStore,
        observer: FleetHistory,
        random: SeededRandom,
    ) -> None:
        super().__init__(scheduler)
        self.alive = True
        self.member: str = member
        """The name, which no other run has."""
        self.is_draining: bool = False
        """Whether it gives its shards away and ends."""
        self.thawed_at: float = -math.inf
        """Last time at which it ran again."""
        self.keeper: GenerationKeeper | None = None
        """The generations that it runs, once it has read them from the store."""
        self._machine = machine
        self._config = config
        self._network = network
        self._store = store
        self._observer = observer
        self._random = random
        self._frozen_at = -1.0
        self._clock_stands = False
        self._bot = StoreClient(store, machine.number, self)
        observer.started(self)
        self._agree()

    @property
    def members(self) -> list[GenerationMember]:
        """The members of all generations that it runs."""
        return [] if self.keeper is None else self.keeper.members

    @property
    def owners(self) -> list[ShardOwner]:
        """The owners of all shards."""
        return [owner for member in self.members for owner in member.owners.values()]

    # ----- generations -----

    def _agree(self) -> None:
        """Read the generations, or begin the first one."""

        def answered(answer: tuple[bytes | None, int]) -> None:
            value, revision = answer
            if value is None:
                first = Generations.begun("g1", self._config.shards)
                self._bot.write_generations(first.to_bytes(), revision, answered, again)
                return
            self.keeper = GenerationKeeper(
                self,
                self._bot,
                self._open,
                self._failed,
                self.member_left,
                known=Generations.from_bytes(value),
                interval=self._config.look_interval,
            )
            if self.is_draining:
                self.keeper.drain()

        def again() -> None:
            self.after(_RETRY_SECONDS, self._agree)

        self._bot.read_generations(answered, again)

    def _open(self, generation: Generation, role: GenerationRole) -> GenerationMember:
        self._observer.machine(self, f"runs {generation.id}, {role.value}")
        return GenerationMember(
            self,
            self,
            self.member,
            generation,
            role,
            config=self._config,
            network=self._network,
            store=StoreClient(self._store, self._machine.number, self, generation.id),
            bot=self._bot,
            observer=self._observer,
            random=self._random,
        )

    def _failed(self, why: str) -> None:
        """End: the others run another generation."""
        self._observer.machine(self, why)
        self._machine.drained()

    def look(self, then: Callable[[], None]) -> None:
        """Read the generations, and do what they ask for before a function is called."""
        assert self.keeper is not None
        self.keeper.look(then)

    def member_left(self) -> None:
        """End once all shards are given away."""
        if all(member.membership.has_left for member in self.members):
            self._machine.drained()

    # ----- faults -----

    def drain(self) -> None:
        """Give all shards away, and end."""
        self.is_draining = True
        if self.keeper is not None:
            self.keeper.drain()

    def crash(self, *, silent: bool) -> None:
        """End at once. `silent` means that no connection is closed, as when the power fails."""
        self.alive = False
        for owner in self.owners:
            owner.crash(silent=silent)

    def freeze(self, seconds: float, *, clock_stands: bool) -> None:
        """Freeze for some seconds. In system suspend the monotonic clock stands still too."""
        self.frozen = True
        self._frozen_at = began = self.scheduler.now
        self._clock_stands = clock_stands
        for owner in self.owners:
            if owner.end is not None:
                owner.end.reading = False

        def thaw() -> None:
            if self._frozen_at == began:
                self.thaw()

        self.scheduler.after(seconds, thaw)

    def thaw(self) -> None:
        """Run again. Calls that were due are made first or last: systems promise no order."""
        if not self.frozen or not self.alive:
            return
        self.frozen = False
        self.thawed_at = self.scheduler.now
        if self._clock_stands:
            self.clock_lag += self.scheduler.now - self._frozen_at
        self._observer.machine(self, "runs again")
        calls_first = self._random.happens(0.5)
        if calls_first:
            self.run_deferred()
        for owner in self.owners:
            if owner.end is not None:
                owner.end.thaw()
        if not calls_first:
            self.run_deferred()


class Machine(Host[MachineProcess]):
    """A machine of the fleet."""

    def __init__(
        self,
        number: int,
        *,
        scheduler: Scheduler,
        config: FleetSimulationConfig,
        network: Network,
        store: SimulatedStore,
        observer: FleetHistory,
        random: SeededRandom,
    ) -> None:
        def run(member: str, random: SeededRandom) -> MachineProcess:
            return MachineProcess(
                self,
                member,
                scheduler=scheduler,
                config=config,
                network=network,
                store=store,
                observer=observer,
                random=random,
            )

        super().__init__(f"m{number}", run, scheduler=scheduler, random=random)
        self.number: int = number
        """The machine's number, from 0."""
        self._observer = observer

    def crash(self, *, silent: bool, seconds: float) -> None:
        """End the process at once, and start another after some seconds."""
        process = self.end(seconds)
        self._observer.machine(process, "crashes")
        process.crash(silent=silent)

    def drained(self) -> None:
        """End the process, which has no shards left, and start another soon."""
        process = self.end()
        self._observer.machine(process, "is drained")
        process.crash(silent=False)
