"""The history of a simulation: its digest, a short trace of each client, and its invariants."""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gateway_proto.client.client import Dial
from gateway_proto.events import Dispatch, Event
from gateway_proto.testing.simulation.client_endpoint import ClientEndpoint
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.observer import InvariantViolation, Observer
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.wire.payload import Payload

__all__ = ["History"]

_TRACE_LENGTH = 40
"""Entries of a client's trace; consecutive ones of one kind are one entry."""
_KIND_LENGTH = 14
"""Characters of a line that name its kind."""


class History(Observer[ClientProcess, ClientEndpoint]):
    """An observer that records a digest and traces, and passes each call to the invariants."""

    def __init__(self, scheduler: Scheduler, seed: int, replay: str) -> None:
        self._scheduler = scheduler
        self._seed = seed
        self.replay: str = replay
        """A command that runs the same history."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._traces: dict[int, deque[tuple[float, str, int]]] = {}
        self._invariants: list[Observer[ClientProcess, ClientEndpoint]] = []
        self.events: int = 0
        """The number of events that clients received."""

    def begin(self, invariants: Sequence[Observer[ClientProcess, ClientEndpoint]]) -> None:
        """Check these invariants from now on."""
        self._invariants = list(invariants)
        self._began = self._overrides(Observer.began)
        self._dialled = self._overrides(Observer.dialled)
        self._sent = self._overrides(Observer.sent)
        self._wrote = self._overrides(Observer.wrote)
        self._received = self._overrides(Observer.received)
        self._delivered = self._overrides(Observer.delivered)
        self._handled = self._overrides(Observer.handled)
        self._output_processed = self._overrides(Observer.output_processed)
        self._closed = self._overrides(Observer.closed)
        self._process_resumed = self._overrides(Observer.process_resumed)
        self._unpaused = self._overrides(Observer.unpaused)
        self._client_stopped = self._overrides(Observer.client_stopped)
        self._arrived = self._overrides(Observer.arrived)
        self._received_by_server = self._overrides(Observer.received_by_server)
        self._traced = self._overrides(Observer.traced)
        self._recovery_ended = self._overrides(Observer.recovery_ended)

    def _overrides(self, default: Callable[..., None]) -> list[Any]:
        """Return the invariants' methods of that name. Most override few of them."""
        name = default.__name__
        kinds = ((one, getattr(type(one), name)) for one in self._invariants)
        return [getattr(one, name) for one, method in kinds if method is not default]

    @property
    def digest(self) -> str:
        """The digest of the history: equal for equal histories."""
        return self._hash.hexdigest()

    def broken(self, name: str, what: str, bot: ClientProcess | None) -> InvariantViolation:
        """Return the error for an invariant that does not hold."""
        trace = () if bot is None else self._traces.get(bot.number, ())
        client = "" if bot is None else f"client {bot.number}: "
        return InvariantViolation(
            name,
            client + what,
            at=self._scheduler.now,
            seed=self._seed,
            replay=self.replay,
            trace=[
                f"{at:13.3f}  {text}" + (f" (the last of {count})" if count > 1 else "")
                for at, text, count in trace
            ],
        )

    # ----- observed calls -----

    def traced(self, bot: ClientProcess, text: str) -> None:
        """Add a line to the digest and to the client's trace."""
        now = self._scheduler.now
        self._hash.update(struct.pack("<dI", now, bot.number))
        self._hash.update(text.encode())
        trace = self._traces.get(bot.number)
        if trace is None:
            trace = self._traces[bot.number] = deque(maxlen=_TRACE_LENGTH)
        count = 1
        if trace and trace[-1][1][:_KIND_LENGTH] == text[:_KIND_LENGTH]:
            count += trace.pop()[2]
        trace.append((now, text, count))
        for traced in self._traced:
            traced(bot, text)

    def began(self, bot: ClientProcess) -> None:
        """Record that a process has started."""
        self.traced(bot, "the process starts")
        for began in self._began:
            began(bot)

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Record a dial."""
        self.traced(bot, f"dials {dial.host}")
        for dialled in self._dialled:
            dialled(bot, dial)

    def sent(self, bot: ClientProcess, payload: Payload) -> None:
        """Record a payload that a client sends."""
        op = payload.opcode
        # Identify and Resume contain the token, which no trace may contain.
        self.traced(bot, f"sends op {op}" + ("" if op in (2, 6) else f" {payload.raw!r}"))
        for sent in self._sent:
            sent(bot, payload)

    def wrote(self, bot: ClientProcess, opcode: int) -> None:
        """Pass on a WebSocket frame that a client sends."""
        for wrote in self._wrote:
            wrote(bot, opcode)

    def received(self, bot: ClientProcess, event: Event) -> None:
        """Record an event of a client."""
        self.events += 1
        text = repr(event)
        self.traced(bot, f"{text} {event.raw!r}" if type(event) is Dispatch else text)
        for received in self._received:
            received(bot, event)

    def delivered(self, bot: ClientProcess, events: list[Event]) -> None:
        """Pass on the events of a connection."""
        for delivered in self._delivered:
            delivered(bot, events)

    def handled(self, bot: ClientProcess, event: Event, before: Any) -> None:
        """Pass on an event that an application has handled."""
        for handled in self._handled:
            handled(bot, event, before)

    def output_processed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Pass on that the output of a client's connection was processed."""
        for processed in self._output_processed:
            processed(bot, end)

    def closed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Pass on that a client's connection is CLOSED."""
        for closed in self._closed:
            closed(bot, end)

    def process_resumed(self, bot: ClientProcess) -> None:
        """Record that a frozen process runs again."""
        self.traced(bot, "the process runs again")
        for resumed in self._process_resumed:
            resumed(bot)

    def unpaused(self, bot: ClientProcess) -> None:
        """Record that a paused client reads again."""
        self.traced(bot, "reads again")
        for unpaused in self._unpaused:
            unpaused(bot)

    def client_stopped(self, bot: ClientProcess) -> None:
        """Record that a client no longer dials."""
        self.traced(bot, f"no longer dials: {bot.client.gave_up}")
        for stopped in self._client_stopped:
            stopped(bot)

    def arrived(self, bot: ClientProcess, host: str, trusted: bool, data: bytes) -> None:
        """Pass on bytes that a server has received."""
        for arrived in self._arrived:
            arrived(bot, host, trusted, data)

    def received_by_server(self, bot: ClientProcess, host: str, trusted: bool, event: Any) -> None:
        """Pass on a command that a server has received."""
        for received in self._received_by_server:
            received(bot, host, trusted, event)

    def recovery_ended(self, bot: ClientProcess) -> None:
        """Pass on that a recovery phase has ended."""
        for ended in self._recovery_ended:
            ended(bot)
