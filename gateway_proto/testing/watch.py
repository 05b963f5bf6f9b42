"""all that happens → a digest, a short trace of each client, and the invariants that see it."""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway_proto._layers.payloads import Payload
from gateway_proto.client import Dial
from gateway_proto.events import Dispatch, Event
from gateway_proto.testing.agenda import Agenda

if TYPE_CHECKING:
    from gateway_proto.testing.bot import Bot, BotEnd
    from gateway_proto.testing.invariants import Invariant

__all__ = ["InvariantBroken", "Watch"]

_TRACE = 40
"""Things that are kept of what happened to a client; many of one kind in a row are one."""
_KIND = 14
"""Characters of a text that say of what kind it is."""


class InvariantBroken(AssertionError):
    """What must hold in every history did not.

    `name` is the invariant's, `at` seconds of the simulation, `replay` a command that does the
    same again, and `trace` the last that happened to the client.
    """

    def __init__(
        self, name: str, what: str, *, at: float, seed: int, replay: str, trace: Sequence[str]
    ) -> None:
        lines = "".join(f"\n  {line}" for line in trace)
        super().__init__(f"{name} at {at:.3f} s: {what}\nreplay: {replay}\nbefore it:{lines}")
        self.name: str = name
        self.what: str = what
        self.at: float = at
        self.seed: int = seed
        self.replay: str = replay
        self.trace: tuple[str, ...] = tuple(trace)

    def __reduce__(self) -> tuple[Any, ...]:
        return _broken, (self.name, self.what, self.at, self.seed, self.replay, self.trace)


def _broken(
    name: str, what: str, at: float, seed: int, replay: str, trace: Sequence[str]
) -> InvariantBroken:
    return InvariantBroken(name, what, at=at, seed=seed, replay=replay, trace=trace)


class Watch:
    """Sees all that happens to clients, and lets each invariant look at it."""

    def __init__(self, agenda: Agenda, seed: int, replay: str) -> None:
        self._agenda = agenda
        self._seed = seed
        self.replay: str = replay
        """A command that does the same again."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._traces: dict[int, deque[tuple[float, str, int]]] = {}
        self._invariants: list[Invariant] = []
        self.events: int = 0
        """How many events clients received."""

    def begin(self, invariants: Sequence[Invariant]) -> None:
        """Let these look from now on."""
        self._invariants = list(invariants)
        self._began = self._who("began")
        self._dialled = self._who("dialled")
        self._sent = self._who("sent")
        self._wrote = self._who("wrote")
        self._received = self._who("received")
        self._delivered = self._who("delivered")
        self._handled = self._who("handled")
        self._turned = self._who("turned")
        self._closed = self._who("closed")
        self._woke = self._who("woke")
        self._unpaused = self._who("unpaused")
        self._over = self._who("over")
        self._arrived = self._who("arrived")
        self._heard = self._who("heard")
        self._told = self._who("told")
        self._rested = self._who("rested")

    def _who(self, name: str) -> list[Any]:
        return [getattr(one, name) for one in self._invariants if name in vars(type(one))]

    @property
    def digest(self) -> str:
        """Of all that happened: equal for equal histories."""
        return self._hash.hexdigest()

    def note(self, bot: Bot, text: str) -> None:
        """Something happened to a client."""
        now = self._agenda.now
        self._hash.update(struct.pack("<dI", now, bot.number))
        self._hash.update(text.encode())
        trace = self._traces.get(bot.number)
        if trace is None:
            trace = self._traces[bot.number] = deque(maxlen=_TRACE)
        count = 1
        if trace and trace[-1][1][:_KIND] == text[:_KIND]:
            count += trace.pop()[2]
        trace.append((now, text, count))
        for told in self._told:
            told(bot, text)

    def broken(self, name: str, what: str, bot: Bot | None) -> InvariantBroken:
        """What to raise where an invariant does not hold."""
        trace = () if bot is None else self._traces.get(bot.number, ())
        who = "" if bot is None else f"client {bot.number}: "
        return InvariantBroken(
            name,
            who + what,
            at=self._agenda.now,
            seed=self._seed,
            replay=self.replay,
            trace=[
                f"{at:13.3f}  {text}" + (f" (the last of {count})" if count > 1 else "")
                for at, text, count in trace
            ],
        )

    # ----- what happens -----

    def began(self, bot: Bot) -> None:
        """A process has started."""
        self.note(bot, "the process starts")
        for began in self._began:
            began(bot)

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """A dial is tried."""
        self.note(bot, f"dials {dial.host}")
        for dialled in self._dialled:
            dialled(bot, dial)

    def sent(self, bot: Bot, payload: Payload) -> None:
        """A payload of a client is on the wire."""
        op = payload.opcode
        # Identify and Resume hold the token, which is in no trace.
        self.note(bot, f"sends op {op}" + ("" if op in (2, 6) else f" {payload.raw!r}"))
        for sent in self._sent:
            sent(bot, payload)

    def wrote(self, bot: Bot, opcode: int) -> None:
        """A WebSocket frame of a client is on the wire."""
        for wrote in self._wrote:
            wrote(bot, opcode)

    def received(self, bot: Bot, event: Event) -> None:
        """A client says that something happened."""
        self.events += 1
        text = repr(event)
        self.note(bot, f"{text} {event.raw!r}" if type(event) is Dispatch else text)
        for received in self._received:
            received(bot, event)

    def delivered(self, bot: Bot, events: list[Event]) -> None:
        """A connection has handed over its events."""
        for delivered in self._delivered:
            delivered(bot, events)

    def handled(self, bot: Bot, event: Event, before: Any) -> None:
        """An application has handled an event; `before` is the session ahead of it."""
        for handled in self._handled:
            handled(bot, event, before)

    def turned(self, bot: Bot, end: BotEnd) -> None:
        """A client's pump has made a turn."""
        for turned in self._turned:
            turned(bot, end)

    def closed(self, bot: Bot, end: BotEnd) -> None:
        """A client's connection is over."""
        for closed in self._closed:
            closed(bot, end)

    def woke(self, bot: Bot) -> None:
        """A process that stood still runs on."""
        self.note(bot, "the process runs on")
        for woke in self._woke:
            woke(bot)

    def unpaused(self, bot: Bot) -> None:
        """A client reads on."""
        self.note(bot, "reads on")
        for unpaused in self._unpaused:
            unpaused(bot)

    def over(self, bot: Bot) -> None:
        """A client dials no more."""
        self.note(bot, f"dials no more: {bot.client.gave_up}")
        for over in self._over:
            over(bot)

    def arrived(self, bot: Bot, host: str, trusted: bool, data: bytes) -> None:
        """Bytes of a client have arrived somewhere."""
        for arrived in self._arrived:
            arrived(bot, host, trusted, data)

    def heard(self, bot: Bot, host: str, trusted: bool, event: Any) -> None:
        """A server has received something of a client."""
        for heard in self._heard:
            heard(bot, host, trusted, event)

    def rested(self, bot: Bot) -> None:
        """The network has been well for long enough."""
        for rested in self._rested:
            rested(bot)
