"""Client: shards whose events go to the logs of a store, or are only received.

python -m benchmarks.clients.gateway_fleet PORT COMPRESSION DISPATCHES SHARDS [STORE]

DISPATCHES are those of all shards. STORE is "memory" or the URL of an engine; without it
`open_gateway` receives alone, or `open_shards` with more than one shard.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable
from typing import Any

import gateway_fleet
from benchmarks.clients.stopwatch import Stopwatch
from gateway_asyncio import open_gateway, open_shards
from gateway_fleet import MemoryStore, open_fleet
from gateway_proto import Config, Dispatch, Ready


def _store(name: str) -> Any:
    if name == "memory":
        return MemoryStore()
    is_nats = name.startswith("nats")
    return gateway_fleet.NatsStore(name) if is_nats else gateway_fleet.RedisStore(name)


def _config(watch: Stopwatch) -> Config:
    url = f"http://127.0.0.1:{watch.port}/api"
    return Config(token="t", intents=513, api_url=url, compression=watch.compression)


async def _gateway(watch: Stopwatch) -> None:
    count = 0
    async with open_gateway(_config(watch)) as gateway:
        async for event in gateway:
            if type(event) is Dispatch:
                count += 1
                if count == watch.total:
                    watch.stop(count, event.sequence)
            elif type(event) is Ready:
                watch.start()


async def _take(events: AsyncIterable[Any], watch: Stopwatch, shards: int) -> None:
    """Take all dispatches of all shards."""
    count, ready = 0, 0
    async for _, event in events:
        if type(event) is Dispatch:
            count += 1
            if count == watch.total:
                return
        elif type(event) is Ready:
            ready += 1
            if ready == shards:
                watch.start()


async def _shards(watch: Stopwatch, shards: int) -> None:
    async with open_shards(_config(watch), count=shards) as running:
        await _take(running, watch, shards)
        watch.stop(watch.total, None)


async def _fleet(watch: Stopwatch, shards: int, store: str) -> None:
    async with open_fleet(_config(watch), _store(store), count=shards, publish=True) as fleet:
        await _take(fleet, watch, shards)
        for owner in fleet._member.owners.by_id.values():
            await owner.until_clear()
        watch.pause()
        for shard in range(shards):
            session = (await fleet.store.head(shard)).session
            last = 1 + watch.total // shards
            if session is None or session.sequence != last:
                raise SystemExit(f"shard {shard} ends with {session}: expected sequence {last}")
        watch.stop(watch.total, None)


async def main(shards: int, store: str | None) -> None:
    """Take all dispatches, and print how long it took."""
    watch = Stopwatch()
    if store is not None:
        await _fleet(watch, shards, store)
    elif shards > 1:
        await _shards(watch, shards)
    else:
        await _gateway(watch)


asyncio.run(main(int(sys.argv[4]), sys.argv[5] if len(sys.argv) > 5 else None))
