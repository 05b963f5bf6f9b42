"""Identify slots of a fleet: who gets one, and that the shard is still owned then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError
from gateway_fleet._owner import ShardOwner
from gateway_fleet._shard_report import ShardReport
from gateway_fleet._slots import SharedSlots, identify_slots
from gateway_fleet._store_failures import StoreFailures
from gateway_proto import Config
from gateway_proto.fleet import FleetMetrics, IdentifySlots, LogHead, LogRecord, claim_record
from gateway_proto.shards import ShardPlan
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def granted(
    kit: Kit,
    may_identify: Callable[[int], Awaitable[bool]],
    *shard_ids: int,
    expected: int,
) -> list[int]:
    """Return the shards that got a slot, once that many did."""
    shards: list[int] = []

    async def main() -> None:
        slots = SharedSlots(MemoryStore(), may_identify, StoreFailures())
        slots.begin(
            IdentifySlots(
                member="me", max_concurrency=16, seconds=0, margin=0, stale_after=0.5, reserve=0
            )
        )

        def grant_of(shard_id: int) -> Callable[[float], object]:
            return lambda _: shards.append(shard_id)

        async with kit.limit(20), anyio.create_task_group() as tasks:
            for shard_id in shard_ids:
                slots.join(shard_id, grant_of(shard_id))
            tasks.start_soon(slots.run)
            while len(shards) < expected:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    kit.run(main)
    return sorted(shards)


def test_shard_that_is_no_longer_owned_gets_no_slot(kit: Kit) -> None:
    async def may_identify(shard_id: int) -> bool:
        return shard_id != 1

    assert granted(kit, may_identify, 0, 1, 2, expected=2) == [0, 2]


def test_owners_of_several_shards_are_looked_up_at_once(kit: Kit) -> None:
    """Else the answers of a slow store would be late."""
    asked: list[int] = []
    all_asked = anyio.Event()

    async def may_identify(shard_id: int) -> bool:
        asked.append(shard_id)
        if len(asked) == 3:
            all_asked.set()
        await all_asked.wait()
        return True

    assert granted(kit, may_identify, 0, 1, 2, expected=3) == [0, 1, 2]


def test_fleet_without_a_lookup_has_the_documented_limit(kit: Kit) -> None:
    config = Config(token="t", intents=0, gateway_url="ws://localhost", identify_reserve=1000)
    found: list[Any] = []

    async def may_identify(shard_id: int) -> bool:
        return True

    async def main() -> None:
        slots = SharedSlots(MemoryStore(), may_identify, StoreFailures())
        found.append(slots.spent(0.0))
        slots.begin(identify_slots("me", config, ShardPlan("ws://localhost", 1, (0,))))
        slots.join(0, found.append)
        async with kit.limit(20), anyio.create_task_group() as tasks:
            tasks.start_soon(slots.run)
            while len(found) < 2:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        found.append(slots.spent(anyio.current_time()))

    kit.run(main)
    assert found[0] is None
    seconds, reason = found[2]
    assert 86_300 < seconds <= 86_400
    assert reason.startswith("999 of 1000 sessions remain to the fleet")


def test_shard_waits_for_another_slot_if_its_owner_is_unknown(kit: Kit) -> None:
    asked = []

    async def may_identify(shard_id: int) -> bool:
        asked.append(shard_id)
        if len(asked) == 1:
            raise StoreError("away")
        return True

    assert granted(kit, may_identify, 0, expected=1) == [0]
    assert asked == [0, 0]


def test_shard_waits_for_another_slot_if_the_answer_is_late(kit: Kit) -> None:
    """Else it would identify at the same time as the shard of another member."""
    asked = []

    async def may_identify(shard_id: int) -> bool:
        asked.append(shard_id)
        if len(asked) == 1:
            await anyio.sleep(0.6)
        return True

    assert granted(kit, may_identify, 0, expected=1) == [0]
    assert asked == [0, 0]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, True),
        (LogRecord("me+1", "me"), True),
        (claim_record("another", "theirs", LogHead()), False),
    ],
    ids=["own claim", "own record", "claim of another"],
)
def test_owner_has_the_head_until_another_claims(
    kit: Kit, last: LogRecord | None, expected: bool
) -> None:
    answers: list[bool] = []

    async def main() -> None:
        store: Any = MemoryStore()
        claim = claim_record("me", "mine", LogHead())
        await store.append(0, LogHead(), claim)
        report = ShardReport(0, FleetMetrics(), StoreFailures(), reason="", ready_at=None)
        owner = ShardOwner(0, "me", claim.head(1), store, report, keep_events=True)
        if last is not None:
            await store.append(0, claim.head(1), last)
        answers.append(await owner.has_head())

    kit.run(main)
    assert answers == [expected]


def test_owner_has_not_the_head_if_the_engine_lost_it(kit: Kit) -> None:
    answers: list[bool] = []

    async def main() -> None:
        first = claim_record("me", "first", LogHead())
        second = claim_record("me", "second", first.head(1))
        store = MemoryStore()
        await store.append(0, LogHead(), first)
        report = ShardReport(0, FleetMetrics(), StoreFailures(), reason="", ready_at=None)
        owner = ShardOwner(0, "me", second.head(2), store, report, keep_events=True)
        answers.append(await owner.has_head())

    kit.run(main)
    assert answers == [False]
