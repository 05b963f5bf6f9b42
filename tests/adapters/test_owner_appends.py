"""Appends of an owner and reads of a feed: their delays and bounds, in virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trio.testing

from gateway_fleet import MemoryStore, StoreError
from gateway_fleet._feed_shard import FeedShard
from gateway_fleet._owner import ShardOwner
from gateway_fleet._shard_report import ShardReport
from gateway_proto import Dispatch, Ready, Session
from gateway_proto.fleet import FleetMetrics, LogHead, LogRecord, claim_record


def run(main: Any) -> None:
    """Run a function on trio with a clock that jumps: on any loop it is the same code."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(main, backend="trio", backend_options={"clock": clock})


class FailingStore(MemoryStore):
    """A store of which some appends fail; it notes when each was requested."""

    def __init__(self, failing: set[int]) -> None:
        super().__init__()
        self.failing = failing
        self.times: list[float] = []

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        self.times.append(anyio.current_time())
        if len(self.times) - 1 in self.failing:
            raise StoreError("away")
        return await super().append(shard, after, record)


async def owner_of(store: MemoryStore, *, keep_events: bool) -> ShardOwner:
    """Return an owner whose claim is in the log."""
    claim = claim_record("me", "mine", LogHead())
    await store.append(0, LogHead(), claim)
    report = ShardReport(0, FleetMetrics(), reason="", ready_at=None)
    return ShardOwner(0, "me", claim.head(1), store, report, keep_events=keep_events)


def test_delay_after_a_failed_append_begins_small_again() -> None:
    store = FailingStore({1, 2, 5})

    async def main() -> None:
        owner = await owner_of(store, keep_events=True)
        async with anyio.create_task_group() as group:
            group.start_soon(owner.run)
            for session_id in "ab":
                owner.add(Ready("READY", 1, session_id=session_id, version=10))
                owner.add(Dispatch.of("X", 1, 2))
                await owner.until_clear()
                await anyio.sleep(1.0)
            owner.add(Dispatch.of("X", 1, 3))
            await owner.until_clear()
            group.cancel_scope.cancel()

    run(main)
    delays = [after - at for at, after in zip(store.times[1:], store.times[2:], strict=False)]

    assert len(store.times) == 7
    assert delays[:2] == pytest.approx([0.05, 0.2])
    assert delays[-1] == pytest.approx(0.05)


def test_cutover_does_not_wait_for_the_time_between_appends() -> None:
    store = FailingStore(set())

    async def main() -> None:
        owner = await owner_of(store, keep_events=False)
        async with anyio.create_task_group() as group:
            group.start_soon(owner.run)
            owner.add(Ready("READY", 1, session_id="s", version=10))
            await anyio.sleep(0.25)
            owner.cut_over()
            await anyio.sleep(0.5)
            owner.end()

    run(main)

    assert store.times[-1] - store.times[1] == pytest.approx(0.25)
    assert store._store.head(0).session is None


def test_feed_reads_no_more_than_a_mebibyte_ahead() -> None:
    async def main() -> None:
        logs, group_store = MemoryStore(), MemoryStore()
        head = LogHead()
        session = Session(id="s", sequence=1, version=10)
        for number in range(1, 6):
            event = ("X", number, b"1" * 600_000)
            record = LogRecord(f"r{number}", "me", session, (event,), after=head.id)
            await logs.append(0, head, record)
            head = record.head(number)
        claim = claim_record("consumer", "claim", LogHead()).head(1)
        shard = FeedShard(
            0,
            claim,
            logs=logs,
            group=group_store,
            from_start=True,
            entered=False,
            is_ended=lambda: False,
            on_events=lambda: None,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(shard.run)
            await anyio.sleep(10.0)
            assert shard._cursor.position == 2
            while shard.next_event() is not None:
                pass
            await anyio.sleep(10.0)
            assert shard._cursor.position == 4
            group.cancel_scope.cancel()

    run(main)
