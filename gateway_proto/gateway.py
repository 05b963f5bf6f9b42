"""Client ↔ an application: the events that wait, and the session as of those it has handled.

The gateways of all event loops are made of this, and shards take their turns here. An event counts
as handled when the next one is asked for; the session as of the handled events is what to store if
a restart should miss nothing.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Sequence

import msgspec

from gateway_proto._layers.state import State
from gateway_proto.client import Client
from gateway_proto.commands import Command
from gateway_proto.events import Closed, Dispatch, Event
from gateway_proto.session import Session, session_after

__all__ = ["GatewayBase", "Turns"]


class GatewayBase(abc.ABC):
    """What an adapter's gateway is, apart from its event loop; `turns` are its fellows'."""

    __slots__ = (
        "_client",
        "_coming",
        "_handling",
        "_is_stalled",
        "_next",
        "_queue_limit",
        "_sequence",
        "_session",
        "_turns",
        "over",
    )

    def __init__(self, client: Client, *, queue_limit: int, turns: Turns | None = None) -> None:
        self._client = client
        self._turns = turns
        self._coming: list[Event] = []
        self._next: list[Event] = []  # those that came before, the first at the end
        self._queue_limit = queue_limit
        self._handling: Event | None = None
        self._session = client.session
        self._sequence: int | None = None  # handled since the session was made
        self._is_stalled = False
        self.over: bool = False
        """Whether it dials no more; events may still wait."""

    @property
    def session(self) -> Session | None:
        """As of the last event *handled*: one counts as handled when the next is asked for."""
        if self._session is None or self._sequence is None:
            return self._session
        return msgspec.structs.replace(self._session, sequence=self._sequence)

    @property
    def state(self) -> State | None:
        """Where the present connection is; None while there is none."""
        connection = self._client.connection
        return None if connection is None else connection.state

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        return self._client.latency

    @property
    def waiting(self) -> tuple[Command, ...]:
        """Commands that wait for room under the rate limits, in order."""
        return self._client.waiting

    @property
    def gave_up(self) -> str | None:
        """Why the client dials no more; None while it lives, and after `stop`."""
        return self._client.gave_up

    @property
    def last_closed(self) -> Closed | None:
        """How the last connection ended."""
        return self._client.last_closed

    def take(self) -> Event | None:
        """The next event; None where none waits. The one before counts as handled."""
        handling = self._handling
        if type(handling) is Dispatch and handling.sequence is not None:
            # A new session for each would cost more than everything else that is done for it.
            self._sequence = handling.sequence
        elif handling is not None:
            self.handled()
        if not self._next:
            self._handling = None
            if not self._coming:
                return None
            # Two lists that are empty cost a tenth of the memory of a deque that is.
            self._next, self._coming = self._coming, []
            self._next.reverse()
        self._handling = event = self._next.pop()
        if self._is_stalled and self._waits <= self._queue_limit // 2:
            self._is_stalled = False
            self._make_room()
        return event

    def handled(self) -> None:
        """The event that was taken last is handled."""
        event, self._handling = self._handling, None
        if event is not None:
            self._session, self._sequence = session_after(self.session, event), None

    @property
    def has_event(self) -> bool:
        """Whether an event waits."""
        return bool(self._next or self._coming)

    @property
    def _waits(self) -> int:
        return len(self._next) + len(self._coming)

    @abc.abstractmethod
    def _make_room(self) -> None:
        """Read on: half of the events that wait have been taken."""

    def _put(self, events: Sequence[Event]) -> None:
        """Let events wait to be taken."""
        if self._turns is not None and events and not self.has_event:
            self._turns.join(self)
        self._coming.extend(events)

    def _has_room(self) -> bool:
        """Whether to read on now; if not, `_make_room` says when."""
        # Who does not read waits for that call: a turn of a timer meanwhile must not forget it.
        self._is_stalled = self._is_stalled or self._waits >= self._queue_limit
        return not self._is_stalled

    def _forget_session(self) -> None:
        """The session was ended on purpose."""
        self._session = None
        self._handling = None


class Turns:
    """Gateways with events, in turns, so that none starves.

    Those without any cost nothing, however many they are.
    """

    def __init__(self) -> None:
        self._line: deque[GatewayBase] = deque()
        self._last: GatewayBase | None = None

    def join(self, gateway: GatewayBase) -> None:
        """It has events now, and had none."""
        self._line.append(gateway)

    def take(self) -> tuple[GatewayBase, Event] | None:
        """The next event and whose it is; None where none waits. The one before is handled."""
        if self._last is not None:
            self._last.handled()
            self._last = None
        while self._line:
            gateway = self._line.popleft()
            event = gateway.take()
            if gateway.has_event:
                self._line.append(gateway)
            if event is not None:  # it may have been taken from the gateway itself
                self._last = gateway
                return gateway, event
        return None
