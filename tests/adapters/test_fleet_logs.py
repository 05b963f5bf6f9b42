"""Logs that the members of a fleet publish, over moves and while the store is away."""

from __future__ import annotations

import pathlib
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError, find_fleet, open_fleet
from gateway_proto import Dispatch, State
from gateway_proto.fleet import LogRecord
from tests.adapters.engine_stores import unclosed_streams
from tests.adapters.engines import SLOW_NATS, engine_process, open_store
from tests.adapters.fleet_members import FAST, Bench, CutStore, run, until
from tests.adapters.support import KITS, PATIENCE, Kit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kit", KITS, ids=str),
    unclosed_streams,
]


async def _log(bench: Bench, shard_id: int) -> list[LogRecord]:
    found = await find_fleet(bench.store, bench.config.token)
    assert found is not None
    return [record async for _, record in found[0].records(shard_id, 0)]


async def _logged_numbers(bench: Bench, shard_id: int) -> list[int]:
    records = await _log(bench, shard_id)
    return [int(data) for record in records for name, _, data in record.events if name == "NUMBER"]


async def _until_logged(bench: Bench, shard_id: int, count: int) -> None:
    """Wait until the log has the last of `count` numbers; it then has each once, in order."""
    with anyio.fail_after(PATIENCE):
        while (logged := await _logged_numbers(bench, shard_id))[-1:] != [count - 1]:
            await anyio.sleep(0.02)
    assert logged == list(range(count))


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


def test_event_of_a_cancelled_wait_is_in_the_log(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.store)
        taken: list[int] = []
        async with open_fleet(bench.config, store, publish=True, **FAST) as fleet:

            async def take(seconds: float) -> bool:
                with anyio.move_on_after(seconds):
                    _, event = await anext(events)
                    if isinstance(event, Dispatch) and event.name == "NUMBER":
                        taken.append(event.data)
                    return True
                return False

            events = aiter(fleet)
            while not (fleet.owned and fleet.gateways[0].state is State.READY):
                await take(0.05)
            store.cut(cut=True)
            data = "x" * 700_000
            for number in range(4):
                bench.serving.dispatch("BIG", data)
                bench.send(0, number, 1)
            for _ in range(12):
                await take(0.05)
            assert len(taken) < 4, "the ledger has no room"
            store.cut(cut=False)
            while len(taken) < 4:
                await take(2.0)
        assert taken == [*range(4)]
        assert await _logged_numbers(bench, 0) == [*range(4)]
        assert (
            sum(name == "BIG" for record in await _log(bench, 0) for name, *_ in record.events) == 4
        )

    run(kit, 1, body)


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
        await _until_logged(bench, 0, 100)

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
        counted = 'gateway_events_by_type_total{type="NUMBER"} 50'
        await until(lambda: counted in only.fleet.metrics().splitlines())

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
        assert {(record.by, len(record.events)) for record in records} == {(only.fleet.member, 0)}

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
            async with open_store(process.url) as bench.store:
                for shard_id in range(4):
                    # A member that is cancelled may leave its last events to the next owner.
                    await _until_logged(bench, shard_id, 100)
            second.scope.cancel()
            await until(lambda: second.is_over)
        assert bench.received["Identify"] == 4

    run(kit, 4, body)
