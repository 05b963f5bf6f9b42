"""Invariant of the feed: each event in order, until it is acknowledged, and never afterwards."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import msgspec

from gateway_proto.fleet import (
    Cutover,
    FeedEvent,
    LoggedDispatch,
    LogRecord,
    LogRewound,
    RecordsDropped,
    feed_events,
)
from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant, logs_of
from gateway_proto.testing.simulation.fleet.observer import ConsumerView, LogId

__all__ = ["ConsumedInOrder"]

Place: TypeAlias = tuple[str, int]
"""A record, by its id, and the number of its events that were handled."""


@attrs.define
class _Node:
    """A record, and those that were ever appended after it: more than one after a failover."""

    position: int
    events: tuple[FeedEvent, ...] = ()
    following: list[str] = attrs.field(factory=list)


@attrs.define
class _Log:
    """The log of a shard with all records that it ever had, and its cursor."""

    nodes: dict[str, _Node] = attrs.field(factory=lambda: {"": _Node(0)})
    chain: list[str] = attrs.field(factory=lambda: [""])
    """The ids of the present records by position."""
    rewound_to: set[str] = attrs.field(factory=set)
    """The records that were the last ones after a failover."""
    epoch: int = 0
    acknowledged: Place | None = None
    is_cut: bool = False
    """Whether the cutover was acknowledged."""

    def next_places(self, place: Place) -> list[tuple[FeedEvent, Place]]:
        """Return the events that may follow a place, each with the place after it."""
        found = []
        waiting = [place]
        while waiting:
            record, count = waiting.pop()
            node = self.nodes[record]
            if count < len(node.events):
                found.append((node.events[count], (record, count + 1)))
            else:
                waiting += [(following, 0) for following in node.following]
        return found

    def is_between(self, place: Place, first: Place) -> bool:
        """Whether a place is another one, or is separated from it by empty records alone."""
        waiting = [first]
        while waiting:
            one = waiting.pop()
            if one == place:
                return True
            record, count = one
            node = self.nodes[record]
            if count >= len(node.events):
                waiting += [(following, 0) for following in node.following]
        return False


@attrs.define
class _Tenure:
    """A shard at one consumer."""

    handled: list[set[Place]]
    """The places after each handled event: several if a failover left records with equal events."""
    acknowledged: int = 0
    """The number of handled events that were acknowledged."""
    taken: set[Place] = attrs.field(factory=set)
    after_the_end: int = 0
    """Events taken after another consumer had written the cursor."""


class ConsumedInOrder(FleetInvariant):
    """A group gets each logged event, in order, and none again that was acknowledged.

    After the faults all were acknowledged. Events may come again after a failover, which is
    reported.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._logs: dict[LogId, _Log] = {}
        self._tenures: dict[tuple[LogId, int], _Tenure] = {}

    def appended(self, id_: LogId, position: int, record: LogRecord) -> None:
        """Note the events of a record."""
        log = self._log(id_)
        log.nodes[record.id] = _Node(position, tuple(feed_events(record)))
        log.nodes[log.chain[position - 1]].following.append(record.id)
        del log.chain[position:]
        log.chain.append(record.id)

    def rewound(self, id_: LogId, position: int) -> None:
        """Drop the records after a position."""
        log = self._log(id_)
        del log.chain[position + 1 :]
        log.rewound_to.add(log.chain[-1])

    def cursor_written(self, id_: LogId, value: bytes) -> None:
        """Compare what was acknowledged with what was handled."""
        log = self._log(id_)
        cursor = msgspec.json.decode(value)
        epoch, place = cursor["epoch"], _place(log, cursor["place"])
        self.check(epoch >= log.epoch, "a consumer wrote the cursor after the next one", id_)
        if epoch > log.epoch:
            begins = log.acknowledged is None or log.acknowledged == place
            self.check(begins, f"the cursor moves from {log.acknowledged} to {place}", id_)
            self._tenures[id_, epoch] = _Tenure([{place}])
        else:
            tenure = self._tenures[id_, epoch]
            numbers = [
                number
                for number, places in enumerate(tenure.handled[tenure.acknowledged :])
                if any(log.is_between(place, one) for one in places)
            ]
            what = f"{place} was acknowledged and {tenure.handled[-1]} handled"
            # Events that a failover dropped are acknowledged as what was before them.
            self.check(bool(numbers) or place[0] in log.rewound_to, what, id_)
            tenure.acknowledged += numbers[-1] if numbers else 0
        log.epoch, log.acknowledged = epoch, place
        log.is_cut = cursor["place"].get("cut", False)

    def consumed(self, consumer: ConsumerView, event: FeedEvent) -> None:
        """Compare an event with those that may follow the one before it."""
        id_, epoch = consumer.log, consumer.claim.position
        log, tenure = self._log(id_), self._tenures[id_, epoch]
        if epoch < log.epoch:
            tenure.after_the_end += 1
            what = "a consumer goes on, although another one has the shard"
            self.check(tenure.after_the_end == 1, what, id_)
        if isinstance(event, RecordsDropped):
            # The record by which the shard entered is lost, but events that follow it are not.
            self.check(bool(log.rewound_to), "records are reported that were not dropped", id_)
            tenure.taken = tenure.handled[-1]
        elif isinstance(event, LogRewound):
            self.check(bool(log.rewound_to), "a failover is reported that never was", id_)
            places = log.nodes.items()
            tenure.taken = {
                (record, len(node.events))
                for record, node in places
                if node.position == event.after
            }
        else:
            following = [pair for one in tenure.handled[-1] for pair in log.next_places(one)]
            tenure.taken = {place for expected, place in following if expected == event}
            if isinstance(event, Cutover) and not tenure.taken and self._is_over(id_):
                # The record that says so is lost.
                tenure.taken = tenure.handled[-1] if log.rewound_to else set()
        what = event.id if isinstance(event, LoggedDispatch) else repr(event)
        self.check(bool(tenure.taken), f"{what} does not follow {tenure.handled[-1]}", id_)

    def event_handled(self, consumer: ConsumerView) -> None:
        """Note that an event was handled."""
        tenure = self._tenures[consumer.log, consumer.claim.position]
        tenure.handled.append(tenure.taken)

    def fleet_recovered(self) -> None:
        """Check that all events of each log were acknowledged, up to the cutover."""
        generations = self._fleet.store.generations
        if not self._fleet.consumers or generations is None:
            return
        for generation in (*generations.earlier, generations.present):
            for id_ in logs_of(generation):
                log = self._log(id_)
                place = log.acknowledged
                last = log.chain[-1], len(log.nodes[log.chain[-1]].events)
                is_last = log.is_cut or (place is not None and log.is_between(last, place))
                self.check(is_last, f"{place} was acknowledged, and the log ends at {last}", id_)

    def _is_over(self, id_: LogId) -> bool:
        generations = self._fleet.store.generations
        return generations is not None and generations.present.id != id_.generation

    def _log(self, id_: LogId) -> _Log:
        return self._logs.setdefault(id_, _Log())


def _place(log: _Log, place: dict[str, Any]) -> Place:
    if place.get("record"):
        return place["record"], place["count"]
    recent = place.get("recent")
    record = recent[-1][1] if recent else ""
    return record, len(log.nodes[record].events)
