"""Change of the number of shards of a running fleet, on both event loops."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import find_fleet, open_feed, reshard
from gateway_fleet._generation import read_generations
from gateway_proto import Ready
from gateway_proto.fleet import Cutover, Generations, IdentifySlots, LogRecord
from gateway_proto.session import token_fingerprint
from tests.adapters.fleet_members import FAST, Bench, Running, run, until
from tests.adapters.support import KITS, Kit

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("kit", KITS, ids=str)]


@pytest.fixture(autouse=True)
def _frequent_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grant identify slots after 0.4 seconds: the server under test has no limit."""

    def slots(**options: Any) -> IdentifySlots:
        return IdentifySlots(**{**options, "seconds": 0.1, "margin": 0.0, "stale_after": 0.3})

    monkeypatch.setattr("gateway_fleet._slots.IdentifySlots", slots)


async def generations(bench: Bench) -> Generations:
    known, _ = await read_generations(bench.store.scoped(token_fingerprint(bench.config.token)))
    assert known is not None
    return known


async def logs(bench: Bench, id_: str, count: int) -> list[list[LogRecord]]:
    """Return the records of the logs of a generation."""
    store = bench.store.scoped(token_fingerprint(bench.config.token)).scoped(id_)
    return [[record async for _, record in store.records(n, 0)] for n in range(count)]


def names(log: list[LogRecord]) -> list[str]:
    return [name for record in log for name, *_ in record.events]


def send_of_guild(bench: Bench, guild: int, number: int) -> None:
    """Dispatch to the shards of a guild in all generations."""
    bench.serving.dispatch(
        "NUMBER",
        number,
        to=lambda session: (
            session.shard is not None and guild % session.shard[1] == session.shard[0]
        ),
    )


async def until_crossed(*members: Running) -> None:
    await until(lambda: all(any(isinstance(e, Cutover) for _, e in m.events) for m in members))


async def until_done(bench: Bench, count: int) -> Generations:
    with anyio.fail_after(20):
        while (known := await generations(bench)).present.count != count or known.next is not None:
            await anyio.sleep(0.02)
    return known


def test_events_of_new_shards_follow_the_cutover(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        only = await bench.start()
        await bench.until_owned((only, 2))

        await reshard(bench.store, 3)
        await until_crossed(only)
        await bench.until_owned((only, 3))
        await until_done(bench, 3)

        kinds = [event for _, event in only.events]
        assert only.fleet.count == 3
        assert {e.shard for e in kinds if isinstance(e, Ready)} == {(0, 2), (1, 2)}
        for shard_id in range(3):
            bench.send(shard_id, 7, 3)
        await until(lambda: len(only.numbers) == 3)
        assert sorted(only.numbers) == [(0, 7), (1, 7), (2, 7)]
        assert bench.received["Identify"] == 5 and bench.received["Resume"] == 0

    run(kit, 2, body)


def test_no_event_is_lost_over_the_cutover(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first, second = await bench.start(), await bench.start()
        await bench.until_owned((first, 1), (second, 1))
        await reshard(bench.store, 4)

        number = 0
        while not all(any(isinstance(e, Cutover) for _, e in m.events) for m in (first, second)):
            number += 1
            send_of_guild(bench, 6, number)
            await anyio.sleep(0.01)
        for _ in range(20):
            number += 1
            send_of_guild(bench, 6, number)
        await until(lambda: (2, number) in first.numbers + second.numbers)

        old = [n for shard, n in first.numbers + second.numbers if shard == 0]
        new = [n for shard, n in first.numbers + second.numbers if shard == 2]
        assert old == list(range(1, len(old) + 1)), "in order, from the first one"
        assert new == list(range(new[0], number + 1)), "in order, up to the last one"
        assert new[0] <= old[-1] + 1, "none between the two is missing"
        await until_done(bench, 4)

    run(kit, 2, body)


def test_cutover_is_in_every_log(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first, second = await bench.start(publish=True), await bench.start(publish=True)
        await bench.until_owned((first, 1), (second, 1))
        await reshard(bench.store, 4)
        known = await until_done(bench, 4)
        for shard_id in range(4):
            bench.send(shard_id, 1, 4)
        await until(lambda: len(first.numbers + second.numbers) == 4)

        (earlier,) = known.earlier
        assert earlier.count == 2
        for log in await logs(bench, earlier.id, 2):
            assert names(log)[0] == "READY"
            assert log[-1].cutover and log[-1].session is None
            assert [record.cutover for record in log].count(True) == 1
        for log in await logs(bench, known.present.id, 4):
            entered = [n for n, record in enumerate(log) if record.entered]
            assert len(entered) == 1
            assert names(log[: entered[0]]) == [], "no event before"
            assert names(log) == ["NUMBER"]
        found = await find_fleet(bench.store, bench.config.token)
        assert found is not None and found[1] == 4

    run(kit, 2, body)


def test_feed_follows_the_fleet_over_the_cutover(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        first, second = await bench.start(publish=True), await bench.start(publish=True)
        await bench.until_owned((first, 1), (second, 1))
        taken: list[tuple[int, Any]] = []
        last = anyio.Event()

        async def consume() -> None:
            async with open_feed(bench.store, group="g", from_start=True, **FAST) as feed:
                async for shard_id, event in feed:
                    if isinstance(event, Cutover):
                        taken.append((shard_id, event))
                    elif event.name == "NUMBER":
                        taken.append((shard_id, event.data))
                        if event.data == -1:
                            last.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            await reshard(bench.store, 4)
            number = 0
            while first.fleet.count != 4 or second.fleet.count != 4:
                number += 1
                send_of_guild(bench, 6, number)
                await anyio.sleep(0.01)
            send_of_guild(bench, 6, -1)
            with anyio.fail_after(20):
                await last.wait()
            tasks.cancel_scope.cancel()

        cuts = [n for n, (_, event) in enumerate(taken) if event == Cutover()]
        assert sorted(taken[n][0] for n in cuts) == [0, 1]
        old, new = taken[: cuts[0]], taken[cuts[1] + 1 :]
        assert old == [(0, n) for n in range(1, len(old) + 1)], "in order, from the first one"
        begin = new[0][1]
        assert new == [(2, n) for n in [*range(begin, number + 1), -1]], "up to the last one"
        assert begin <= len(old) + 1, "none between the two is missing"

    run(kit, 2, body)
