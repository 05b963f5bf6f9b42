"""Members whose identify slots are on one reference store, in virtual time."""

from __future__ import annotations

import functools
import math
from typing import Any

import msgspec

from gateway_proto.fleet import IdentifySlots, ReferenceStore, SlotWrite

DAY = 24 * 3600
BETWEEN = 5.75


class Member:
    """Slots of one member on a store, with what they granted."""

    def __init__(self, name: str, store: ReferenceStore, **settings: Any) -> None:
        self.store = store
        self.slots = IdentifySlots(
            **{"member": name, "max_concurrency": 1, "reserve": 0} | settings
        )
        self.granted: list[tuple[float, int]] = []
        self.needs_slot = True
        self.pending: list[SlotWrite] = []

    def join(self, *shards: int) -> None:
        for shard in shards:
            self.slots.join(shard, functools.partial(self._grant, shard))

    def _grant(self, shard: int, now: float) -> bool:
        if self.needs_slot:
            self.granted.append((now, shard))
        return self.needs_slot

    def send(self, now: float) -> None:
        """Take the requests without answering them."""
        self.pending += self.slots.writes(now=now)

    def lose(self) -> SlotWrite:
        """Remove the request in flight, which the store does not get, and return it."""
        (write,) = self.pending
        self.pending.clear()
        return write

    def answer(self, now: float) -> None:
        """Let the store do what is pending."""
        pending, self.pending = self.pending, []
        for write in pending:
            value, revision = self.store.compare_and_set("slots", write.value, write.revision)
            self.slots.written(write, revision if value == write.value else None, now=now)
            self.slots.observed(value, revision, now=now)

    def run(self, now: float) -> None:
        """Do everything that is due at a time."""
        for _ in range(10):
            self.send(now)
            if not self.pending:
                return
            self.answer(now)
        raise AssertionError("a hot loop")

    @property
    def shards(self) -> list[int]:
        return [shard for _, shard in self.granted]


def members(*names: str, **settings: Any) -> list[Member]:
    store = ReferenceStore()
    return [Member(name, store, **settings) for name in names]


def reading_member(now: float = 0.0) -> Member:
    """Return a member with a request in flight that reads the record, for a slot of shard 0."""
    (member,) = members("a")
    member.join(0)
    member.send(now)
    return member


def writing_member(now: float = 0.0) -> Member:
    """Return a member with a request in flight that takes the slot of shard 0."""
    member = reading_member(now)
    member.answer(now)
    member.send(now)
    return member


def run_to(end: float, *members: Member, start: float = 0.0) -> None:
    """Run members at each of their timers until a time."""
    now = start
    while now <= end:
        for member in members:
            member.run(now)
        timers = [at for each in members if (at := each.slots.next_timer()) is not None]
        now = max(min(timers, default=math.inf), now + 0.001)


def stored(member: Member) -> Any:
    value, _ = member.store.compare_and_set("slots", None, 0)
    return None if value is None else msgspec.json.decode(value)
