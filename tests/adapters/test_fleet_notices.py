"""Notices between members: a move does not wait for the heartbeats of the other one."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError
from gateway_fleet._coordinator import Coordinator
from gateway_fleet._drains import ask_to_drain
from gateway_proto.fleet import GatewaySettings, MemberRecord, Membership, mailbox_of
from gateway_proto.fleet.notices import is_notice, notice
from tests.adapters.fleet_members import Bench, Running, run, until
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)

RARE: dict[str, Any] = {"ttl": 9.0, "interval": 3.0}
"""Heartbeats so rare that a test ends before the next one, unless a notice brings it forward."""
WANTS_ALL = MemberRecord(1, wants=(0, 1, 2, 3), gateway=GatewaySettings(10)).to_bytes()


async def heartbeats(running: Running) -> int:
    table = await running.fleet.store.heartbeat("-", b"")
    return MemberRecord.from_bytes(table[running.fleet.member]).n


async def owns(store: MemoryStore, member: str) -> bool:
    """Whether a member owns shards, by its last heartbeat."""
    value = (await store.heartbeat("-", b"")).get(member)
    return value is not None and bool(MemberRecord.from_bytes(value).owns)


async def until_idle(bench: Bench, running: Running) -> int:
    """Wait until a lone member has announced all of its shards; return its last heartbeat."""
    await bench.until_owned((running, bench.server.config.shards))
    await until(lambda: len(running.fleet.owned) == bench.server.config.shards)
    last = 0
    while last != (last := await heartbeats(running)):
        await anyio.sleep(0.2)
    return last


def test_notice_brings_the_next_heartbeat_forward(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(member="one", **RARE)
        last = await until_idle(bench, one)

        await one.fleet.store.post(mailbox_of("one"), notice("two", 1), 1.0)

        with anyio.fail_after(2.0):
            while await heartbeats(one) == last:
                await anyio.sleep(0.01)

    run(kit, 2, body)


def test_request_to_drain_is_seen_before_the_next_heartbeat(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(member="one", **RARE)
        await until_idle(bench, one)

        await ask_to_drain(one.fleet.store, "one")

        await until(lambda: one.is_over, 2.0)

    run(kit, 2, body)


@pytest.mark.slow
def test_shards_move_without_waiting_for_heartbeats(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(member="one", **RARE)
        await until_idle(bench, one)
        two = await bench.start(member="two", **RARE)
        with anyio.fail_after(3.0):
            await bench.until_owned((one, 4), (two, 4))

        async with anyio.create_task_group() as group:
            group.start_soon(one.fleet.drain)
            with anyio.fail_after(3.0):
                await bench.until_owned((two, 8))

        assert bench.received["Identify"] == 8

    run(kit, 8, body)


@pytest.mark.slow
def test_member_that_is_left_notifies_the_next_owners(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(member="one", **RARE)
        await until_idle(bench, one)
        two = await bench.start(member="two", **RARE)
        await bench.until_owned((one, 4), (two, 4))

        one.scope.cancel()

        with anyio.fail_after(3.0):
            await bench.until_owned((two, 8))

    run(kit, 8, body)


class _AwayStore(MemoryStore):
    """A store that has no answer for posts, as long as it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = True
        self.posts: list[tuple[str, bytes]] = []

    async def post(self, mailbox: str, message: bytes, ttl: float) -> bool:
        if self.is_away:
            raise StoreError("no answer")
        self.posts.append((mailbox, message))
        return await super().post(mailbox, message, ttl)


def test_notice_that_is_lost_is_not_an_error(kit: Kit) -> None:
    async def body() -> None:
        store = _AwayStore()
        settings = GatewaySettings(10)
        now = anyio.current_time()
        membership = Membership("me", 4, ttl=3.0, interval=0.2, gateway=settings, now=now)
        coordinator = Coordinator(membership, "me", store, lambda _: None, lambda: None)

        async with anyio.create_task_group() as group:
            group.start_soon(coordinator.run)
            await until(lambda: len(membership.owned) == 4)
            await store.heartbeat("other", WANTS_ALL)
            await until(lambda: "other" in membership.members)
            membership.drain(now=anyio.current_time())
            coordinator.changed()
            await anyio.sleep(0.3)
            assert store.posts == []
            store.is_away = False
            for shard, head in list(membership.owned.items()):
                membership.released(shard, head.id, now=anyio.current_time())
            coordinator.changed()
            await until(lambda: bool(store.posts))
            await until(lambda: not coordinator._notices)
            group.cancel_scope.cancel()

        assert {mailbox for mailbox, _ in store.posts} == {mailbox_of("other")}
        assert all(is_notice(message) for _, message in store.posts)

    kit.run(body)


def test_last_notices_are_posted_after_the_member_was_cancelled(kit: Kit) -> None:
    async def body() -> None:
        store = _AwayStore()
        store.is_away = False
        now = anyio.current_time()
        membership = Membership(
            "me", 4, ttl=3.0, interval=0.2, gateway=GatewaySettings(10), now=now
        )
        coordinator = Coordinator(membership, "me", store, lambda _: None, lambda: None)
        async with anyio.create_task_group() as group:
            group.start_soon(coordinator.run)
            while not await owns(store, "me"):
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        await store.heartbeat("other", WANTS_ALL)
        for shard, head in list(membership.owned.items()):
            membership.released(shard, head.id, now=anyio.current_time())

        await coordinator.leave()

        assert {mailbox for mailbox, _ in store.posts} == {mailbox_of("other")}
        assert not await owns(store, "me")

    kit.run(body)
