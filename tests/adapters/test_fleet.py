"""Fleets of several members in one process: shards move, and are taken over."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import find_fleet, open_fleet
from gateway_proto import Dispatch, LocalProtocolError, Ready, Resumed
from tests.adapters.engine_stores import unclosed_streams
from tests.adapters.fleet_members import FAST, Bench, CutStore, run, until
from tests.adapters.support import KITS, Kit

pytestmark = [pytest.mark.parametrize("kit", KITS, ids=str), unclosed_streams]


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
