"""events ↔ commands, dials, clocks: a process with a client in it, as an adapter drives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from gateway_proto._layers.state import State
from gateway_proto.client import Client, Dial
from gateway_proto.client_connection import ClientConnection
from gateway_proto.commands import Command
from gateway_proto.config import Config
from gateway_proto.endpoint import LookupConnection
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Dispatch, Event
from gateway_proto.gateway import GatewayBase
from gateway_proto.session import Session
from gateway_proto.testing.agenda import Agenda
from gateway_proto.testing.chance import Chance
from gateway_proto.testing.end import End
from gateway_proto.testing.provider import ServerEnd
from gateway_proto.testing.tap import frames_in, payloads_in
from gateway_proto.testing.turns import IdentifyTurns
from gateway_proto.testing.wire import Wire

if TYPE_CHECKING:
    from gateway_proto.testing.network import Network
    from gateway_proto.testing.watch import Watch

__all__ = ["Bot", "BotEnd", "Mailbox"]

_UNIX = 1_700_000_000.0
_AFTER_GIVING_UP = 600.0
"""Seconds until somebody starts it again."""
_TICK = 1e-6


class BotEnd(End):
    """The end of a wire at a client."""

    connection: ClientConnection | LookupConnection

    def __init__(self, bot: Bot, connection: Any, wire: Wire) -> None:
        super().__init__(bot.agenda, connection, incoming=wire.down, outgoing=wire.up)
        self._bot = bot
        self.wire: Wire = wire
        self.peer: ServerEnd | None = None
        """The other end; None where it is no server's."""
        self.paused: bool = False
        """Whether nothing is read, since the application has no room."""
        self.answered: bool = False
        """Whether all that was sent has been heard and answered, as of before the last call."""

    def clock(self) -> float:
        """The process's monotonic clock."""
        return self._bot.clock()

    def behind(self) -> float:
        """Seconds for which the process's clock has stood still."""
        return self._bot.slept

    def unix(self) -> float:
        """Unix time, as the process's machine has it."""
        return self._bot.unix()

    def before(self) -> float:
        """Called ahead of each call of the machine; its clock."""
        peer = self.peer
        self.answered = (
            peer is not None and peer.answers and self.wire.is_empty and not self.wire.has_lost
        )
        return self.clock()

    def tick(self) -> None:
        """The time that was planned has come; a process that stands still hears of it later."""
        if self._bot.frozen:
            self._timer = None
        else:
            super().tick()

    def turn(self) -> None:
        """After each change; a process that stands still makes its turn later."""
        if not self._bot.frozen:
            super().turn()

    def send(self, data: bytes) -> bool:
        """Put bytes on the wire; what they say is watched."""
        for opcode, _ in frames_in(data):
            self._bot.watch.wrote(self._bot, opcode)
        for payload in payloads_in(data):
            self._bot.watch.sent(self._bot, payload)
        return self.outgoing.send(data)

    def deliver(self, events: list[Event]) -> None:
        """Let the application have the events, and read on where it has room."""
        if not self._bot.deliver(events, self.connection.taken_size):
            self.pause()
        self._bot.watch.turned(self._bot, self)

    def pause(self) -> None:
        """Read nothing until there is room."""
        if not self.paused:
            self.reading = False
            self.paused = True
            self.connection.pause(now=self.clock())

    def make_room(self) -> None:
        """The application has room again."""
        if self.over or not self.paused:
            return
        self.paused = False
        self.connection.unpause(now=self.clock())
        self._bot.watch.unpaused(self._bot)
        self.read_on()
        if not self.over:
            self.plan()

    def ended(self) -> None:
        """The connection is CLOSED, and the transport with it."""
        self._bot.watch.closed(self._bot, self)
        self._bot.go_on(self)


class Mailbox(GatewayBase):
    """The events of one process, in the order in which it handles them."""

    def __init__(self, client: Client, bot: Bot, *, queue_limit: int) -> None:
        super().__init__(client, queue_limit=queue_limit)
        self._bot = bot

    def put(self, events: Sequence[Event], size: int) -> bool:
        """Let events wait that came in `size` bytes of messages; whether there is room for more."""
        self._put(events, size)
        return self._has_room()

    @property
    def bytes(self) -> int:
        """Bytes of the dispatches that wait."""
        waiting = (*self._next, *self._coming)
        return sum(len(event.raw) for event in waiting if isinstance(event, Dispatch))

    @property
    def size(self) -> int:
        """How many wait."""
        return self._waits

    @property
    def handling(self) -> Event | None:
        """What was taken last, and is not handled yet."""
        return self._handling

    def forget(self) -> None:
        """The session was ended on purpose."""
        self._forget_session()

    def _make_room(self) -> None:
        if self._bot.end is not None:
            self._bot.end.make_room()


class Bot:
    """One client and its application, in a process that may be stopped, die, and come back.

    What outlives the process is `saved`, the session as of the events that were handled.
    """

    def __init__(
        self,
        number: int,
        config: Config,
        *,
        agenda: Agenda,
        network: Network,
        watch: Watch,
        chance: Chance,
        turns: IdentifyTurns | None,
        queue_limit: int,
        handle: Callable[[Bot, Event], None] | None,
    ) -> None:
        self.number: int = number
        """Which of the simulation's clients it is, counted from 0."""
        self.config: Config = config
        self.agenda: Agenda = agenda
        self.watch: Watch = watch
        self.chance: Chance = chance
        self.slept: float = 0.0
        """Seconds for which its clock stood still."""
        self.unix_skew: float = 0.0
        """Seconds by which unix time was set."""
        self.frozen: bool = False
        """Whether it stands still: nothing in it runs."""
        self.slowness: float = 0.0
        """Seconds that the application takes for an event."""
        self.alive: bool = False
        """Whether the process runs."""
        self.life: int = 0
        """How often it was started."""
        self.started_at: float = 0.0
        """When it was started last, in seconds of the simulation."""
        self.saved: str | None = None
        """The session as the last life left it, as JSON."""
        self.end: BotEnd | None = None
        """Of the wire that is open."""
        self._network = network
        self._turns = turns
        self._queue_limit = queue_limit
        self._handle = handle
        self._deferred: list[Callable[[], None]] = []
        self._working = False
        self._stops_at_slot = False
        self._stopping: bool | None = None  # whether the session is kept

    @property
    def is_stopping(self) -> bool:
        """Whether the application has stopped the client."""
        return self._stopping is not None

    @property
    def is_ready(self) -> bool:
        """Whether its connection is READY."""
        connection = self.connection
        return self.alive and connection is not None and connection.state is State.READY

    @property
    def connection(self) -> ClientConnection | None:
        """To the gateway; None while there is none."""
        if self.end is None or isinstance(self.end.connection, LookupConnection):
            return None
        return self.end.connection

    # ----- for applications -----

    def send(self, command: Command) -> bool:
        """Send a command; False where the client does not take it now."""
        return self._try(lambda connection: connection.send(command, now=self.clock()))

    def request(self, request: Any) -> bool:
        """Send a request, whose answer comes as an event; False where it is not taken now."""
        return self._try(lambda connection: connection.request(request, now=self.clock()))

    def _try(self, do: Callable[[ClientConnection], object]) -> bool:
        connection, end = self.connection, self.end
        if connection is None or end is None or self.frozen:
            return False
        try:
            do(connection)
        except LocalProtocolError as error:
            self.watch.note(self, f"refused: {error}")
            return False
        end.wake()
        return True

    # ----- clocks -----

    def clock(self) -> float:
        """The process's monotonic clock, in seconds."""
        return self.agenda.now - self.slept

    def unix(self) -> float:
        """What its machine believes to be unix time."""
        return _UNIX + self.agenda.now + self.unix_skew

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Do something at a time of the simulation, if this life lasts; not while it is frozen."""
        life = self.life

        def run() -> None:
            if self.life != life or not self.alive:
                return
            if self.frozen:
                self._deferred.append(run)
            else:
                do()

        self.agenda.at(time, run)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """The same, in so many seconds."""
        self.at(self.agenda.now + seconds, do)

    def freeze(self, seconds: float, *, clock_stands: bool) -> None:
        """Stand still for a while; with the machine asleep the clock stands too."""
        self.frozen = True
        if self.end is not None:
            self.end.reading = False
        life = self.life
        began = self.agenda.now

        def thaw() -> None:
            if self.life == life and self.alive:
                self.thaw(self.agenda.now - began if clock_stands else 0.0)

        self.agenda.after(seconds, thaw)

    def thaw(self, slept: float) -> None:
        """Run on: first read what has come meanwhile, then do what was due."""
        self.frozen = False
        self.slept += slept
        self.watch.woke(self)
        end = self.end
        if end is not None and not end.over:
            if not end.paused:
                end.read_on()
            if not end.over:
                end.turn()
        deferred, self._deferred = self._deferred, []
        for run in deferred:
            run()

    # ----- a life -----

    def start(self) -> None:
        """Start the process, with what it had saved."""
        if self.alive:
            return
        self.alive = True
        self.life += 1
        self.started_at = self.agenda.now
        self.frozen = False
        self.slowness = 0.0
        self._deferred = []
        self._working = False
        self._stopping = None
        session = None if self.saved is None else Session.from_json(self.saved)
        config = attrs.evolve(self.config, unix_offset=self.unix() - self.clock())
        turns = self._turns
        on_slot_needed = None if turns is None else self._slot_needed
        self.client: Client = Client(config, session=session, on_slot_needed=on_slot_needed)
        self.mailbox: Mailbox = Mailbox(self.client, self, queue_limit=self._queue_limit)
        self.watch.began(self)
        self.go_on(None)

    def crash(self) -> None:
        """Die: all is lost but what was saved, and the system closes the wire."""
        self._save(self.mailbox.session)
        self.alive = False
        if self._turns is not None:
            self._turns.leave(self.number)
        end, self.end = self.end, None
        if end is not None and not end.over:
            end.close()

    def stop(self, *, keep_session: bool) -> None:
        """Close, and dial no more; the process ends when all is handled."""
        if self._stopping is not None:
            return
        self._stopping = keep_session
        self.client.stop(keep_session=keep_session, now=self.clock())
        if self.end is None:
            self.go_on(None)
            return
        end = self.end
        end.make_room()
        end.turn()

    def go_on(self, ended: BotEnd | None) -> None:
        """Dial next, or be done: what an adapter does between two connections."""
        if ended is not None:
            self.end = None
        self._deliver(self.client.events())
        dial = self.client.next_dial()
        if dial is not None:
            self._dial_at(dial)
        else:
            self.watch.over(self)
            self._over()

    def _over(self) -> None:
        if self.mailbox.has_event or self.mailbox.handling is not None:
            self.after(1.0, self._over)
            return
        if self._stopping is False:
            self.mailbox.forget()
        self.crash()
        gave_up = self.client.gave_up is not None
        wait = _AFTER_GIVING_UP if gave_up else 10.0 + 60.0 * self.chance.random()
        self.agenda.after(wait, self.start)

    def _save(self, session: Session | None) -> None:
        self.saved = None if session is None else session.to_json()

    def _slot_needed(self, connection: ClientConnection, now: float) -> None:
        assert self._turns is not None
        if self._stops_at_slot:
            self._stops_at_slot = False
            self.after(0.0, lambda: self._stop_and_grant(connection))
        else:
            self._turns.needed(self, connection)

    def stop_at_slot(self) -> None:
        """Stop when the next identify slot is needed, and grant it then; at once without turns."""
        if self._turns is not None:
            self._stops_at_slot = True
        elif (connection := self.connection) is not None:
            self._stop_and_grant(connection)

    def _stop_and_grant(self, connection: ClientConnection) -> None:
        self.stop(keep_session=True)
        if connection is self.connection:
            connection.grant_identify(now=self.clock())

    # ----- dials -----

    def _dial_at(self, dial: Dial) -> None:
        self.at(dial.at + self.slept, lambda: self._dial(dial))

    def _dial(self, dial: Dial) -> None:
        if self.client.next_dial() is not dial:  # stopped meanwhile
            return
        if self.clock() < dial.at - _TICK:  # the clock stood still meanwhile
            self._dial_at(dial)
            return
        self.watch.dialled(self, dial)
        self._network.dial(self, dial)

    def dial_failed(self, dial: Dial, error: str) -> None:
        """There is no wire."""
        if self.client.next_dial() is dial:
            self.client.dial_failed(error, now=self.clock())
            self.go_on(None)

    def dial_succeeded(self, dial: Dial, wire: Wire) -> bool:
        """There is a wire; False: it is not wanted any more."""
        if self.client.next_dial() is not dial:
            return False
        self.end = BotEnd(self, self.client.dial_succeeded(now=self.clock()), wire)
        return True

    # ----- events -----

    def deliver(self, events: list[Event], size: int) -> bool:
        """Take what a connection and the client have to say; whether there is room for more."""
        self.watch.delivered(self, events)
        self._deliver(events, size)
        return self._deliver(self.client.events()) or self._stopping is not None

    def _deliver(self, events: list[Event], size: int = 0) -> bool:
        for event in events:
            self.watch.received(self, event)
        has_room = self.mailbox.put(events, size)
        if self.mailbox.has_event and not self._working:
            self._working = True
            self.after(0.0, self._work)
        return has_room

    def _work(self) -> None:
        """Handle events, one after the other; each is handled when the next is asked for."""
        mailbox = self.mailbox
        while True:
            handled, before = mailbox.handling, mailbox.session
            event = mailbox.take()
            if handled is not None:
                self.watch.handled(self, handled, before)
            if event is None:
                self._working = False
                return
            if self._handle is not None:
                self._handle(self, event)
            if self.slowness:
                self.after(self.slowness, self._work)
                return
