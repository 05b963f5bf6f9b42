"""Claims of a member: what it appends to the log of a shard that it takes over."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_fleet import MemoryStore
from gateway_fleet._coordinator import Coordinator
from gateway_proto.fleet import ClaimShard, LogHead, LogRecord, Membership, claim_record
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)

REQUEST = ClaimShard(0, "mine")


class InterruptedStore(MemoryStore):
    """A store where other records come between the head that was read and the append."""

    def __init__(self, *others: LogRecord) -> None:
        super().__init__()
        self._others = list(others)

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        if self._others:
            other = self._others.pop(0)
            assert await super().append(shard, await self.head(shard), other) is not None
        return await super().append(shard, after, record)


def claimed(kit: Kit, store: Any) -> tuple[LogHead | None, LogHead]:
    """Return the answer to a claim, and the head of the log after it."""

    heads: list[Any] = []

    async def main() -> None:
        first = LogRecord("old", "owner", claim=True)
        assert await MemoryStore.append(store, 0, LogHead(), first) == 1
        membership = Membership("me", 1, now=0.0)
        coordinator = Coordinator(membership, "me", store, lambda _: None, lambda: None)
        heads.append(await coordinator._claimed(REQUEST))
        heads.append(await store.head(0))

    kit.run(main)
    answer, last = heads
    return answer, last


def test_claim_follows_the_head_of_the_log(kit: Kit) -> None:
    head, last = claimed(kit, MemoryStore())

    assert head == last == LogHead(2, "mine", "me")


def test_claim_follows_an_append_of_the_previous_owner(kit: Kit) -> None:
    head, last = claimed(kit, InterruptedStore(LogRecord("events", "owner")))

    assert head == last == LogHead(3, "mine", "me")


def test_claim_of_another_member_is_not_followed(kit: Kit) -> None:
    other = claim_record("another", "theirs", LogHead())

    head, last = claimed(kit, InterruptedStore(other))

    assert head is None
    assert last == LogHead(2, "theirs", "another")


def test_claim_that_is_refused_three_times_is_given_up(kit: Kit) -> None:
    head, last = claimed(kit, InterruptedStore(*(LogRecord(f"e{n}", "owner") for n in range(3))))

    assert head is None
    assert last.id == "e2"
