"""Commands that a member has taken: each is accepted once, within bounds, until its deadline."""

from __future__ import annotations

from collections import deque

import msgspec

from gateway_proto._checks import POSITIVE
from gateway_proto.errors import DataError
from gateway_proto.fleet.command_messages import CommandMessage

__all__ = ["CommandInbox", "TakenCommand"]

_REMEMBER_SECONDS = 60.0
"""Seconds for which an id is remembered: longer than a message can be in a mailbox.

An engine that crashes may have a message again that was taken. At most 120 commands in 60 seconds
are sent on one connection: <https://docs.discord.com/developers/events/gateway#rate-limiting>.
"""


class TakenCommand(msgspec.Struct, frozen=True):
    """A command to send, once, unless the deadline is over."""

    message: CommandMessage
    deadline: float


class CommandInbox:
    """Commands of one member between the mailbox and the gateway.

    At most `max_pending` wait, and at most `max_remembered` are accepted in a minute: take none
    from the mailbox unless there is `capacity`.
    """

    def __init__(self, *, max_pending: int = 1000, max_remembered: int = 20_000) -> None:
        POSITIVE.named("max_pending", max_pending)
        POSITIVE.named("max_remembered", max_remembered)
        self._max_pending = max_pending
        self._max_remembered = max_remembered
        self._pending: set[str] = set()
        self._remembered: set[str] = set()
        self._order: deque[tuple[float, str]] = deque()

    def has_capacity(self, *, now: float) -> bool:
        """Whether the messages of a mailbox may be taken."""
        self._forget(now)
        is_free = len(self._remembered) < self._max_remembered
        return is_free and len(self._pending) < self._max_pending

    def receive(self, data: bytes, *, taken_at: float, now: float) -> TakenCommand | None:
        """Return the command of a message; None if it is invalid, or was accepted already.

        `taken_at` is when the request for the messages was sent. Call `done` later.
        """
        self._forget(now)
        try:
            message = CommandMessage.from_bytes(data)
        except DataError:
            return None  # of a later release
        # A command that is sent again to the same member has another attempt.
        key = f"{message.id}.{message.attempt}"
        if key in self._remembered:
            return None
        self._remembered.add(key)
        self._order.append((now + _REMEMBER_SECONDS, key))
        self._pending.add(key)
        return TakenCommand(message, taken_at + message.seconds)

    def done(self, taken: TakenCommand) -> None:
        """Report that a command was sent, or will not be."""
        self._pending.discard(f"{taken.message.id}.{taken.message.attempt}")

    def _forget(self, now: float) -> None:
        while self._order and self._order[0][0] <= now:
            self._remembered.discard(self._order.popleft()[1])
