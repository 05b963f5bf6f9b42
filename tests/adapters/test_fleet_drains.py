"""Ends of a member: requests to drain from outside of it, and a `break`."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError, open_fleet
from gateway_fleet._drains import DrainRequests, ask_to_drain
from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_proto import Config, DialFailed, Dispatch, Ready
from tests.adapters.fleet_members import FAST, Bench, CutStore, run, until
from tests.adapters.gated_store import GatedStore
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def test_member_that_is_asked_drains(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(member="one")
        two = await bench.start(member="two")
        await bench.until_owned((one, 2), (two, 2))

        await ask_to_drain(two.fleet.store, "one")
        await until(lambda: one.is_over)
        await bench.until_owned((two, 4))

        # The request was for the earlier member of that name.
        again = await bench.start(member="one")
        await bench.until_owned((again, 2), (two, 2))
        assert not again.is_over
        assert bench.received["Identify"] == 4

    run(kit, 4, body)


class HeldStore(CutStore):
    """A store that answers no question about a head after the first append, until it is released.

    A member asks that question before it identifies.
    """

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.held: list[anyio.Event] = []
        self.released = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def append(*arguments: Any) -> Any:
            position = await verb(*arguments)
            if not self.held:
                self.held.append(anyio.Event())
            return position

        async def head(shard: int) -> Any:
            if self.held:
                self.held[0].set()
                await self.released.wait()
            return await verb(shard)

        return {"append": append, "head": head}.get(name, verb)

    def scoped(self, prefix: str) -> HeldStore:
        scope = HeldStore(self._store.scoped(prefix))
        scope.held, scope.released = self.held, self.released
        return scope


def test_shard_that_is_about_to_be_closed_does_not_identify(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        store = HeldStore(bench.store)
        only = await bench.start(store)
        await until(lambda: bool(store.held) and store.held[0].is_set())
        shards = only.fleet._member.shards
        remove = shards.remove

        async def remove_late(*arguments: Any, **options: Any) -> Any:
            store.released.set()
            await anyio.sleep(0.1)
            return await remove(*arguments, **options)

        shards.remove = remove_late
        await only.fleet.drain()

        assert bench.received["Identify"] == 0

    run(kit, 1, body)


def test_member_without_an_answer_to_its_lookup_drains_at_once(kit: Kit) -> None:
    async def body() -> None:
        config = Config(token="t", intents=0, api_url="http://127.0.0.1:1/api")
        async with kit.limit(), open_fleet(config, count=2) as fleet:
            events = aiter(fleet)
            while not isinstance((await anext(events))[1], DialFailed):
                pass
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fleet.drain)
                async for _ in fleet:
                    pass

    kit.run(body)


def test_request_to_drain_is_seen_at_a_heartbeat(kit: Kit) -> None:
    async def body() -> None:
        store, heartbeat, seen = MemoryStore(), Notifier(), []

        async def wait(name: str) -> None:
            requests = DrainRequests(store, name, StoreFailures())
            await requests.begin()
            await requests.until_asked(heartbeat)
            seen.append(name)

        await store.heartbeat("one", b"1")
        await ask_to_drain(store, "one")  # to an earlier member
        async with anyio.create_task_group() as group:
            group.start_soon(wait, "one")
            group.start_soon(wait, "two")
            await anyio.wait_all_tasks_blocked()
            heartbeat.notify()
            await anyio.wait_all_tasks_blocked()
            assert seen == []

            await ask_to_drain(store, "one")
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            heartbeat.notify()
            await anyio.wait_all_tasks_blocked()
            assert seen == ["one"]
            group.cancel_scope.cancel()

    kit.run(body)


def test_requests_to_absent_members_are_forgotten(kit: Kit) -> None:
    async def body() -> None:
        store = MemoryStore()
        for number in range(100):
            await store.heartbeat(f"m{number}", b"1")
            await store.heartbeat(f"m{number - 2}", b"")
            await ask_to_drain(store, f"m{number}")

        value, _ = await store.compare_and_set("drains", None, 0)
        assert value is not None
        assert b"m98" in value and b"m99" in value and b"m97" not in value

    kit.run(body)


def test_late_request_to_drain_forgets_no_other_one(kit: Kit) -> None:
    """Its process is stopped while a member joins that another process asks."""

    async def body() -> None:
        store = MemoryStore()
        late = GatedStore(store)
        await store.heartbeat("one", b"1")
        late.hold(after=lambda *request: request[0] in ("heartbeat", "compare_and_set"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_to_drain, late, "one")
            await anyio.wait_all_tasks_blocked()
            await store.heartbeat("two", b"1")
            await ask_to_drain(store, "two")
            late.let_go()

        value, _ = await store.compare_and_set("drains", None, 0)
        assert value is not None
        assert b"one" in value and b"two" in value

    kit.run(body)


def test_invalid_requests_to_drain_are_an_error(kit: Kit) -> None:
    async def body() -> None:
        store = MemoryStore()
        await store.compare_and_set("drains", b"[]", 0)

        with pytest.raises(StoreError, match="requests to drain"):
            await ask_to_drain(store, "one")

    kit.run(body)


@pytest.mark.parametrize("publish", [False, True])
@pytest.mark.parametrize("is_handled", [False, True])
def test_event_before_a_break_comes_again_unless_handled(
    kit: Kit, *, is_handled: bool, publish: bool
) -> None:
    async def body(bench: Bench) -> None:
        async with open_fleet(bench.config, bench.store, publish=publish, **FAST) as first:
            first.handled()
            async for _, event in first:
                if isinstance(event, Ready):
                    bench.send(0, 1, 1)
                if isinstance(event, Dispatch) and event.name == "NUMBER":
                    if is_handled:
                        first.handled()
                        first.handled()
                    break

        second = await bench.start(publish=publish)
        await bench.until_owned((second, 1))
        bench.send(0, 2, 1)
        await until(lambda: (0, 2) in second.numbers)

        handled = [(0, 2)] if is_handled or publish else [(0, 1), (0, 2)]
        assert second.numbers == handled
        assert bench.received["Identify"] == 1

    run(kit, 1, body)
