"""Commands and presence of one connection under its rate limits.

Limits: <https://docs.discord.com/developers/events/gateway#rate-limiting>.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from gateway_proto.timing.rate_limit import SlidingWindow

__all__ = ["CommandQueue", "QueuedCommand"]

C = TypeVar("C")


class QueuedCommand(msgspec.Struct, Generic[C], frozen=True):
    """A queued command."""

    command: C
    encoded: str | bytes
    queued_at: float
    request_number: int | None = None
    """Number of the request; None for a command without an answer."""


class CommandQueue(Generic[C]):
    """Queue of commands in order, and the last presence, under the rate limits.

    `not_before` returns when a limit of its own allows a command: others may overtake it. A command
    that has waited for `report_after` seconds is to be reported.
    """

    __slots__ = (
        "_delay_reported",
        "_max_reserve",
        "_not_before",
        "_presence_window",
        "_report_after",
        "_reserve",
        "commands",
        "presence",
        "window",
    )

    def __init__(
        self,
        *,
        send_limit: tuple[int, float],
        presence_limit: tuple[int, float],
        not_before: Callable[[C, float], float],
        report_after: float = 5.0,
    ) -> None:
        self._max_reserve = send_limit[0] // 2
        self._presence_window = SlidingWindow(*presence_limit)
        self._not_before = not_before
        self._report_after = report_after
        self._delay_reported = False
        self._reserve = 1
        self.window: SlidingWindow = SlidingWindow(*send_limit)
        """Window of all payloads sent; the owner records in it those that bypass the queue."""
        self.commands: list[QueuedCommand[C]] = []
        """Queued commands, without the presence."""
        self.presence: QueuedCommand[C] | None = None
        """The queued presence; setting it replaces the previous one."""

    @property
    def queued_commands(self) -> tuple[C, ...]:
        """Queued commands in order; a queued presence is last."""
        commands = tuple(waiting.command for waiting in self.commands)
        return commands if self.presence is None else (*commands, self.presence.command)

    def reserve(self, slots: int) -> None:
        """Keep slots of the limit free for heartbeats, at most half of them."""
        self._reserve = min(slots, self._max_reserve)

    def record_sent(self, now: float, *, presence: bool = False) -> None:
        """Record a payload sent outside the queue; `presence`: it contained a presence."""
        self.window.record(now)
        if presence:
            self._presence_window.record(now)

    def put(self, waiting: QueuedCommand[C]) -> None:
        """Queue a command."""
        self.commands.append(waiting)

    def pop_sendable(self, now: float) -> QueuedCommand[C] | None:
        """Remove and return a command that may be sent now, and record it as sent."""
        if self.window.next_slot_at(now, reserve=self._reserve) > now:
            return None
        for index, waiting in enumerate(self.commands):
            if self._not_before(waiting.command, now) <= now:
                self.window.record(now)
                return self.commands.pop(index)
        presence = self.presence
        if presence is None or self._presence_window.next_slot_at(now) > now:
            return None
        self.presence = None
        self.record_sent(now, presence=True)
        return presence

    def next_slot_at(self, now: float) -> float | None:
        """Return when the next command may be sent; None if none is queued."""
        soonest = None if self.presence is None else self._presence_window.next_slot_at(now)
        for waiting in self.commands:
            at = self._not_before(waiting.command, now)
            soonest = at if soonest is None else min(soonest, at)
            if soonest <= now:
                break  # as a rule at the first, however many are queued after it
        if soonest is None:
            return None
        return max(soonest, self.window.next_slot_at(now, reserve=self._reserve))

    def slot_at(self, command: C, now: float) -> float | None:
        """Return when the limits would allow a command; None while others are queued."""
        if self.commands:
            return None
        at = self.window.next_slot_at(now, reserve=self._reserve)
        return max(at, self._not_before(command, now))

    def next_report_at(self) -> float | None:
        """Return when to report the delay; None if no command is queued, or it was reported."""
        if not self.commands:
            self._delay_reported = False
        if not self.commands or self._delay_reported:
            return None
        return self.commands[0].queued_at + self._report_after

    def report_delay(self, now: float) -> float:
        """Return how long the first command has waited; not due again until the queue was empty."""
        self._delay_reported = True
        return now - self.commands[0].queued_at

    def clear(self) -> list[QueuedCommand[C]]:
        """Empty the queue; return the commands without the presence."""
        commands, self.commands = self.commands, []
        self.presence = None
        return commands
