"""Stores of each kind for tests of fleets, with the engines that they need."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from gateway_fleet import MemoryStore, Store
from gateway_proto import Session
from gateway_proto.fleet import LogRecord
from tests.adapters.engines import (
    KINDS,
    NatsProcess,
    RedisProcess,
    nats_process,
    open_store,
    redis_process,
)
from tests.adapters.support import Kit

SESSION = Session(id="s", sequence=3, version=10, shard=(0, 2))
unclosed_streams = pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject")
"""Ignores what coredis leaves unclosed if it cannot connect or loses a connection.

See `collected`.
"""


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what coredis leaves unclosed within the test, whose filter ignores it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def redis_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def nats_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    with nats_process(tmp_path_factory.mktemp("nats")) as process:
        yield process


_prefixes = itertools.count()


def store_maker(request: pytest.FixtureRequest, kit: Kit, kind: str) -> Callable[[], Any]:
    """Return a function that makes stores of the same data."""
    if kind == "memory":
        store = MemoryStore()
        return lambda: store
    if kind == "nats" and kit.name != "asyncio":
        pytest.skip("NatsStore is for asyncio alone")
    process = request.getfixturevalue(f"{kind}_engine")
    prefix = f"gw-{next(_prefixes)}"
    return lambda: open_store(process.url, prefix=prefix)


@pytest.fixture(params=["memory", *KINDS])
def new_store(request: pytest.FixtureRequest, kit: Kit) -> Callable[[], Any]:
    """Return a function that makes stores of the same data."""
    return store_maker(request, kit, request.param)


def run(kit: Kit, new_store: Callable[[], Any], body: Callable[[Any], Awaitable[None]]) -> None:
    """Run the body with an open store."""

    async def main() -> None:
        async with kit.limit(), new_store() as store:
            await body(store)

    kit.run(main)


async def records_of(store: Store, shard: int, after: int = 0) -> list[tuple[int, LogRecord]]:
    return [item async for item in store.records(shard, after)]
