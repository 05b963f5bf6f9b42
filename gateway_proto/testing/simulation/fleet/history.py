"""The history of a simulated fleet: its digest, its trace, and its invariants."""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gateway_proto.client.client import Dial
from gateway_proto.events import Dispatch, Event
from gateway_proto.fleet import FeedEvent, Generations, GroupPlace, LoggedDispatch, LogRecord
from gateway_proto.testing.simulation.fleet.observer import (
    ConsumerView,
    FleetObserver,
    LogId,
    MemberView,
    OwnerView,
)
from gateway_proto.testing.simulation.observer import InvariantViolation
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.versions import Opcode
from gateway_proto.wire.payload import Payload

__all__ = ["FleetHistory"]

_TRACE_LENGTH = 60
"""Lines of the trace of all machines and of the trace of a shard."""


class FleetHistory(FleetObserver):
    """An observer that records a digest and traces, and passes each call to the invariants."""

    def __init__(self, scheduler: Scheduler, seed: int, replay: str) -> None:
        self._scheduler = scheduler
        self._seed = seed
        self.replay: str = replay
        """A command that runs the same history."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._machines: deque[tuple[float, str]] = deque(maxlen=_TRACE_LENGTH)
        self._logs: dict[LogId, deque[tuple[float, str]]] = {}
        self.events: int = 0
        """The number of events that clients received."""
        self.identifies: int = 0
        """The number of Identifies that were sent."""
        self.records: int = 0
        """The number of records that the store appended."""
        self.claims: int = 0
        """The number of records that took a shard over."""
        self.consumed_events: int = 0
        """The number of events that applications took."""
        self.changes: int = 0
        """The number of changes to another number of shards that were completed."""
        self._generations: Generations | None = None

    def begin(self, invariants: Sequence[FleetObserver]) -> None:
        """Check these invariants from now on."""

        def overrides(default: Callable[..., None]) -> list[Any]:
            name = default.__name__
            return [
                getattr(one, name) for one in invariants if getattr(type(one), name) is not default
            ]

        self._heartbeat_sent = overrides(FleetObserver.heartbeat_sent)
        self._heartbeat_answered = overrides(FleetObserver.heartbeat_answered)
        self._dials = overrides(FleetObserver.dials)
        self._connection_lost = overrides(FleetObserver.connection_lost)
        self._identified = overrides(FleetObserver.identified)
        self._released = overrides(FleetObserver.released)
        self._appended = overrides(FleetObserver.appended)
        self._rewound = overrides(FleetObserver.rewound)
        self._consumed = overrides(FleetObserver.consumed)
        self._event_handled = overrides(FleetObserver.event_handled)
        self._cursor_written = overrides(FleetObserver.cursor_written)
        self._generations_written = overrides(FleetObserver.generations_written)
        self._place_written = overrides(FleetObserver.place_written)
        self._leaves = overrides(FleetObserver.leaves)
        self._settled = overrides(FleetObserver.settled)
        self._recovered = overrides(FleetObserver.fleet_recovered)

    @property
    def digest(self) -> str:
        """The digest of the history: equal for equal histories."""
        return self._hash.hexdigest()

    def broken(self, name: str, what: str, log: LogId | None) -> InvariantViolation:
        """Return the error for an invariant that does not hold."""
        about_log = () if log is None else self._logs.get(log, ())
        lines = sorted([*self._machines, *about_log], key=lambda line: line[0])
        return InvariantViolation(
            name,
            what if log is None else f"{log}: {what}",
            at=self._scheduler.now,
            seed=self._seed,
            replay=self.replay,
            trace=[f"{at:13.3f}  {text}" for at, text in lines],
        )

    def note(self, text: str, log: LogId | None = None) -> None:
        """Add a line to the digest and to a trace: that of a shard, or that of all machines."""
        now = self._scheduler.now
        self._hash.update(struct.pack("<d", now))
        self._hash.update(text.encode())
        trace = self._machines
        if log is not None:
            trace = self._logs.setdefault(log, deque(maxlen=_TRACE_LENGTH))
        trace.append((now, text))

    # ----- observed calls -----

    def machine(self, process: MemberView, text: str) -> None:
        """Note what a process does."""
        self.note(f"{process.member} {text}")

    def owner(self, owner: OwnerView, text: str) -> None:
        """Note what a shard's owner does."""
        self.note(f"{owner.process.member}, {owner.log}: {text}", owner.log)

    def started(self, process: MemberView) -> None:
        """Record that a process has started."""
        self.machine(process, "starts")

    def heartbeat_sent(self, process: MemberView, number: int) -> None:
        """Pass on that a member sends a heartbeat."""
        for sent in self._heartbeat_sent:
            sent(process, number)

    def heartbeat_answered(self, process: MemberView, number: int) -> None:
        """Pass on that a heartbeat was answered."""
        for answered in self._heartbeat_answered:
            answered(process, number)

    def dials(self, owner: OwnerView, dial: Dial) -> None:
        """Record that an owner dials."""
        self.owner(owner, f"dials to {dial.purpose.value}")
        for dials in self._dials:
            dials(owner, dial)

    def connection_lost(self, owner: OwnerView) -> None:
        """Record that a connection has ended."""
        self.owner(owner, "its connection has ended")
        for lost in self._connection_lost:
            lost(owner)

    def sent(self, bot: OwnerView, payload: Payload) -> None:
        """Record a payload that a client sends."""
        # Identify and Resume contain the token, which no trace may contain.
        self.owner(bot, f"sends op {payload.opcode}")
        if payload.opcode == Opcode.IDENTIFY:
            self.identified(bot)

    def identified(self, owner: OwnerView) -> None:
        """Record an Identify."""
        self.identifies += 1
        for identified in self._identified:
            identified(owner)

    def received(self, bot: OwnerView, event: Event) -> None:
        """Record an event of a client."""
        self.events += 1
        if type(event) is Dispatch:
            self.owner(bot, f"receives {event.name} {event.sequence}")
        else:
            self.owner(bot, f"receives {event!r}")

    def released(self, owner: OwnerView) -> None:
        """Record that an owner has given its shard away as planned."""
        self.owner(owner, "has released it")
        for released in self._released:
            released(owner)

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        """Record an append."""
        self.records += 1
        self.claims += record.claim
        kind = " claim" if record.claim else f" {len(record.events)} events"
        kind += ", session lost" if record.session_lost else ""
        kind += ", cutover" if record.cutover else ", entered" if record.entered else ""
        session = record.session
        as_of = "no session" if session is None else f"{session.id} {session.sequence}"
        self.note(f"log {position}: {record.id} by {record.by},{kind}, {as_of}", log)
        for appended in self._appended:
            appended(log, position, record)

    def rewound(self, log: LogId, position: int) -> None:
        """Record that the store has lost the end of a log."""
        self.note(f"the log ends with {position} after a failover", log)
        for rewound in self._rewound:
            rewound(log, position)

    def consumed(self, consumer: ConsumerView, event: FeedEvent) -> None:
        """Record that an application takes an event."""
        self.consumed_events += 1
        what = event.id if isinstance(event, LoggedDispatch) else repr(event)
        who = f"{consumer.process.member}, claim {consumer.claim.position}"
        self.note(f"{who} consumes {what}", consumer.log)
        for consumed in self._consumed:
            consumed(consumer, event)

    def event_handled(self, consumer: ConsumerView) -> None:
        """Pass on that an application has handled an event."""
        for handled in self._event_handled:
            handled(consumer)

    def cursor_written(self, log: LogId, value: bytes) -> None:
        """Record a new cursor."""
        self.note(f"cursor {value.decode()}", log)
        for written in self._cursor_written:
            written(log, value)

    def generations_written(self, generations: Generations) -> None:
        """Record new generations."""
        known, self._generations = self._generations, generations
        if known is not None and known.present != generations.present:
            self.changes += 1
        self.note(f"generations {generations.to_bytes().decode()}")
        for written in self._generations_written:
            written(generations)

    def place_written(self, place: GroupPlace) -> None:
        """Record that the group reads another generation."""
        self.note(f"the group reads {place.generation.id}")
        for written in self._place_written:
            written(place)

    def leaves(self, owner: OwnerView) -> None:
        """Record that an owner closes its shard for good."""
        self.owner(owner, "closes it for good")
        for leaves in self._leaves:
            leaves(owner)

    def settled(self) -> None:
        """Pass on that no shard should move from now on."""
        for settled in self._settled:
            settled()

    def fleet_recovered(self) -> None:
        """Pass on that a recovery phase has ended."""
        for recovered in self._recovered:
            recovered()
