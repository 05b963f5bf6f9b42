"""Feeds: consumers of the logs of a fleet, on both event loops and with each store."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import attrs
import pytest

from gateway_fleet import MemoryStore, StoreError, open_feed, open_fleet
from gateway_fleet._bots import register_bot
from gateway_fleet._generation import agree
from gateway_proto import LocalProtocolError, Session
from gateway_proto.fleet import LoggedDispatch, LogHead, LogRecord, SessionLost
from gateway_proto.server import Server, ServerConfig
from tests.adapters.engines import SLOW_NATS, EngineProcess, nats_process, open_store, redis_process
from tests.adapters.support import KITS, Kit, lookup_config

FAST: dict[str, Any] = {"ttl": 3.0, "interval": 0.2}
COUNT = 4
BOT, OTHER_BOT = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture(scope="module")
def redis_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def nats_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with nats_process(tmp_path_factory.mktemp("nats")) as process:
        yield process


_prefixes = itertools.count()


@pytest.fixture(params=["memory", *SLOW_NATS])
def new_store(request: pytest.FixtureRequest, kit: Kit) -> Callable[[], Any]:
    """Return a function that makes stores of the same data."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    if request.param == "nats" and kit.name != "asyncio":
        pytest.skip("NatsStore is for asyncio alone")
    process = request.getfixturevalue(f"{request.param}_engine")
    prefix = f"gw-{next(_prefixes)}"
    return lambda: open_store(process.url, prefix=prefix)


pytestmark = [
    pytest.mark.parametrize("kit", KITS, ids=str),
    # Of coredis, if it loses a connection; see `collected`.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what coredis leaves unclosed within the test, whose filter ignores it."""
    yield
    gc.collect()


class Log:
    """The logs of a fleet without a gateway."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._sent = [0] * COUNT

    async def begin(self, *, bot: str = BOT) -> None:
        await register_bot(self._store, bot)
        scope = self._store.scoped(bot)
        self._logs = scope.scoped((await agree(scope, COUNT, ttl=1.0)).present.id)

    async def append(self, shard_id: int, count: int = 1, **fields: Any) -> None:
        first = self._sent[shard_id] + 1
        self._sent[shard_id] += count
        events = tuple(("NUMBER", n, b"%d" % n) for n in range(first, first + count))
        session = Session(id="s", sequence=self._sent[shard_id], version=10)
        head = await self._logs.head(shard_id)
        record = LogRecord(f"r{head.position}", "owner", session, events, **fields)
        assert await self._logs.append(shard_id, head, record) is not None


@attrs.define
class Worker:
    feed: Any
    scope: anyio.CancelScope
    events: list[tuple[int, Any]] = attrs.Factory(list)
    is_over: bool = False

    def numbers(self, shard_id: int) -> list[int]:
        return [
            event.data
            for of, event in self.events
            if of == shard_id and isinstance(event, LoggedDispatch)
        ]


class Bench:
    def __init__(self, log: Log, new_store: Callable[[], Any], tasks: Any) -> None:
        self.log = log
        self._new_store = new_store
        self._tasks = tasks

    async def start(self, group: str = "g", store: Any = None, **options: Any) -> Worker:
        ready: list[Worker] = []
        self._tasks.start_soon(self._run, ready, store or self._new_store(), group, options)
        await until(lambda: bool(ready))
        return ready[0]

    async def _run(self, ready: list[Worker], store: Any, group: str, options: Any) -> None:
        with anyio.CancelScope() as scope:
            async with open_feed(store, group=group, **{**FAST, **options}) as feed:
                worker = Worker(feed, scope)
                ready.append(worker)
                async for item in feed:
                    worker.events.append(item)
        worker.is_over = True


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


def run(kit: Kit, new_store: Any, body: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with kit.limit(60), new_store() as store, anyio.create_task_group() as tasks:
            log = Log(store)
            await log.begin()
            await body(Bench(log, new_store, tasks))
            tasks.cancel_scope.cancel()

    kit.run(main)


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


def test_groups_are_independent(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.append(2, 5)

        workers = [await bench.start(name, from_start=True) for name in ("one", "two")]

        for worker in workers:
            await until(lambda: worker.numbers(2) == [1, 2, 3, 4, 5])  # noqa: B023

    run(kit, new_store, body)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
            assert (await anext(feed))[1].id == "s:1"
            second = await bench.start()
            store.state["slow"] = True
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed.handled)
                await anyio.sleep(0.05)
                tasks.start_soon(feed.drain)

        await until(lambda: 2 in second.numbers(0))
        assert second.numbers(0) == [2]

    run(kit, new_store, body)


def test_feed_waits_for_the_fleet_to_begin(kit: Kit, new_store: Any) -> None:
    async def main() -> None:
        async with kit.limit(30), new_store() as store, anyio.create_task_group() as tasks:
            bench = Bench(Log(store), new_store, tasks)
            workers: list[Worker] = []

            async def start() -> None:
                workers.append(await bench.start(from_start=True))

            tasks.start_soon(start)
            await anyio.sleep(0.3)
            assert workers == []
            await bench.log.begin()
            await bench.log.append(0)
            await until(lambda: bool(workers) and workers[0].numbers(0) == [1])
            tasks.cancel_scope.cancel()

    kit.run(main)


def test_feed_of_several_bots_needs_the_name_of_one(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.begin(bot=OTHER_BOT)
        with pytest.raises(
            LocalProtocolError, match=f"several bots: expected bot=, one of {BOT}, {OTHER_BOT}"
        ):
            async with open_feed(new_store(), group="g", **FAST):
                pass

        async with open_feed(new_store(), group="g", bot=OTHER_BOT, **FAST) as feed:
            assert feed.count == COUNT

    run(kit, new_store, body)


def test_feed_says_that_it_waits_for_a_fleet(kit: Kit, caplog: Any) -> None:
    async def main() -> None:
        async with kit.limit(30), anyio.create_task_group() as tasks:

            async def consume() -> None:
                async with open_feed(MemoryStore(), group="g", bot=OTHER_BOT):
                    pass

            tasks.start_soon(consume)
            await until(lambda: bool(caplog.records))
            tasks.cancel_scope.cancel()

    kit.run(main)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the store has no fleet of the bot {OTHER_BOT} yet: waiting until one begins"
    )


@pytest.mark.parametrize("bot", ["", "token.of.a.bot", 5, OTHER_BOT.upper()])
def test_invalid_bot_is_rejected_and_not_shown(kit: Kit, bot: Any) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError) as raised:
            async with open_feed(MemoryStore(), group="g", bot=bot):
                pass
        assert str(raised.value) == "invalid bot: expected token_fingerprint(token), or None"

    kit.run(main)


@pytest.mark.parametrize("group", ["", "a b", "x" * 65, None, "a:b"])
def test_invalid_group_is_rejected(kit: Kit, group: Any) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="invalid group"):
            async with open_feed(MemoryStore(), group=group):
                pass

    kit.run(main)


def test_store_that_cannot_be_followed_is_rejected(kit: Kit) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="invalid store"):
            async with open_feed(object(), group="g"):  # type: ignore[arg-type]
                pass

    kit.run(main)


def test_invalid_cursor_of_the_store_raises(kit: Kit) -> None:
    async def main() -> None:
        store = MemoryStore()
        log = Log(store)
        async with kit.limit(20):
            await log.begin()
            await log.append(0)
            group = log._logs.scoped("group:g")
            await group.compare_and_set("cursor:0", b"garbage", 0)
            with pytest.raises(StoreError, match="shard 0: data is not the cursor of a group"):
                async with open_feed(store, group="g", **FAST) as feed:
                    await anext(aiter(feed))

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
    """Claims of owners have no events: the reading acknowledges them, beside the iteration."""

    async def body(bench: Bench) -> None:
        worker = await bench.start(from_start=True)
        await until(lambda: len(worker.feed.owned) == COUNT)
        for _ in range(30):
            head = await bench.log._logs.head(0)
            claim = LogRecord(f"c{head.position}", "owner", head.session, claim=True)
            await bench.log._logs.append(0, head or LogHead(), claim)
            await bench.log.append(0)

        await until(lambda: len(worker.numbers(0)) == 30)
        assert worker.numbers(0) == list(range(1, 31))

    store = MemoryStore()
    run(kit, lambda: store, body)
