"""Feeds of a fleet that gets another number of shards: old logs to their ends, then new ones."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, open_feed
from gateway_fleet._bots import register_bot
from gateway_fleet._generation import change_generations
from gateway_proto import Session
from gateway_proto.fleet import (
    Cutover,
    Generation,
    Generations,
    LoggedDispatch,
    LoggedEvents,
    LogRecord,
    RecordsDropped,
)
from tests.adapters.fleet_senders import CutStore
from tests.adapters.support import KITS, Kit

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("kit", KITS, ids=str)]

BOT = "0123456789abcdef"
OLD, NEW = Generation("old", 2), Generation("new", 3)
_NUMBERS = itertools.count()
FAST: dict[str, Any] = {"ttl": 1.0, "interval": 0.1, "group": "g", "from_start": True}


class Fleet:
    """Logs of a fleet without a gateway, whose number of shards changes by hand."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.bot = store.scoped(BOT)

    async def begin(self) -> None:
        await register_bot(self.store, BOT)
        value = Generations(OLD).to_bytes()
        await self.bot.compare_and_set("generation", value, 0)

    async def append(
        self, generation: Generation, shard: int, *numbers: int, **fields: Any
    ) -> None:
        logs = self.bot.scoped(generation.id)
        head = await logs.head(shard)
        events = LoggedEvents.of(*(("NUMBER", number, b"%d" % number) for number in numbers))
        session = Session(id=generation.id, sequence=9, version=10)
        record = LogRecord(f"r{head.position}", "owner", session, events, **fields)
        assert await logs.append(shard, head, record) is not None

    async def advance(self) -> None:
        await change_generations(
            self.bot,
            lambda known: known.announced("new", 3) if known.next is None else known.advanced(),
        )

    async def change(self) -> None:
        """Change to the new generation, with two events of each of its shards."""
        await self.advance()
        for shard in range(NEW.count):
            await self.append(NEW, shard, entered=True)
            await self.append(NEW, shard, 11, 12)
        for shard in range(OLD.count):
            await self.append(OLD, shard, cutover=True)
        for _ in range(3):
            await self.advance()


class Consumer:
    def __init__(self) -> None:
        self.items: list[tuple[int, Any]] = []
        self.numbers: list[int] = []
        """Place of each item among those of all consumers."""
        self.feed: Any = None
        self.scope = anyio.CancelScope()

    async def run(self, store: Any, stop_after: int = 1000) -> None:
        with self.scope:
            async with open_feed(store, **FAST) as self.feed:
                async for shard, event in self.feed:
                    self.items.append(
                        (shard, event.data if isinstance(event, LoggedDispatch) else event)
                    )
                    self.numbers.append(next(_NUMBERS))
                    if len(self.items) == stop_after:
                        return


def of_shard(consumers: list[Consumer], shard: int) -> list[Any]:
    """Return the events of a shard in the order of their arrival."""
    items = sorted(
        (number, event)
        for consumer in consumers
        for number, (of, event) in zip(consumer.numbers, consumer.items, strict=True)
        if of == shard
    )
    return [event for _, event in items]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


def run(kit: Kit, body: Callable[[Fleet, Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with kit.limit(40), MemoryStore() as store, anyio.create_task_group() as tasks:
            fleet = Fleet(store)
            await fleet.begin()
            await body(fleet, tasks)
            tasks.cancel_scope.cancel()

    kit.run(main)


def test_new_logs_follow_all_cutovers_of_the_old_ones(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        only = Consumer()
        tasks.start_soon(only.run, fleet.store)
        await fleet.append(OLD, 0, 1, 2)
        await until(lambda: len(only.items) == 2)

        await fleet.change()
        await until(lambda: len(only.items) == 10)

        cuts = [n for n, (_, event) in enumerate(only.items) if event == Cutover()]
        assert cuts == [2, 3]
        assert {shard for shard, _ in only.items[2:4]} == {0, 1}
        after = only.items[4:]
        assert [[e for of, e in after if of == shard] for shard in range(3)] == [[11, 12]] * 3
        assert only.feed.count == 3 and set(only.feed.owned) == {0, 1, 2}

    run(kit, body)


def test_slow_shard_holds_the_new_logs_back(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        first, second = Consumer(), Consumer()
        tasks.start_soon(first.run, fleet.store)
        tasks.start_soon(second.run, fleet.store)
        await until(lambda: bool(first.feed and second.feed))
        await until(lambda: len(first.feed.owned) == len(second.feed.owned) == 1)
        both = [first, second]
        await fleet.append(OLD, 0, 1)
        await fleet.advance()
        for shard in range(NEW.count):
            await fleet.append(NEW, shard, 11, entered=True)
        await fleet.append(OLD, 1, cutover=True)
        await fleet.advance()
        await fleet.advance()
        await anyio.sleep(0.8)
        assert of_shard(both, 0) == [1] and of_shard(both, 1) == [Cutover()]

        await fleet.append(OLD, 0, 2)
        await fleet.append(OLD, 0, cutover=True)
        await fleet.advance()

        await until(lambda: sum(len(each.items) for each in both) == 7)
        assert of_shard(both, 0) == [1, 2, Cutover(), 11]
        assert of_shard(both, 1) == [Cutover(), 11]
        assert of_shard(both, 2) == [11]

    run(kit, body)


def test_group_that_was_away_reads_the_old_logs_first(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        first, second = Consumer(), Consumer()
        await fleet.append(OLD, 0, 1, 2)
        await first.run(fleet.store, stop_after=2)  # the second event is not acknowledged
        await fleet.append(OLD, 1, 3)
        await fleet.change()

        tasks.start_soon(second.run, fleet.store)

        await until(lambda: len(second.items) == 10)
        assert of_shard([second], 0) == [2, Cutover(), 11, 12]
        assert of_shard([second], 1) == [3, Cutover(), 11, 12]
        assert of_shard([second], 2) == [11, 12]

    run(kit, body)


def test_consumer_that_dies_at_the_cut_is_replaced(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        first, second = Consumer(), Consumer()
        await fleet.append(OLD, 0, 1)
        await fleet.append(OLD, 1, 1)
        async with anyio.create_task_group() as task:
            task.start_soon(first.run, fleet.store, 4)  # the last cutover is not acknowledged
            await until(lambda: len(first.items) == 2)
            await fleet.change()
        tasks.start_soon(second.run, fleet.store)

        await until(lambda: len(second.items) == 7)
        assert [event for _, event in first.items].count(Cutover()) == 2
        assert [event for _, event in second.items].count(Cutover()) == 1
        for shard in range(3):
            assert of_shard([second], shard)[-2:] == [11, 12]

    run(kit, body)


def test_old_log_without_a_cutover_ends_with_the_change(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        consumer = Consumer()
        await fleet.append(OLD, 0, 1)
        tasks.start_soon(consumer.run, fleet.store)
        await until(lambda: len(consumer.items) == 1)
        for shard in range(NEW.count):
            await fleet.append(NEW, shard, 11)  # the record before it was dropped
        for _ in range(4):
            await fleet.advance()

        await until(lambda: len(consumer.items) == 9)

        assert of_shard([consumer], 0) == [1, Cutover(), RecordsDropped(0, 1), 11]
        assert of_shard([consumer], 1) == [Cutover(), RecordsDropped(0, 1), 11]

    run(kit, body)


class LaggingStore(CutStore):
    """A store whose records are read from a replica that is behind, while `is_behind`."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.state["is_behind"] = False

    async def records(self, shard: int, after: int) -> Any:
        async with contextlib.aclosing(self.inner.records(shard, after)) as records:
            async for position, record in records:
                if self.state["is_behind"] and position > 1:
                    return
                yield position, record


def test_log_is_read_to_its_end_from_a_replica_that_is_behind(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        store, consumer = LaggingStore(fleet.store), Consumer()
        for shard in range(OLD.count):
            await fleet.append(OLD, shard, 1)
        tasks.start_soon(consumer.run, store)
        await until(lambda: len(consumer.items) == 2)
        store.state["is_behind"] = True
        await fleet.append(OLD, 0, 2, 3)
        await fleet.change()

        await anyio.sleep(2.5)
        assert len(consumer.items) == 2
        store.state["is_behind"] = False

        await until(lambda: len(consumer.items) == 12)
        assert of_shard([consumer], 0) == [1, 2, 3, Cutover(), 11, 12]

    run(kit, body)


def test_old_log_whose_records_are_all_dropped_ends(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        consumer = Consumer()
        for shard in range(OLD.count):
            await fleet.append(OLD, shard, 1)
        tasks.start_soon(consumer.run, fleet.store)
        await until(lambda: len(consumer.items) == 2)
        consumer.scope.cancel()
        await fleet.append(OLD, 0, 2)
        await fleet.change()
        logs = fleet.bot.scoped(OLD.id)._store
        for shard in range(OLD.count):
            logs._log(shard).records.clear()  # and Redis keeps the heads

        second = Consumer()
        tasks.start_soon(second.run, fleet.store)

        await until(lambda: of_shard([second], 0) == [Cutover(), 11, 12])

    run(kit, body)


def test_new_group_begins_in_the_present_generation(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        await fleet.append(OLD, 0, 1)
        await fleet.change()
        consumer = Consumer()

        tasks.start_soon(consumer.run, fleet.store)

        await until(lambda: len(consumer.items) == 6)
        assert [of_shard([consumer], shard) for shard in range(3)] == [[11, 12]] * 3

    run(kit, body)


def test_drained_consumer_leaves_the_change_to_others(kit: Kit) -> None:
    async def body(fleet: Fleet, tasks: Any) -> None:
        first, second = Consumer(), Consumer()
        tasks.start_soon(first.run, fleet.store)
        await until(lambda: first.feed is not None and len(first.feed.owned) == 2)
        await fleet.change()
        await until(lambda: len(first.items) >= 1)
        with contextlib.suppress(TimeoutError), anyio.fail_after(10):
            await first.feed.drain()

        tasks.start_soon(second.run, fleet.store)

        await until(lambda: sum(len(each.items) for each in (first, second)) >= 8)
        for shard in range(2):
            assert of_shard([first, second], shard).count(Cutover()) == 1
        for shard in range(3):
            assert of_shard([first, second], shard)[-2:] == [11, 12]

    run(kit, body)
