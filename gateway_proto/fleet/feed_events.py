"""Events of a feed: the dispatches of a shard's log, and where the log may have a gap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from gateway_proto.events import Dispatch
from gateway_proto.fleet.records import LogRecord

__all__ = [
    "Cutover",
    "FeedEvent",
    "LogRewound",
    "LoggedDispatch",
    "RecordsDropped",
    "SessionLost",
    "feed_events",
]


class LoggedDispatch(Dispatch, frozen=True, eq=False, kw_only=True):
    """A dispatch out of the log of a shard."""

    id: str
    """`session:sequence`, the same each time the dispatch is read: consumers can tell repeats."""


class SessionLost(msgspec.Struct, frozen=True):
    """The session of the shard ended. Events between it and the next READY may be missing."""


class RecordsDropped(msgspec.Struct, frozen=True):
    """The engine dropped records before the group read them: they were older than its retention.

    Or it lost them, see `LogRecord.after`.
    """

    after: int
    """Position of the last record that was read."""
    first: int
    """Position of the oldest record that is kept."""


class LogRewound(msgspec.Struct, frozen=True):
    """The engine lost the end of the log, as a failover may, and other records replaced it.

    The events that follow may include some that were read before.
    """

    after: int
    """Position of the last record that is as it was read."""


class Cutover(msgspec.Struct, frozen=True):
    """The fleet continues with another number of shards. Events around it may be lost or repeat."""


FeedEvent: TypeAlias = LoggedDispatch | SessionLost | RecordsDropped | LogRewound | Cutover
"""Events of a feed."""


def feed_events(record: LogRecord) -> Iterator[FeedEvent]:
    """Yield the events of a record, the same ones in the same order each time."""
    if record.session_lost:
        yield SessionLost()
    session = record.session
    for index, (name, sequence, data) in enumerate(record.events):
        if sequence and session is not None:
            id_ = f"{session.id}:{sequence}"
        else:
            id_ = f"{record.id}:{index}"
        yield LoggedDispatch(name, sequence or None, msgspec.Raw(data), id=id_)
    if record.cutover:
        yield Cutover()
