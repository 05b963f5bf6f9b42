"""Invariants of the log: each dispatch once, and every gap reported."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from gateway_proto.fleet import LogRecord
from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant
from gateway_proto.testing.simulation.fleet.observer import LogId
from gateway_proto.testing.simulation.server_process import TICK

__all__ = ["GapReported", "LogState", "LoggedOnce"]


@attrs.frozen
class LogState:
    """Contents of a log up to a record."""

    session_id: str | None = None
    """The session of the last event."""
    number: int = 0
    """The number of the last dispatch of that session."""
    sessions: frozenset[str] = frozenset()
    """All sessions that began in the log."""
    entered: bool = False
    """Whether events are kept: those of a next generation are not, until its shard enters."""


class _OfLog(FleetInvariant):
    """An invariant that follows each log, also when it loses its end."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._states: dict[LogId, list[LogState]] = {}

    def rewound(self, log: LogId, position: int) -> None:
        """Go back to the state as of a position."""
        if log in self._states:
            del self._states[log][position + 1 :]

    def state(self, log: LogId) -> LogState:
        """Return the state of a log."""
        return self._states.get(log, [LogState()])[-1]

    def put(self, log: LogId, position: int, state: LogState) -> None:
        """Note the state as of an appended record."""
        states = self._states.setdefault(log, [LogState()])
        del states[position:]
        states.append(state)


class LoggedOnce(_OfLog):
    """Each dispatch of a session is in the log once, in order and without a hole.

    Those of a next generation are from the record on by which the shard enters.
    """

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        """Compare the number of each logged dispatch with the last one."""
        state, enters = self.state(log), record.entered
        if enters or record.events:
            what = "events of a generation are kept that is only prepared"
            self.check(not self._fleet.is_preparing(log), what, log)
            state = attrs.evolve(state, entered=True)
        for name, _, data in record.events:
            if name == "READY":
                session_id = msgspec.json.decode(data)["session_id"]
                known = session_id in state.sessions
                self.check(not known, f"session {session_id} begins a second time", log)
                state = LogState(session_id, 0, state.sessions | {session_id}, entered=True)
                enters = False
            elif name == TICK:
                number, last = msgspec.json.decode(data)["n"], state.number
                if number != last + 1 and not enters:
                    self.check(False, f"dispatch {number} was logged after {last}", log)
                state = attrs.evolve(state, number=number)
                enters = False
        session = record.session
        if session is not None:
            number = self._fleet.ticks.number(session.id, session.sequence)
            if enters or not state.entered:  # nothing was kept up to here
                sessions = state.sessions | {session.id}
                state = LogState(session.id, number, sessions, state.entered)
            if (session.id, number) != (state.session_id, state.number):
                logged = f"{state.number} of {state.session_id}"
                what = f"the record is as of dispatch {number} of {session.id}, and {logged} is"
                self.check(False, f"{what} in the log", log)
        self.put(log, position, state)

    def fleet_recovered(self) -> None:
        """Check that the last dispatch of each session is in the log."""
        for log in self._fleet.present_logs:
            state = self.state(log)
            if self._fleet.head(log).session is not None and state.session_id is not None:
                sent = self._fleet.network.last_number(state.session_id)
                what = f"{state.number} of {sent} dispatches were logged"
                self.check(state.number == sent, what, log)


class GapReported(_OfLog):
    """Between two sessions in a log there is READY, and `session_lost` if one was lost."""

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        """Compare the record's session with that of the record before it."""
        state = self.state(log)
        before, entered = state.session_id, state.entered or bool(record.events)
        after = None if record.session is None else record.session.id
        if after != before and before is not None and not record.cutover:
            self.check(record.session_lost, f"session {before} was lost silently", log)
        if after != before and after is not None and entered and not record.entered:
            began = record.events.names[:1] == ("READY",)
            self.check(began, f"session {after} begins without READY", log)
        self.put(log, position, LogState(after, entered=entered or record.entered))
