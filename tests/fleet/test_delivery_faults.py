"""Deliveries under random faults, in virtual time: no command is sent twice, no report is wrong."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from gateway_proto.fleet import (
    CommandAnswer,
    CommandInbox,
    Delivery,
    FindOwner,
    NotSent,
    PostCommand,
    ReferenceStore,
    RemoveCommand,
    Sent,
    TakenCommand,
    mailbox_of,
)

STEP = 0.1
MEMBERS = ("a", "b", "c")


class RepeatingDelivery(Delivery):
    """Broken on purpose: it posts again after a removal that found nothing."""

    def removed(self, was_there: bool | None, *, now: float) -> None:
        super().removed(True if was_there is False else was_there, now=now)


class ForgetfulInbox(CommandInbox):
    """Broken on purpose: it accepts a command each time that the engine has it."""

    def receive(self, data: bytes, *, taken_at: float, now: float) -> TakenCommand | None:
        self._remembered.clear()
        self._sessions.clear()
        self._order.clear()
        return super().receive(data, taken_at=taken_at, now=now)


class World:
    """Members that take commands, stop and die; a store with lost answers.

    Either the shard moves between members, or the engine `crashes`, and then has messages again
    that were taken or removed.
    """

    def __init__(
        self, seed: int, delivery: type[Delivery], inbox: type[CommandInbox], *, crashes: bool
    ) -> None:
        self._crashes = crashes
        self.random = random.Random(seed)
        self.now = 0.0
        self.store = ReferenceStore()
        self.owner = "a"
        self.sent: Counter[str] = Counter()
        self.sent_at: dict[str, float] = {}
        self.deliveries: list[Delivery] = []
        self._later: list[tuple[float, CommandAnswer]] = []
        self._new_delivery = delivery
        self._inboxes = {member: inbox() for member in MEMBERS}
        self._asleep_until = dict.fromkeys(MEMBERS, 0.0)
        self._taken: dict[str, list[TakenCommand]] = {member: [] for member in MEMBERS}
        self._posted: dict[bytes, tuple[str, float]] = {}
        """Mailbox of each message, and when it expires."""

    def run(self, seconds: float) -> None:
        while self.now < seconds:
            self.now += STEP
            if self.now < seconds - 10 and self._happens(0.3):
                id_ = f"c{len(self.deliveries)}"
                allowed = self.random.choice([0.5, 2.0, 8.0])
                self.deliveries.append(
                    self._new_delivery(
                        0, b"x", id=id_, reply_to="sender", seconds=allowed, now=self.now
                    )
                )
            self._fault()
            for at, answer in self._later[:]:
                if at <= self.now:
                    self._later.remove((at, answer))
                    self.deliveries[int(answer.id[1:])].answered(answer, now=self.now)
            for member in MEMBERS:
                if self._asleep_until[member] <= self.now:
                    self._act(member)
            for delivery in self.deliveries:
                if delivery.outcome is None:
                    self._send(delivery)

    def _happens(self, share: float) -> bool:
        return self.random.random() < share

    def _fault(self) -> None:
        if not self._crashes and self._happens(0.03):
            self.owner = self.random.choice(MEMBERS)
        if self._happens(0.02):  # stopped for a while, with what it has taken
            self._asleep_until[self.random.choice(MEMBERS)] = self.now + self.random.random() * 6
        if self._happens(0.02):  # it dies: another process has its name's mailbox no longer
            self._taken[self.random.choice(MEMBERS)].clear()
        if self._crashes and self._happens(0.05):
            for message, (mailbox, until) in self._posted.items():
                if until > self.now:
                    self.store.post(mailbox, message, until - self.now, now=self.now)

    def _act(self, member: str) -> None:
        """Take commands, send those that are in time, and answer."""
        inbox, taken = self._inboxes[member], self._taken[member]
        for message in self.store.take(mailbox_of(member), now=self.now):
            if self._happens(0.05):
                continue  # the answer of the store is lost
            command = inbox.receive(message, taken_at=self.now, now=self.now)
            if command is not None:
                taken.append(command)
        for command in taken[:]:
            if self._happens(0.5):
                continue  # not READY yet, or limited
            taken.remove(command)
            message = command.message
            outcome: Any = "sent"
            if command.session is not None:
                pass
            elif self.owner != member:
                outcome = "not mine"
            elif self.now >= command.deadline:
                outcome = "not sent"
            else:
                self.sent[message.id] += 1
                self.sent_at[message.id] = self.now
            inbox.done(command, "s" if outcome == "sent" else None)
            answer = CommandAnswer(message.id, message.attempt, outcome, "s")
            if not self._happens(0.1):
                self._later.append((self.now + self.random.random(), answer))

    def _send(self, delivery: Delivery) -> None:
        step = delivery.next_step(now=self.now)
        if isinstance(step, FindOwner):
            stale = self.owner if self._crashes else "b"
            owner = self.random.choice([self.owner, self.owner, stale, None])
            delivery.owner_found(owner, "no owner", now=self.now)
        elif isinstance(step, PostCommand):
            arrives, is_answered = self._happens(0.95), self._happens(0.9)
            done = None
            if arrives:
                done = self.store.post(step.mailbox, step.message, step.ttl, now=self.now)
                self._posted[step.message] = step.mailbox, self.now + step.ttl
            delivery.posted(done if is_answered else None, now=self.now)
        elif isinstance(step, RemoveCommand):
            arrives, is_answered = self._happens(0.95), self._happens(0.9)
            gone = self.store.unpost(step.mailbox, step.message, now=self.now) if arrives else None
            delivery.removed(gone if is_answered else None, now=self.now)

    def broken(self) -> list[str]:
        """Return what does not hold."""
        found = []
        for delivery in self.deliveries:
            count, outcome = self.sent[delivery.id], delivery.outcome
            if count > 1:
                found.append(f"{delivery.id} was sent {count} times")
            if outcome is None:
                found.append(f"{delivery.id} has no outcome")
            if isinstance(outcome, Sent) and not count:
                found.append(f"{delivery.id} was reported, and not sent")
            is_certain = isinstance(outcome, NotSent) and not outcome.may_be_sent
            # An engine that crashed may report that it removed a message which was taken before.
            if is_certain and count and not self._crashes:
                found.append(f"{delivery.id} was sent, and reported as not sent")
            if self.sent_at.get(delivery.id, 0.0) > delivery.deadline + STEP:
                found.append(f"{delivery.id} was sent after its deadline")
        return found


def _run(
    seed: int, delivery: type[Delivery] = Delivery, inbox: type[CommandInbox] = CommandInbox
) -> World:
    world = World(seed, delivery, inbox, crashes=seed % 2 == 0)
    world.run(30.0)
    return world


def test_no_command_is_sent_twice_under_faults() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(30):
        world = _run(seed)

        assert world.broken() == [], f"seed {seed}"
        for each in world.deliveries:
            unknown = isinstance(each.outcome, NotSent) and each.outcome.may_be_sent
            outcomes["unknown" if unknown else type(each.outcome).__name__] += 1

    assert min(outcomes[name] for name in ("Sent", "NotSent", "unknown")) > 20, outcomes


@pytest.mark.parametrize(
    "broken", [{"delivery": RepeatingDelivery}, {"inbox": ForgetfulInbox}], ids=str
)
def test_broken_delivery_is_caught(broken: Any) -> None:
    found = [line for seed in range(10) for line in _run(seed, **broken).broken()]

    assert any("was sent 2 times" in line for line in found)
