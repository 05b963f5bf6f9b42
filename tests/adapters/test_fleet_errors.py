"""Exceptions of a store that are not `StoreError`: fleets, feeds and commands raise them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, open_commands, open_feed, open_fleet
from gateway_proto import LocalProtocolError, RequestGuildMembers, UpdatePresence
from gateway_proto.server import Server, ServerConfig
from tests.adapters.feed_workers import FAST, Log
from tests.adapters.support import KITS, BugError, Kit, NotAnException, shards_config

MEMBERS = RequestGuildMembers("1", user_ids=("2",))
pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


class FailingStore:
    """Store in memory, one verb of which raises."""

    keep_seconds = None

    def __init__(self, inner: Any, verb: str, error: type[BaseException]) -> None:
        self._inner, self._verb, self._error = inner, verb, error

    async def __aenter__(self) -> FailingStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def scoped(self, prefix: str) -> FailingStore:
        return FailingStore(self._inner.scoped(prefix), self._verb, self._error)

    async def records(self, *arguments: Any) -> AsyncIterator[Any]:
        if self._verb == "records":
            raise self._error
        async for item in self._inner.records(*arguments):
            yield item

    def __getattr__(self, verb: str) -> Any:
        async def call(*arguments: Any) -> Any:
            if verb == self._verb:
                raise self._error
            return await getattr(self._inner, verb)(*arguments)

        return call


def _failing(verb: str, error: type[BaseException] = BugError, inner: Any = None) -> Any:
    return FailingStore(MemoryStore() if inner is None else inner, verb, error)


def _fleet(serving: Any, store: Any) -> Any:
    return open_fleet(shards_config(serving), store, count=1, publish=True, **FAST)


@pytest.mark.parametrize("verb", ["heartbeat", "head", "append", "take", "watch"])
@pytest.mark.parametrize(
    ("error", "raised"), [(BugError, BugError), (NotAnException, RuntimeError)]
)
def test_exception_of_the_store_of_a_fleet_is_raised(
    kit: Kit, verb: str, error: type[BaseException], raised: type[Exception]
) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(raised):
                async with _fleet(serving, _failing(verb, error)) as fleet:
                    async for _ in fleet:
                        pass

    kit.run(main)


def test_exception_of_the_body_precedes_that_of_leaving(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(ZeroDivisionError):
                async with _fleet(serving, _failing("heartbeat")):
                    raise ZeroDivisionError

    kit.run(main)


@pytest.mark.parametrize("verb", ["heartbeat", "head", "records", "listen"])
@pytest.mark.parametrize(
    ("error", "raised"), [(BugError, BugError), (NotAnException, RuntimeError)]
)
def test_exception_of_the_store_of_a_feed_is_raised(
    kit: Kit, verb: str, error: type[BaseException], raised: type[Exception]
) -> None:
    async def main() -> None:
        store = MemoryStore()
        log = Log(store)
        async with kit.limit():
            await log.begin()
            await log.append(0)
            with pytest.raises((raised, ExceptionGroup)) as caught:
                async with open_feed(_failing(verb, error, store), group="g", **FAST) as feed:
                    async for _ in feed:
                        pass
            # Several shards may fail at once.
            parts = getattr(caught.value, "exceptions", [caught.value])
            assert {type(part) for part in parts} == {raised}

    kit.run(main)


@pytest.mark.parametrize("verb", ["take", "watch"])
def test_exception_of_the_store_ends_a_command(kit: Kit, verb: str) -> None:
    async def main() -> None:
        store = MemoryStore()
        server = Server(ServerConfig())
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            _fleet(serving, store) as fleet,
        ):
            while not fleet.owned:
                await anyio.sleep(0.01)
            with pytest.raises(BugError):
                async with open_commands(_failing(verb, inner=store)) as commands:
                    for _ in range(2):
                        with pytest.raises(BugError):
                            await commands.send(0, UpdatePresence(), timeout=30.0)

    kit.run(main)


def test_exception_of_the_store_ends_a_request(kit: Kit) -> None:
    async def main() -> None:
        store = MemoryStore()
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            _fleet(serving, store) as fleet,
        ):
            while not fleet.owned:
                await anyio.sleep(0.01)
            with pytest.raises(BugError):
                async with open_commands(_failing("records", inner=store)) as commands:
                    await commands.request(0, MEMBERS, timeout=30.0)

    kit.run(main)


def test_request_ends_when_its_block_is_left(kit: Kit) -> None:
    errors = []

    async def main() -> None:
        store = MemoryStore()
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            _fleet(serving, store) as fleet,
            anyio.create_task_group() as tasks,
        ):
            while not fleet.owned:
                await anyio.sleep(0.01)

            async def request(commands: Any) -> None:
                with pytest.raises(LocalProtocolError, match="open_commands has ended") as raised:
                    await commands.request(0, MEMBERS, timeout=30.0)
                errors.append(raised.value)

            async with open_commands(store) as commands:
                tasks.start_soon(request, commands)
                await anyio.sleep(0.1)

    kit.run(main)

    assert len(errors) == 1
