"""Client ↔ an application: everything of an adapter that is independent of the event loop.

`GatewayBase` holds the events that wait and the session as of the handled ones: an event counts as
handled when the next one is asked for. `AdapterGateway` adds what the gateways of all event loops
share: iterations, sending, requests, errors and log records.
"""

from __future__ import annotations

import abc
import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, overload

import msgspec

from gateway_proto._driving import Driver, Iteration, Iterations, Notifier, Turns, raisable
from gateway_proto._layers.state import State
from gateway_proto._log_text import DEBUG, clean, level_of, text_of
from gateway_proto.client import Client
from gateway_proto.client_connection import ClientConnection
from gateway_proto.commands import (
    Command,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
)
from gateway_proto.config import Config
from gateway_proto.errors import GaveUpError, LocalProtocolError, RequestError
from gateway_proto.events import (
    ChannelInfo,
    Closed,
    Dispatch,
    Event,
    GuildMembers,
    IdentifyBudgetSpent,
    RequestAnswered,
    RequestFailed,
    ServerEvent,
    SoundboardSounds,
)
from gateway_proto.requests import Request
from gateway_proto.session import Session, session_after

__all__ = [
    "AdapterGateway",
    "GatewayBase",
    "Turns",
    "log_error",
    "log_events",
]

_logger = logging.getLogger("gateway_proto")
_ONLY_DISPATCHES = {Dispatch}


class GatewayBase(abc.ABC):
    """What an adapter's gateway is, apart from its event loop; `turns` are its fellows'."""

    __slots__ = (
        "_bases",
        "_client",
        "_coming",
        "_coming_size",
        "_events_limit",
        "_handling",
        "_is_stalled",
        "_next",
        "_next_size",
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
        # Sizes are of batches: a batch counts until its last event is taken.
        self._coming_size = self._next_size = 0
        self._events_limit = client._config.events_limit
        self._queue_limit = queue_limit
        self._handling: Event | None = None
        self._session = client.session
        self._sequence: int | None = None  # handled since the session was made
        self._is_stalled = False
        # The first event of a client that replaced another, and the session that it started with.
        self._bases: list[tuple[Event, Session | None]] = []
        self.over: bool = False
        """Whether it dials no more; events may still wait."""

    def _set_over(self, over: bool) -> None:
        self.over = over

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
            self._next_size, self._coming_size = self._coming_size, 0
        self._handling = event = self._next.pop()
        if not self._next:
            self._next_size = 0
        if self._is_stalled and self._has_capacity(self._queue_limit // 2):
            self._is_stalled = False
            self._make_room()
        return event

    def handled(self) -> None:
        """The event that was taken last is handled."""
        event, self._handling = self._handling, None
        if event is not None:
            self._session, self._sequence = session_after(self.session, event), None
            if self._bases and event is self._bases[0][0]:
                self._session = self._bases.pop(0)[1]

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

    def _has_capacity(self, most: int) -> bool:
        """Whether at most `most` events wait, and not too many bytes."""
        return self._waits <= most and self._next_size + self._coming_size < self._events_limit

    def _put(self, events: Sequence[Event], size: int = 0) -> None:
        """Let events wait to be taken; `size` is in bytes, `Connection.taken_size`."""
        self._coming_size += size
        if self._turns is not None and events and not self.has_event:
            self._turns.join(self)
        self._coming.extend(events)

    def _has_room(self) -> bool:
        """Whether to read on now; if not, `_make_room` says when."""
        # Who does not read waits for that call: a turn of a timer meanwhile must not forget it.
        self._is_stalled = self._is_stalled or not self._has_capacity(self._queue_limit - 1)
        return not self._is_stalled

    def _forget_session(self) -> None:
        """The session was ended on purpose."""
        self._session = None
        self._handling = None
        self._bases.clear()


class AdapterGateway(GatewayBase):
    """The gateways of all event loops, apart from transports, tasks and cancellation.

    Notifiers come from the adapter. An exception in the state machine or in a callback is kept in
    `error`, and raised by the iteration.
    """

    __slots__ = (
        "_answers",
        "_awaited",
        "_config",
        "_error_is_raised",
        "_iterations",
        "_label",
        "_news",
        "_pump",
        "_raise_on_give_up",
        "_sendable",
        "_stopping",
        "error",
    )

    def __init__(
        self,
        client: Client,
        config: Config,
        *,
        queue_limit: int,
        news: Notifier,
        sendable: Notifier,
        turns: Turns | None = None,
        raise_on_give_up: bool = True,
        shard_id: int | None = None,
    ) -> None:
        super().__init__(client, queue_limit=queue_limit, turns=turns)
        self._config = config
        self._answers: dict[int, _Answer] = {}
        self._awaited = 0
        self._error_is_raised = False
        self._iterations = Iterations() if turns is None else turns.iterations
        self._label = "" if shard_id is None else f"shard {shard_id}: "
        self._news = news
        self._pump: Driver | None = None
        self._raise_on_give_up = raise_on_give_up
        self._sendable = sendable
        self._stopping = False
        self.error: BaseException | None = None
        """The exception of the state machine or of a callback that ended the gateway."""

    # ----- for the user -----

    def __aiter__(self) -> Iteration[Event]:
        """Start an iteration; raises `LocalProtocolError` while another task iterates."""
        return self._iterations.start(self, self._task(), self._next_event)

    async def send(self, command: Command) -> None:
        """Send a command as soon as the connection is READY; see `ClientConnection.send`.

        While it waits, events are read without a limit, since the caller may be the only consumer.
        Raises `LocalProtocolError` for a command that cannot be sent, and after `stop`;
        `GaveUpError` after the client gave up; and the exception of a callback that ended it.
        """
        pump = await self._ready()
        with self._failing(pump):
            pump.connection.send(command, now=self._now())
        pump.turn()

    @overload
    async def request(
        self, request: RequestGuildMembers, *, timeout: float = 30.0
    ) -> GuildMembers: ...

    @overload
    async def request(
        self, request: RequestSoundboardSounds, *, timeout: float = 30.0
    ) -> SoundboardSounds: ...

    @overload
    async def request(
        self, request: RequestChannelInfo, *, timeout: float = 30.0
    ) -> ChannelInfo: ...

    @overload
    async def request(
        self, request: Request, *, timeout: float = 30.0
    ) -> GuildMembers | SoundboardSounds | ChannelInfo: ...

    async def request(
        self, request: Request, *, timeout: float = 30.0
    ) -> GuildMembers | SoundboardSounds | ChannelInfo:
        """Send a request as soon as the connection is READY, and return its whole answer.

        Raises `RequestError` if it fails, at the latest `timeout` seconds after the request was
        sent or its last part arrived. The time before it is sent does not count: a request for a
        whole guild is sent once in 30 s per guild, and all commands share a rate limit. Use the
        event loop's own timeout to bound the whole call. Raises `LocalProtocolError` and
        `GaveUpError` as `send` does.
        """
        pump = await self._ready()
        with self._failing(pump):
            number = pump.connection.request(request, now=self._now(), timeout=timeout)
        answer = self._answers[number] = _Answer(self._make_notifier())
        try:
            pump.turn()
            with self._awaiting():
                while answer.outcome is None and not self.over:
                    await answer.news.wait()
        finally:
            del self._answers[number]
        if answer.outcome is None:
            raise self._closed_for_good()
        if isinstance(answer.outcome, RequestFailed):
            raise RequestError(answer.outcome.why, answer.outcome.retry_after)
        return answer.outcome.answer

    def grant_identify(self) -> bool:
        """Identify now: the slot that `IdentifySlotNeeded` asked for is free.

        Returns whether Identify was sent. It was not if the connection does not wait for a slot,
        for example since it was lost: the slot is free for another, and the next connection asks
        again. Nor while the budget is spent, which `IdentifyBudgetSpent` reports: grant it again
        later. Raises `LocalProtocolError` without `Config.ask_to_identify`.
        """
        if not self._config.ask_to_identify:
            raise LocalProtocolError("Config.ask_to_identify is False: no slot is asked for")
        connection, pump = self._client.connection, self._pump
        waits = isinstance(connection, ClientConnection) and connection.awaits_slot
        if pump is None or not waits:
            return False
        spent = self._client.budget.spent(self._now())
        if spent is not None:
            self._take([IdentifyBudgetSpent(*spent)])
            return False
        with self._failing(pump):
            pump.connection.grant_identify(now=self._now())
        pump.turn()
        return True

    # ----- the adapter's part -----

    @abc.abstractmethod
    def _now(self) -> float:
        """Return the time of the event loop's clock, in seconds."""

    @abc.abstractmethod
    def _task(self) -> object:
        """Return the current task."""

    @abc.abstractmethod
    def _make_notifier(self) -> Notifier:
        """Make a notifier."""

    def _make_room(self) -> None:
        if self._pump is not None:
            self._pump.resume()

    # ----- what adapters share -----

    async def _next_event(self) -> Event:
        while (event := self.take()) is None:
            if self.over:
                raise self._end()
            await self._news.wait()
        return event

    def _end(self) -> BaseException:
        """Return the exception that ends an iteration."""
        if self.error is not None:
            self._error_is_raised = True
            if self._turns is not None and self.error in self._turns.errors:
                self._turns.errors.remove(self.error)
            return self.error
        if self._raise_on_give_up and self.gave_up is not None:
            return GaveUpError(self.gave_up)
        return StopAsyncIteration()

    def raise_unseen_error(self) -> None:
        """Raise the exception that ended the gateway, unless an iteration has raised it."""
        if self.error is not None and not self._error_is_raised:
            self._error_is_raised = True
            raise self.error

    def _fail(self, error: BaseException) -> None:
        """End because of an exception in the state machine or in a callback."""
        if self.error is None:
            self.error = raisable(error)
            if self._turns is not None:
                self._turns.errors.append(self.error)
            log_error(error, self._label)

    def _finish(self) -> None:
        """The client dials no more: hand over the last events, and wake all tasks that wait."""
        try:
            if self.error is None:
                self._take(self._client.events())
        except Exception as error:
            self._fail(error)
        finally:
            self._set_over(True)
            for answer in self._answers.values():
                answer.news.tell()
            self._sendable.tell()
            self._news.tell()

    def begin_again(self, client: Client) -> None:
        """Continue with another client; the events that wait keep their place before its own."""
        events = client.events()
        self._bases.append((events[0], client.session))
        self._client = client
        self._error_is_raised = self._stopping = False
        self._set_over(False)
        self.error = None
        self._take(events)

    def _closed_for_good(self) -> BaseException:
        if self.error is not None:
            return self.error
        if self.gave_up is not None:
            return GaveUpError(self.gave_up)
        return LocalProtocolError("the gateway is closed for good: it was stopped")

    @contextlib.contextmanager
    def _failing(self, pump: Driver) -> Iterator[None]:
        """Let a caller's mistake through; any other exception also ends the gateway."""
        try:
            yield
        except LocalProtocolError:
            raise
        except Exception as error:
            pump.fail(error)
            raise

    @contextlib.contextmanager
    def _awaiting(self) -> Iterator[None]:
        self._awaited += 1
        self._make_room()
        try:
            yield
        finally:
            self._awaited -= 1

    async def _ready(self) -> Driver:
        with self._awaiting():
            while not self.over:
                if self._pump is not None and self.state is State.READY:
                    return self._pump
                await self._sendable.wait()
        raise self._closed_for_good()

    def _deliver(self, pump: Driver, events: list[Any]) -> bool:
        connection = pump.connection
        self._take(events, 0 if connection is None else connection.taken_size)
        self._take(self._client.events())
        if self.state is State.READY:
            self._sendable.tell()
        # Keep reading while stopping or awaiting READY or an answer: the caller asks for no events.
        return self._stopping or self._awaited > 0 or self._has_room()

    def _take(self, events: list[Any], size: int = 0) -> None:
        if not events:
            return
        for event in events if self._answers else ():
            if isinstance(event, RequestAnswered | RequestFailed):
                answer = self._answers.get(event.number)
                if answer is not None and answer.outcome is None:
                    answer.outcome = event
                    answer.news.tell()
        log_events(events, self._label, self._config.token)
        self._put(events, size)
        self._news.tell()


class _Answer:
    """The answer to a request, as soon as it is there."""

    __slots__ = ("news", "outcome")

    def __init__(self, news: Notifier) -> None:
        self.news = news
        self.outcome: RequestAnswered | RequestFailed | None = None


def log_events(events: Sequence[Event | ServerEvent], label: str = "", token: str = "") -> None:
    """Log events with their levels, without secrets."""
    # The path of plain dispatches must stay cheap: one set and one check for a whole batch.
    if {*map(type, events)} == _ONLY_DISPATCHES and not _logger.isEnabledFor(DEBUG):
        return
    for event in events:
        level = level_of(event)
        if _logger.isEnabledFor(level):
            _logger.log(level, "%s%s", label, clean(text_of(event), token))


def log_error(error: BaseException, label: str = "") -> None:
    """Log that an exception ends a driver: only its type, since its text may quote secrets."""
    _logger.error("%s%s was raised in a callback or in the driver", label, type(error).__name__)
