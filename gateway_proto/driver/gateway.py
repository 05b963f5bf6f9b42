"""Event-loop-independent half of the adapters' `Gateway`.

Iterations, sending, requests, identify slots, dials and errors.
"""

from __future__ import annotations

import abc
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, overload

# The first connection would import both, and block the event loop for some 20 ms.
from gateway_proto._checks import BOOL, rejected
from gateway_proto.client import lookup as _lookup  # noqa: F401
from gateway_proto.client.client import Client, Dial
from gateway_proto.client.connection import ClientConnection
from gateway_proto.commands import (
    Command,
    Request,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
)
from gateway_proto.config import Config
from gateway_proto.driver.event_queue import BaseGateway, log_error, log_events
from gateway_proto.driver.iteration import (
    Driver,
    Iteration,
    Iterations,
    Notifier,
    RoundRobin,
    raisable,
)
from gateway_proto.errors import GaveUpError, LocalProtocolError, RequestError
from gateway_proto.events import (
    ChannelInfo,
    Event,
    GuildMembers,
    IdentifyBudgetSpent,
    RequestAnswered,
    RequestFailed,
    SoundboardSounds,
)
from gateway_proto.state import State
from gateway_proto.wire import frames as _frames  # noqa: F401

__all__ = ["AdapterGateway"]


class AdapterGateway(BaseGateway):
    """Everything of a gateway that is the same on all event loops.

    The adapter adds sockets, tasks and cancellation. An exception in the state machine or in a
    callback is kept in `_error`, and the iteration raises it.
    """

    __slots__ = (
        "_before_dial",
        "_config",
        "_driver",
        "_error",
        "_error_is_raised",
        "_iterations",
        "_label",
        "_notifier",
        "_raise_on_give_up",
        "_ready_notifier",
        "_responses",
        "_stopping",
        "_waiting_calls",
    )

    def __init__(
        self,
        client: Client,
        config: Config,
        *,
        queue_limit: int,
        notifier: Notifier | None = None,
        round_robin: RoundRobin | None = None,
        raise_on_give_up: bool = True,
        shard_id: int | None = None,
        before_dial: Callable[[Dial], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(client, queue_limit=queue_limit, round_robin=round_robin)
        self._config = config
        self._responses: dict[int, _Answer] = {}
        self._waiting_calls = 0  # of `send` and `request`, for READY or an answer
        self._error_is_raised = False
        self._iterations = Iterations() if round_robin is None else round_robin.iterations
        self._label = "" if shard_id is None else f"shard {shard_id}: "
        self._notifier = notifier or self._make_notifier()
        self._before_dial = before_dial
        self._driver: Driver | None = None
        self._raise_on_give_up = raise_on_give_up
        self._ready_notifier = self._make_notifier()
        self._stopping = False
        self._error: BaseException | None = None

    # ----- for the user -----

    def __aiter__(self) -> Iteration[Event]:
        """Start an iteration; raises `LocalProtocolError` while another task iterates."""
        return self._iterations.start(self, self._task(), self._take_queued, self._wait_for_event)

    @abc.abstractmethod
    async def stop(self, *, keep_session: bool = True) -> None:
        """Close and stop dialing; the session stays resumable if it is kept. The events then end.

        The peer has half a second to answer the close frame.
        """

    async def send(self, command: Command) -> None:
        """Send a command as soon as the connection is READY; see `ClientConnection.send`.

        Meanwhile events are read without a limit, because the caller may be their only consumer.
        Raises `LocalProtocolError` for a command that cannot be sent, and after `stop`;
        `GaveUpError` after the client gave up; and the exception of a callback that ended it.
        """
        driver = await self._ready()
        with self._failing(driver):
            driver.connection.send(command, now=self._now())
        driver.process_output()

    def can_send(self, command: Command) -> bool:
        """Whether `send` would send a command at once: READY, nothing queued, and within limits."""
        driver = self._driver
        if driver is None or self.state is not State.READY:
            return False
        return bool(driver.connection.can_send(command, now=self._now()))

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
        driver = await self._ready()
        with self._failing(driver):
            number = driver.connection.request(request, now=self._now(), timeout=timeout)
        answer = self._responses[number] = _Answer(self._make_notifier())
        requests = self._client._requests
        try:
            driver.process_output()
            with self._awaiting():
                while answer.outcome is None and not self._is_finished:
                    # A connection has a timer for this; a client without one has none.
                    at = None if self._driver is not None else requests.next_timer()
                    if at is not None and at <= self._now():
                        self._take(requests.expire(self._now()))
                    else:
                        await self._wait_until(at, answer.notifier)
        finally:
            del self._responses[number]
        if answer.outcome is None:
            raise self._ended_error()
        if isinstance(answer.outcome, RequestFailed):
            raise RequestError(answer.outcome.reason, answer.outcome.retry_after)
        return answer.outcome.answer

    def grant_identify(self) -> bool:
        """Grant the slot that `IdentifySlotNeeded` asked for; return whether Identify was sent.

        Identify is not sent if the connection does not wait for a slot, for example because it was
        lost: the slot is free for another shard, and the next connection asks again. Nor is it sent
        while the budget is spent, which `IdentifyBudgetSpent` reports: grant the slot again later.
        Raises `LocalProtocolError` without `Config.wait_for_identify_slot`.
        """
        if not self._config.wait_for_identify_slot:
            raise LocalProtocolError("Config.wait_for_identify_slot is False: no slot is asked for")
        connection, driver = self._client.connection, self._driver
        waits = isinstance(connection, ClientConnection) and connection.awaiting_identify_slot
        if driver is None or not waits:
            return False
        spent = self._client.budget.spent(self._now())
        if spent is not None:
            self._take([IdentifyBudgetSpent(*spent)])
            return False
        with self._failing(driver):
            driver.connection.grant_identify(now=self._now())
        driver.process_output()
        return True

    # ----- defined by the adapters -----

    @abc.abstractmethod
    def _now(self) -> float:
        """Return the time of the event loop's clock, in seconds."""

    @abc.abstractmethod
    def _task(self) -> object:
        """Return the current task."""

    @abc.abstractmethod
    def _make_notifier(self) -> Notifier:
        """Make a notifier."""

    @abc.abstractmethod
    async def _wait_until(self, at: float | None, notifier: Notifier) -> None:
        """Wait for a notification, or until a time of the event loop's clock."""

    def _resume_reading(self) -> None:
        if self._driver is not None:
            self._driver.resume_reading()

    @abc.abstractmethod
    def _cancel_dial(self) -> None:
        """End a dial, or the wait for it."""

    # ----- for the adapters -----

    # For an iteration. Not a method that calls it, which would be one more call for each event.
    _take_queued = BaseGateway._next_event

    async def _wait_for_event(self) -> Event:
        while (event := self._next_event()) is None:
            if self._is_finished:
                raise self._end()
            await self._notifier.wait()
        return event

    def _end(self) -> BaseException:
        """Return the exception that ends an iteration."""
        if self._error is not None:
            self._error_is_raised = True
            if self._round_robin is not None and self._error in self._round_robin.errors:
                self._round_robin.errors.remove(self._error)
            return self._error
        if self._raise_on_give_up and self.gave_up is not None:
            return GaveUpError(self.gave_up)
        return StopAsyncIteration()

    def _next_dial(self) -> Dial | None:
        """Hand over the client's events, and return its next dial; None after the end."""
        dial = None if self._error is not None else self._client.next_dial()
        if dial is not None:
            self._take(self._client.events())
        return dial

    async def _until_allowed(self, dial: Dial) -> None:
        """Wait until the caller allows a dial."""
        if self._before_dial is not None:
            allowed: object = self._before_dial(dial)
            if not inspect.isawaitable(allowed):
                raise rejected(
                    "before_dial()", allowed, "an awaitable, as an async function returns"
                )
            await allowed

    def _is_current(self, dial: Dial) -> bool:
        """Whether a dial has not been replaced, or the client stopped, in the meantime."""
        return self._client.next_dial() is dial

    def _on_driver_ended(self) -> None:
        """Forget the driver, and let requests look at their timeouts without it."""
        self._driver = None
        for answer in self._responses.values():
            answer.notifier.notify()

    def _on_dial_failed(self, dial: Dial, reason: str, *, permanent: bool) -> None:
        if self._is_current(dial):
            self._client.dial_failed(reason, permanent=permanent, now=self._now())

    def _begin_stop(self, *, keep_session: bool) -> None:
        """Send a close frame, or end the dial; keep reading, since the caller may not iterate."""
        BOOL.named("keep_session", keep_session)
        self._stopping = True
        if self._error is None:
            self._client.stop(keep_session=keep_session, now=self._now())
        if self._driver is not None:
            self._driver.resume_reading()
            self._driver.process_output()
        else:
            self._cancel_dial()
        if not keep_session:
            self._forget_session()

    def _raise_unseen_error(self) -> None:
        """Raise the exception that ended the gateway, unless an iteration has raised it."""
        if self._error is not None and not self._error_is_raised:
            self._error_is_raised = True
            raise self._error

    def _fail(self, error: BaseException) -> None:
        """End because of an exception in the state machine or in a callback."""
        if self._error is None:
            self._error = raisable(error)
            if self._round_robin is not None:
                self._round_robin.errors.append(self._error)
            log_error(error, self._label)

    def _finish(self) -> None:
        """Hand over the last events, and wake all waiting tasks: the client has ended."""
        try:
            if self._error is None:
                self._take(self._client.events())
        except Exception as error:
            self._fail(error)
        finally:
            self._is_finished = True
            for answer in self._responses.values():
                answer.notifier.notify()
            self._ready_notifier.notify()
            self._notifier.notify()

    def _begin_again(self, client: Client) -> None:
        """Continue with another client; queued events stay before those of the new client."""
        events = client.events()
        self._bases.append((events[0], client.session))
        self._client = client
        self._error_is_raised = self._stopping = False
        self._is_finished = False
        self._error = None
        self._take(events)

    def _ended_error(self) -> BaseException:
        """Return the exception of a call that can no longer succeed: the gateway has ended."""
        if self._error is not None:
            return self._error
        if self.gave_up is not None:
            return GaveUpError(self.gave_up)
        return LocalProtocolError("the gateway is closed for good: it was stopped")

    @contextlib.contextmanager
    def _failing(self, driver: Driver) -> Iterator[None]:
        """Pass a `LocalProtocolError` on; any other exception also ends the gateway."""
        try:
            yield
        except LocalProtocolError:
            raise
        except Exception as error:
            driver.fail(error)
            raise

    @contextlib.contextmanager
    def _awaiting(self) -> Iterator[None]:
        """Keep reading while the caller waits: it may be the only consumer of the events."""
        self._waiting_calls += 1
        self._resume_reading()
        try:
            yield
        finally:
            self._waiting_calls -= 1

    async def _ready(self) -> Driver:
        """Wait for READY; return the driver of the connection."""
        with self._awaiting():
            while not self._is_finished:
                if self._driver is not None and self.state is State.READY:
                    return self._driver
                await self._ready_notifier.wait()
        raise self._ended_error()

    def _deliver(self, driver: Driver, events: list[Any]) -> bool:
        connection = driver.connection
        self._take(events, 0 if connection is None else connection.taken_size)
        self._take(self._client.events())
        if self.state is State.READY:
            self._ready_notifier.notify()
        # Keep reading while stopping or awaiting READY or an answer: the caller asks for no events.
        return self._stopping or self._waiting_calls > 0 or self._has_capacity()

    def _take(self, events: list[Any], size: int = 0) -> None:
        if not events:
            return
        for event in events if self._responses else ():
            if isinstance(event, RequestAnswered | RequestFailed):
                answer = self._responses.get(event.number)
                if answer is not None and answer.outcome is None:
                    answer.outcome = event
                    answer.notifier.notify()
        log_events(events, self._label, self._config.token)
        self._enqueue(events, size)
        self._notifier.notify()


class _Answer:
    """Answer to a request; `outcome` is None until it is received."""

    __slots__ = ("notifier", "outcome")

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self.outcome: RequestAnswered | RequestFailed | None = None
