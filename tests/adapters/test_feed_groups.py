"""Groups of consumers: each shares the shards of the logs, also if one of them is cut off."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError, open_feed
from tests.adapters.engine_stores import (  # noqa: F401
    collected,
    nats_engine,
    redis_engine,
    unclosed_streams,
)
from tests.adapters.feed_workers import (  # noqa: F401
    COUNT,
    FAST,
    Bench,
    new_store,
    run,
    until,
)
from tests.adapters.support import KITS, Kit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kit", KITS, ids=str),
    unclosed_streams,
]


def test_groups_are_independent(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.append(2, 5)

        workers = [await bench.start(name, from_start=True) for name in ("one", "two")]

        for worker in workers:
            await until(lambda: worker.numbers(2) == [1, 2, 3, 4, 5])  # noqa: B023

    run(kit, new_store, body)


def test_consumers_of_a_group_share_the_shards(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start(from_start=True)
        await until(lambda: len(first.feed.owned) == COUNT)
        for _ in range(20):
            for shard_id in range(COUNT):
                await bench.log.append(shard_id)
        second = await bench.start(from_start=True)
        await until(lambda: len(first.feed.owned) == len(second.feed.owned) == COUNT // 2)
        for _ in range(20):
            for shard_id in range(COUNT):
                await bench.log.append(shard_id)

        await until(lambda: len(first.events + second.events) >= 40 * COUNT)
        for shard_id in range(COUNT):
            numbers = first.numbers(shard_id) + second.numbers(shard_id)
            assert numbers == list(range(1, 41)), "each event once, in order over both"

    run(kit, new_store, body)


def test_drained_consumer_gives_all_away_and_ends(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        first, second = await bench.start(), await bench.start()
        await until(lambda: len(first.feed.owned) == len(second.feed.owned) == COUNT // 2)

        await first.feed.drain()

        await until(lambda: first.is_over)
        await until(lambda: len(second.feed.owned) == COUNT)

    run(kit, new_store, body)


class CutStore:
    """A store that can be cut off, and whose writes can be done without an answer."""

    keep_seconds: float | None = None

    def __init__(self, store: Any) -> None:
        self._store = store
        self.state = {"cut": False}

    async def __aenter__(self) -> CutStore:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._store.__aexit__(*exc)

    def scoped(self, prefix: str) -> CutStore:
        scope = CutStore(self._store.scoped(prefix))
        scope.state = self.state
        return scope

    async def listen(self, notify: Any) -> None:
        await self._store.listen(notify)

    async def records(self, shard: int, after: int) -> Any:
        async with contextlib.aclosing(self._store.records(shard, after)) as records:
            async for item in records:
                await self._check()
                yield item

    async def _check(self) -> None:
        if self.state["cut"]:
            await anyio.sleep(0.01)
            raise StoreError("cut off")

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def call(*arguments: Any) -> Any:
            if self.state["cut"] and name != "compare_and_set":
                await self._check()
            answer = await verb(*arguments)
            await self._check()  # done, but not answered
            return answer

        return call


def test_shards_of_a_cut_off_consumer_are_taken_over(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(new_store())
        first = await bench.start(store=store, from_start=True)
        second = await bench.start(from_start=True)
        await until(lambda: len(first.feed.owned) == len(second.feed.owned) == COUNT // 2)
        store.state["cut"] = True
        await until(lambda: len(second.feed.owned) == COUNT)
        for shard_id in range(COUNT):
            await bench.log.append(shard_id, 5)

        await until(lambda: len(second.events) == 5 * COUNT)
        store.state["cut"] = False
        await until(lambda: len(first.feed.owned) == len(second.feed.owned) == COUNT // 2)
        await bench.log.append(0)
        await until(lambda: 6 in first.numbers(0) + second.numbers(0))
        for shard_id in range(COUNT):
            assert second.numbers(shard_id)[:5] == [1, 2, 3, 4, 5]
            assert first.numbers(shard_id) in ([], [6])

    run(kit, new_store, body)


def test_store_that_is_away_delays_events_and_loses_none(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(new_store())
        worker = await bench.start(store=store, from_start=True)
        await until(lambda: len(worker.feed.owned) == COUNT)
        await bench.log.append(1, 3)
        await until(lambda: worker.numbers(1) == [1, 2, 3])
        store.state["cut"] = True
        await bench.log.append(1, 3)
        await anyio.sleep(0.4)
        seen = len(worker.numbers(1))
        assert seen < 6

        store.state["cut"] = False

        await until(lambda: len(worker.numbers(1)) == 6)
        assert worker.numbers(1) == [1, 2, 3, 4, 5, 6]

    run(kit, new_store, body)


def test_drain_and_iteration_can_be_cancelled_without_a_store(kit: Kit) -> None:
    memory = MemoryStore()

    async def body(bench: Bench) -> None:
        store = CutStore(memory)
        async with open_feed(store, group="g", from_start=True, ttl=0.6, interval=0.1) as feed:
            await bench.log.append(0)
            await anext(aiter(feed))
            store.state["cut"] = True
            for call in (feed.drain, feed.handled, feed.drain, aiter(feed).__anext__):
                with pytest.raises(TimeoutError), anyio.fail_after(0.1):
                    await call()
            began = anyio.current_time()

        assert anyio.current_time() < began + 5

        store.state["cut"] = False
        await bench.log.append(0)
        async with open_feed(store, group="g", ttl=0.6, interval=0.1) as feed:
            event: Any = (await anext(aiter(feed)))[1]
            assert event.data == 2, "the acknowledgement of the first was written, not answered"

    run(kit, lambda: memory, body)


class SlowStore(CutStore):
    """A store that may write a cursor long after it was asked to."""

    async def compare_and_set(self, key: str, value: Any, revision: int) -> Any:
        if self.state.get("slow") and value is not None:
            await anyio.sleep(1.5)
        return await self._store.compare_and_set(key, value, revision)

    def scoped(self, prefix: str) -> SlowStore:
        scope = SlowStore(self._store.scoped(prefix))
        scope.state = self.state
        return scope


def test_shard_is_given_away_after_its_acknowledgement(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = SlowStore(new_store())
        await bench.log.append(0, 2)
        async with open_feed(store, group="g", from_start=True, **FAST) as feed:
            assert (await anext(aiter(feed)))[1].id == "s:1"
            second = await bench.start()
            store.state["slow"] = True
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed.handled)
                await anyio.sleep(0.05)
                tasks.start_soon(feed.drain)

        await until(lambda: 2 in second.numbers(0))
        assert second.numbers(0) == [2]

    run(kit, new_store, body)
