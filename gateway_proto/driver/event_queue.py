"""Event queue, handled session and log records of an adapter's gateway, without an event loop.

An event counts as handled when the next one is taken. `BaseGateway` keeps the session as of the
handled events, so that a process that is killed resumes without losing an event.
"""

from __future__ import annotations

import abc
import contextlib
import logging
from collections.abc import Sequence

import msgspec

from gateway_proto.client.client import Client
from gateway_proto.commands import Command
from gateway_proto.driver.iteration import RoundRobin
from gateway_proto.driver.log_text import DEBUG, clean, level_of, text_of
from gateway_proto.events import Closed, Dispatch, Event, ServerEvent
from gateway_proto.session import Session, session_after
from gateway_proto.state import State

__all__ = ["BaseGateway", "RoundRobin", "log_error", "log_events"]

_logger = logging.getLogger("gateway_proto")
_ONLY_DISPATCHES = {Dispatch}
_MAX_TAKEN = 256
"""Maximum number of events that are taken at once."""


class BaseGateway(abc.ABC):
    """Event-loop-independent base of the adapters' `Gateway`; all shards share `round_robin`."""

    __slots__ = (
        "_bases",
        "_client",
        "_events_limit",
        "_handling",
        "_incoming",
        "_incoming_size",
        "_is_finished",
        "_is_stalled",
        "_next",
        "_next_size",
        "_queue_limit",
        "_round_robin",
        "_sequence",
        "_session",
    )

    def __init__(
        self, client: Client, *, queue_limit: int, round_robin: RoundRobin | None = None
    ) -> None:
        self._client = client
        self._round_robin = round_robin
        self._incoming: list[Event] = []
        # Two lists, not a deque: an empty deque takes ten times the memory of two empty lists.
        # `_next` is in reverse order; it is refilled from `_incoming` when it is empty.
        self._next: list[Event] = []
        # Sizes are of batches: a batch counts until its last event is taken.
        self._incoming_size = self._next_size = 0
        self._events_limit = client._config.events_limit
        self._queue_limit = queue_limit
        self._handling: Event | None = None
        self._session = client.session
        self._sequence: int | None = None  # of the last handled dispatch, if newer than _session
        self._is_stalled = False
        # For each client that replaced another: its first event, and the session it started with.
        self._bases: list[tuple[Event, Session | None]] = []
        self._is_finished = False  # no further dials; events may still be queued

    @property
    def session(self) -> Session | None:
        """Session as of the last *handled* event; None without one.

        An event counts as handled when the next one is asked for.
        """
        if self._session is None or self._sequence is None:
            return self._session
        return msgspec.structs.replace(self._session, sequence=self._sequence)

    @property
    def unhandled_events(self) -> int:
        """Number of queued events, and of the one that is being handled."""
        return self._queued_count + (self._handling is not None)

    @property
    def state(self) -> State | None:
        """State of the current connection; None without a connection."""
        connection = self._client.connection
        return None if connection is None else connection.state

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        return self._client.latency

    @property
    def queued_commands(self) -> tuple[Command, ...]:
        """Commands that are queued because of the rate limits, in order."""
        return self._client.queued_commands

    @property
    def gave_up(self) -> str | None:
        """Reason why the client gave up; None if it did not, also after `stop`."""
        return self._client.gave_up

    @property
    def last_closed(self) -> Closed | None:
        """End of the last connection; None before the first end."""
        return self._client.last_closed

    def _next_event(self) -> Event | None:
        """Return the next event, or None; the previous event counts as handled."""
        handling = self._handling
        if type(handling) is Dispatch and (sequence := handling.sequence) is not None:
            # A new session object per dispatch would cost more than all other work for it.
            self._sequence = sequence
        elif handling is not None:
            self.handled()
        following = self._next
        if not following:
            self._handling = None
            if not self._incoming:
                return None
            following = self._next = self._incoming
            self._incoming = []
            following.reverse()
            self._next_size, self._incoming_size = self._incoming_size, 0
        self._handling = event = following.pop()
        if not following:
            self._next_size = 0
        if self._is_stalled:
            capacity = self._queue_limit // 2
            # The length first: most events of a stalled queue need no more than this comparison.
            if len(following) <= capacity and self._holds_at_most(capacity):
                self._is_stalled = False
                self._resume_reading()
        return event

    def _next_events(self, most: int) -> list[Event]:
        """Return plain dispatches, or another event alone; they count as handled.

        They are up to `most`, and 256.
        """
        self.handled()
        if not self._next:
            self._next, self._incoming = self._incoming, []
            self._next.reverse()
            self._next_size, self._incoming_size = self._incoming_size, 0
        # With a limit the cost of a call does not grow with the queue, if kinds alternate.
        events = self._next[: -min(most, _MAX_TAKEN) - 1 : -1]
        if events and {*map(type, events)} != _ONLY_DISPATCHES:
            kinds = [type(event) is Dispatch for event in events]
            del events[kinds.index(False) or 1 :]
        del self._next[len(self._next) - len(events) :]
        if not self._next:
            self._next_size = 0
        last = events[-1] if events else None
        if type(last) is Dispatch and last.sequence is not None:
            self._sequence = last.sequence  # as in `_next_event`
        else:
            for event in events:
                self._handling = event
                self.handled()
        if self._is_stalled and self._holds_at_most(self._queue_limit // 2):
            self._is_stalled = False
            self._resume_reading()
        return events

    def handled(self) -> None:
        """Count the event that was taken last as handled, before the next is asked for."""
        event, self._handling = self._handling, None
        if type(event) is Dispatch and event.sequence is not None:
            self._sequence = event.sequence  # as in `_next_event`
        elif event is not None:
            self._session, self._sequence = session_after(self.session, event), None
            if self._bases and event is self._bases[0][0]:
                self._session = self._bases.pop(0)[1]

    @property
    def _has_event(self) -> bool:
        """Whether an event is queued."""
        return bool(self._next or self._incoming)

    @property
    def _queued_count(self) -> int:
        return len(self._next) + len(self._incoming)

    @abc.abstractmethod
    def _resume_reading(self) -> None:
        """Resume reading: half of the queued events have been taken."""

    def _holds_at_most(self, most: int) -> bool:
        """Whether at most `most` events are queued, with fewer bytes than the limit."""
        return (
            self._queued_count <= most
            and self._next_size + self._incoming_size < self._events_limit
        )

    def _enqueue(self, events: Sequence[Event], size: int = 0) -> None:
        """Queue events; `size` is in bytes, see `Connection.taken_size`."""
        self._incoming_size += size
        if self._round_robin is not None and events and not self._has_event:
            self._round_robin.add(self)
        self._incoming.extend(events)

    def _has_capacity(self) -> bool:
        """Whether to continue reading; if not, wait for a call of `_resume_reading`."""
        # Once False, it stays False until that call: the caller has stopped reading.
        self._is_stalled = self._is_stalled or not self._holds_at_most(self._queue_limit - 1)
        return not self._is_stalled

    def _forget_session(self) -> None:
        """Forget the session, which was ended on purpose."""
        self._session = None
        self._handling = None
        self._bases.clear()


def log_events(events: Sequence[Event | ServerEvent], label: str = "", token: str = "") -> None:
    """Log events with their levels, without secrets."""
    # Fast path of plain dispatches: one set and one check for a whole batch.
    if {*map(type, events)} == _ONLY_DISPATCHES and not _logger.isEnabledFor(DEBUG):
        return
    for event in events:
        level = level_of(event)
        if _logger.isEnabledFor(level):
            _logger.log(level, "%s%s", label, clean(text_of(event), token))


def log_error(error: BaseException, label: str = "") -> None:
    """Log that an exception ended a driver: only its type, because its text may quote secrets."""
    with contextlib.suppress(Exception):  # of a filter or handler; it may be the error itself
        _logger.error("%s%s was raised in a callback or in the driver", label, type(error).__name__)
