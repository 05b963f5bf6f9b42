"""Events that a feed hands out from the logs of a fleet, and how they are acknowledged."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError, open_feed, open_fleet
from gateway_proto import LocalProtocolError
from gateway_proto.fleet import LogHead, LogRecord, SessionLost
from gateway_proto.server import Server, ServerConfig
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
    Log,
    new_store,
    run,
    until,
)
from tests.adapters.support import KITS, Kit, lookup_config

pytestmark = [pytest.mark.parametrize("kit", KITS, ids=str), unclosed_streams]


def test_new_group_gets_the_events_from_then_on(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.append(0)
        worker = await bench.start()
        await until(lambda: len(worker.feed.owned) == COUNT)
        await anyio.sleep(0.2)
        for shard_id in range(COUNT):
            await bench.log.append(shard_id, 3)

        await until(lambda: len(worker.events) == 3 * COUNT)
        assert worker.numbers(0) == [2, 3, 4]
        assert [worker.numbers(shard_id) for shard_id in (1, 2, 3)] == [[1, 2, 3]] * 3

    run(kit, new_store, body)


def test_group_from_the_start_gets_all_that_is_kept(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.append(0, 2)
        await bench.log.append(0, 1, session_lost=True)

        worker = await bench.start(from_start=True)

        await until(lambda: len(worker.events) == 4)
        assert worker.events[2] == (0, SessionLost())
        assert worker.numbers(0) == [1, 2, 3]

    run(kit, new_store, body)


def test_unhandled_event_alone_comes_again(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.append(0, 3)
        with contextlib.suppress(ZeroDivisionError):
            async with open_feed(new_store(), group="g", from_start=True, **FAST) as feed:
                async for _, event in feed:
                    if event.id == "s:2":
                        raise ZeroDivisionError  # while it is handled

        worker = await bench.start()

        await until(lambda: worker.numbers(0) == [2, 3])

    run(kit, new_store, body)


def test_event_before_a_break_is_acknowledged_by_handled(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.append(0, 3)
        async with open_feed(new_store(), group="g", from_start=True, **FAST) as feed:
            async for _, event in feed:
                if event.id == "s:2":
                    await feed.handled()
                    break

        worker = await bench.start()

        await until(lambda: worker.numbers(0) == [3])

    run(kit, new_store, body)


def test_invalid_cursor_of_the_store_raises(kit: Kit) -> None:
    async def main() -> None:
        store = MemoryStore()
        log = Log(store)
        async with kit.limit(20):
            await log.begin()
            await log.append(0)
            group = log.logs.scoped("group:g")
            await group.compare_and_set("cursor:0", b"garbage", 0)
            with pytest.raises(StoreError, match="shard 0: data is not the cursor of a group"):
                async with open_feed(store, group="g", **FAST) as feed:
                    await anext(aiter(feed))

    kit.run(main)


def test_feed_that_failed_raises_again_and_does_not_wait(kit: Kit) -> None:
    async def main() -> None:
        store = MemoryStore()
        log = Log(store)
        async with kit.limit(20):
            await log.begin()
            group = log.logs.scoped("group:g")
            await group.compare_and_set("cursor:0", b"garbage", 0)
            async with open_feed(store, group="g", **FAST) as feed:
                for _ in range(2):
                    with pytest.raises(StoreError, match="shard 0: data is not the cursor"):
                        await anext(aiter(feed))
                await feed.drain()

    kit.run(main)


def test_second_task_that_iterates_over_a_feed_is_rejected(kit: Kit) -> None:
    """Each would acknowledge events that the other has not handled yet."""

    async def main() -> None:
        store = MemoryStore()
        log = Log(store)
        errors = []

        async def second(events: Any) -> None:
            with pytest.raises(LocalProtocolError, match="another task iterates") as raised:
                async for _ in events:
                    pass
            errors.append(raised.value)

        async with kit.limit(20):
            await log.begin()
            await log.append(0)
            async with open_feed(store, group="g", from_start=True, **FAST) as feed:
                first = aiter(feed)
                await anext(first)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(second, feed)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anext, first)
                    await anyio.wait_all_tasks_blocked()
                    await second(first)
                    tasks.cancel_scope.cancel()
        assert len(errors) == 2

    kit.run(main)


def test_published_events_reach_a_feed_in_order(kit: Kit, new_store: Any) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=2, max_concurrency=16))
        async with (
            kit.limit(60),
            kit.adapter.serve_gateway(server) as serving,
            anyio.create_task_group() as tasks,
        ):

            async def own() -> None:
                config = lookup_config(serving)
                async with open_fleet(config, new_store(), publish=True, **FAST) as fleet:
                    async for _ in fleet:
                        pass

            tasks.start_soon(own)
            bench = Bench(Log(None), new_store, tasks)
            worker = await bench.start(from_start=True)
            await until(lambda: len(server.sessions) == 2)
            for number in range(50):
                serving.dispatch("NUMBER", number)
            await until(lambda: worker.numbers(0)[-1:] == worker.numbers(1)[-1:] == [49])

            names = [(of, event.name) for of, event in worker.events]
            for shard_id in range(2):
                dispatches = [event for of, event in worker.events if of == shard_id]
                assert dispatches[0].name == "READY"
                ids = [event.id for event in dispatches]
                session = dispatches[0].data["session_id"]
                assert ids == [f"{session}:{number + 1}" for number in range(len(ids))]
            assert len(names) == len(set(ids)) * 2
            tasks.cancel_scope.cancel()

    kit.run(main)


def test_cursor_is_written_by_one_task_at_a_time(kit: Kit) -> None:
    """Claims of owners have no events: the reading acknowledges them, not the iteration."""

    async def body(bench: Bench) -> None:
        worker = await bench.start(from_start=True)
        await until(lambda: len(worker.feed.owned) == COUNT)
        for _ in range(30):
            head = await bench.log.logs.head(0)
            claim = LogRecord(f"c{head.position}", "owner", head.session, claim=True)
            await bench.log.logs.append(0, head or LogHead(), claim)
            await bench.log.append(0)

        await until(lambda: len(worker.numbers(0)) == 30)
        assert worker.numbers(0) == list(range(1, 31))

    store = MemoryStore()
    run(kit, lambda: store, body)
