"""Invariants of events: handled once and in order, and losses reported."""

from __future__ import annotations

from typing import Any

from gateway_proto.events import (
    DialPurpose,
    DialScheduled,
    Dispatch,
    Event,
    HeartbeatSent,
    Ready,
    SessionInvalidated,
)
from gateway_proto.session import Session
from gateway_proto.state import State
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.invariants.base import Invariant
from gateway_proto.testing.simulation.server_process import TICK
from gateway_proto.versions import HeartbeatFormat

__all__ = ["HandledOnce", "LastSequence", "ReadyReplacesSession", "SessionLossReported"]


class HandledOnce(Invariant):
    """Each dispatch of a session is handled exactly once and in order, even after a crash.

    Sessions with a flipped bit are not checked: TCP does not detect it, TLS would.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._last: dict[int, tuple[str, int]] = {}

    def handled(self, bot: ClientProcess, event: Event, before: Session | None) -> None:
        """Compare the number of a dispatch with the last one."""
        if type(event) is not Dispatch or event.name != TICK or before is None:
            return
        if not self._network.is_sound(before.id):
            return
        session_id, last = self._last.get(bot.number, ("", 0))
        last = last if session_id == before.id else 0
        number = event.data["n"]
        self.check(number == last + 1, f"dispatch {number} was handled after {last}", bot)
        self._last[bot.number] = (before.id, number)

    def recovery_ended(self, bot: ClientProcess) -> None:
        """Check that the last dispatch was handled."""
        session = bot.gateway.session if bot.is_ready else None
        if session is None or not self._network.is_sound(session.id):
            return
        session_id, last = self._last.get(bot.number, ("", 0))
        last = last if session_id == session.id else 0
        sent = self._network.last_number(session.id)
        self.check(last == sent, f"{last} of {sent} dispatches were handled", bot)


class LastSequence(Invariant):
    """A heartbeat carries the sequence of the last dispatch, even if sequences decreased."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._last: dict[int, int | None] = {}

    def began(self, bot: ClientProcess) -> None:
        """Start with the stored session."""
        session = bot.client.session
        self._last[bot.number] = None if session is None else session.sequence

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Note each sequence, and compare each heartbeat."""
        match event:
            case Dispatch(sequence=int(sequence)):
                self._last[bot.number] = sequence
            case DialScheduled(purpose=DialPurpose.IDENTIFY) | SessionInvalidated(resumable=False):
                self._last[bot.number] = None
            case HeartbeatSent(d) if self._version.heartbeat_format is HeartbeatFormat.SEQUENCE:
                last = self._last[bot.number]
                self.check(
                    d == last, f"a heartbeat carries {d}, but the last sequence is {last}", bot
                )
            case _:
                pass


class ReadyReplacesSession(Invariant):
    """READY replaces the session as a whole: its id and its resume URL."""

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Compare the session with READY."""
        connection = bot.connection
        if not isinstance(event, Ready) or connection is None:
            return
        session = connection.session
        if connection.state is State.READY and session and session.id == event.session_id:
            same = session.resume_url == event.resume_gateway_url
            self.check(same, f"the session keeps the resume URL {session.resume_url}", bot)


class SessionLossReported(Invariant):
    """The loss of a session is always reported by an event."""

    def handled(self, bot: ClientProcess, event: Event, before: Session | None) -> None:
        """Check that a session starts only without an earlier one."""
        if not isinstance(event, Ready) or before is None:
            return
        sound = self._network.is_sound(before.id) and self._network.is_sound(event.session_id)
        self.check(
            not sound, f"a session started without an event about the loss of {before.id}", bot
        )

    def recovery_ended(self, bot: ClientProcess) -> None:
        """Compare the application's session with the client's."""
        if bot.is_ready and bot.connection is not None:
            own, handled = bot.client.session, bot.gateway.session
            same = (own and own.id) == (handled and handled.id)
            self.check(same, "the application has another session than the client", bot)
