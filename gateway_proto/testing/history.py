"""The history of a simulation: its digest, a short trace of each client, and its invariants."""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gateway_proto._layers.payloads import Payload
from gateway_proto.client import Dial
from gateway_proto.events import Dispatch, Event
from gateway_proto.testing.agenda import Agenda
from gateway_proto.testing.bot import Bot, BotEnd
from gateway_proto.testing.watch import InvariantBroken, Watch

__all__ = ["History"]

_TRACE_LENGTH = 40
"""Entries of a client's trace; consecutive ones of one kind are one entry."""
_KIND_LENGTH = 14
"""Characters of a line that name its kind."""


class History(Watch[Bot, BotEnd]):
    """An observer that records a digest and traces, and passes each call to the invariants."""

    def __init__(self, agenda: Agenda, seed: int, replay: str) -> None:
        self._agenda = agenda
        self._seed = seed
        self.replay: str = replay
        """A command that runs the same history."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._traces: dict[int, deque[tuple[float, str, int]]] = {}
        self._invariants: list[Watch[Bot, BotEnd]] = []
        self.events: int = 0
        """The number of events that clients received."""

    def begin(self, invariants: Sequence[Watch[Bot, BotEnd]]) -> None:
        """Check these invariants from now on."""
        self._invariants = list(invariants)
        self._began = self._overrides(Watch.began)
        self._dialled = self._overrides(Watch.dialled)
        self._sent = self._overrides(Watch.sent)
        self._wrote = self._overrides(Watch.wrote)
        self._received = self._overrides(Watch.received)
        self._delivered = self._overrides(Watch.delivered)
        self._handled = self._overrides(Watch.handled)
        self._turned = self._overrides(Watch.turned)
        self._closed = self._overrides(Watch.closed)
        self._woke = self._overrides(Watch.woke)
        self._unpaused = self._overrides(Watch.unpaused)
        self._over = self._overrides(Watch.over)
        self._arrived = self._overrides(Watch.arrived)
        self._heard = self._overrides(Watch.heard)
        self._told = self._overrides(Watch.told)
        self._rested = self._overrides(Watch.rested)

    def _overrides(self, default: Callable[..., None]) -> list[Any]:
        """Return the invariants' methods of that name. Most override few of them."""
        name = default.__name__
        kinds = ((one, getattr(type(one), name)) for one in self._invariants)
        return [getattr(one, name) for one, method in kinds if method is not default]

    @property
    def digest(self) -> str:
        """The digest of the history: equal for equal histories."""
        return self._hash.hexdigest()

    def broken(self, name: str, what: str, bot: Bot | None) -> InvariantBroken:
        """Return the error for an invariant that does not hold."""
        trace = () if bot is None else self._traces.get(bot.number, ())
        client = "" if bot is None else f"client {bot.number}: "
        return InvariantBroken(
            name,
            client + what,
            at=self._agenda.now,
            seed=self._seed,
            replay=self.replay,
            trace=[
                f"{at:13.3f}  {text}" + (f" (the last of {count})" if count > 1 else "")
                for at, text, count in trace
            ],
        )

    # ----- observed calls -----

    def told(self, bot: Bot, text: str) -> None:
        """Add a line to the digest and to the client's trace."""
        now = self._agenda.now
        self._hash.update(struct.pack("<dI", now, bot.number))
        self._hash.update(text.encode())
        trace = self._traces.get(bot.number)
        if trace is None:
            trace = self._traces[bot.number] = deque(maxlen=_TRACE_LENGTH)
        count = 1
        if trace and trace[-1][1][:_KIND_LENGTH] == text[:_KIND_LENGTH]:
            count += trace.pop()[2]
        trace.append((now, text, count))
        for told in self._told:
            told(bot, text)

    def began(self, bot: Bot) -> None:
        """Record that a process has started."""
        self.told(bot, "the process starts")
        for began in self._began:
            began(bot)

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """Record a dial."""
        self.told(bot, f"dials {dial.host}")
        for dialled in self._dialled:
            dialled(bot, dial)

    def sent(self, bot: Bot, payload: Payload) -> None:
        """Record a payload that a client sends."""
        op = payload.opcode
        # Identify and Resume contain the token, which no trace may contain.
        self.told(bot, f"sends op {op}" + ("" if op in (2, 6) else f" {payload.raw!r}"))
        for sent in self._sent:
            sent(bot, payload)

    def wrote(self, bot: Bot, opcode: int) -> None:
        """Pass on a WebSocket frame that a client sends."""
        for wrote in self._wrote:
            wrote(bot, opcode)

    def received(self, bot: Bot, event: Event) -> None:
        """Record an event of a client."""
        self.events += 1
        text = repr(event)
        self.told(bot, f"{text} {event.raw!r}" if type(event) is Dispatch else text)
        for received in self._received:
            received(bot, event)

    def delivered(self, bot: Bot, events: list[Event]) -> None:
        """Pass on the events of a connection."""
        for delivered in self._delivered:
            delivered(bot, events)

    def handled(self, bot: Bot, event: Event, before: Any) -> None:
        """Pass on an event that an application has handled."""
        for handled in self._handled:
            handled(bot, event, before)

    def turned(self, bot: Bot, end: BotEnd) -> None:
        """Pass on that the output of a client's connection was processed."""
        for turned in self._turned:
            turned(bot, end)

    def closed(self, bot: Bot, end: BotEnd) -> None:
        """Pass on that a client's connection is CLOSED."""
        for closed in self._closed:
            closed(bot, end)

    def woke(self, bot: Bot) -> None:
        """Record that a frozen process runs again."""
        self.told(bot, "the process runs again")
        for woke in self._woke:
            woke(bot)

    def unpaused(self, bot: Bot) -> None:
        """Record that a paused client reads again."""
        self.told(bot, "reads again")
        for unpaused in self._unpaused:
            unpaused(bot)

    def over(self, bot: Bot) -> None:
        """Record that a client no longer dials."""
        self.told(bot, f"no longer dials: {bot.client.gave_up}")
        for over in self._over:
            over(bot)

    def arrived(self, bot: Bot, host: str, trusted: bool, data: bytes) -> None:
        """Pass on bytes that a server has received."""
        for arrived in self._arrived:
            arrived(bot, host, trusted, data)

    def heard(self, bot: Bot, host: str, trusted: bool, event: Any) -> None:
        """Pass on a command that a server has received."""
        for heard in self._heard:
            heard(bot, host, trusted, event)

    def rested(self, bot: Bot) -> None:
        """Pass on that a recovery phase has ended."""
        for rested in self._rested:
            rested(bot)
