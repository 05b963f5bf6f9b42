"""What generations of a fleet leave in the store that are over: it goes away, and no other."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, Store, cancel_reshard, open_feed, reshard
from gateway_fleet._generation import read_generations, write_generations
from gateway_proto.fleet import (
    Cutover,
    Generation,
    Generations,
    IdentifySlots,
    LoggedDispatch,
    LogHead,
    LogRecord,
)
from gateway_proto.session import token_fingerprint
from tests.adapters import feed_workers
from tests.adapters.engine_stores import (  # noqa: F401
    collected,
    nats_engine,
    new_store,
    records_of,
    redis_engine,
    run,
    unclosed_streams,
)
from tests.adapters.engines import RedisProcess, needs_redis, open_store
from tests.adapters.fleet_members import FAST, Bench, Running, until
from tests.adapters.fleet_members import run as run_members
from tests.adapters.support import KITS, PATIENCE, Kit

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("kit", KITS, ids=str), unclosed_streams]


@pytest.fixture(autouse=True)
def _frequent_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    def slots(**options: Any) -> IdentifySlots:
        return IdentifySlots(**{**options, "seconds": 0.1, "margin": 0.0, "stale_after": 0.5})

    monkeypatch.setattr("gateway_fleet._slots.IdentifySlots", slots)


def shorten(monkeypatch: pytest.MonkeyPatch, store: Any, seconds: int) -> None:
    """Let a store keep what is over for twice these seconds."""
    if isinstance(store, MemoryStore):
        monkeypatch.setattr("gateway_fleet.memory._KEPT_SECONDS", 2 * seconds)
    elif hasattr(store, "_shared"):
        store._shared.streams.retention = seconds
    else:
        store._retention = seconds


async def fill(store: Store) -> None:
    await store.heartbeat("m", b"1")
    await store.compare_and_set("key:0", b"x", 0)
    assert await store.append(1, LogHead(), LogRecord("r", "m")) is not None


async def is_full(store: Store) -> bool:
    return (await store.compare_and_set("key:0", None, 0))[0] == b"x"


def test_scope_is_removed_after_twice_the_retention(
    kit: Kit, new_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: Store) -> None:
        over, kept = store.scoped("over"), store.scoped("kept")
        group = over.scoped("group:g")
        for scope in (over, group):
            shorten(monkeypatch, scope, 1)
        for scope in (over, kept, group):
            await fill(scope)

        begun = anyio.current_time()
        assert await group.forget(2, ["key:0"]) in (True, False)
        is_done = await over.forget(2, ["key:0"])
        await anyio.sleep(0.8)
        assert await is_full(over) and await is_full(group)
        with anyio.fail_after(20):
            while not is_done or await is_full(over) or await is_full(group):
                await anyio.sleep(0.2)
                is_done = await over.forget(2, ["key:0"])

        assert anyio.current_time() - begun > 1.5
        assert await is_full(kept)
        assert (await kept.head(1)).id == "r"
        assert await kept.heartbeat("-", b"") == {"m": b"1"}
        assert await over.forget(2, ["key:0"]) in (True, False)
        if not hasattr(over, "_shared"):  # NATS drops these by their age
            assert await over.head(1) == await group.head(1) == LogHead()
            assert await over.heartbeat("-", b"") == await group.heartbeat("-", b"") == {}
            assert await records_of(over, 1) == []

    run(kit, new_store, body)


async def ended(bench: Bench, new_store: Callable[[], Any]) -> tuple[Running, str, str, str]:
    """Cancel a change of a fleet with a group, and make one.

    Returns the member, and the ids of the old, the cancelled and the new generation.
    """
    member = await bench.start(new_store(), publish=True)
    await bench.until_owned((member, 2))
    async with open_feed(new_store(), group="late", from_start=True, **FAST):
        pass  # its group is in the old generation
    for number in range(5):
        bench.send(0, number, 2)

    async def consume() -> None:
        async with open_feed(new_store(), group="g", from_start=True, **FAST) as feed:
            cuts = 0
            async for _, event in feed:
                cuts += isinstance(event, Cutover)
                if cuts == 2:
                    taken.set()

    taken = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        async with new_store() as store:
            await reshard(store, 3)
            await until_opened(member)
            await cancel_reshard(store)
            await reshard(store, 4)
        await until(lambda: member.fleet.count == 4)
        with anyio.fail_after(PATIENCE):
            await taken.wait()
            await anyio.sleep(1.0)
        tasks.cancel_scope.cancel()
    async with new_store() as store:
        known, _ = await read_generations(store.scoped(token_fingerprint(bench.config.token)))
    assert known is not None and known.next is None
    (earlier,), (dropped,) = known.earlier, known.dropped
    return member, earlier.id, dropped.id, known.present.id


async def late_numbers(store: Any) -> list[int]:
    """Return what a group reads in the old generation that was away during the change."""
    numbers, cuts = [], 0
    async with open_feed(store, group="late", from_start=True, **FAST) as feed:
        async for _, event in feed:
            cuts += isinstance(event, Cutover)
            if isinstance(event, LoggedDispatch) and event.name == "NUMBER":
                numbers.append(event.data)
            if cuts == 2:
                await feed.handled()
                break
        await until(lambda: feed.count == 4)
        await anyio.sleep(0.5)
    return numbers


async def until_opened(member: Running) -> None:
    """Wait until the shards of the next generation are here."""
    await until(lambda: member.fleet._keeper._next is not None)


def test_generations_that_are_over_leave_nothing_in_memory(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway_fleet._forgetting._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("gateway_fleet.memory._KEPT_SECONDS", 3.0)

    async def body(bench: Bench) -> None:
        _, earlier, dropped, present = await ended(bench, lambda: bench.store)
        scopes = bench.store._store._scopes

        def left(id_: str) -> list[str]:
            return [prefix for prefix in scopes if id_ in prefix]

        await until(lambda: not left(earlier) and not left(dropped))
        (logs,) = (tables.logs for prefix, tables in scopes.items() if prefix.endswith(present))
        assert sorted(logs) == [0, 1, 2, 3]
        assert all(log.head.session is not None for log in logs.values())

    run_members(kit, 2, body)


@needs_redis
def test_generations_that_are_over_expire_in_redis(
    kit: Kit, redis_engine: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    import coredis

    monkeypatch.setattr("gateway_fleet._forgetting._LOOK_SECONDS", 0.1)

    async def body(bench: Bench) -> None:
        url = redis_engine.url
        fingerprint = token_fingerprint(bench.config.token)
        client: Any = coredis.Redis.from_url(url)
        async with client:
            await client.flushall()
            member, earlier, dropped, present = await ended(bench, lambda: open_store(url))

            async def kept_seconds() -> dict[str, int]:
                return {key.decode(): await client.ttl(key) for key in await client.keys("gw:*")}

            def of_ended(kept: dict[str, int]) -> dict[str, int]:
                return {key: left for key, left in kept.items() if earlier in key or dropped in key}

            async def is_forgotten() -> bool:
                kept = of_ended(await kept_seconds())
                return all(left >= 0 for key, left in kept.items() if ":group:late" not in key)

            # As after a member that was stopped, and claimed a shard of the cancelled generation.
            await client.persist(f"gw:{fingerprint}:{dropped}:{{0}}:head")
            with anyio.fail_after(PATIENCE):
                while not await is_forgotten():
                    await anyio.sleep(0.1)
            member.scope.cancel()
            await until(lambda: member.is_over)
            assert await late_numbers(open_store(url)) == [0, 1, 2, 3, 4]
            kept = await kept_seconds()

        assert [key for key, left in kept.items() if present in key and left >= 0] == [
            key for key in kept if present in key and key.endswith(":log")
        ]
        assert sum(key.endswith(":head") for key in kept if present in key) >= 4
        old = of_ended(kept)
        assert {key.rpartition(":")[2] for key in old} >= {"head", "log", "0", "1"}
        assert [key for key, left in old.items() if left < 0] == []
        assert max(old.values()) <= 7200
        heads = [left for key, left in old.items() if key.endswith(":head")]
        assert len(heads) >= 4 and min(heads) > 7100

    run_members(kit, 2, body)


@needs_redis
def test_late_heartbeat_of_a_consumer_expires_in_redis(
    kit: Kit, redis_engine: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was stopped while the others of its group left the generation."""
    import coredis

    monkeypatch.setattr("gateway_fleet._forgetting._LOOK_SECONDS", 0.1)
    prefix = f"late-{kit}"

    async def body(bench: feed_workers.Bench) -> None:
        worker = await bench.start(from_start=True)
        async with open_store(redis_engine.url, prefix=prefix) as store:
            bot = store.scoped(feed_workers.BOT)
            known, revision = await read_generations(bot)
            assert known is not None
            for shard_id in range(feed_workers.COUNT):
                await bench.log.append(shard_id, cutover=True)
            following = Generation("next", 2)
            wanted = Generations(following, earlier=(known.present,))
            await write_generations(bot, wanted, revision)
            await until(lambda: worker.feed.count == 2)
            await anyio.sleep(0.5)

            await bot.scoped(known.present.id).scoped("group:g").heartbeat("late", b"1")

            client: Any = coredis.Redis.from_url(redis_engine.url)
            async with client:
                key = f"{prefix}:{feed_workers.BOT}:{known.present.id}:group:g:members"
                assert await client.exists([key])
                with anyio.fail_after(PATIENCE):
                    while await client.ttl(key) < 0:
                        await anyio.sleep(0.05)

    feed_workers.run(kit, lambda: open_store(redis_engine.url, prefix=prefix), body)
