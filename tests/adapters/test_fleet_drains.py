"""Requests to drain a member, from outside of it."""

from __future__ import annotations

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError
from gateway_fleet._drains import ask_to_drain, until_asked
from gateway_fleet._runtime import Notifier
from tests.adapters.fleet_members import Bench, run, until
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def test_member_that_is_asked_drains(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(member="one")
        two = await bench.start(member="two")
        await bench.until_owned((one, 2), (two, 2))

        await ask_to_drain(two.fleet.store, "one", ["one", "two"])
        await until(lambda: one.is_over)
        await bench.until_owned((two, 4))

        # The request was for the earlier member of that name.
        again = await bench.start(member="one")
        await bench.until_owned((again, 2), (two, 2))
        assert not again.is_over
        assert bench.received["Identify"] == 4

    run(kit, 4, body)


def test_request_to_drain_is_seen_at_a_heartbeat(kit: Kit) -> None:
    async def body() -> None:
        store, heartbeat, seen = MemoryStore(), Notifier(), []

        async def wait(name: str) -> None:
            await until_asked(store, name, heartbeat)
            seen.append(name)

        await ask_to_drain(store, "one", ["one"])  # to an earlier member
        async with anyio.create_task_group() as group:
            group.start_soon(wait, "one")
            group.start_soon(wait, "two")
            await anyio.wait_all_tasks_blocked()
            heartbeat.notify()
            await anyio.wait_all_tasks_blocked()
            assert seen == []

            await ask_to_drain(store, "one", ["one", "two"])
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
            await ask_to_drain(store, f"m{number}", [f"m{number - 1}", f"m{number}"])

        value, _ = await store.compare_and_set("drains", None, 0)
        assert value is not None
        assert b"m98" in value and b"m99" in value and b"m97" not in value

    kit.run(body)


def test_invalid_requests_to_drain_are_an_error(kit: Kit) -> None:
    async def body() -> None:
        store = MemoryStore()
        await store.compare_and_set("drains", b"[]", 0)

        with pytest.raises(StoreError, match="requests to drain"):
            await ask_to_drain(store, "one", [])

    kit.run(body)
