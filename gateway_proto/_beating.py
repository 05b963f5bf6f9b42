"""now → heartbeats: the half of a client's connection that keeps it alive, and knows if it is."""

from __future__ import annotations

import abc

from gateway_proto._connection import DROPPED
from gateway_proto._layers.frames import ClientFrames, Unframed
from gateway_proto._layers.state import State
from gateway_proto._sending import Sending
from gateway_proto._timing.deadlines import Timer
from gateway_proto._timing.heartbeats import EarlyHeartbeats, Heartbeats
from gateway_proto._timing.voice_states import VoiceStates
from gateway_proto.commands import Heartbeat, UpdatePresence
from gateway_proto.config import Config
from gateway_proto.dialects import HeartbeatForm, Then
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import By, Closed, HeartbeatLate, HeartbeatSent, Suspended
from gateway_proto.requests import Requests

__all__ = ["Beating"]


class Beating(Sending, abc.ABC):
    """Heartbeats, their answers, and clocks."""

    __slots__ = ("_answered", "_clocks", "_heartbeats", "_sequence", "_unix_offset")

    def __init__(
        self,
        config: Config,
        *,
        now: float,
        presence: UpdatePresence | None,
        requests: Requests,
        voice_states: VoiceStates | None,
        frames: ClientFrames | Unframed,
    ) -> None:
        dialect = config.dialect
        if dialect.heartbeat_form is HeartbeatForm.UNIX_MILLISECONDS and config.unix_offset is None:
            raise LocalProtocolError(
                f"heartbeats of version {dialect.version} carry unix time: set Config.unix_offset "
                "to unix time minus the time of your clock, in seconds"
            )
        super().__init__(
            config,
            now=now,
            presence=presence,
            requests=requests,
            voice_states=voice_states,
            frames=frames,
        )
        self._heartbeats = Heartbeats(acks=dialect.acks, policy=config.zombie_policy)
        self._sequence: int | None = None
        self._answered = True  # something came since Resume was sent
        self._unix_offset = config.unix_offset
        self._clocks: float | None = None

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        return self._heartbeats.latency

    def _beats_every(
        self, milliseconds: int | None, name: str, now: float, *, first: float = 1.0
    ) -> bool:
        """Schedule heartbeats at this interval, the first after a part of it; False: there is none.

        None ends the connection: a client that sends no heartbeats is soon dropped.
        """
        if milliseconds is None:
            self._fail(
                DROPPED,
                f"{name} has no usable heartbeat_interval: expected milliseconds above zero",
                now,
            )
            return False
        self._heartbeats.begin(milliseconds, now, first=first)
        self._outbox.reserve(self._heartbeats.places(self._dialect.send_limit[1]))
        self._deadlines.set(Timer.HEARTBEAT, self._heartbeats.due)
        return True

    def _beat(self, now: float) -> None:
        d: int | str | None = self._sequence
        if self._dialect.heartbeat_form is HeartbeatForm.UNIX_MILLISECONDS:
            assert self._unix_offset is not None
            milliseconds = int((now + self._unix_offset) * 1000)
            d = milliseconds if self._config.heartbeat_as_integer else str(milliseconds)
        self._events.append(HeartbeatSent(d))
        self._outbox.count(now)
        self._frames.send(self._config.spell(Heartbeat(d)))

    def _may_beat(self) -> bool:
        policy = self._config.early_heartbeats
        if policy is EarlyHeartbeats.AFTER_ANSWER:
            return self._answered
        # Whoever waits for its turn to identify beats meanwhile.
        awaited = self._state is State.RESUMING or self._state is State.IDENTIFYING
        return policy is EarlyHeartbeats.ALWAYS or not awaited

    def _scheduled_beat(self, now: float) -> None:
        if not self._may_beat():
            self._heartbeats.held = True
            return
        if not self._deadlines.paused and self._heartbeats.is_zombie():
            self._drop(
                Closed(
                    code=DROPPED,
                    by=By.SELF,
                    then=self._then(Then.RESUME),
                    reason="heartbeat not acknowledged",
                    error="zombie: no heartbeat ACK, though the transport is open",
                ),
                now,
            )
            return
        held = self._heartbeats.held
        late = self._heartbeats.sent(now)
        self._deadlines.set(Timer.HEARTBEAT, self._heartbeats.due)
        if late > self._config.late_after and not held:
            self._events.append(HeartbeatLate(late))
        self._beat(now)

    def check_clock(self, unix: float, *, now: float) -> None:
        """Compare unix time with `now`, both in seconds: a clock that stood still is noticed.

        Where the monotonic clock pauses while the machine sleeps, everything looks healthy after
        it, and the server has long closed; so the connection is dropped, and resumed.
        """
        now = self._at(now)
        before, self._clocks = self._clocks, unix - now
        if before is None or self._state is State.CLOSED:
            return
        self._unix_offset = self._clocks
        gap = self._clocks - before
        if gap <= self._config.suspended_after:
            return
        self._events.append(Suspended(gap))
        error = f"the machine was suspended for {gap:.0f} s, or its clock was set"
        self._fail(DROPPED, error, now)

    def unpause(self, *, now: float) -> None:
        """The adapter reads again; what has waited in the socket is as good as heard."""
        now = self._at(now)
        seconds = self._deadlines.stood_still(now)
        super().unpause(now=now)
        if seconds is None or self._state in (State.CLOSING, State.CLOSED):
            return
        self._heartbeats.excuse()
        self._requests.postpone(seconds, now)
        at = self._requests.next_timer()
        if at is not None:
            self._deadlines.set(Timer.REQUEST, at)
