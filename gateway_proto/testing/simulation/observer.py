"""The callbacks of a simulation, and the error for an invariant that does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from gateway_proto.client.client import Dial
from gateway_proto.events import Event
from gateway_proto.wire.payload import Payload

__all__ = ["InvariantViolation", "Observer"]

BotT = TypeVar("BotT", contravariant=True)
EndT = TypeVar("EndT", contravariant=True)


class InvariantViolation(AssertionError):
    """An invariant of every history that does not hold.

    `name` is the invariant's name, `at` the time in seconds of the simulation, `replay` a command
    that runs the same history, and `trace` the last things that happened to the client.
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
) -> InvariantViolation:
    return InvariantViolation(name, what, at=at, seed=seed, replay=replay, trace=trace)


class Observer(Generic[BotT, EndT]):
    """An observer of clients and of their servers. By default it does nothing.

    `BotT` is the type of a client's process, `EndT` that of its end of a connection.
    """

    def began(self, bot: BotT) -> None:
        """Note that a process has started."""

    def dialled(self, bot: BotT, dial: Dial) -> None:
        """Note that a client dials."""

    def sent(self, bot: BotT, payload: Payload) -> None:
        """Note that a client sends a payload."""

    def wrote(self, bot: BotT, opcode: int) -> None:
        """Note that a client sends a WebSocket frame."""

    def received(self, bot: BotT, event: Event) -> None:
        """Note an event of a client."""

    def delivered(self, bot: BotT, events: list[Event]) -> None:
        """Note that a connection has returned its events."""

    def handled(self, bot: BotT, event: Event, before: Any) -> None:
        """Note that an application has handled an event; `before` is the session before it."""

    def output_processed(self, bot: BotT, end: EndT) -> None:
        """Note that the output of a client's connection was processed."""

    def closed(self, bot: BotT, end: EndT) -> None:
        """Note that a client's connection is CLOSED."""

    def process_resumed(self, bot: BotT) -> None:
        """Note that a frozen process runs again."""

    def unpaused(self, bot: BotT) -> None:
        """Note that a paused client reads again."""

    def client_stopped(self, bot: BotT) -> None:
        """Note that a client no longer dials."""

    def arrived(self, bot: BotT, host: str, trusted: bool, data: bytes) -> None:
        """Note that a server has received bytes of a client."""

    def received_by_server(self, bot: BotT, host: str, trusted: bool, event: Any) -> None:
        """Note that a server has received a command of a client."""

    def traced(self, bot: BotT, text: str) -> None:
        """Note a line for the trace of a client."""

    def recovery_ended(self, bot: BotT) -> None:
        """Note that a recovery phase has ended."""
