"""Invariants of the log: each dispatch once, and every gap reported."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from gateway_proto.fleet import LogRecord
from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant
from gateway_proto.testing.simulation.server_process import TICK

__all__ = ["GapReported", "LogState", "LoggedOnce"]


@attrs.frozen
class LogState:
    """What a log contains up to a record."""

    session_id: str | None = None
    """The session of the last event."""
    number: int = 0
    """The number of the last dispatch of that session."""
    sessions: frozenset[str] = frozenset()
    """All sessions that began in the log."""


class _OfLog(FleetInvariant):
    """An invariant that follows each log, also when it loses its end."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._states: dict[int, list[LogState]] = {}

    def rewound(self, shard: int, position: int) -> None:
        """Go back to the state as of a position."""
        if shard in self._states:
            del self._states[shard][position + 1 :]

    def state(self, shard: int) -> LogState:
        """Return the state of a log."""
        return self._states.get(shard, [LogState()])[-1]

    def put(self, shard: int, position: int, state: LogState) -> None:
        """Note the state as of an appended record."""
        states = self._states.setdefault(shard, [LogState()])
        del states[position:]
        states.append(state)


class LoggedOnce(_OfLog):
    """Each dispatch of a session is in the log once, in order and without a hole."""

    def appended(self, shard: int, position: int, record: LogRecord) -> None:
        """Compare the number of each logged dispatch with the last one."""
        state = self.state(shard)
        for name, _, data in record.events:
            if name == "READY":
                session_id = msgspec.json.decode(data)["session_id"]
                known = session_id in state.sessions
                self.check(not known, f"session {session_id} begins a second time", shard)
                state = LogState(session_id, 0, state.sessions | {session_id})
            elif name == TICK:
                number, last = msgspec.json.decode(data)["n"], state.number
                self.check(number == last + 1, f"dispatch {number} was logged after {last}", shard)
                state = attrs.evolve(state, number=number)
        session = record.session
        same = session is None or session.id == state.session_id
        self.check(same, f"the record's session is not {state.session_id}, as its events", shard)
        self.put(shard, position, state)

    def fleet_recovered(self) -> None:
        """Check that the last dispatch of each session is in the log."""
        for shard in range(self._config.shards):
            state = self.state(shard)
            if self._fleet.head(shard).session is not None and state.session_id is not None:
                sent = self._fleet.network.last_number(state.session_id)
                what = f"{state.number} of {sent} dispatches were logged"
                self.check(state.number == sent, what, shard)


class GapReported(_OfLog):
    """Between two sessions in a log there is READY, and `session_lost` if one was lost."""

    def appended(self, shard: int, position: int, record: LogRecord) -> None:
        """Compare the record's session with that of the record before it."""
        before = self.state(shard).session_id
        after = None if record.session is None else record.session.id
        if after != before and before is not None:
            self.check(record.session_lost, f"session {before} was lost silently", shard)
        if after != before and after is not None:
            began = record.events[:1] and record.events[0][0] == "READY"
            self.check(bool(began), f"session {after} begins without READY", shard)
        self.put(shard, position, LogState(after))
