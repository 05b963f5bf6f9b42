"""A process with a client in it, driven as an adapter drives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from gateway_proto.client.client import Client, Dial
from gateway_proto.client.connection import ClientConnection
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.commands import Command
from gateway_proto.config import Config
from gateway_proto.driver.event_queue import BaseGateway
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Dispatch, Event
from gateway_proto.session import Session
from gateway_proto.state import State
from gateway_proto.testing.simulation.client_endpoint import ClientEndpoint
from gateway_proto.testing.simulation.identify_service import IdentifyService
from gateway_proto.testing.simulation.observer import Observer
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.tcp import TcpLink

__all__ = ["ClientProcess", "SimulatedGateway"]

_AFTER_GIVING_UP = 600.0
"""Seconds until the process is started again."""
_TICK = 1e-6


class SimulatedGateway(BaseGateway):
    """The queue of events of one process, as the adapters have it."""

    def __init__(
        self, client: Client, resume_reading: Callable[[], None], *, queue_limit: int
    ) -> None:
        super().__init__(client, queue_limit=queue_limit)
        self._on_capacity = resume_reading

    def put(self, events: Sequence[Event], size: int) -> bool:
        """Queue events of `size` bytes of messages. Return whether there is capacity for more."""
        self._enqueue(events, size)
        return self._has_capacity()

    @property
    def bytes(self) -> int:
        """The size of the queued dispatches in bytes."""
        waiting = (*self._next, *self._incoming)
        return sum(len(event.raw) for event in waiting if isinstance(event, Dispatch))

    @property
    def size(self) -> int:
        """The number of queued events."""
        return self._queued_count

    @property
    def handling(self) -> Event | None:
        """The event that was taken last and is not handled yet."""
        return self._handling

    def forget(self) -> None:
        """Forget the session, which was ended on purpose."""
        self._forget_session()

    def _resume_reading(self) -> None:
        self._on_capacity()


class ClientProcess(SimulatedProcess):
    """A process with one client and its application, which may stop, crash and start again.

    Only `saved` outlives the process: the session as of the handled events. `dial` is called for
    each dial.
    """

    # Declared again, since pyright infers the types of attributes that a subclass assigns.
    alive: bool
    clock_lag: float
    frozen: bool
    run_number: int

    def __init__(
        self,
        number: int,
        config: Config,
        *,
        scheduler: Scheduler,
        dial: Callable[[ClientProcess, Dial], None],
        observer: Observer[ClientProcess, ClientEndpoint],
        random: SeededRandom,
        identify_service: IdentifyService | None,
        queue_limit: int,
        handle: Callable[[ClientProcess, Event], None] | None,
    ) -> None:
        super().__init__(scheduler)
        self.number: int = number
        """The client's number in the simulation, from 0."""
        self.config: Config = config
        self.observer: Observer[ClientProcess, ClientEndpoint] = observer
        self.random: SeededRandom = random
        self.slowness: float = 0.0
        """Seconds that the application takes to handle an event."""
        self.started_at: float = 0.0
        """The time of the last start, in seconds of the simulation."""
        self.saved: str | None = None
        """The session that the last run stored, as JSON."""
        self.end: ClientEndpoint | None = None
        """The end of the open connection, if any."""
        self._dial = dial
        self._identify_service = identify_service
        self._queue_limit = queue_limit
        self._handle = handle
        self._working = False
        self._stops_at_slot = False
        self._stopping: bool | None = None  # None: not stopping; else whether the session is kept

    @property
    def is_stopping(self) -> bool:
        """Whether the application has stopped the client."""
        return self._stopping is not None

    @property
    def is_ready(self) -> bool:
        """Whether the client's connection is READY."""
        connection = self.connection
        return self.alive and connection is not None and connection.state is State.READY

    @property
    def connection(self) -> ClientConnection | None:
        """The connection to the gateway, if any."""
        if self.end is None or isinstance(self.end.connection, LookupConnection):
            return None
        return self.end.connection

    # ----- for applications -----

    def send(self, command: Command) -> bool:
        """Send a command. Return False if the client does not accept it now."""
        return self._try(lambda connection: connection.send(command, now=self.clock()))

    def request(self, request: Any) -> bool:
        """Send a request, which an event answers. Return False if it is not accepted now."""
        return self._try(lambda connection: connection.request(request, now=self.clock()))

    def _try(self, do: Callable[[ClientConnection], object]) -> bool:
        connection, end = self.connection, self.end
        if connection is None or end is None or self.frozen:
            return False
        try:
            do(connection)
        except LocalProtocolError as error:
            self.observer.traced(self, f"refused: {error}")
            return False
        end.wake()
        return True

    # ----- freezing -----

    def freeze(self, seconds: float, *, clock_stands: bool) -> None:
        """Freeze for some seconds. In system suspend the monotonic clock stands still too."""
        self.frozen = True
        if self.end is not None:
            self.end.reading = False
        number = self.run_number
        began = self.scheduler.now

        def thaw() -> None:
            if self.run_number == number and self.alive:
                self.thaw(self.scheduler.now - began if clock_stands else 0.0)

        self.scheduler.after(seconds, thaw)

    def thaw(self, seconds: float) -> None:
        """Run again: first read the data that has arrived, then call what was due."""
        self.frozen = False
        self.clock_lag += seconds
        self.observer.process_resumed(self)
        if self.end is not None:
            self.end.thaw()
        self.run_deferred()

    # ----- start and stop -----

    def start(self) -> None:
        """Start the process with its stored session."""
        if self.alive:
            return
        self.alive = True
        self.run_number += 1
        self.started_at = self.scheduler.now
        self.frozen = False
        self.slowness = 0.0
        self._deferred = []
        self._working = False
        self._stopping = None
        session = None if self.saved is None else Session.from_json(self.saved)
        config = attrs.evolve(self.config, unix_offset=self.unix() - self.clock())
        service = self._identify_service
        on_slot_needed = None if service is None else self._slot_needed
        self.client: Client = Client(config, session=session, on_slot_needed=on_slot_needed)
        self.gateway: SimulatedGateway = SimulatedGateway(
            self.client, self._resume_reading, queue_limit=self._queue_limit
        )
        self.observer.began(self)
        self.dial_next(None)

    def crash(self) -> None:
        """End at once: only the stored session is left, and the system closes the transport."""
        self._save(self.gateway.session)
        self.alive = False
        if self._identify_service is not None:
            self._identify_service.leave(self.number)
        end, self.end = self.end, None
        if end is not None and not end.is_closed:
            end.close()

    def stop(self, *, keep_session: bool) -> None:
        """Stop the client. The process ends when all events are handled."""
        if self._stopping is not None:
            return
        self._stopping = keep_session
        self.client.stop(keep_session=keep_session, now=self.clock())
        if self.end is None:
            self.dial_next(None)
            return
        end = self.end
        end.make_room()
        end.process_output()

    def dial_next(self, ended: ClientEndpoint | None) -> None:
        """Plan the next dial, or end: the step of an adapter between two connections."""
        if ended is not None:
            self.end = None
        self._deliver(self.client.events())
        dial = self.client.next_dial()
        if dial is not None:
            self._dial_at(dial)
        else:
            self.observer.client_stopped(self)
            self._end_when_handled()

    def _end_when_handled(self) -> None:
        if self.gateway._has_event or self.gateway.handling is not None:
            self.after(1.0, self._end_when_handled)
            return
        if self._stopping is False:
            self.gateway.forget()
        self.crash()
        gave_up = self.client.gave_up is not None
        wait = _AFTER_GIVING_UP if gave_up else 10.0 + 60.0 * self.random.random()
        self.scheduler.after(wait, self.start)

    def _save(self, session: Session | None) -> None:
        self.saved = None if session is None else session.to_json()

    def _slot_needed(self, connection: ClientConnection, now: float) -> None:
        assert self._identify_service is not None
        if self._stops_at_slot:
            self._stops_at_slot = False
            self.after(0.0, lambda: self._stop_and_grant(connection))
        else:
            self._identify_service.needed(self, connection)

    def stop_at_slot(self) -> None:
        """Stop when the next identify slot is needed, then grant it; without sharding, at once."""
        if self._identify_service is not None:
            self._stops_at_slot = True
        elif (connection := self.connection) is not None:
            self._stop_and_grant(connection)

    def _stop_and_grant(self, connection: ClientConnection) -> None:
        self.stop(keep_session=True)
        if connection is self.connection:
            connection.grant_identify(now=self.clock())

    # ----- dials -----

    def _dial_at(self, dial: Dial) -> None:
        self.at(dial.at + self.clock_lag, lambda: self._try_dial(dial))

    def _try_dial(self, dial: Dial) -> None:
        if self.client.next_dial() is not dial:  # stopped meanwhile
            return
        if self.clock() < dial.at - _TICK:  # the clock stood still meanwhile
            self._dial_at(dial)
            return
        self.observer.dialled(self, dial)
        self._dial(self, dial)

    def dial_failed(self, dial: Dial, error: str) -> None:
        """Report a failed dial to the client."""
        if self.client.next_dial() is dial:
            self.client.dial_failed(error, now=self.clock())
            self.dial_next(None)

    def dial_succeeded(self, dial: Dial, wire: TcpLink) -> bool:
        """Open a connection on a transport. Return False if the client no longer wants it."""
        if self.client.next_dial() is not dial:
            return False
        self.end = ClientEndpoint(self, self.client.dial_succeeded(now=self.clock()), wire)
        return True

    # ----- events -----

    def _resume_reading(self) -> None:
        if self.end is not None:
            self.end.make_room()

    def deliver(self, events: list[Event], size: int) -> bool:
        """Queue the events of a connection and the client. Return whether to read on."""
        self.observer.delivered(self, events)
        self._deliver(events, size)
        return self._deliver(self.client.events()) or self._stopping is not None

    def _deliver(self, events: list[Event], size: int = 0) -> bool:
        for event in events:
            self.observer.received(self, event)
        has_capacity = self.gateway.put(events, size)
        if self.gateway._has_event and not self._working:
            self._working = True
            self.after(0.0, self._work)
        return has_capacity

    def _work(self) -> None:
        """Handle events in order. An event counts as handled when the next one is taken."""
        gateway = self.gateway
        while True:
            handled, before = gateway.handling, gateway.session
            event = gateway._next_event()
            if handled is not None:
                self.observer.handled(self, handled, before)
            if event is None:
                self._working = False
                return
            if self._handle is not None:
                self._handle(self, event)
            if self.slowness:
                self.after(self.slowness, self._work)
                return
