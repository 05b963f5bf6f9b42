"""Client ↔ an application: the events that wait, and the session as of those it has handled.

The gateways of all event loops are made of this. An event counts as handled when the next one is
asked for; the session as of the handled events is what to store if a restart should miss nothing.
"""

from __future__ import annotations

from collections import deque

from gateway_proto._layers.state import State
from gateway_proto.client import Client
from gateway_proto.commands import Command
from gateway_proto.events import Closed, Event
from gateway_proto.session import Session, session_after

__all__ = ["GatewayBase"]


class GatewayBase:
    """What an adapter's gateway is, apart from its event loop."""

    def __init__(self, client: Client, *, queue_limit: int) -> None:
        self._client = client
        self._queue: deque[Event] = deque()
        self._queue_limit = queue_limit
        self._handling: Event | None = None
        self._session = client.session
        self.over: bool = False
        """Whether it dials no more; events may still wait."""

    @property
    def session(self) -> Session | None:
        """As of the last event *handled*: one counts as handled when the next is asked for."""
        return self._session

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

    def has_event(self) -> bool:
        """Whether an event waits; the one that was taken last counts as handled."""
        if self._handling is not None:
            self._session = session_after(self._session, self._handling)
            self._handling = None
        return bool(self._queue)

    def take(self) -> Event:
        """The event that waits; raises IndexError where none does."""
        self._handling = self._queue.popleft()
        return self._handling

    @property
    def _is_full(self) -> bool:
        """Whether nothing more should be read until events are taken."""
        return len(self._queue) >= self._queue_limit

    @property
    def _is_half_empty(self) -> bool:
        return len(self._queue) <= self._queue_limit // 2

    def _forget_session(self) -> None:
        """The session was ended on purpose."""
        self._session = None
        self._handling = None
