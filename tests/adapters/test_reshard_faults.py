"""Faults during a change of the number of shards: it completes, and no event is lost."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from gateway_fleet import open_feed, open_fleet, reshard
from gateway_fleet._generation import change_generations, read_generations, write_generations
from gateway_proto import Ready
from gateway_proto.fleet import Cutover, GenerationPhase, Generations, IdentifySlots
from gateway_proto.session import token_fingerprint
from tests.adapters.fleet_members import Bench, CutStore, Running, run, until
from tests.adapters.support import KITS, PATIENCE, Kit

pytestmark = pytest.mark.slow

GUILD = 6
"""Of shard 0 of 2, and of shard 2 of 4."""

TIMES: dict[str, Any] = {"ttl": 2.0, "interval": 0.3}


@pytest.fixture(autouse=True)
def _frequent_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    def slots(**options: Any) -> IdentifySlots:
        return IdentifySlots(**{**options, "seconds": 0.1, "margin": 0.0, "stale_after": 0.5})

    monkeypatch.setattr("gateway_fleet._slots.IdentifySlots", slots)


class Change:
    """Two members, a consumer and a sender of numbered events, during a change from 2 to 4."""

    def __init__(self, bench: Bench, tasks: Any) -> None:
        self.bench = bench
        self.stores = [CutStore(bench.store), CutStore(bench.store)]
        self.members: list[Running] = []
        self.taken: list[tuple[int, Any]] = []
        self.number = 0
        self._tasks = tasks

    async def start(self, store: Any = None) -> None:
        self.members.append(await self.bench.start(store, publish=True, **TIMES))

    async def generations(self) -> Generations:
        bot = self.bench.store.scoped(token_fingerprint(self.bench.config.token))
        known, _ = await read_generations(bot)
        assert known is not None
        return known

    async def until_phase(self, phase: GenerationPhase) -> None:
        with anyio.fail_after(PATIENCE):
            while (known := await self.generations()).next is None or known.phase != phase:
                assert known.present.count == 2, "the phase is over"
                await anyio.sleep(0.005)

    async def until_done(self) -> None:
        with anyio.fail_after(PATIENCE):
            while (known := await self.generations()).present.count == 2 or known.next is not None:
                await anyio.sleep(0.02)

    async def consume(self) -> None:
        async with open_feed(self.bench.store, group="g", from_start=True, **TIMES) as feed:
            async for shard_id, event in feed:
                if isinstance(event, Cutover):
                    self.taken.append((shard_id, event))
                elif getattr(event, "name", "") == "NUMBER":
                    self.taken.append((shard_id, event.data))

    async def send(self) -> None:
        for self.number in itertools.count(1):
            self.bench.serving.dispatch(
                "NUMBER",
                self.number,
                to=lambda session: (
                    session.shard is not None and GUILD % session.shard[1] == session.shard[0]
                ),
            )
            await anyio.sleep(0.02)

    def check(self) -> None:
        """Each number before the cut came from the old shard, each one after from the new one."""
        cuts = [n for n, (_, event) in enumerate(self.taken) if event == Cutover()]
        assert sorted(self.taken[n][0] for n in cuts) == [0, 1]
        old = [n for shard, n in self.taken[: cuts[-1]] if shard == 0 and n != Cutover()]
        new = [n for shard, n in self.taken[cuts[-1] + 1 :] if shard == 2]
        assert old == list(range(old[0], old[-1] + 1)), "each once, in order"
        assert new == list(range(new[0], new[-1] + 1)), "each once, in order"
        assert new[0] <= old[-1] + 1, "none is lost between the two"


async def die(change: Change) -> None:
    change.stores[0].cut(cut=True)
    change.members[0].scope.cancel()
    await change.start()


async def drain(change: Change) -> None:
    await change.members[0].fleet.drain()


async def restart(change: Change) -> None:
    for member in change.members:
        member.scope.cancel()
    await until(lambda: all(member.is_over for member in change.members))
    await change.start()


async def lose_the_store(change: Change) -> None:
    for store in change.stores:
        store.cut(cut=True)
    await anyio.sleep(2.5)
    for store in change.stores:
        store.cut(cut=False)


async def stop_one(change: Change) -> None:
    """Cut one member off until the others have changed over without it."""
    keeper = change.members[1].fleet._keeper

    def takes_part() -> bool:
        return keeper._next is not None and bool(keeper._next.owners.by_id)

    await until(takes_part)
    change.stores[1].cut(cut=True)
    await change.until_done()
    change.stores[1].cut(cut=False)


async def join(change: Change) -> None:
    await change.start()


FAULTS = (die, drain, restart, lose_the_store, stop_one, join)
CASES = [
    pytest.param(fault, phase, KITS[(n + m) % 2], id=f"{fault.__name__}-{phase.value}")
    for n, fault in enumerate(FAULTS)
    for m, phase in enumerate(GenerationPhase)
]
"""Each fault in each phase, by turns on one of the event loops."""


@pytest.mark.parametrize(("fault", "phase", "kit"), CASES)
def test_change_completes_in_spite_of_a_fault(
    fault: Callable[[Change], Awaitable[None]], phase: GenerationPhase, kit: Kit
) -> None:
    async def body(bench: Bench) -> None:
        async with anyio.create_task_group() as tasks:
            change = Change(bench, tasks)
            for store in change.stores:
                await change.start(store)
            await bench.until_owned((change.members[0], 1), (change.members[1], 1))
            tasks.start_soon(change.consume)
            tasks.start_soon(change.send)
            await until(lambda: len(change.taken) > 5)
            await reshard(bench.store, 4)
            await change.until_phase(phase)

            await fault(change)
            await change.until_done()
            last = change.number + 10
            await until(lambda: (2, last) in change.taken)
            tasks.cancel_scope.cancel()
        change.check()

    run(kit, 2, body)


@pytest.mark.parametrize("kit", KITS, ids=str)
def test_process_that_starts_at_the_end_of_a_change_takes_part(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look of `open_fleet` and that of the keeper the next generation is present."""

    async def end_change(store: Any) -> tuple[Generations | None, int]:
        known, revision = await read_generations(store)
        assert known is not None
        if known.next is None:
            return known, revision
        return await write_generations(store, known.advanced(), revision)

    async def body(bench: Bench) -> None:
        bot = bench.store.scoped(token_fingerprint(bench.config.token))
        known = Generations.begun("old", 2).announced("new", 3).advanced().advanced()
        await write_generations(bot, known, 0)
        monkeypatch.setattr("gateway_fleet._keeper.read_generations", end_change)

        member = await bench.start()
        await until(lambda: member.fleet.count == 3)
        await bench.until_owned((member, 3))

        assert any(isinstance(event, Cutover) for _, event in member.events)

    run(kit, 3, body)


@pytest.mark.parametrize("kit", KITS, ids=str)
def test_member_that_drains_takes_no_part_in_a_change(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        bot = bench.store.scoped(token_fingerprint(bench.config.token))
        async with open_fleet(bench.config, bench.store, ttl=1.0, interval=0.1) as fleet:
            events = aiter(fleet)
            while not isinstance((await anext(events))[1], Ready):
                pass
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fleet.drain)  # until READY is handled
                await anyio.sleep(0.05)
                await change_generations(bot, lambda known: known.announced("next", 2))
                await anyio.sleep(0.3)
                for _ in GenerationPhase:
                    await change_generations(bot, Generations.advanced)
                await anyio.sleep(0.3)
                with pytest.raises(StopAsyncIteration):
                    while True:
                        await anext(events)

    run(kit, 1, body)
