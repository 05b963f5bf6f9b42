"""heartbeats, and what comes of them → were they in time, and was the right peer given up."""

from __future__ import annotations

from typing import Any

import attrs

from gateway_proto._layers.payloads import Payload
from gateway_proto._layers.state import State
from gateway_proto.client import Dial
from gateway_proto.dialects import Opcode
from gateway_proto.events import (
    Event,
    HeartbeatAcked,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    Ready,
    Resumed,
)
from gateway_proto.testing.bot import Bot, BotEnd
from gateway_proto.testing.invariants.invariant import Invariant

__all__ = ["BeatsOnTime", "NoFalseZombie", "NoLongZombie", "PauseIsNoSilence"]

_SLACK = 0.01
"""Seconds: the interval is told in whole milliseconds."""
_SHORTEST = 0.01
_LONGEST = 86400.0


def _seconds(event: Event) -> float | None:
    """The interval that an event brings."""
    match event:
        case Hello(heartbeat_interval):
            return min(max(heartbeat_interval / 1000, _SHORTEST), _LONGEST)
        case Ready(heartbeat_interval=int(milliseconds)):
            return min(max(milliseconds / 1000, _SHORTEST), _LONGEST)
        case Resumed(heartbeat_interval=int(milliseconds)):
            return min(max(milliseconds / 1000, _SHORTEST), _LONGEST)
        case _:
            return None


def _is_blocked(bot: Bot) -> bool:
    return bot.end is not None and bot.end.outgoing.is_blocked


@attrs.define
class _Beat:
    """Of one connection, in seconds of its client's clock."""

    interval: float
    deadline: float
    was_resuming: bool = False
    held_up: int = 0
    """Heartbeats that were given out, to a transport that takes nothing now."""


class BeatsOnTime(Invariant):
    """No heartbeat is later than its deadline while the loop is alive.

    After Resume one may wait for the first answer: some gateways choke on it before.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._beats: dict[int, _Beat] = {}

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """A new connection begins anew."""
        self._beats.pop(bot.number, None)

    def received(self, bot: Bot, event: Event) -> None:
        """An interval begins."""
        interval = _seconds(event)
        if interval is not None:
            self._beats[bot.number] = _Beat(interval, bot.clock() + interval + _SLACK)
        beat = self._beats.get(bot.number)
        if beat is not None and isinstance(event, HeartbeatSent) and _is_blocked(bot):
            beat.held_up += 1
            beat.deadline = bot.clock() + beat.interval + _SLACK

    def sent(self, bot: Bot, payload: Payload) -> None:
        """A heartbeat: is it in time?"""
        beat = self._beats.get(bot.number)
        if beat is None or payload.opcode != Opcode.HEARTBEAT:
            return
        if beat.held_up:
            beat.held_up -= 1
            return
        now = bot.clock()
        # One that had to wait for the transport was written in time, and is sent late.
        waited = bot.end is not None and bot.end.waited
        late = 0.0 if waited else now - beat.deadline
        self.check(late <= 0 or beat.was_resuming, f"a heartbeat is {late:.3f} s late", bot)
        beat.deadline = now + beat.interval + _SLACK

    def turned(self, bot: Bot, end: BotEnd) -> None:
        """Is one missing?"""
        beat = self._beats.get(bot.number)
        if beat is None:
            return
        state = end.connection.state
        beat.was_resuming = state is State.RESUMING
        if end.waited:
            beat.deadline = bot.clock() + beat.interval + _SLACK
        elif state in (State.GREETING, State.IDENTIFYING, State.READY):
            late = bot.clock() - beat.deadline
            self.check(late <= 0, f"a heartbeat was due {late:.3f} s ago", bot)

    def woke(self, bot: Bot) -> None:
        """What was due while the loop stood still may come now."""
        beat = self._beats.get(bot.number)
        if beat is not None:
            beat.deadline = max(beat.deadline, bot.clock() + _SLACK)


class NoFalseZombie(Invariant):
    """No connection is called a zombie whose peer is alive and answering."""

    def closed(self, bot: Bot, end: BotEnd) -> None:
        """Was the peer really dead?"""
        closed = bot.client.last_closed
        if closed is not None and (closed.error or "").startswith("zombie"):
            self.check(not end.answered, "its peer had heard and answered everything", bot)


class NoLongZombie(Invariant):
    """No zombie is kept longer than two intervals after the first heartbeat without an answer."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._intervals: dict[int, float] = {}
        self._unanswered: dict[int, float] = {}
        self._requested: set[int] = set()

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """A new connection begins anew."""
        self._unanswered.pop(bot.number, None)
        self._intervals.pop(bot.number, None)

    def received(self, bot: Bot, event: Event) -> None:
        """Heartbeats, and answers."""
        number = bot.number
        match event:
            case HeartbeatRequested():
                self._requested.add(number)
            case HeartbeatSent() if number in self._requested:
                self._requested.discard(number)  # an answer, beside the schedule
            case HeartbeatSent() if self._dialect.acks:
                self._unanswered.setdefault(number, bot.clock())
            case HeartbeatAcked():
                self._unanswered.pop(number, None)
            case Hello(interval):
                self._intervals[number] = min(max(interval / 1000, _SHORTEST), _LONGEST)
            case _:
                pass

    def turned(self, bot: Bot, end: BotEnd) -> None:
        """How long is the first of them unanswered?"""
        since = self._unanswered.get(bot.number)
        if since is None or end.paused or end.connection.state is State.CLOSED:
            return
        seconds = bot.clock() - since
        longest = 2 * self._intervals[bot.number] + _SLACK
        self.check(seconds <= longest, f"no heartbeat was answered for {seconds:.3f} s", bot)

    def woke(self, bot: Bot) -> None:
        """While it stood still, it could not know."""
        if bot.number in self._unanswered:
            self._unanswered[bot.number] = bot.clock()

    unpaused = woke


class PauseIsNoSilence(Invariant):
    """No connection is called a zombie within one interval after a pause: nothing was read."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._intervals: dict[int, float] = {}
        self._unpaused: dict[int, float] = {}

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """A new connection begins again."""
        self._unpaused.pop(bot.number, None)

    def received(self, bot: Bot, event: Event) -> None:
        """Note the interval."""
        interval = _seconds(event)
        if interval is not None:
            self._intervals[bot.number] = interval

    def unpaused(self, bot: Bot) -> None:
        """Note the time."""
        self._unpaused[bot.number] = bot.clock()

    def closed(self, bot: Bot, end: BotEnd) -> None:
        """Was it too soon to judge?"""
        closed, since = bot.client.last_closed, self._unpaused.get(bot.number)
        if since is None or closed is None or not (closed.error or "").startswith("zombie"):
            return
        seconds = bot.clock() - since
        longest = self._intervals[bot.number] - _SLACK
        self.check(seconds >= longest, f"a zombie {seconds:.3f} s after a pause", bot)
