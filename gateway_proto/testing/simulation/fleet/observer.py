"""The callbacks of a simulated fleet."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from gateway_proto.client.client import Dial
from gateway_proto.fleet import FeedEvent, Generations, GroupPlace, LogHead, LogRecord
from gateway_proto.testing.simulation.observer import Observer

__all__ = ["ConsumerView", "FleetObserver", "LogId", "MemberView", "OwnerView"]


class LogId(NamedTuple):
    """A shard of a generation, which has a log of its own."""

    generation: str
    """The id of the generation."""
    shard: int

    def __str__(self) -> str:
        """Return the shard and its generation."""
        return f"shard {self.shard} of {self.generation}"


class MemberView(Protocol):
    """A process of the fleet, as observers see it."""

    @property
    def member(self) -> str:
        """The member's name, which no other run has."""
        ...


class OwnerView(Protocol):
    """A shard at one process, as observers see it."""

    @property
    def log(self) -> LogId:
        """The shard and its generation."""
        ...

    @property
    def claim(self) -> str:
        """The id of the claim, which no other owner has."""
        ...

    @property
    def process(self) -> MemberView:
        """The process."""
        ...


class ConsumerView(Protocol):
    """A shard at one consumer, as observers see it."""

    @property
    def log(self) -> LogId:
        """The shard and its generation."""
        ...

    @property
    def claim(self) -> LogHead:
        """The claim in the log of the group, which no other consumer has."""
        ...

    @property
    def process(self) -> MemberView:
        """The process."""
        ...


class FleetObserver(Observer[OwnerView, Any]):
    """An observer of a fleet, its connections and its store. By default it does nothing."""

    def started(self, process: MemberView) -> None:
        """Note that a process has started."""

    def heartbeat_sent(self, process: MemberView, number: int) -> None:
        """Note that a member sends its heartbeat of that number to the store."""

    def heartbeat_answered(self, process: MemberView, number: int) -> None:
        """Note that the heartbeat of that number was answered."""

    def dials(self, owner: OwnerView, dial: Dial) -> None:
        """Note that an owner dials."""

    def connection_lost(self, owner: OwnerView) -> None:
        """Note that a connection of an owner has ended."""

    def identified(self, owner: OwnerView) -> None:
        """Note that an owner sends Identify."""

    def released(self, owner: OwnerView) -> None:
        """Note that an owner has given its shard away as planned."""

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        """Note that the store has appended a record to a shard's log."""

    def rewound(self, log: LogId, position: int) -> None:
        """Note that the store has lost all records of a shard's log after a position."""

    def consumed(self, consumer: ConsumerView, event: FeedEvent) -> None:
        """Note that an application takes an event."""

    def event_handled(self, consumer: ConsumerView) -> None:
        """Note that an application has handled the event that it took last."""

    def cursor_written(self, log: LogId, value: bytes) -> None:
        """Note that the store has a new cursor of a shard."""

    def generations_written(self, generations: Generations) -> None:
        """Note that the store has new generations."""

    def place_written(self, place: GroupPlace) -> None:
        """Note that the group of the consumers reads another generation."""

    def leaves(self, owner: OwnerView) -> None:
        """Note that an owner closes its shard for good, since the fleet leaves its generation."""

    def settled(self) -> None:
        """Note that from now on, until the recovery phase ends, no shard should move."""

    def fleet_recovered(self) -> None:
        """Note that a recovery phase has ended."""
