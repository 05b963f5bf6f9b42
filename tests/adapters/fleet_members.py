"""Members of a fleet that come and go in one process, with a server and a store."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import attrs

from gateway_fleet import MemoryStore, StoreError, open_fleet
from gateway_proto import Dispatch, Identify, Resume
from gateway_proto.fleet import Cutover
from gateway_proto.server import Server, ServerConfig
from tests.adapters.support import PATIENCE, Kit, lookup_config
from tests.adapters.waiting import until

FAST: dict[str, Any] = {"ttl": 1.0, "interval": 0.2}


@attrs.define
class Running:
    """A member under test: what its handler received."""

    fleet: Any
    scope: anyio.CancelScope
    numbers: list[tuple[int, int]] = attrs.Factory(list)
    """Shard id and number of each numbered event."""
    events: list[tuple[Any, Any]] = attrs.Factory(list)
    is_over: bool = False

    def shards_of(self, type_: type[Any]) -> list[int]:
        return [shard_id for shard_id, event in self.events if isinstance(event, type_)]


class Bench:
    """A server with `count` shards, and members that come and go."""

    def __init__(
        self, kit: Kit, server: Server, serving: Any, group: Any, received: Counter[str]
    ) -> None:
        self.kit = kit
        self.server = server
        self.serving = serving
        self.store: Any = MemoryStore()
        self.received = received
        self.config = lookup_config(serving)
        self._group = group
        self._next = 0

    async def start(self, store: Any = None, **options: Any) -> Running:
        ready: list[Running] = []
        self._group.start_soon(self._run, ready, store or self.store, options)
        await until(lambda: bool(ready))
        return ready[0]

    async def _run(self, ready: list[Running], store: Any, options: dict[str, Any]) -> None:
        with anyio.CancelScope() as scope:
            async with open_fleet(self.config, store, **{**FAST, **options}) as fleet:
                running = Running(fleet, scope)
                ready.append(running)
                async for shard_id, event in fleet:
                    if shard_id is not None or isinstance(event, Cutover):
                        running.events.append((shard_id, event))
                        if isinstance(event, Dispatch) and event.name == "NUMBER":
                            running.numbers.append((shard_id, event.data))
        running.is_over = True

    def send(self, shard_id: int, number: int, count: int) -> None:
        self.serving.dispatch(
            "NUMBER", number, to=lambda session: session.shard == (shard_id, count)
        )

    async def until_owned(self, *owned: tuple[Running, int]) -> None:
        """Wait until members own these numbers of shards, all READY."""

        def is_owned() -> bool:
            return all(
                len(running.fleet.owned) == number
                and all(
                    n in running.fleet.gateways
                    and running.fleet.gateways[n].state is not None
                    and running.fleet.gateways[n].state.value == "ready"
                    for n in running.fleet.owned
                )
                for running, number in owned
            )

        await until(is_owned)


@contextlib.asynccontextmanager
async def _bench(kit: Kit, count: int, **settings: Any) -> AsyncIterator[Bench]:
    received: Counter[str] = Counter()

    def on_event(_: Any, event: Any) -> None:
        if isinstance(event, Identify | Resume):
            received[type(event).__name__] += 1

    server = Server(ServerConfig(shards=count, max_concurrency=16, **settings))
    async with (
        kit.adapter.serve_gateway(server, on_event=on_event) as serving,
        anyio.create_task_group() as group,
    ):
        yield Bench(kit, server, serving, group, received)
        group.cancel_scope.cancel()


def run(kit: Kit, count: int, body: Callable[[Bench], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        with anyio.fail_after(2 * PATIENCE):
            async with _bench(kit, count, **settings) as bench:
                await body(bench)

    kit.run(main)


class CutStore:
    """A store that can be cut off, like the network of one machine."""

    keep_seconds: float | None = None

    def __init__(self, store: Any) -> None:
        self._store = store
        self._state = {"cut": False}

    def cut(self, *, cut: bool) -> None:
        self._state["cut"] = cut

    async def __aenter__(self) -> CutStore:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def scoped(self, prefix: str) -> CutStore:
        scope = CutStore(self._store.scoped(prefix))
        scope._state = self._state
        return scope

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def call(*arguments: Any) -> Any:
            if self._state["cut"]:
                await anyio.sleep(0.02)
                raise StoreError("cut off")
            return await verb(*arguments)

        return call
