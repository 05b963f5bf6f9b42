"""`NatsStore` over three servers of NATS, each of which has a copy of the streams."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_fleet import NatsStore, StoreError
from gateway_proto.fleet import LogHead, LogRecord
from tests.adapters.engines import NatsProcess, free_port, nats_process, needs_nats
from tests.adapters.nats_logs import client_of, run
from tests.adapters.support import PATIENCE

pytestmark = [needs_nats, pytest.mark.slow]
SHARDS = 4


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> Iterator[list[NatsProcess]]:
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    with contextlib.ExitStack() as stack:
        servers = []
        for number, port in enumerate(ports):
            folder = tmp_path / str(number)
            folder.mkdir()
            settings = {
                "server_name": f"n{number}",
                "cluster": f'{{name: c, listen: "127.0.0.1:{port}", routes: [{routes}]}}',
            }
            servers.append(stack.enter_context(nats_process(folder, **settings)))
        yield servers


def url_of(servers: list[NatsProcess]) -> str:
    return "nats://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


async def _appends(store: NatsStore, shard: int, acked: list[tuple[int, str]], end: float) -> None:
    """Append one record after the other, as an owner does, until the end."""
    head, number = LogHead(), 0
    while time.monotonic() < end:
        record = LogRecord(f"{shard}.{number}", "a", after=head.id)
        with contextlib.suppress(StoreError):
            position = await store.append(shard, head, record)
            if position is None:
                found = await store.head(shard)
                if found.id != record.id:
                    assert found == head, "no other member appends"
                    continue
                position = found.position
            acked.append((position, record.id))
            head = record.head(position)
            number += 1


async def _opened(store: NatsStore) -> None:
    """Enter a store once the cluster has a leader."""
    while True:
        try:
            await store.__aenter__()
        except StoreError:
            await asyncio.sleep(0.1)
        else:
            return


def test_leader_that_is_killed_loses_nothing(cluster: list[NatsProcess]) -> None:
    async def body() -> None:
        store = NatsStore(url_of(cluster), replicas=3, timeout=2.0)
        await _opened(store)
        acked: list[list[tuple[int, str]]] = [[] for _ in range(SHARDS)]
        end = time.monotonic() + 12
        tasks = [
            asyncio.create_task(_appends(store, shard, acked[shard], end))
            for shard in range(SHARDS)
        ]
        await asyncio.sleep(2)
        async with client_of(cluster[0].url) as admin:
            info: Any = await admin.stream_info("gw-log")
        assert len(info.cluster.replicas) == 2
        leader = cluster[int(info.cluster.leader[1:])]
        leader.kill()
        before = [len(of_shard) for of_shard in acked]
        await asyncio.sleep(6)
        leader.start()
        await asyncio.gather(*tasks)

        for shard in range(SHARDS):
            found = [(position, record.id) async for position, record in store.records(shard, 0)]
            assert found == acked[shard]
            assert len(found) > before[shard] + 10, "two of three servers are enough"
        await store.heartbeat("a", b"1")
        assert await store.heartbeat("b", b"2") == {"a": b"1", "b": b"2"}
        assert await store.compare_and_set("key", b"v", 0) != (None, 0)
        assert await store.post("m", b"1", PATIENCE)
        taken: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while not taken:  # a replica may be behind
                for messages in await asyncio.gather(*(store.take("m") for _ in range(4))):
                    taken += messages
        assert taken == [b"1"]
        await store.__aexit__(None, None, None)

    run(body)
