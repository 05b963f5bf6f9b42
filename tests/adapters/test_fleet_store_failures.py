"""Log records of a store that fails, in virtual time: heartbeats, claims, appends and reads."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError
from gateway_fleet._command_service import CommandService
from gateway_fleet._coordinator import Coordinator
from gateway_fleet._drains import DrainRequests
from gateway_fleet._keeper import Keeper
from gateway_fleet._presences import Presences
from gateway_fleet._runtime import Notifier
from gateway_fleet._slots import SharedSlots, identify_slots
from gateway_fleet._store_failures import StoreFailures
from gateway_proto import Config, Dispatch, Ready
from gateway_proto.fleet import (
    GatewaySettings,
    Generation,
    Generations,
    LogHead,
    LogRecord,
    Membership,
)
from gateway_proto.shards import ShardPlan
from tests.adapters.virtual_time import feed_shard, owner_of, run

PLAN = ShardPlan("ws://localhost", 1, (0,))
AWAY = StoreError("no answer in 5 s\x1b[2J")


class UnreliableStore(MemoryStore):
    """A store that fails calls of the verbs in `failing`."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()

    def _check(self, verb: str) -> None:
        if verb in self.failing:
            raise StoreError(f"{verb} failed")

    async def heartbeat(self, member: str, value: bytes) -> dict[str, bytes]:
        self._check("heartbeat")
        return await super().heartbeat(member, value)

    async def head(self, shard: int) -> LogHead:
        self._check("head")
        return await super().head(shard)

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        self._check("append")
        return await super().append(shard, after, record)

    async def compare_and_set(
        self, key: str, value: bytes | None, revision: int
    ) -> tuple[bytes | None, int]:
        self._check("compare_and_set")
        return await super().compare_and_set(key, value, revision)

    async def take(self, mailbox: str) -> list[bytes]:
        self._check("take")
        return await super().take(mailbox)

    async def records(self, shard: int, after: int) -> AsyncGenerator[tuple[int, LogRecord], None]:
        self._check("records")
        async for item in super().records(shard, after):
            yield item


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    """Return a function that returns the records since its last call."""
    caplog.set_level(logging.INFO, logger="gateway_proto")

    def take() -> list[tuple[str, str]]:
        taken = [(record.levelname, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return taken

    return take


def test_failing_heartbeats_have_a_first_and_a_last_record(logged: Any) -> None:
    async def main() -> None:
        failures = StoreFailures()
        failures.heartbeat(None)
        for _ in range(3):
            failures.heartbeat(AWAY)
            await anyio.sleep(2.0)
        failures.heartbeat(None)
        failures.heartbeat(None)

    run(main)

    text = "heartbeat: the store fails, trying again: no answer in 5 s\\x1b[2J"
    assert logged() == [
        ("WARNING", text),
        ("INFO", "heartbeat: the store answers again after 6.0 s"),
    ]


def test_request_of_a_shard_is_logged_after_ten_seconds(logged: Any) -> None:
    async def main() -> None:
        failures = StoreFailures()
        failures.request(1, "append", AWAY)
        await anyio.sleep(9.9)
        failures.request(1, "append", AWAY)
        failures.request(2, "append", AWAY)
        assert logged() == []
        await anyio.sleep(0.1)
        failures.request(1, "append", AWAY)
        failures.request(2, "append", None)
        failures.request(1, "append", AWAY)
        assert [text.partition(" trying")[0] for _, text in logged()] == [
            "shard 1: append: the store fails,"
        ]
        failures.request(1, "append", None)
        failures.request(1, "append", AWAY)

    run(main)

    assert logged() == [("INFO", "shard 1: append: the store answers again after 10.0 s")]


def test_failure_of_a_shard_that_was_given_away_is_forgotten(logged: Any) -> None:
    async def main() -> None:
        failures = StoreFailures()
        for _ in range(2):
            failures.request(1, "append", AWAY)
            await anyio.sleep(6.0)
            failures.forget(1)
        failures.request(1, "append", AWAY)
        failures.request(1, "append", None)

    run(main)

    assert logged() == []


def test_store_that_is_away_has_no_record_for_each_shard(logged: Any) -> None:
    async def main() -> None:
        failures = StoreFailures()
        for _ in range(20):
            failures.heartbeat(AWAY)
            for shard in range(64):
                failures.request(shard, "append", AWAY)
            await anyio.sleep(1.0)
        failures.heartbeat(None)
        for shard in range(64):
            failures.request(shard, "append", None)

    run(main)

    assert [level for level, _ in logged()] == ["WARNING", "INFO"]


def test_claims_that_fail_are_logged_while_heartbeats_succeed(logged: Any) -> None:
    async def main() -> None:
        store = UnreliableStore()
        store.failing = {"head"}
        membership = Membership("me", 1, ttl=3.0, interval=0.2, now=anyio.current_time())
        coordinator = Coordinator(membership, "me", store, lambda _: None, lambda: None)
        async with anyio.create_task_group() as group:
            group.start_soon(coordinator.run)
            await anyio.sleep(15.0)
            store.failing = set()
            await anyio.sleep(5.0)
            assert set(membership.owned) == {0}
            store.failing = {"heartbeat"}
            await anyio.sleep(2.0)
            group.cancel_scope.cancel()

    run(main)

    (level, claim), (_, again), (_, heartbeat) = logged()
    assert (level, claim) == (
        "WARNING",
        "shard 0: claim: the store fails, trying again: head failed",
    )
    assert again.startswith("shard 0: claim: the store answers again after 1")
    assert heartbeat == "heartbeat: the store fails, trying again: heartbeat failed"


def test_identify_slots_that_fail_are_logged(logged: Any) -> None:
    store = UnreliableStore()
    granted: list[float] = []

    async def may_identify(shard_id: int) -> bool:
        return bool((await store.head(shard_id)).position == 0)

    async def main() -> None:
        slots = SharedSlots(store, may_identify, StoreFailures())
        slots.begin(identify_slots("me", Config(token="t", intents=0), PLAN))
        slots.join(0, granted.append)
        async with anyio.create_task_group() as group:
            group.start_soon(slots.run)
            for verb in ("compare_and_set", "head"):
                store.failing = {verb}
                await anyio.sleep(30.0)
            assert granted == []
            store.failing = set()
            await anyio.sleep(30.0)
            group.cancel_scope.cancel()

    run(main)

    assert len(granted) == 1
    assert [text.partition(" after ")[0] for _, text in logged()] == [
        "identify slots: the store fails, trying again: compare_and_set failed",
        "identify slots: the store answers again",
        "shard 0: head: the store fails, trying again: head failed",
        "shard 0: head: the store answers again",
    ]


def test_generations_that_cannot_be_read_are_logged(logged: Any) -> None:
    async def main() -> None:
        store = UnreliableStore()
        crossing = SimpleNamespace(report=lambda now: False)
        present: Any = SimpleNamespace(failures=StoreFailures(), crossing=crossing)
        unused: Any = None
        keeper = Keeper(store, Generations(Generation("g1", 1)), present, unused, 0.2)
        store.failing = {"compare_and_set"}
        async with anyio.create_task_group() as group:
            group.start_soon(keeper.run)
            await anyio.sleep(12.0)
            store.failing = set()
            await anyio.sleep(1.0)
            group.cancel_scope.cancel()

    run(main)

    (_, fails), (_, again) = logged()
    assert fails == "generations: the store fails, trying again: compare_and_set failed"
    assert again.startswith("generations: the store answers again after 12.")


async def _read_mailbox(store: UnreliableStore) -> None:
    unused: Any = None
    service = CommandService(
        *("me", store, store, GatewaySettings(10), lambda _: None),
        *(unused, lambda: None, StoreFailures()),
    )
    await service.run()


async def _keep_presence(store: UnreliableStore) -> None:
    owner: Any = SimpleNamespace(shard_id=3)
    await Presences(store, StoreFailures()).keep(owner)


async def _look_for_drain_requests(store: UnreliableStore) -> None:
    heartbeat = Notifier()
    async with anyio.create_task_group() as group:
        requests = DrainRequests(store, "me", StoreFailures())
        group.start_soon(requests.until_asked, heartbeat)
        while True:
            await anyio.sleep(0.2)
            heartbeat.notify()


@pytest.mark.parametrize(
    ("read", "verb", "what"),
    [
        (_read_mailbox, "take", "mailbox"),
        (_keep_presence, "compare_and_set", "shard 3: presence"),
        (_look_for_drain_requests, "compare_and_set", "drain requests"),
    ],
)
def test_reads_that_fail_while_heartbeats_succeed_are_logged(
    read: Callable[[UnreliableStore], Awaitable[None]], verb: str, what: str, logged: Any
) -> None:
    async def main() -> None:
        store = UnreliableStore()
        store.failing = {verb}
        async with anyio.create_task_group() as group:
            group.start_soon(read, store)
            await anyio.sleep(12.0)
            store.failing = set()
            await anyio.sleep(3.0)
            group.cancel_scope.cancel()

    run(main)

    (level, fails), (_, again) = logged()
    assert (level, fails) == ("WARNING", f"{what}: the store fails, trying again: {verb} failed")
    assert again.startswith(f"{what}: the store answers again after 1")


def test_appends_that_fail_are_logged(logged: Any) -> None:
    async def main() -> None:
        store = UnreliableStore()
        owner = await owner_of(store, keep_events=True)
        async with anyio.create_task_group() as group:
            group.start_soon(owner.run)
            store.failing = {"append"}
            owner.add(Ready("READY", 1, session_id="s", version=10))
            owner.add(Dispatch.of("X", 1, 2))
            await anyio.sleep(12.0)
            store.failing = set()
            await owner.until_clear()
            group.cancel_scope.cancel()

    run(main)

    (_, fails), (_, again) = logged()
    assert fails == "shard 0: append: the store fails, trying again: append failed"
    assert again.startswith("shard 0: append: the store answers again after 1")


@pytest.mark.parametrize(("verb", "what"), [("records", "read"), ("compare_and_set", "cursor")])
def test_feed_that_cannot_read_is_logged(verb: str, what: str, logged: Any) -> None:
    async def main() -> None:
        logs = UnreliableStore()
        await logs.append(0, LogHead(), LogRecord("r1", "me"))
        shard = feed_shard(logs, logs)
        logs.failing = {verb}
        async with anyio.create_task_group() as group:
            group.start_soon(shard.run)
            await anyio.sleep(12.0)
            logs.failing = set()
            await anyio.sleep(3.0)
            group.cancel_scope.cancel()

    run(main)

    (_, fails), (_, again) = logged()
    assert fails == f"shard 0: {what}: the store fails, trying again: {verb} failed"
    assert again.startswith(f"shard 0: {what}: the store answers again after 1")
