"""Checkpoints of trio while queued events are taken."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

import pytest
import trio

from gateway_proto import Dispatch, Ready
from gateway_proto.server import Server, ServerConfig
from gateway_trio import open_gateway, open_shards, serve_gateway
from tests.adapters.support import adapter_config

COUNT = 600


async def _steps_seen(events: AsyncIterable[Any], serving: Any) -> list[int]:
    """Return how often another task had run by then, for each of COUNT queued dispatches."""
    steps, seen = 0, []

    async def count_steps() -> None:
        nonlocal steps
        while True:
            steps += 1
            await trio.lowlevel.checkpoint()

    async for item in events:
        if isinstance(item[1] if isinstance(item, tuple) else item, Ready):
            break
    for _ in range(COUNT):
        serving.dispatch("NUMBER", 1)
    await trio.sleep(0.3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_steps)
        async for item in events:
            if isinstance(item[1] if isinstance(item, tuple) else item, Dispatch):
                seen.append(steps)
            if len(seen) == COUNT:
                break
        nursery.cancel_scope.cancel()
    return seen


@pytest.mark.parametrize("of_shards", [False, True], ids=["gateway", "shards"])
def test_other_tasks_run_between_queued_events(of_shards: bool) -> None:
    async def main() -> None:
        with trio.fail_after(30):
            async with serve_gateway(Server(ServerConfig())) as serving:
                config = adapter_config(serving)
                opened: Any = open_shards(config) if of_shards else open_gateway(config)
                async with opened as events:
                    steps = await _steps_seen(events, serving)
        runs = len(set(steps))
        assert COUNT // 256 <= runs <= COUNT // 256 + 3, "each 256 events, not at each"

    trio.run(main)
