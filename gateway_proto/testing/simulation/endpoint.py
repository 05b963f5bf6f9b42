"""One end of a TCP connection, driven as an adapter's driver does it."""

from __future__ import annotations

import abc
from collections import deque
from typing import Any

from gateway_proto.connection import Connection
from gateway_proto.state import State
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.tcp import Pipe

__all__ = ["Endpoint"]

_TICK = 1e-6
"""Seconds by which two clocks may differ because of rounding."""
_READ = 1024
"""The size in bytes up to which one read joins waiting pieces."""


class Endpoint(abc.ABC):
    """Driver of one connection, client or server, over an incoming and an outgoing flow."""

    def __init__(
        self,
        scheduler: Scheduler,
        connection: Connection[Any, Any],
        *,
        incoming: Pipe,
        outgoing: Pipe,
    ) -> None:
        self._scheduler = scheduler
        self.incoming: Pipe = incoming
        self.outgoing: Pipe = outgoing
        self.connection: Connection[Any, Any] = connection
        self.reading: bool = True
        """Whether arriving data is read at once."""
        self.is_closed: bool = False
        """Whether the transport is closed at this end."""
        self.waited: bool = False
        """Whether output waited for the transport, so that it is sent later than written."""
        self._unread: deque[bytes] = deque()
        self._timer: float | None = None
        self._woken = False
        connection.on_wake = self.wake

    # ----- differences between the roles -----

    @abc.abstractmethod
    def deliver(self, events: list[Any]) -> None:
        """Take events of the connection."""

    @abc.abstractmethod
    def ended(self) -> None:
        """Handle the end of the connection and its transport."""

    def send(self, data: bytes) -> bool:
        """Send bytes. Return False if the transport is closed."""
        return self.outgoing.send(data)

    def clock(self) -> float:
        """Return the monotonic time of this end."""
        return self._scheduler.now

    def clock_lag(self) -> float:
        """Return the seconds by which this end's clock lags the simulation's."""
        return 0.0

    def unix(self) -> float:
        """Return the unix time of this end's system."""
        return self._scheduler.now

    def before(self) -> float:
        """Prepare for a call that the time or the transport causes. Return the time."""
        return self.clock()

    # ----- input -----

    def receive(self, data: bytes) -> None:
        """Receive bytes. Empty bytes are EOF."""
        if self.is_closed:
            return
        if self.reading:
            self._read(data)
        else:
            self._unread.append(data)

    def read_on(self) -> None:
        """Read the waiting data, and from then on data as it arrives."""
        self.reading = True
        while self._unread and self.reading and not self.is_closed:
            data = self._unread.popleft()
            # One read returns several pieces of the socket's buffer; an empty piece is EOF.
            while data and self._unread and 0 < len(self._unread[0]) <= _READ - len(data):
                data += self._unread.popleft()
            self._read(data)

    def reset(self) -> None:
        """Reset the TCP connection; unread data is lost."""
        if not self.is_closed:
            self._unread.clear()
            self.connection.receive_eof(now=self.clock())
            self.process_output()

    def _read(self, data: bytes) -> None:
        now = self.before()
        if data:
            self.incoming.read(len(data))
            self.connection.receive_data(data, now=now)
            self.connection.check_clock(self.unix(), now=now)
        else:
            self.connection.receive_eof(now=now)
        self.process_output()

    # ----- output -----

    def wake(self) -> None:
        """Process the output soon: the connection was changed from outside."""
        if not self._woken:
            self._woken = True
            self._scheduler.at(self._scheduler.now, self._wake)

    def _wake(self) -> None:
        self._woken = False
        self.process_output()

    def process_output(self) -> None:
        """Send the output, deliver the events and set the timer. Call it after each change."""
        if self.is_closed:
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
        self.is_closed = True
        self._unread.clear()
        self.connection.on_wake = None
        self.outgoing.finish()

    def plan(self) -> None:
        """Set the timer to the connection's next one."""
        at = self.connection.next_timer()
        if at is None:
            return
        at += self.clock_lag()
        # An early timer is harmless, and costs less than a new one for each call.
        if self._timer is None or at < self._timer:
            self._timer = at
            self._scheduler.at(at, self.on_timer)

    def on_timer(self) -> None:
        """Handle the timer. Ignore timers that were replaced."""
        if self.is_closed or self._timer is None or self._scheduler.now < self._timer:
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
        self.process_output()
