"""transport ↔ connection: one end of a wire, and what an adapter's pump does there."""

from __future__ import annotations

import abc
from collections import deque
from typing import Any

from gateway_proto._connection import Connection
from gateway_proto._layers.state import State
from gateway_proto.testing.agenda import Agenda
from gateway_proto.testing.wire import Flow

__all__ = ["End"]

_TICK = 1e-6
"""Seconds: what two clocks may differ by rounding alone."""


_READ = 1024
"""Bytes that one read takes of several chunks that wait."""


class End(abc.ABC):
    """Drives one connection of either role over one flow out and one flow in."""

    def __init__(
        self,
        agenda: Agenda,
        connection: Connection[Any, Any],
        *,
        incoming: Flow,
        outgoing: Flow,
    ) -> None:
        self._agenda = agenda
        self.incoming: Flow = incoming
        self.outgoing: Flow = outgoing
        self.connection: Connection[Any, Any] = connection
        self.reading: bool = True
        """Whether what arrives is read at once."""
        self.over: bool = False
        """Whether the transport is closed at this end."""
        self.waited: bool = False
        """Whether bytes had to wait for the transport, so that they are sent later than written."""
        self._unread: deque[bytes] = deque()
        self._timer: float | None = None
        self._woken = False
        connection.on_wake = self.wake

    # ----- what differs between the roles -----

    @abc.abstractmethod
    def deliver(self, events: list[Any]) -> None:
        """Take the events of the connection."""

    @abc.abstractmethod
    def ended(self) -> None:
        """The connection is CLOSED, and the transport with it."""

    def send(self, data: bytes) -> bool:
        """Put bytes on the wire; False: it is broken."""
        return self.outgoing.send(data)

    def clock(self) -> float:
        """This end's monotonic clock."""
        return self._agenda.now

    def behind(self) -> float:
        """Seconds by which this end's clock is behind that of the simulation."""
        return 0.0

    def unix(self) -> float:
        """Unix time, as this end's machine has it."""
        return self._agenda.now

    def before(self) -> float:
        """Called ahead of each call of the machine that time or the wire causes; its clock."""
        return self.clock()

    # ----- the wire -----

    def arrive(self, data: bytes) -> None:
        """Bytes are there; none are the end of the wire."""
        if self.over:
            return
        if self.reading:
            self._read(data)
        else:
            self._unread.append(data)

    def read_on(self) -> None:
        """Read what has waited, and then whatever arrives."""
        self.reading = True
        while self._unread and self.reading and not self.over:
            data = self._unread.popleft()
            # One read takes what is in the socket's buffer, up to its size; an empty one is EOF.
            while data and self._unread and 0 < len(self._unread[0]) <= _READ - len(data):
                data += self._unread.popleft()
            self._read(data)

    def reset(self) -> None:
        """The wire breaks under this end: what has arrived is lost too."""
        if not self.over:
            self._unread.clear()
            self.connection.receive_eof(now=self.clock())
            self.turn()

    def _read(self, data: bytes) -> None:
        now = self.before()
        if data:
            self.incoming.read(len(data))
            self.connection.receive_data(data, now=now)
            self.connection.check_clock(self.unix(), now=now)
        else:
            self.connection.receive_eof(now=now)
        self.turn()

    # ----- the pump -----

    def wake(self) -> None:
        """Let a turn follow soon: somebody has changed the connection."""
        if not self._woken:
            self._woken = True
            self._agenda.at(self._agenda.now, self._wake)

    def _wake(self) -> None:
        self._woken = False
        self.turn()

    def turn(self) -> None:
        """After each change: send the bytes, hand over the events, set the timer."""
        if self.over:
            return
        connection = self.connection
        is_over = connection.state is State.CLOSED
        if not self.outgoing.writable:
            self.waited = True
        if self.outgoing.writable or is_over:
            data = connection.data_to_send()
            if data and not self.send(data) and not is_over:
                connection.receive_eof(now=self.clock())
            self.waited = False
        self.deliver(connection.events())
        if connection.state is State.CLOSED:
            self.close()
            self.ended()
        else:
            self.plan()

    def close(self) -> None:
        """Close the transport at this end."""
        self.over = True
        self._unread.clear()
        self.connection.on_wake = None
        self.outgoing.finish()

    def plan(self) -> None:
        """Let the timer fire when the connection says so."""
        at = self.connection.next_timer()
        if at is None:
            return
        at += self.behind()
        # One that fires early is harmless, and cheaper than a new one for each turn.
        if self._timer is None or at < self._timer:
            self._timer = at
            self._agenda.at(at, self.tick)

    def tick(self) -> None:
        """The time that was planned has come; or an earlier plan's, which is nothing."""
        if self.over or self._timer is None or self._agenda.now < self._timer:
            return
        self._timer = None
        at, now = self.connection.next_timer(), self.before()
        if at is None:
            return
        if at > now + _TICK:
            self.plan()
            return
        now = max(now, at)
        self.connection.check_clock(self.unix(), now=now)
        self.connection.handle_timer(now=now)
        self.turn()
