"""Fleets of several members in one process, with both adapters and stores."""

from __future__ import annotations

import contextlib
import pathlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import attrs
import pytest

from gateway_fleet import MemoryStore, StoreError, find_fleet, open_fleet
from gateway_proto import (
    Dispatch,
    Identify,
    LocalProtocolError,
    Ready,
    Resume,
    Resumed,
)
from gateway_proto.fleet import Cutover, LogRecord
from gateway_proto.server import Server, ServerConfig
from tests.adapters.engines import SLOW_NATS, engine_process, open_store
from tests.adapters.support import KITS, PATIENCE, Kit, lookup_config

pytestmark = [
    pytest.mark.parametrize("kit", KITS, ids=str),
    # Of coredis, see test_fleet_stores.py.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject"),
]

FAST: dict[str, Any] = {"ttl": 1.0, "interval": 0.2}


@attrs.define
class Running:
    """A member under test: what its handler received."""

    fleet: Any
    scope: anyio.CancelScope
    numbers: list[tuple[int, int]] = attrs.Factory(list)
    """Shard id and number of each numbered event."""
    events: list[tuple[Any, Any]] = attrs.Factory(list)
    is_over: bool = False

    def shards_of(self, type_: type[Any]) -> list[int]:
        return [shard_id for shard_id, event in self.events if isinstance(event, type_)]


class Bench:
    """A server with `count` shards, and members that come and go."""

    def __init__(
        self, kit: Kit, server: Server, serving: Any, group: Any, received: Counter[str]
    ) -> None:
        self.kit = kit
        self.server = server
        self.serving = serving
        self.store: Any = MemoryStore()
        self.received = received
        self.config = lookup_config(serving)
        self._group = group
        self._next = 0

    async def start(self, store: Any = None, **options: Any) -> Running:
        ready: list[Running] = []
        self._group.start_soon(self._run, ready, store or self.store, options)
        await until(lambda: bool(ready))
        return ready[0]

    async def _run(self, ready: list[Running], store: Any, options: dict[str, Any]) -> None:
        with anyio.CancelScope() as scope:
            async with open_fleet(self.config, store, **{**FAST, **options}) as fleet:
                running = Running(fleet, scope)
                ready.append(running)
                async for shard_id, event in fleet:
                    if shard_id is not None or isinstance(event, Cutover):
                        running.events.append((shard_id, event))
                        if isinstance(event, Dispatch) and event.name == "NUMBER":
                            running.numbers.append((shard_id, event.data))
        running.is_over = True

    def send(self, shard_id: int, number: int, count: int) -> None:
        self.serving.dispatch(
            "NUMBER", number, to=lambda session: session.shard == (shard_id, count)
        )

    async def until_owned(self, *owned: tuple[Running, int]) -> None:
        """Wait until members own these numbers of shards, all READY."""

        def is_owned() -> bool:
            return all(
                len(running.fleet.owned) == number
                and all(
                    n in running.fleet.gateways
                    and running.fleet.gateways[n].state is not None
                    and running.fleet.gateways[n].state.value == "ready"
                    for n in running.fleet.owned
                )
                for running, number in owned
            )

        await until(is_owned)


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


@contextlib.asynccontextmanager
async def _bench(kit: Kit, count: int, **settings: Any) -> AsyncIterator[Bench]:
    received: Counter[str] = Counter()

    def on_event(_: Any, event: Any) -> None:
        if isinstance(event, Identify | Resume):
            received[type(event).__name__] += 1

    server = Server(ServerConfig(shards=count, max_concurrency=16, **settings))
    async with (
        kit.adapter.serve_gateway(server, on_event=on_event) as serving,
        anyio.create_task_group() as group,
    ):
        yield Bench(kit, server, serving, group, received)
        group.cancel_scope.cancel()


def run(kit: Kit, count: int, body: Callable[[Bench], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        with anyio.fail_after(2 * PATIENCE):
            async with _bench(kit, count, **settings) as bench:
                await body(bench)

    kit.run(main)


def test_fleet_of_one_process_needs_no_store(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        async with open_fleet(bench.config, **FAST) as fleet:
            ready, numbers = set(), []
            async for shard_id, event in fleet:
                if isinstance(event, Ready):
                    assert event.shard == (shard_id, 3)
                    ready.add(shard_id)
                    if len(ready) == 3:
                        bench.serving.dispatch("NUMBER", 7)
                if isinstance(event, Dispatch) and event.name == "NUMBER":
                    numbers.append((shard_id, event.data))
                    if len(numbers) == 3:
                        break
            assert sorted(numbers) == [(0, 7), (1, 7), (2, 7)]
            assert set(fleet.owned) == {0, 1, 2}
            assert fleet.count == 3
            assert fleet.of_guild(1 << 22) is fleet.gateways[1]

    run(kit, 3, body)


def test_second_member_gets_its_share_by_resumes_alone(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned((first, 4))
        second = await bench.start()
        for number in range(60):
            for shard_id in range(4):
                bench.send(shard_id, number, 4)
            await anyio.sleep(0.02)
        await bench.until_owned((first, 2), (second, 2))
        await until(lambda: len(first.numbers + second.numbers) >= 240)

        assert bench.received["Identify"] == 4
        assert sorted(second.shards_of(Resumed)) == sorted(second.fleet.owned)
        for shard_id in range(4):
            numbers = [n for of, n in first.numbers + second.numbers if of == shard_id]
            assert numbers == list(range(60)), "in order over both members"

    run(kit, 4, body)


def test_drained_member_gives_all_away_and_ends(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first, second = await bench.start(), await bench.start()
        await bench.until_owned((first, 2), (second, 2))
        identifies = bench.received["Identify"]

        await first.fleet.drain()

        await until(lambda: first.is_over)
        await bench.until_owned((second, 4))
        assert bench.received["Identify"] == identifies

    run(kit, 4, body)


def test_drain_of_the_only_member_ends_it(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned((first, 2))
        await first.fleet.drain()
        await until(lambda: first.is_over)

        second = await bench.start()
        await bench.until_owned((second, 2))
        assert bench.received["Identify"] == 2

    run(kit, 2, body)


def test_restarted_member_resumes_after_the_handled_events(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned((first, 2))
        bench.send(0, 1, 2)
        await until(lambda: len(first.numbers) == 1)
        first.scope.cancel()
        await until(lambda: first.is_over)
        bench.send(0, 2, 2)
        bench.send(1, 3, 2)

        second = await bench.start()
        await bench.until_owned((second, 2))
        await until(lambda: {(0, 2), (1, 3)} <= set(second.numbers))

        assert bench.received["Identify"] == 2
        assert [n for n in second.numbers if n != (0, 1)] in (
            [(0, 2), (1, 3)],
            [(1, 3), (0, 2)],
        ), "the last event of the first may be handled twice"

    run(kit, 2, body)


class CutStore:
    """A store that can be cut off, like the network of one machine."""

    keep_seconds: float | None = None

    def __init__(self, store: Any) -> None:
        self._store = store
        self._state = {"cut": False}

    def cut(self, *, cut: bool) -> None:
        self._state["cut"] = cut

    async def __aenter__(self) -> CutStore:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def scoped(self, prefix: str) -> CutStore:
        scope = CutStore(self._store.scoped(prefix))
        scope._state = self._state
        return scope

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def call(*arguments: Any) -> Any:
            if self._state["cut"]:
                await anyio.sleep(0.02)
                raise StoreError("cut off")
            return await verb(*arguments)

        return call


def test_shards_of_a_cut_off_member_are_taken_over(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.store)
        first, second = await bench.start(store), await bench.start()
        await bench.until_owned((first, 2), (second, 2))
        identifies = bench.received["Identify"]
        store.cut(cut=True)

        await bench.until_owned((second, 4))
        connections = len(bench.serving.server.open_connections)
        await anyio.sleep(0.5)
        assert len(bench.serving.server.open_connections) == connections, "no ghost dials"
        for shard_id in range(4):
            bench.send(shard_id, 1, 4)
        await until(lambda: len(second.numbers) == 4)
        store.cut(cut=False)
        await bench.until_owned((first, 2), (second, 2))
        assert bench.received["Identify"] == identifies

    run(kit, 4, body)


async def _log(bench: Bench, shard_id: int) -> list[LogRecord]:
    found = await find_fleet(bench.store, bench.config.token)
    assert found is not None
    return [record async for _, record in found[0].records(shard_id, 0)]


async def _logged_numbers(bench: Bench, shard_id: int) -> list[int]:
    records = await _log(bench, shard_id)
    return [int(data) for record in records for name, _, data in record.events if name == "NUMBER"]


def test_published_events_are_in_the_log_once_over_moves(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start(publish=True)
        await bench.until_owned((first, 4))
        second = await bench.start(publish=True)
        for number in range(200):
            for shard_id in range(4):
                bench.send(shard_id, number, 4)
            if number == 100:
                first.scope.cancel()
            await anyio.sleep(0.005)
        await bench.until_owned((second, 4))
        await until(lambda: (3, 199) in second.numbers and (0, 199) in second.numbers)
        await anyio.sleep(0.3)

        assert bench.received["Identify"] == 4
        for shard_id in range(4):
            assert await _logged_numbers(bench, shard_id) == list(range(200))

    run(kit, 4, body)


@pytest.mark.slow
def test_publishing_pauses_while_the_store_is_away(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.store)
        only = await bench.start(store, publish=True, queue_limit=10)
        await bench.until_owned((only, 1))
        store.cut(cut=True)
        await anyio.sleep(0.2)
        data = "x" * 50_000
        for number in range(100):
            bench.serving.dispatch("BIG", data)
            bench.send(0, number, 1)
        await anyio.sleep(3.2)  # three intervals
        assert len(only.numbers) < 50, "the ledger has no room: reading pauses"
        assert only.fleet.gateways[0].state.value == "ready", "heartbeats go on"
        assert bench.received["Resume"] == 0

        store.cut(cut=False)
        await until(lambda: len(only.numbers) == 100)
        await anyio.sleep(0.3)
        assert await _logged_numbers(bench, 0) == list(range(100))

    run(kit, 1, body, heartbeat_interval=1000)


def test_ghost_is_fenced_and_appends_nothing(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.store)
        first = await bench.start(store, publish=True)
        await bench.until_owned((first, 2))
        for shard_id in range(2):
            while not any(record.events for record in await _log(bench, shard_id)):
                await anyio.sleep(0.01)
        store.cut(cut=True)
        bench.send(0, 1, 2)
        second = await bench.start(publish=True)
        await bench.until_owned((second, 2))
        bench.send(0, 2, 2)
        await until(lambda: (0, 2) in second.numbers)
        store.cut(cut=False)
        await bench.until_owned((first, 1), (second, 1))

        assert await _logged_numbers(bench, 0) == [1, 2]
        assert bench.received["Identify"] == 2

    run(kit, 2, body)


@pytest.mark.slow
def test_another_count_than_that_of_live_members_raises(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned((first, 2))
        with pytest.raises(LocalProtocolError, match="members of the fleet run 2 shards"):
            async with open_fleet(bench.config, bench.store, count=3, **FAST):
                pass
        first.scope.cancel()
        await until(lambda: first.is_over)

        other = await bench.start(count=3)
        await bench.until_owned((other, 3))

    run(kit, 2, body)


def test_exception_of_the_body_is_raised_as_it_is(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        with pytest.raises(ZeroDivisionError):
            async with open_fleet(bench.config, **FAST) as fleet:
                async for _ in fleet:
                    raise ZeroDivisionError

    run(kit, 1, body)


def test_lost_generation_is_written_again(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned((first, 2))
        before = await find_fleet(bench.store, bench.config.token)
        assert before is not None and before[1] == 2
        reference = bench.store._store
        for tables in reference._scopes.values():
            tables.values.clear()
        assert await find_fleet(bench.store, bench.config.token) is None
        await anyio.sleep(1.5)

        second = await bench.start()
        await bench.until_owned((first, 1), (second, 1))

    run(kit, 2, body)


@pytest.mark.slow
def test_member_of_a_replaced_generation_ends(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.store)
        raised = []

        async def first() -> None:
            with pytest.raises(LocalProtocolError) as caught:
                async with open_fleet(bench.config, store, **FAST) as fleet:
                    async for _, event in fleet:
                        if isinstance(event, Ready):
                            store.cut(cut=True)
            raised.append(str(caught.value))

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await until(lambda: store._state["cut"])
            await anyio.sleep(0.3)  # a heartbeat may be on its way
            other = await bench.start(count=3)
            await bench.until_owned((other, 3))
            store.cut(cut=False)
            await until(lambda: bool(raised))
        assert raised == ["other processes run 3 shards now: this one was taken for dead"]

    run(kit, 2, body)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"store": 5}, "invalid store 5: expected a Store, such as RedisStore"),
        ({"interval": 9.0}, "invalid interval 9.0"),
        ({"member": ""}, "invalid member"),
    ],
)
def test_invalid_arguments_of_a_fleet_raise(kit: Kit, options: dict[str, Any], text: str) -> None:
    async def body(bench: Bench) -> None:
        with pytest.raises(LocalProtocolError, match=text):
            async with open_fleet(bench.config, **{**FAST, **options}):
                pass

    run(kit, 1, body)


class ForgetfulStore(CutStore):
    """A store whose answers are lost: every third append is done, and raises."""

    appends = 0

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def append(*arguments: Any) -> Any:
            ForgetfulStore.appends += 1
            position = await verb(*arguments)
            if ForgetfulStore.appends % 3 == 0:
                raise StoreError("the answer is lost")
            return position

        return append if name == "append" else verb

    def scoped(self, prefix: str) -> ForgetfulStore:
        return ForgetfulStore(self._store.scoped(prefix))


def test_append_without_an_answer_is_in_the_log_once(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        only = await bench.start(ForgetfulStore(bench.store), publish=True)
        await bench.until_owned((only, 2))
        for number in range(50):
            bench.send(0, number, 2)
            await anyio.sleep(0.01)
        await until(lambda: len(only.numbers) == 50)
        while len(await _logged_numbers(bench, 0)) < 50:
            await anyio.sleep(0.05)

        assert await _logged_numbers(bench, 0) == list(range(50))
        assert bench.received["Identify"] == 2

    run(kit, 2, body)


def test_owner_without_events_keeps_its_last_record(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStore, "keep_seconds", 0.1)

    async def body(bench: Bench) -> None:
        only = await bench.start(publish=True)
        await bench.until_owned((only, 1))
        logs = only.fleet.store
        with anyio.fail_after(PATIENCE):
            while (head := await logs.head(0)).session is None:
                await anyio.sleep(0.01)
            began = anyio.current_time()
            while (await logs.head(0)).position < head.position + 3:
                await anyio.sleep(0.01)

        assert anyio.current_time() - began > 0.15, "one in 0.1 s, not more"
        last = await logs.head(0)
        assert last.session == head.session is not None
        records = [record async for _, record in logs.records(0, head.position)]
        assert {(record.by, record.events) for record in records} == {(only.fleet.member, ())}

    run(kit, 1, body)


@pytest.mark.parametrize("engine", SLOW_NATS)
def test_shards_move_over_an_engine(kit: Kit, tmp_path: pathlib.Path, engine: str) -> None:
    if engine == "nats" and kit.name != "asyncio":
        pytest.skip("NatsStore is for asyncio alone")

    async def body(bench: Bench) -> None:
        with engine_process(engine, tmp_path) as process:
            first = await bench.start(open_store(process.url), publish=True)
            await bench.until_owned((first, 4))
            second = await bench.start(open_store(process.url), publish=True)
            for number in range(100):
                for shard_id in range(4):
                    bench.send(shard_id, number, 4)
                if number == 60:
                    first.scope.cancel()
                await anyio.sleep(0.01)
            await bench.until_owned((second, 4))
            await until(lambda: all((n, 99) in second.numbers for n in range(4)))
            second.scope.cancel()
            await until(lambda: second.is_over)

            async with open_store(process.url) as bench.store:
                for shard_id in range(4):
                    assert await _logged_numbers(bench, shard_id) == list(range(100))
        assert bench.received["Identify"] == 4

    run(kit, 4, body)
