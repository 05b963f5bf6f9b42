"""Leaving a fleet that was cancelled at any step of its start, on both loops."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway_fleet import MemoryStore
from gateway_fleet._coordinator import Coordinator
from gateway_proto.fleet import Membership
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def _coordinator(store: Any) -> Coordinator:
    """Return the coordinator of a member whose shards nobody takes up."""
    now = anyio.current_time()
    membership = Membership("a", 2, ttl=60.0, interval=0.05, version="1", now=now)
    return Coordinator(membership, "a", store, lambda event: None, lambda: None)


@pytest.mark.parametrize("steps", range(5, 15))
def test_leaving_ends_after_a_cancellation_at_any_step(kit: Kit, steps: int) -> None:
    async def main() -> None:
        coordinator = _coordinator(MemoryStore())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(coordinator.run)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

        with anyio.fail_after(5.0):
            await coordinator.leave()

        assert coordinator.membership.has_left

    kit.run(main)


def test_leaving_releases_shards_that_were_not_taken_up(kit: Kit) -> None:
    async def main() -> None:
        coordinator = _coordinator(MemoryStore())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(coordinator.run)
            while len(coordinator.membership.owned) < 2:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

        with anyio.fail_after(5.0):
            await coordinator.leave()

        assert coordinator.membership.has_left
        assert not coordinator.membership.owned

    kit.run(main)
