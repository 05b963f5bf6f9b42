"""A machine of a simulated fleet: its processes, one after the other, and their shards."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.fleet import (
    GatewaySettings,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
)
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.host import Host
from gateway_proto.testing.simulation.fleet.membership_driver import MembershipDriver
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner, client_config
from gateway_proto.testing.simulation.fleet.slots import SlotsDriver
from gateway_proto.testing.simulation.fleet.store import SimulatedStore, StoreClient
from gateway_proto.testing.simulation.network import Network
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["Machine", "MachineProcess"]

_SETTINGS = GatewaySettings(10)
"""Settings by which the members of the fleet send each other notices."""


class MachineProcess(SimulatedProcess):
    """One process of a fleet: a member, and an owner for each of its shards."""

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
        """The member's name, which no other run has."""
        self.store: StoreClient = StoreClient(store, machine.number, self)
        self.owners: dict[int, ShardOwner] = {}
        """The owners by shard."""
        self.is_draining: bool = False
        """Whether it gives its shards away and ends."""
        self._machine = machine
        self._config = config
        self._network = network
        self._observer = observer
        self._random = random
        self._frozen_at = -1.0
        self._clock_stands = False
        observer.started(self)
        self.membership: Membership = Membership(
            member,
            config.shards,
            ttl=config.ttl,
            interval=config.interval,
            max_moves=config.max_moves,
            gateway=_SETTINGS,
            now=self.clock(),
        )
        self.slots: SlotsDriver = SlotsDriver(
            self, member, self.store, config, lambda: observer.identifies
        )
        self._driver = MembershipDriver(self, member, self.membership, self.store, self)
        self.store.watch(member, self._driver.notified)
        self._driver.step()

    # ----- membership -----

    def heartbeat_sent(self, number: int) -> None:
        """Record a heartbeat."""
        self._observer.heartbeat_sent(self, number)

    def heartbeat_answered(self, number: int) -> None:
        """Record an answer."""
        self._observer.heartbeat_answered(self, number)

    def lease_renewed(self) -> None:
        """Dial where an owner waits for it."""
        for owner in list(self.owners.values()):
            owner.lease_renewed()

    def has_left(self) -> None:
        """End: all shards are given away."""
        self._machine.drained()

    def notify(self, member: str) -> None:
        """Send a notice by the store."""
        self.store.notify(member)

    def membership_event(self, event: MembershipEvent) -> None:
        """Own a shard, or give it up."""
        match event:
            case ShardAcquired(shard, head):
                self._observer.machine(self, f"acquires shard {shard} at {head.position}")
                self.owners[shard] = ShardOwner(
                    self,
                    shard,
                    head,
                    client_config(
                        shard,
                        self._config.shards,
                        self._network.servers[0].gateway_hosts[0],
                        self._random.random,
                    ),
                    network=self._network,
                    observer=self._observer,
                    random=self._random,
                )
            case ShardLost(shard, claim, reason):
                self._observer.machine(self, f"loses shard {shard}: {reason}")
                owner = self._owner_of(shard, claim)
                if owner is not None:
                    del self.owners[shard]
                    owner.end_now()
            case ReleaseRequested(shard, claim, to):
                self._observer.machine(self, f"releases shard {shard} for {to}")
                owner = self._owner_of(shard, claim)
                if owner is not None:
                    owner.release()
            case _:
                self._observer.machine(self, f"{type(event).__name__} {event.member}")

    def _owner_of(self, shard: int, claim: str) -> ShardOwner | None:
        owner = self.owners.get(shard)
        return owner if owner is not None and owner.claim == claim else None

    # ----- for owners -----

    def may_dial(self, since: float) -> bool:
        """Whether a heartbeat sent after a time was answered. If not, send the next one soon."""
        if self.membership.may_dial(since=since):
            return True
        self.membership.hurry(now=self.clock())
        self._driver.step()
        return False

    def join_slots(self, shard: int, grant: Callable[[float], bool]) -> None:
        """Ask for an identify slot."""
        self.slots.join(shard, grant)

    def leave_slots(self, shard: int) -> None:
        """Withdraw the request for an identify slot."""
        self.slots.leave(shard)

    def owner_released(self, owner: ShardOwner) -> None:
        """Report to the membership that a shard is released."""
        self._remove(owner)
        self.membership.released(owner.shard, owner.claim, now=self.clock())
        self._driver.step()

    def owner_fenced(self, owner: ShardOwner) -> None:
        """Report to the membership that a shard is fenced."""
        self._remove(owner)
        self.membership.fenced(owner.shard, owner.claim, now=self.clock())
        self._driver.step()

    def _remove(self, owner: ShardOwner) -> None:
        if self.owners.get(owner.shard) is owner:
            del self.owners[owner.shard]

    # ----- faults -----

    def drain(self) -> None:
        """Give all shards away, and end."""
        self.is_draining = True
        self.membership.drain(now=self.clock())
        self._driver.step()

    def crash(self, *, silent: bool) -> None:
        """End at once. `silent` means that no connection is closed, as when the power fails."""
        self.alive = False
        for owner in list(self.owners.values()):
            owner.crash(silent=silent)

    def freeze(self, seconds: float, *, clock_stands: bool) -> None:
        """Freeze for some seconds. In system suspend the monotonic clock stands still too."""
        self.frozen = True
        self._frozen_at = began = self.scheduler.now
        self._clock_stands = clock_stands
        for owner in self.owners.values():
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
        if self._clock_stands:
            self.clock_lag += self.scheduler.now - self._frozen_at
        self._observer.machine(self, "runs again")
        calls_first = self._random.happens(0.5)
        if calls_first:
            self.run_deferred()
        for owner in list(self.owners.values()):
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
