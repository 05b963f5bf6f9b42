"""The client's end of a connection, and what it needs of the process that uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway_proto.client.client import Dial
from gateway_proto.client.connection import ClientConnection
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.events import Event
from gateway_proto.testing.simulation.endpoint import Endpoint
from gateway_proto.testing.simulation.observer import Observer
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.server_process import ServerEndpoint
from gateway_proto.testing.simulation.tap import frames_in, payloads_in
from gateway_proto.testing.simulation.tcp import TcpLink

__all__ = ["ClientEndpoint", "ConnectionUser", "Dialer"]


class Dialer(Protocol):
    """A client of the simulated network, as `Network.dial` uses it."""

    number: int
    """The client's number, which chooses its server."""
    end: ClientEndpoint | None
    """The end of the open connection, if any."""

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call a function after some seconds, unless the process has ended."""
        ...

    def dial_failed(self, dial: Dial, error: str) -> None:
        """Report that a dial failed."""
        ...

    def dial_succeeded(self, dial: Dial, wire: TcpLink) -> bool:
        """Open a connection on a transport. Return False if it is no longer wanted."""
        ...


class ConnectionUser(Protocol):
    """The user of a client's connection, as `ClientEndpoint` uses it."""

    @property
    def scheduler(self) -> Scheduler:
        """The clock of the simulation."""
        ...

    @property
    def observer(self) -> Observer[Any, Any]:
        """The observer of frames and payloads."""
        ...

    @property
    def frozen(self) -> bool:
        """Whether the process is frozen."""
        ...

    @property
    def clock_lag(self) -> float:
        """Seconds for which the process's monotonic clock stood still."""
        ...

    def clock(self) -> float:
        """Return the process's monotonic time in seconds."""
        ...

    def unix(self) -> float:
        """Return the unix time of its system."""
        ...

    def deliver(self, events: list[Event], size: int) -> bool:
        """Take events of the connection. Return whether to read on."""
        ...

    def dial_next(self, ended: ClientEndpoint | None) -> None:
        """Plan the next dial after a connection has ended."""
        ...


class ClientEndpoint(Endpoint):
    """The client's end of a connection."""

    connection: ClientConnection | LookupConnection

    def __init__(self, bot: ConnectionUser, connection: Any, wire: TcpLink) -> None:
        super().__init__(bot.scheduler, connection, incoming=wire.down, outgoing=wire.up)
        self._bot = bot
        self.wire: TcpLink = wire
        self.peer: ServerEndpoint | None = None
        """The server's end; None if an HTTP error answers."""
        self.paused: bool = False
        """Whether reading is paused, because the application's queue is full."""
        self.answered: bool = False
        """Whether the peer had received and answered everything before the last call."""

    def clock(self) -> float:
        """Return the process's monotonic time."""
        return self._bot.clock()

    def clock_lag(self) -> float:
        """Return the seconds for which the process's clock has stood still."""
        return self._bot.clock_lag

    def unix(self) -> float:
        """Return the unix time of the process's system."""
        return self._bot.unix()

    def before(self) -> float:
        """Note whether the peer has answered everything. Return the time."""
        peer = self.peer
        self.answered = (
            peer is not None and peer.answers and self.wire.is_empty and not self.wire.has_lost
        )
        return self.clock()

    def on_timer(self) -> None:
        """Handle a timer, unless the process is frozen."""
        if self._bot.frozen:
            self._timer = None
        else:
            super().on_timer()

    def process_output(self) -> None:
        """Process the output, unless the process is frozen."""
        if not self._bot.frozen:
            super().process_output()

    def send(self, data: bytes) -> bool:
        """Send bytes, and pass their frames and payloads to the observer."""
        for opcode, _ in frames_in(data):
            self._bot.observer.wrote(self._bot, opcode)
        for payload in payloads_in(data):
            self._bot.observer.sent(self._bot, payload)
        return self.outgoing.send(data)

    def deliver(self, events: list[Event]) -> None:
        """Queue the events for the application. Pause if its queue is full."""
        if not self._bot.deliver(events, self.connection.taken_size):
            self.pause()
        self._bot.observer.output_processed(self._bot, self)

    def pause(self) -> None:
        """Stop reading until `make_room` is called."""
        if not self.paused:
            self.reading = False
            self.paused = True
            self.connection.pause(now=self.clock())

    def make_room(self) -> None:
        """Read again: the application's queue has capacity."""
        if self.is_closed or not self.paused:
            return
        self.paused = False
        self.connection.unpause(now=self.clock())
        self._bot.observer.unpaused(self._bot)
        self.read_on()
        if not self.is_closed:
            self.plan()

    def thaw(self) -> None:
        """Read the data that arrived while the process was frozen, and process the output."""
        if self.is_closed:
            return
        if not self.paused:
            self.read_on()
        if not self.is_closed:
            self.process_output()

    def ended(self) -> None:
        """Report the end, and let the process dial next."""
        self._bot.observer.closed(self._bot, self)
        self._bot.dial_next(self)
