"""Consumers of the logs of a fleet whose events a test appends itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs
import pytest

from gateway_fleet import open_feed
from gateway_fleet._bots import register_bot
from gateway_fleet._generation import agree
from gateway_proto import Session
from gateway_proto.fleet import LoggedDispatch, LoggedEvents, LogRecord
from tests.adapters.engine_stores import store_maker
from tests.adapters.engines import SLOW_NATS
from tests.adapters.support import Kit
from tests.adapters.waiting import until

FAST: dict[str, Any] = {"ttl": 3.0, "interval": 0.2}
COUNT = 4
BOT = "0123456789abcdef"


@pytest.fixture(params=["memory", *SLOW_NATS])
def new_store(request: pytest.FixtureRequest, kit: Kit) -> Callable[[], Any]:
    """Return a function that makes stores of the same data."""
    return store_maker(request, kit, request.param)


class Log:
    """The logs of a fleet without a gateway."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._sent = [0] * COUNT

    async def begin(self, *, bot: str = BOT) -> None:
        await register_bot(self._store, bot)
        scope = self._store.scoped(bot)
        self.logs = scope.scoped((await agree(scope, COUNT, ttl=1.0)).present.id)

    async def append(self, shard_id: int, count: int = 1, **fields: Any) -> None:
        first = self._sent[shard_id] + 1
        self._sent[shard_id] += count
        events = LoggedEvents.of(*(("NUMBER", n, b"%d" % n) for n in range(first, first + count)))
        session = Session(id="s", sequence=self._sent[shard_id], version=10)
        head = await self.logs.head(shard_id)
        record = LogRecord(f"r{head.position}", "owner", session, events, **fields)
        assert await self.logs.append(shard_id, head, record) is not None


@attrs.define
class Worker:
    feed: Any
    scope: anyio.CancelScope
    events: list[tuple[int, Any]] = attrs.Factory(list)
    is_over: bool = False

    def numbers(self, shard_id: int) -> list[int]:
        return [
            event.data
            for of, event in self.events
            if of == shard_id and isinstance(event, LoggedDispatch)
        ]


class Bench:
    def __init__(self, log: Log, new_store: Callable[[], Any], tasks: Any) -> None:
        self.log = log
        self._new_store = new_store
        self._tasks = tasks

    async def start(self, group: str = "g", store: Any = None, **options: Any) -> Worker:
        ready: list[Worker] = []
        self._tasks.start_soon(self._run, ready, store or self._new_store(), group, options)
        await until(lambda: bool(ready))
        return ready[0]

    async def _run(self, ready: list[Worker], store: Any, group: str, options: Any) -> None:
        with anyio.CancelScope() as scope:
            async with open_feed(store, group=group, **{**FAST, **options}) as feed:
                worker = Worker(feed, scope)
                ready.append(worker)
                async for item in feed:
                    worker.events.append(item)
        worker.is_over = True


def run(kit: Kit, new_store: Any, body: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with kit.limit(60), new_store() as store, anyio.create_task_group() as tasks:
            log = Log(store)
            await log.begin()
            await body(Bench(log, new_store, tasks))
            tasks.cancel_scope.cancel()

    kit.run(main)
