"""Delivery of one command to the member that owns its shard: at most once, within a deadline.

The sender looks the owner up, posts the command into the mailbox of the owner, and waits for the
answer. A message that nobody takes is removed again, and the owner is looked up again. The command
is posted again only if it is certain that it was not sent: the message was removed, or refused, or
the member that took it does not own the shard. After an unknown outcome the sender only waits.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import msgspec

from gateway_proto._checks import COUNT, DURATION, as_now
from gateway_proto.errors import GatewayProtoError
from gateway_proto.fleet.command_messages import CommandAnswer, CommandMessage, mailbox_of
from gateway_proto.fleet.records import BYTES, NAME

__all__ = [
    "CommandError",
    "Delivery",
    "DeliveryOutcome",
    "DeliveryStep",
    "FindOwner",
    "NotSent",
    "PostCommand",
    "RemoveCommand",
    "Sent",
    "WaitForAnswer",
]

_MAX_SLICE = 2.0
"""Maximum seconds for which a message waits in a mailbox until the owner is looked up again."""
_RETRY_SECONDS = (0.05, 0.2)
"""Delays before the owner is looked up again, at first and from then on."""
_LEAST_SECONDS = (0.01, 0.25)
"""Seconds before the deadline from which nothing is posted, at first and again. With less time left
for its removal, it would often not be known whether a command that was posted again is sent."""


class CommandError(GatewayProtoError):
    """A command to a shard of a fleet was not sent in time, or it is not known whether it was."""

    def __init__(self, name: str, shard: int, seconds: float, why: str, may_be_sent: bool) -> None:
        known = "may have been sent, or not," if may_be_sent else "was not sent"
        super().__init__(f"{name} for shard {shard} {known} within {seconds:g} s: {why}")
        self.name: str = name
        """Name of the command's class."""
        self.shard: int = shard
        self.seconds: float = seconds
        """The time that was allowed."""
        self.may_be_sent: bool = may_be_sent
        """Whether the gateway may have got the command, or still gets it."""


class FindOwner(msgspec.Struct, frozen=True):
    """Look the owner of the shard up; answer with `owner_found`."""

    is_fresh: bool
    """Whether the members table must be read again."""


class PostCommand(msgspec.Struct, frozen=True):
    """Post a message; answer with `posted`."""

    mailbox: str
    message: bytes
    ttl: float


class RemoveCommand(msgspec.Struct, frozen=True):
    """Remove a message from a mailbox; answer with `removed`."""

    mailbox: str
    message: bytes


class WaitForAnswer(msgspec.Struct, frozen=True):
    """Wait for an answer until a time; then ask for the next step."""

    until: float


class Sent(msgspec.Struct, frozen=True):
    """The command was sent, once."""

    session: str
    """Id of the session in which it was sent."""


class NotSent(msgspec.Struct, frozen=True):
    """The command was not sent, or that is not known."""

    why: str
    may_be_sent: bool = False
    is_invalid: bool = False
    """Whether the owner refused the command."""


DeliveryStep: TypeAlias = FindOwner | PostCommand | RemoveCommand | WaitForAnswer
DeliveryOutcome: TypeAlias = Sent | NotSent


class Delivery:
    """One command on its way. Do what `next_step` returns, until there is an `outcome`.

    `command` is that of `encode_command`. `id` must be unique among all commands of the fleet. A
    request to the store that is not answered by `deadline` is reported as unknown.
    """

    def __init__(
        self, shard: int, command: bytes, *, id: str, reply_to: str, seconds: float, now: float
    ) -> None:
        COUNT.named("shard", shard)
        BYTES.named("command", command)
        NAME.named("id", id)
        NAME.named("reply_to", reply_to)
        DURATION.named("seconds", seconds)
        self._shard = shard
        self._command = command
        self.id: str = id
        self._reply_to = reply_to
        self.deadline: float = as_now(now) + seconds
        self.outcome: DeliveryOutcome | None = None
        self._attempt = 0
        self._step: DeliveryStep = FindOwner(is_fresh=False)
        self._not_before = -math.inf
        self._why = "the store did not answer"
        self._posted: PostCommand | None = None
        """The message that may be in a mailbox, or taken."""

    @property
    def posted_message(self) -> RemoveCommand | None:
        """The way to withdraw the command, if the sender no longer waits; None if it is nowhere."""
        posted = self._posted
        return None if posted is None else RemoveCommand(posted.mailbox, posted.message)

    def next_step(self, *, now: float) -> DeliveryStep | None:
        """Return what to do; None once there is an outcome."""
        if self.outcome is None and now >= self.deadline:
            self.outcome = NotSent(self._why, self._posted is not None)
        if self.outcome is not None:
            return None
        if now < self._not_before:
            return WaitForAnswer(min(self._not_before, self.deadline))
        if isinstance(self._step, WaitForAnswer) and now >= self._step.until:
            assert self._posted is not None
            self._step = RemoveCommand(self._posted.mailbox, self._posted.message)
        return self._step

    def owner_found(self, member: str | None, why: str, *, now: float) -> None:
        """Report the owner of the shard, or None and why no member can send."""
        if member is None:
            # A look-up that the deadline ended says nothing; the reason is that of the one before.
            self._look_again(why if now < self.deadline else self._why, now)
            return
        left = self.deadline - now
        if left < _LEAST_SECONDS[self._attempt > 0]:
            self.outcome = NotSent(self._why)
            return
        # It may take two slices until a member has the message; the rest is for the sending.
        slice_ = min(_MAX_SLICE, left / 4)
        self._attempt += 1
        message = CommandMessage(
            self.id, self._attempt, self._reply_to, self._shard, left - 2 * slice_, self._command
        )
        self._step = PostCommand(mailbox_of(member), message.to_bytes(), 2 * slice_)
        self._posted = self._step
        self._slice_end = now + slice_
        self._why = f"{member} did not answer"

    def posted(self, done: bool | None, *, now: float) -> None:
        """Report whether a message was posted: False if the mailbox is full, None if unknown."""
        if not isinstance(self._step, PostCommand):
            return  # it was answered already
        if done is False:
            self._look_again("the mailbox of its owner is full", now)
        elif done:
            self._step = WaitForAnswer(self._slice_end)
        else:
            self._why = "the store did not answer"
            self._step = RemoveCommand(self._step.mailbox, self._step.message)

    def removed(self, was_there: bool | None, *, now: float) -> None:
        """Report whether a message was removed; None if that is unknown."""
        if not isinstance(self._step, RemoveCommand):
            return  # it was answered meanwhile
        if was_there:
            self._look_again("its owner took no command", now)
        elif was_there is None:
            self._not_before = now + _RETRY_SECONDS[-1]
        else:
            # It was taken, or has never arrived, and may still do so: it must not be posted again.
            self._step = WaitForAnswer(self.deadline)

    def answered(self, answer: CommandAnswer, *, now: float) -> None:
        """Report an answer from the own mailbox."""
        if answer.outcome == "sent":
            if self.outcome is None:
                self.outcome = Sent(answer.text)
        elif self.outcome is None and answer.attempt == self._attempt and self._posted is not None:
            self._posted = None
            if answer.outcome == "not mine":
                self._look_again("its owner changed", now)
            else:
                is_invalid = answer.outcome == "invalid"
                self.outcome = NotSent(answer.text, is_invalid=is_invalid)

    def _look_again(self, why: str, now: float) -> None:
        """Look the owner up again: it is certain that the command was not sent."""
        self._not_before = now + _RETRY_SECONDS[self._attempt > 1]
        self._step = FindOwner(is_fresh=True)
        self._posted = None
        self._why = why
