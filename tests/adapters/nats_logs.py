"""Helpers of the tests of `NatsStore`: clients, and logs that are filled and read."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from gateway_fleet import NatsStore
from gateway_proto import Session
from gateway_proto.fleet import LoggedEvents, LogHead, LogRecord
from tests.adapters.support import PATIENCE

SESSION = Session(id="s", sequence=3, version=10, shard=(0, 2))
PREFIXES = (f"p{number}" for number in range(1000))


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await body()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Any]:
    """Connect as an administrator, by the API of nats-py."""
    import nats

    client = await nats.connect(url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


def noise(size: int) -> bytes:
    """Return the data of an event that no compression makes smaller."""
    return b'"' + random.Random(1).randbytes(size // 2).hex().encode() + b'"'


async def fill(store: NatsStore, shard: int, count: int, size: int = 10) -> LogHead:
    """Append `count` records, and return the head."""
    head = await store.head(shard)
    for number in range(count):
        record = LogRecord(
            f"{shard}.{number}", "a", SESSION, LoggedEvents.of(("E", number, bytes(size)))
        )
        position = await store.append(shard, head, record)
        assert position is not None
        head = record.head(position)
    return head


async def positions(store: NatsStore, shard: int, after: int = 0) -> list[int]:
    return [position async for position, _ in store.records(shard, after)]
