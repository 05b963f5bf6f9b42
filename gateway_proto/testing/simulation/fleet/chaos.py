"""The injection of faults into a fleet: the effect of each kind."""

from __future__ import annotations

from collections import Counter

from gateway_proto.events import ReconnectRequested, SessionInvalidated
from gateway_proto.state import State
from gateway_proto.testing.simulation.fleet.consumer import Consumer
from gateway_proto.testing.simulation.fleet.fault_kinds import FLEET_FAULT_KINDS
from gateway_proto.testing.simulation.fleet.invariants.base import Fleet
from gateway_proto.testing.simulation.fleet.machine import Machine
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.server_process import ServerEndpoint

__all__ = ["FleetChaos"]

_NAMES = tuple(FLEET_FAULT_KINDS)
_COUNTS = range(1, 7)
"""Numbers of shards to which a fleet changes."""


class FleetChaos:
    """Injects faults, choosing every kind with equal probability, and counts them."""

    def __init__(self, fleet: Fleet, rng: SeededRandom) -> None:
        self._fleet = fleet
        self._random = rng
        self._count = 0
        self.counts: Counter[str] = Counter()
        """The number of faults of each kind."""

    def inject(self, kind: str | None = None) -> None:
        """Inject a fault, of a random kind by default, if it is possible now."""
        self._count += 1
        rng = self._random.child(f"fault {self._count}")
        random_kind = rng.choice(_NAMES)  # also if not used: all later numbers stay the same
        machine = rng.choice(self._fleet.machines)
        consumer = rng.choice(self._fleet.consumers) if self._fleet.consumers else None
        kind = random_kind if kind is None else kind
        if kind in self._fleet.config.excluded_faults:
            return
        injected = (
            self._at_machine(machine, kind, rng)
            or self._at_consumer(consumer, kind, rng)
            or self._at_store(machine, kind, rng)
            or self._by_operator(kind, rng)
            or self._at_connection(machine, kind, rng)
        )
        if injected:
            self.counts[kind] += 1

    def _at_machine(self, machine: Machine, kind: str, rng: SeededRandom) -> bool:
        process = machine.process
        if process is None or process.frozen:
            return False
        match kind:
            case "machine_crash":
                machine.crash(silent=rng.happens(0.5), seconds=rng.uniform(1.0, 30.0))
            case "machine_stall":
                seconds = rng.uniform(0.1, rng.choice((2.0, 10.0, 40.0)))
                process.freeze(seconds, clock_stands=rng.happens(0.3))
            case "machine_drain" if not process.is_draining:
                process.drain()
            case _:
                return False
        return True

    def _at_consumer(self, consumer: Consumer | None, kind: str, rng: SeededRandom) -> bool:
        process = None if consumer is None else consumer.process
        if consumer is None or process is None or process.frozen:
            return False
        match kind:
            case "consumer_crash":
                consumer.crash(seconds=rng.uniform(1.0, 30.0))
            case "consumer_stall":
                process.freeze(rng.uniform(0.1, rng.choice((2.0, 10.0, 40.0))))
            case "consumer_drain" if not process.is_draining:
                process.drain()
            case "consumer_cut":
                self._fleet.store.cut(consumer.number, rng.uniform(0.5, rng.choice((5.0, 40.0))))
            case _:
                return False
        return True

    def _at_store(self, machine: Machine, kind: str, rng: SeededRandom) -> bool:
        store = self._fleet.store
        match kind:
            case "store_cut":
                store.cut(machine.number, rng.uniform(0.5, rng.choice((5.0, 40.0))))
            case "store_slow":
                store.slow(machine.number, rng.uniform(0.1, 25.0))
            case "store_away":
                store.go_away(rng.uniform(0.5, 20.0))
            case "store_rewind" if self._fleet.running_logs:
                store.rewind(rng.choice(self._fleet.running_logs), 1 + rng.randrange(4))
            case _:
                return False
        return True

    def _by_operator(self, kind: str, rng: SeededRandom) -> bool:
        generations = self._fleet.store.generations
        if generations is None:
            return False
        match kind:
            case "reshard" if generations.next is None:
                counts = [count for count in _COUNTS if count != generations.present.count]
                self._fleet.operator.reshard(rng.choice(counts))
            case "reshard_cancel" if generations.next is not None:
                self._fleet.operator.cancel()  # which is refused unless the change prepares
            case _:
                return False
        return True

    def _at_connection(self, machine: Machine, kind: str, rng: SeededRandom) -> bool:
        if kind == "restart":
            self._fleet.network.servers[0].restart(rng.uniform(1.0, 20.0))
            return True
        owner = self._owner(machine, rng)
        end = None if owner is None else owner.end
        if end is None or end.peer is None:
            return False
        match kind:
            case "cut":
                end.wire.cut()
            case "silence":
                end.wire.up.swallows = end.wire.down.swallows = True
            case _:
                return self._at_server(end.peer, kind)
        return True

    def _at_server(self, peer: ServerEndpoint, kind: str) -> bool:
        connection, now = peer.connection, self._fleet.scheduler.now
        if connection.state is not State.READY:
            return False
        match kind:
            case "reconnect":
                connection._send_unchecked(ReconnectRequested(), now=now)
            case "invalidate":
                connection._send_unchecked(SessionInvalidated(resumable=False), now=now)
            case "expire" if connection.session is not None:
                peer.provider.expire(connection)
            case _:
                return False
        return True

    def _owner(self, machine: Machine, rng: SeededRandom) -> ShardOwner | None:
        owners = [] if machine.process is None else machine.process.owners
        if not owners:
            return None
        return rng.choice(sorted(owners, key=lambda owner: owner.log))
