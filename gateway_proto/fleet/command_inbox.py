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

An engine that crashes may have a message again that was taken or removed. At most 120 commands in
60 seconds are sent on one connection: <https://docs.discord.com/developers/events/gateway#rate-limiting>.
"""


class TakenCommand(msgspec.Struct, frozen=True):
    """A command to send, once, unless the deadline is over."""

    message: CommandMessage
    deadline: float
    session: str | None = None
    """Session in which it was sent at an earlier attempt: only the answer is missing."""


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
        self._sessions: dict[str, str] = {}
        self._remembered: dict[str, int] = {}
        """Last attempt of each command that was accepted."""
        self._order: deque[tuple[float, str, int]] = deque()

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
        # A command that is sent again to the same member has a higher attempt. While an earlier one
        # waits, it is the answer to that one which counts.
        is_repeated = message.attempt <= self._remembered.get(message.id, 0)
        if is_repeated or message.id in self._pending:
            return None
        self._remembered[message.id] = message.attempt
        self._order.append((now + _REMEMBER_SECONDS, message.id, message.attempt))
        self._pending.add(message.id)
        deadline = taken_at + message.seconds
        return TakenCommand(message, deadline, self._sessions.get(message.id))

    def done(self, taken: TakenCommand, session: str | None) -> None:
        """Report in which session a command was sent; None if it will not be sent."""
        id_ = taken.message.id
        self._pending.discard(id_)
        if session is not None and id_ in self._remembered:
            self._sessions[id_] = session

    def _forget(self, now: float) -> None:
        while self._order and self._order[0][0] <= now:
            _, id_, attempt = self._order.popleft()
            if self._remembered[id_] == attempt:
                del self._remembered[id_]
                self._sessions.pop(id_, None)
