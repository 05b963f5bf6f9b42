"""The shards of one generation at one process: a membership, and an owner for each shard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway_proto.fleet import (
    GatewaySettings,
    Generation,
    GenerationRole,
    LogHead,
    Membership,
    MembershipEvent,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
    Stage,
)
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.membership_driver import MembershipDriver
from gateway_proto.testing.simulation.fleet.observer import LogId
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner, client_config
from gateway_proto.testing.simulation.fleet.slots import SlotsDriver
from gateway_proto.testing.simulation.fleet.store import StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

if TYPE_CHECKING:
    from gateway_proto.testing.simulation.network import Network

__all__ = ["GenerationMember", "MemberProcess"]

_SETTINGS = GatewaySettings(10)
"""Settings by which the members of the fleet send each other notices."""


class MemberProcess(Protocol):
    """The process of a member, as the member uses it."""

    thawed_at: float

    def look(self, then: Callable[[], None]) -> None:
        """Read the generations, and do what they ask for before a function is called."""
        ...

    def member_left(self) -> None:
        """Note that a member has given all of its shards away."""
        ...


class GenerationMember:
    """The shards of one generation at one process.

    `store` is the part of the generation, and `bot` that of all generations.
    """

    def __init__(
        self,
        keeper: MemberProcess,
        process: SimulatedProcess,
        name: str,
        generation: Generation,
        role: GenerationRole,
        *,
        config: FleetSimulationConfig,
        network: Network,
        store: StoreClient,
        bot: StoreClient,
        observer: FleetHistory,
        random: SeededRandom,
    ) -> None:
        self.member: str = f"{name}.{generation.id}"
        """The member's name, which no other run and no other generation has."""
        self.generation: Generation = generation
        self.role: GenerationRole = role
        """Use that it makes of the events of its shards."""
        self.store: StoreClient = store
        self.owners: dict[int, ShardOwner] = {}
        """The owners by shard."""
        self.is_over: bool = False
        """Whether the generation is over, or was cancelled."""
        self._keeper = keeper
        self._process = process
        self._network = network
        self._observer = observer
        self._random = random
        self._released: set[str] = set()
        """Claims that are released before their owner begins."""
        self.membership: Membership = Membership(
            self.member,
            generation.count,
            ttl=config.ttl,
            interval=config.interval,
            max_moves=config.max_moves,
            gateway=_SETTINGS,
            now=process.clock(),
        )
        self.slots: SlotsDriver = SlotsDriver(
            process, self.member, bot, config, lambda: observer.identifies
        )
        self._driver = MembershipDriver(process, self.member, self.membership, store, self)
        store.watch(self.member, self._driver.notified)
        self._driver.step()

    def __repr__(self) -> str:
        """Return the repr: the name and the role."""
        return f"<{self.member}, {self.role.value}>"

    # ----- the process, for owners -----

    @property
    def scheduler(self) -> Scheduler:
        """The clock of the simulation."""
        return self._process.scheduler

    @property
    def frozen(self) -> bool:
        """Whether the process is frozen."""
        return self._process.frozen

    @property
    def clock_lag(self) -> float:
        """Seconds for which the process's monotonic clock stood still."""
        return self._process.clock_lag

    @property
    def thawed_at(self) -> float:
        """Last time at which the process ran again, or minus infinity."""
        return self._keeper.thawed_at

    def clock(self) -> float:
        """Return the process's monotonic time in seconds."""
        return self._process.clock()

    def unix(self) -> float:
        """Return the unix time of its system."""
        return self._process.unix()

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Call a function at a time, unless the process has ended."""
        self._process.at(time, do)

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
        """Report that all shards are given away."""
        self._keeper.member_left()

    def notify(self, member: str) -> None:
        """Send a notice by the store."""
        self.store.notify(member)

    def membership_event(self, event: MembershipEvent) -> None:
        """Own a shard, or give it up."""
        match event:
            case ShardAcquired(shard, head):
                self._observer.machine(self, f"acquires shard {shard} at {head.position}")
                if self.role.must_look(head.session):
                    self._keeper.look(lambda: self._own(shard, head))
                else:
                    self._own(shard, head)
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
                else:
                    self._released.add(claim)
            case _:
                self._observer.machine(self, f"{type(event).__name__} {event.member}")

    def _own(self, shard: int, head: LogHead) -> None:
        owned = self.membership.owned.get(shard)
        if self.is_over or owned is None or owned.id != head.id:
            return
        owner = self.owners[shard] = ShardOwner(
            self,
            LogId(self.generation.id, shard),
            head,
            client_config(
                shard,
                self.generation.count,
                self._network.servers[0].gateway_hosts[0],
                self._random.random,
            ),
            network=self._network,
            observer=self._observer,
            random=self._random,
        )
        if head.id in self._released:
            owner.release()

    def _owner_of(self, shard: int, claim: str) -> ShardOwner | None:
        owner = self.owners.get(shard)
        return owner if owner is not None and owner.claim == claim else None

    def _remove(self, owner: ShardOwner) -> None:
        if self.owners.get(owner.shard) is owner:
            del self.owners[owner.shard]

    # ----- the change to another generation -----

    def enter(self) -> None:
        """Keep the events from now on, and log that."""
        if self.role is GenerationRole.PREPARING:
            self.role = GenerationRole.ENTERING
            for owner in list(self.owners.values()):
                owner.enter()

    def leave(self) -> None:
        """Close all shards, and log the cutover."""
        self.role = GenerationRole.LEAVING
        for owner in list(self.owners.values()):
            owner.leave()

    def complete(self) -> None:
        """Continue as the present generation."""
        self.enter()  # if this process was stopped meanwhile
        self.role = GenerationRole.PRESENT
        for owner in self.owners.values():
            owner.stage = None

    def report(self) -> None:
        """Report the stage of each shard."""
        before, now = self.membership.stages, self.clock()
        for shard, owner in self.owners.items():
            if self.role is GenerationRole.PREPARING:
                owner.stage = Stage.PREPARED if owner.preparation.is_done(now=now) else None
            if not owner.is_over:
                self.membership.reached(shard, owner.stage, now=now)
        if self.membership.stages != before:
            self._driver.step()

    def drain(self) -> None:
        """Give all shards away."""
        self.membership.drain(now=self.clock())
        self._driver.step()

    def retire(self) -> None:
        """Close all shards for good, and remove the member: the generation is over."""
        self._observer.machine(self, "is over")
        self.is_over = True
        self._driver.stop()
        self.slots.stop()
        for owner in list(self.owners.values()):
            owner.end_now(keep_session=False)
        self.owners.clear()
        self.store.heartbeat(self.member, b"", lambda _: None, lambda: None)
