"""Invariants of heartbeats: sent on time, and zombies detected without false positives."""

from __future__ import annotations

from typing import Any

import attrs

from gateway_proto.client.client import Dial
from gateway_proto.events import (
    Event,
    HeartbeatAcked,
    HeartbeatLate,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    Ready,
    Resumed,
)
from gateway_proto.state import State
from gateway_proto.testing.simulation.client_endpoint import ClientEndpoint
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.invariants.base import Invariant
from gateway_proto.versions import Opcode
from gateway_proto.wire.payload import Payload

__all__ = [
    "HeartbeatsOnTime",
    "LatenessReported",
    "NoFalseZombie",
    "PauseIsNotSilence",
    "ZombieDetected",
]

_SLACK = 0.01
"""Seconds. The interval is sent in whole milliseconds."""
_MIN_INTERVAL = 0.01
_MAX_INTERVAL = 86400.0


def _seconds(event: Event) -> float | None:
    """Return the heartbeat interval of an event in seconds, if it has one."""
    match event:
        case Hello(heartbeat_interval):
            return min(max(heartbeat_interval / 1000, _MIN_INTERVAL), _MAX_INTERVAL)
        case Ready(heartbeat_interval=int(milliseconds)):
            return min(max(milliseconds / 1000, _MIN_INTERVAL), _MAX_INTERVAL)
        case Resumed(heartbeat_interval=int(milliseconds)):
            return min(max(milliseconds / 1000, _MIN_INTERVAL), _MAX_INTERVAL)
        case _:
            return None


def _is_blocked(bot: ClientProcess) -> bool:
    return bot.end is not None and bot.end.outgoing.is_blocked


@attrs.define
class _HeartbeatState:
    """The heartbeat state of one connection, in seconds of its client's clock."""

    interval: float
    deadline: float
    was_resuming: bool = False
    held_up: int = 0
    """The number of heartbeats that wait for a blocked transport."""


class HeartbeatsOnTime(Invariant):
    """No heartbeat is later than its deadline while the loop is not blocked.

    After Resume a heartbeat may wait for the first response: some gateways fail if it comes before.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._heartbeats: dict[int, _HeartbeatState] = {}

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Start again for a new connection."""
        self._heartbeats.pop(bot.number, None)

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Start an interval."""
        interval = _seconds(event)
        if interval is not None:
            self._heartbeats[bot.number] = _HeartbeatState(
                interval, bot.clock() + interval + _SLACK
            )
        heartbeat = self._heartbeats.get(bot.number)
        if heartbeat is not None and isinstance(event, HeartbeatSent) and _is_blocked(bot):
            heartbeat.held_up += 1
            heartbeat.deadline = bot.clock() + heartbeat.interval + _SLACK

    def sent(self, bot: ClientProcess, payload: Payload) -> None:
        """Check that a heartbeat is on time."""
        heartbeat = self._heartbeats.get(bot.number)
        if heartbeat is None or payload.opcode != Opcode.HEARTBEAT:
            return
        if heartbeat.held_up:
            heartbeat.held_up -= 1
            return
        now = bot.clock()
        # A heartbeat that waited for the transport was written on time and is sent late.
        waited = bot.end is not None and bot.end.waited
        late = 0.0 if waited else now - heartbeat.deadline
        self.check(late <= 0 or heartbeat.was_resuming, f"a heartbeat is {late:.3f} s late", bot)
        heartbeat.deadline = now + heartbeat.interval + _SLACK

    def output_processed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Check that no heartbeat is missing."""
        heartbeat = self._heartbeats.get(bot.number)
        if heartbeat is None:
            return
        state = end.connection.state
        heartbeat.was_resuming = state is State.RESUMING
        if end.waited:
            heartbeat.deadline = bot.clock() + heartbeat.interval + _SLACK
        elif state in (State.AWAITING_HELLO, State.IDENTIFYING, State.READY):
            late = bot.clock() - heartbeat.deadline
            self.check(late <= 0, f"a heartbeat was due {late:.3f} s ago", bot)

    def process_resumed(self, bot: ClientProcess) -> None:
        """Allow now what was due while the loop was blocked."""
        heartbeat = self._heartbeats.get(bot.number)
        if heartbeat is not None:
            heartbeat.deadline = max(heartbeat.deadline, bot.clock() + _SLACK)


class LatenessReported(Invariant):
    """A scheduled heartbeat is reported as late exactly if it is, with its seconds.

    It is due one interval after the scheduled one before. An answer to op 1 changes nothing.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._intervals: dict[int, float] = {}
        self._due: dict[int, float] = {}
        self._late: dict[int, float] = {}
        self._requested: set[int] = set()

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Start again for a new connection."""
        self._restart(bot.number)

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Note when the next heartbeat is due, and compare the report with that."""
        number = bot.number
        match event:
            case HeartbeatRequested():
                self._requested.add(number)
            case HeartbeatSent() if number in self._requested:
                self._requested.discard(number)
            case HeartbeatLate(seconds):
                self._late[number] = seconds
            case HeartbeatSent():
                self._compare(bot, self._late.pop(number, 0.0))
            case Hello() | Ready() | Resumed() if interval := _seconds(event):
                # The first heartbeat is due at a random time, or after the answer to Resume.
                self._restart(number)
                self._intervals[number] = interval
            case _:
                pass

    def _restart(self, number: int) -> None:
        for known in (self._due, self._late):
            known.pop(number, None)
        self._requested.discard(number)

    def _compare(self, bot: ClientProcess, reported: float) -> None:
        now, due = bot.clock(), self._due.get(bot.number)
        self._due[bot.number] = now + self._intervals[bot.number]
        if due is not None:
            is_late = now - due > bot.config.late_heartbeat_threshold
            seconds = now - due if is_late else 0.0
            same = abs(seconds - reported) <= _SLACK
            self.check(same, f"{reported:.3f} s late was reported, not {seconds:.3f}", bot)


class NoFalseZombie(Invariant):
    """No connection is closed as a zombie if its peer reads and answers."""

    def closed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Check that the peer had not answered everything."""
        closed = bot.client.last_closed
        if closed is not None and (closed.error or "").startswith("zombie"):
            self.check(not end.answered, "its peer had received and answered everything", bot)


class ZombieDetected(Invariant):
    """A zombie is closed within two intervals after the first unanswered heartbeat."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._intervals: dict[int, float] = {}
        self._unanswered: dict[int, float] = {}
        self._requested: set[int] = set()

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Start again for a new connection."""
        self._unanswered.pop(bot.number, None)
        self._intervals.pop(bot.number, None)

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Note heartbeats and their answers."""
        number = bot.number
        match event:
            case HeartbeatRequested():
                self._requested.add(number)
            case HeartbeatSent() if number in self._requested:
                self._requested.discard(number)  # an answer, outside of the schedule
            case HeartbeatSent() if self._version.acks_heartbeats:
                self._unanswered.setdefault(number, bot.clock())
            case HeartbeatAcked():
                self._unanswered.pop(number, None)
            case Hello(interval):
                self._intervals[number] = min(max(interval / 1000, _MIN_INTERVAL), _MAX_INTERVAL)
            case _:
                pass

    def output_processed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Check the time since the first unanswered heartbeat."""
        since = self._unanswered.get(bot.number)
        if since is None or end.paused or end.connection.state is State.CLOSED:
            return
        seconds = bot.clock() - since
        longest = 2 * self._intervals[bot.number] + _SLACK
        self.check(seconds <= longest, f"no heartbeat was answered for {seconds:.3f} s", bot)

    def process_resumed(self, bot: ClientProcess) -> None:
        """Start again: a blocked loop could not receive an ACK."""
        if bot.number in self._unanswered:
            self._unanswered[bot.number] = bot.clock()

    def unpaused(self, bot: ClientProcess) -> None:
        """Start again: a paused client did not read an ACK."""
        self.process_resumed(bot)


class PauseIsNotSilence(Invariant):
    """No connection is closed as a zombie within one interval after a pause."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._intervals: dict[int, float] = {}
        self._unpaused: dict[int, float] = {}

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Start again for a new connection."""
        self._unpaused.pop(bot.number, None)

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Note the interval."""
        interval = _seconds(event)
        if interval is not None:
            self._intervals[bot.number] = interval

    def unpaused(self, bot: ClientProcess) -> None:
        """Note the time."""
        self._unpaused[bot.number] = bot.clock()

    def closed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Check that a zombie was not declared too early after a pause."""
        closed, since = bot.client.last_closed, self._unpaused.get(bot.number)
        if since is None or closed is None or not (closed.error or "").startswith("zombie"):
            return
        seconds = bot.clock() - since
        longest = self._intervals[bot.number] - _SLACK
        self.check(seconds >= longest, f"a zombie {seconds:.3f} s after a pause", bot)
