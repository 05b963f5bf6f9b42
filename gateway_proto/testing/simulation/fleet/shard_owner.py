"""One shard at one process: a client, and the ledger of what it received."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from gateway_proto.client.client import Client, Dial
from gateway_proto.client.connection import ClientConnection
from gateway_proto.config import Config
from gateway_proto.events import Dispatch, Event
from gateway_proto.fleet import GenerationRole, Ledger, LogHead, LogRecord, Preparation, Stage
from gateway_proto.fleet.generation_steps import (
    LEAVE_RESUME_SECONDS,
    is_about_to_resume,
    stage_of,
)
from gateway_proto.intents import Intents
from gateway_proto.state import State
from gateway_proto.testing.simulation.client_endpoint import ClientEndpoint
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.fleet.observer import LogId
from gateway_proto.testing.simulation.fleet.store import StoreClient
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.tcp import TcpLink

if TYPE_CHECKING:
    from gateway_proto.testing.simulation.network import Network

__all__ = ["OwnerProcess", "ShardOwner"]

_RETRY = 0.1
"""Seconds before a request that was not answered is sent again."""
_SLOT_SECONDS = 0.5
"""Seconds for which a granted identify slot may be used."""
_TICK = 1e-6
"""Seconds by which two clocks may differ because of rounding."""


class OwnerProcess(Protocol):
    """The member of an owner at its process, as the owner uses it."""

    member: str
    store: StoreClient
    role: GenerationRole

    @property
    def scheduler(self) -> Scheduler:
        """The clock of the simulation."""
        ...

    @property
    def frozen(self) -> bool:
        """Whether the process is frozen."""
        ...

    @property
    def clock_lag(self) -> float:
        """Seconds for which the process's monotonic clock stood still."""
        ...

    @property
    def thawed_at(self) -> float:
        """Last time at which the process ran again, or minus infinity."""
        ...

    def clock(self) -> float:
        """Return the process's monotonic time in seconds."""
        ...

    def unix(self) -> float:
        """Return the unix time of its system."""
        ...

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Call a function at a time, unless the process has ended."""
        ...

    def may_dial(self, since: float) -> bool:
        """Whether a heartbeat sent after a time was answered."""
        ...

    def join_slots(self, shard: int, grant: Callable[[float], bool]) -> None:
        """Ask for an identify slot."""
        ...

    def leave_slots(self, shard: int) -> None:
        """Withdraw the request for an identify slot."""
        ...

    def owner_released(self, owner: ShardOwner) -> None:
        """Report that all of a released shard is in its log."""
        ...

    def owner_fenced(self, owner: ShardOwner) -> None:
        """Report that an append was refused, since another owner claimed the shard."""
        ...


class ShardOwner:
    """A shard at one process, from its claim until it is released, fenced or lost.

    Each event goes into the ledger, one append is in flight, and an append without an answer is
    sent again. After a loss of the connection it dials under a fresh lease only. The role of its
    generation says whether the ledger keeps events.
    """

    def __init__(
        self,
        process: OwnerProcess,
        log: LogId,
        head: LogHead,
        config: Config,
        *,
        network: Network,
        observer: FleetHistory,
        random: SeededRandom,
    ) -> None:
        self.process: OwnerProcess = process
        self.log: LogId = log
        self.shard: int = log.shard
        self.number: int = 0
        """The number that chooses the server."""
        self.claim: str = head.id
        """The id of the claim."""
        self.observer: FleetHistory = observer
        role = process.role
        self.ledger: Ledger = Ledger(process.member, head, keep_events=role.keeps_events)
        """The events that are not in the log yet."""
        self.client: Client = Client(config, session=head.session, on_slot_needed=self._slot_needed)
        self.end: ClientEndpoint | None = None
        """The end of the open connection, if any."""
        self.is_over: bool = False
        """Whether the shard was released, fenced or lost."""
        self.preparation: Preparation = Preparation()
        """Whether the shard is READY, while its generation is prepared."""
        self.stage: Stage | None = None
        """Progress of the shard in the change to another generation."""
        self.left_unresumed: bool = False
        """Whether it was closed for good although its last resume had no answer."""
        self._network = network
        self._random = random
        self._releasing = False
        self._is_stopped = False
        self._is_closing = False
        self._leaving_since: float | None = None
        self._in_flight: LogRecord | None = None
        self._lost_at: float | None = None
        self._waiting_dial: Dial | None = None
        if role is GenerationRole.ENTERING:
            self.ledger.enter()
        if role.dials(head.session):
            self.dial_next(None)
            if role is GenerationRole.LEAVING:
                self.leave()
        else:
            self._cut_over()

    def __repr__(self) -> str:
        """Return the repr: the shard, the member and the state of the connection."""
        connection = self.connection
        state = None if connection is None else connection.state.value
        return f"<{self.log} at {self.process.member}, {state}>"

    @property
    def connection(self) -> ClientConnection | None:
        """The connection to the gateway, if any."""
        return self.end.connection if self.end is not None else None  # type: ignore[return-value]

    @property
    def is_ready(self) -> bool:
        """Whether the connection is READY."""
        connection = self.connection
        return not self.is_over and connection is not None and connection.state is State.READY

    @property
    def is_identifying(self) -> bool:
        """Whether Identify was sent, and READY has not arrived."""
        connection = self.connection
        return (
            connection is not None
            and connection.state is State.IDENTIFYING
            and not connection.awaiting_identify_slot
        )

    # ----- the process, for the connection -----

    @property
    def scheduler(self) -> Scheduler:
        """The clock of the simulation."""
        return self.process.scheduler

    @property
    def frozen(self) -> bool:
        """Whether the process is frozen."""
        return self.process.frozen

    @property
    def clock_lag(self) -> float:
        """Seconds for which the process's monotonic clock stood still."""
        return self.process.clock_lag

    def clock(self) -> float:
        """Return the process's monotonic time in seconds."""
        return self.process.clock()

    def unix(self) -> float:
        """Return the unix time of its system."""
        return self.process.unix()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call a function after some seconds, unless the process or the owner has ended."""

        def run() -> None:
            if not self.is_over:
                do()

        self.process.at(self.scheduler.now + seconds, run)

    # ----- dials -----

    def dial_next(self, ended: ClientEndpoint | None) -> None:
        """Plan the next dial, if there is one."""
        if ended is not None:
            self.end = None
            self._lost_at = self.clock()
            if not self.is_over:  # else the process may have claimed the shard again
                self.process.leave_slots(self.shard)
            self.observer.connection_lost(self)
        if self.is_over:
            return
        self._take(self.client.events())
        dial = self.client.next_dial()
        if dial is not None:
            self._dial_at(dial)
        self._append()
        self._try_leave()

    def _dial_at(self, dial: Dial) -> None:
        self.process.at(dial.at + self.clock_lag, lambda: self._try_dial(dial))

    def _try_dial(self, dial: Dial) -> None:
        if self.is_over or self.client.next_dial() is not dial:
            return
        if self.clock() < dial.at - _TICK:  # the clock stood still meanwhile
            self._dial_at(dial)
        elif self._lost_at is not None and not self.process.may_dial(since=self._lost_at):
            self._waiting_dial = dial
        else:
            self.observer.dials(self, dial)
            self._network.dial(self, dial)

    def lease_renewed(self) -> None:
        """Dial if a dial waited for a heartbeat."""
        dial, self._waiting_dial = self._waiting_dial, None
        if dial is not None:
            self._try_dial(dial)

    def dial_failed(self, dial: Dial, error: str) -> None:
        """Report a failed dial to the client."""
        if self.client.next_dial() is dial:
            self.client.dial_failed(error, now=self.clock())
            self.dial_next(None)

    def dial_succeeded(self, dial: Dial, wire: TcpLink) -> bool:
        """Open a connection on a transport. Return False if the client no longer wants it."""
        if self.is_over or self.client.next_dial() is not dial:
            return False
        self.end = ClientEndpoint(self, self.client.dial_succeeded(now=self.clock()), wire)
        return True

    # ----- identify slots -----

    def _slot_needed(self, connection: ClientConnection, _now: float) -> None:
        def grant(_at: float) -> bool:
            waits = connection is self.connection and connection.awaiting_identify_slot
            if waits:
                self._check_claim(connection, self.clock())
            return waits

        self.process.join_slots(self.shard, grant)

    def _check_claim(self, connection: ClientConnection, granted_at: float) -> None:
        """Identify if the claim is still in the log: an Identify is not spent on a lost shard."""

        def read(head: LogHead | None) -> None:
            end, own = self.end, self.ledger.head
            if self.is_over or end is None or connection is not self.connection:
                return
            is_late = self.clock() - granted_at > _SLOT_SECONDS
            if head is not None and (head.position, head.id) != (own.position, own.id):
                self.ledger.touch()  # the append is refused, unless the head is an own record
                self._append()
            elif head is not None and not is_late:
                connection.grant_identify(now=self.clock())
                end.process_output()
                return
            self._slot_needed(connection, granted_at)

        self.process.store.head(self.shard, read, lambda: read(None))

    # ----- events and appends -----

    def deliver(self, events: list[Event], size: int) -> bool:
        """Put events into the ledger. Return whether it has room for more."""
        if self.is_over:
            return True
        self._take(events)
        connection = self.connection
        if connection is not None and connection.state is not State.CLOSED:  # else dial_next
            self._take(self.client.events())
            self._append()
            self._try_leave()
        return self.ledger.has_room

    def _take(self, events: list[Event]) -> None:
        for event in events:
            self.observer.received(self, event)
            if self._is_closing and not isinstance(event, Dispatch):
                continue  # the session was ended on purpose
            if not self.process.role.keeps_events:
                self.preparation.add(event, now=self.clock())
            self.ledger.add(event)

    def _append(self) -> None:
        """Send the next append, if none is in flight."""
        if self._in_flight is not None or self.is_over:
            return
        append = self.ledger.next_append()
        if append is None:
            self._try_release()
            return
        self._in_flight = append[1]
        self.process.store.append(self.shard, *append, self._answered, self._append_failed)

    def _append_failed(self) -> None:
        self._in_flight = None
        self.after(_RETRY, self._append)

    def _answered(self, position: int | None) -> None:
        if self.is_over:
            return
        if position is None:
            self._read_head()
        else:
            self.ledger.appended(position)
            self._append_next()

    def _read_head(self) -> None:
        self.process.store.head(
            self.shard, self._head_read, lambda: self.after(_RETRY, self._read_head)
        )

    def _head_read(self, head: LogHead) -> None:
        if self.is_over:
            return
        if self.ledger.refused(head):
            self._append_next()
        else:
            self.observer.owner(self, f"is fenced by {head.by} at {head.position}")
            self.end_now()
            # The program around it needs a while to end. Meanwhile the process may lose the shard,
            # claim it again and own it.
            seconds = 8.0 * self._random.random() ** 4
            self.process.at(self.scheduler.now + seconds, lambda: self.process.owner_fenced(self))

    def _append_next(self) -> None:
        record, self._in_flight = self._in_flight, None
        if record is not None and self.ledger.head.id == record.id:
            self.stage = stage_of(record) or self.stage
        if self.end is not None and self.ledger.has_room:
            self.end.make_room()
        self._append()

    # ----- the change to another generation -----

    def enter(self) -> None:
        """Keep the events from now on, and log that."""
        self.ledger.enter()
        self._append()

    def leave(self) -> None:
        """Close the shard for good once nothing is missing in its log, and log the cutover."""
        if self._leaving_since is None:
            self._leaving_since = self.clock()
            self.after(LEAVE_RESUME_SECONDS, self._try_leave)
            self._try_leave()

    def must_resume(self) -> bool:
        """Whether the server will send what the connection has missed."""
        connection = self.connection
        state = None if connection is None else connection.state
        return is_about_to_resume(self.client.session, state)

    def _try_leave(self) -> None:
        since = self._leaving_since
        if since is None or self.is_over or self._is_closing:
            return
        if self.must_resume():
            if self.clock() < since + LEAVE_RESUME_SECONDS - _TICK:
                return
            self.left_unresumed = True
        self.observer.leaves(self)
        self._cut_over()

    def _cut_over(self) -> None:
        self._is_closing = True
        self._stop_client(keep_session=False)
        self.ledger.cut_over()
        self._append()

    # ----- the end -----

    def release(self) -> None:
        """Close the connection and release the shard, after READY if it is identifying."""
        self._releasing = True
        self._try_release()

    def may_release(self) -> bool:
        """Whether the connection may be closed: not between Identify and READY."""
        return not self.is_identifying

    def _try_release(self) -> None:
        if not self._releasing or self.is_over or not self.may_release():
            return
        self._stop_client(keep_session=True)
        if not self.is_over and self.ledger.is_clear and self._in_flight is None:
            self.end_now()
            self.observer.released(self)
            self.process.owner_released(self)

    def end_now(self, *, keep_session: bool = True) -> None:
        """Close the connection, and append nothing more."""
        self.is_over = True
        self.process.leave_slots(self.shard)
        self._stop_client(keep_session=keep_session)

    def _stop_client(self, *, keep_session: bool) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        end, self._waiting_dial = self.end, None
        self.client.stop(keep_session=keep_session, now=self.clock())
        if end is not None:
            end.process_output()

    def crash(self, *, silent: bool) -> None:
        """End with the process. The peer is informed by the system, unless `silent`."""
        self.is_over = True
        end, self.end = self.end, None
        if end is None or end.is_closed:
            return
        if silent:
            end.wire.up.swallows = end.wire.down.swallows = True
        end.close()


def client_config(shard: int, count: int, host: str, random: Any, **changes: Any) -> Config:
    """Return the configuration of a shard's client."""
    return Config(
        token="secret-of-the-fleet",
        intents=Intents.GUILDS,  # so that the guilds arrive after READY
        api_url=None,
        gateway_url=f"wss://{host}",
        shard=(shard, count),
        wait_for_identify_slot=True,
        random=random,
        unix_offset=0.0,
        resume_attempts=10**6,
        backoff_max=8.0,
        dial_backoff_max=8.0,
        **changes,
    )
