"""Owners and consumers of one shard, in virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import trio.testing

from gateway_fleet import MemoryStore
from gateway_fleet._feed_shard import FeedShard
from gateway_fleet._owner import ShardOwner
from gateway_fleet._shard_report import ShardReport
from gateway_fleet._store_failures import StoreFailures
from gateway_proto.fleet import FleetMetrics, LogHead, claim_record


def run(main: Any) -> Any:
    """Run a function on trio with a clock that jumps: on any loop it is the same code."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return anyio.run(main, backend="trio", backend_options={"clock": clock})


async def owner_of(store: MemoryStore, *, keep_events: bool) -> ShardOwner:
    """Return an owner whose claim is in the log."""
    claim = claim_record("me", "mine", LogHead())
    await store.append(0, LogHead(), claim)
    report = ShardReport(0, FleetMetrics(), StoreFailures(), reason="", ready_at=None)
    return ShardOwner(0, "me", claim.head(1), store, report, keep_events=keep_events)


def feed_shard(logs: MemoryStore, group: MemoryStore) -> FeedShard:
    """Return a consumer that reads the log from its start."""
    return FeedShard(
        0,
        claim_record("consumer", "claim", LogHead()).head(1),
        logs=logs,
        group=group,
        failures=StoreFailures(),
        from_start=True,
        entered=False,
        is_ended=lambda: False,
        on_events=lambda: None,
    )
