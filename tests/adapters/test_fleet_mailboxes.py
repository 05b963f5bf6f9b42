"""Mailboxes of each store of a fleet; a new engine must pass these."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from gateway_fleet import FeedStore
from gateway_proto import LocalProtocolError
from gateway_proto.fleet import MAX_MESSAGE_SIZE, MAX_MESSAGES
from tests.adapters.engine_stores import (  # noqa: F401
    collected,
    nats_engine,
    new_store,
    redis_engine,
    run,
    store_maker,
    unclosed_streams,
)
from tests.adapters.engines import SLOW_NATS, needs_nats, needs_redis
from tests.adapters.support import KITS, Kit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kit", KITS, ids=str),
    unclosed_streams,
]


def test_messages_are_taken_once_and_in_order(kit: Kit, new_store: Any) -> None:
    async def body(store: FeedStore) -> None:
        messages = [b"%d" % number for number in (3, 1, 2, *range(10, 30))] + [b"\x00\xff\n"]
        assert await store.take("a") == []
        for message in messages:
            assert await store.post("a", message, 30.0)
        assert await store.post("b", b"other", 30.0)

        assert await store.take("a") == messages
        assert await store.take("a") == []
        assert await store.scoped("x").take("b") == []
        assert await store.take("b") == [b"other"]

    run(kit, new_store, body)


@pytest.mark.parametrize("new_store", ["memory", *SLOW_NATS], indirect=True)
def test_each_message_is_taken_by_one_of_many(kit: Kit, new_store: Any) -> None:
    async def body(store: FeedStore) -> None:
        messages = [b"%d" % number for number in range(60)]
        taken: list[bytes] = []

        async def take() -> None:
            while len(taken) < len(messages):
                taken.extend(await store.take("a"))

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(take)
            for message in messages:
                assert await store.post("a", message, 30.0)

        assert sorted(taken) == sorted(messages)

    run(kit, new_store, body)


def test_message_is_removed_or_taken_but_not_both(kit: Kit, new_store: Any) -> None:
    async def body(store: FeedStore) -> None:
        for message in (b"one", b"two", b"three"):
            assert await store.post("a", message, 30.0)

        assert await store.unpost("a", b"two")
        assert not await store.unpost("a", b"two")
        assert not await store.unpost("b", b"one")
        assert await store.take("a") == [b"one", b"three"]
        assert not await store.unpost("a", b"one")

        assert await store.post("a", b"last", 30.0)
        assert await store.unpost("a", b"last")
        assert await store.take("a") == []

    run(kit, new_store, body)


@pytest.fixture(
    params=[
        ("memory", 0.1),
        pytest.param(("redis", 0.1), marks=needs_redis),
        # Its messages expire after whole seconds, and a second late (nats-server 2.15.1).
        pytest.param(("nats", 2.2), marks=[needs_nats, pytest.mark.slow]),
    ],
    ids=lambda param: param[0],
)
def expiring_store(request: pytest.FixtureRequest, kit: Kit) -> tuple[Callable[[], Any], float]:
    """Return a function that makes stores, and when a message of 0.05 s has expired."""
    kind, seconds = request.param
    return store_maker(request, kit, kind), seconds


def test_expired_message_is_neither_taken_nor_removed(kit: Kit, expiring_store: Any) -> None:
    new_store, seconds = expiring_store

    async def body(store: FeedStore) -> None:
        assert await store.post("a", b"old", 0.05)
        assert await store.post("b", b"old", 0.05)
        assert await store.post("a", b"new", 30.0)
        await kit.sleep(seconds)

        assert not await store.unpost("a", b"old")
        assert await store.take("a") == [b"new"]
        assert await store.take("b") == []

    run(kit, new_store, body)


@pytest.mark.parametrize("new_store", ["memory", *SLOW_NATS], indirect=True)
def test_full_mailbox_refuses_until_one_is_gone(kit: Kit, new_store: Any) -> None:
    async def body(store: FeedStore) -> None:
        for number in range(MAX_MESSAGES):
            assert await store.post("a", b"%d" % number, 30.0)

        assert not await store.post("a", b"more", 30.0)
        assert await store.post("b", b"more", 30.0)
        assert await store.unpost("a", b"0")
        assert await store.post("a", b"more", 30.0)
        assert not await store.post("a", b"and more", 30.0)
        assert len(await store.take("a")) == MAX_MESSAGES
        assert await store.post("a", b"and more", 30.0)

    run(kit, new_store, body)


def test_expired_messages_leave_a_full_mailbox(kit: Kit, expiring_store: Any) -> None:
    new_store, seconds = expiring_store

    async def body(store: FeedStore) -> None:
        for number in range(MAX_MESSAGES):
            assert await store.post("a", b"%d" % number, 0.05 if number % 2 else 30.0)
        await kit.sleep(seconds)

        assert await store.post("a", b"new", 30.0)
        taken = await store.take("a")
        assert taken == [b"%d" % number for number in range(0, MAX_MESSAGES, 2)] + [b"new"]

    run(kit, new_store, body)


def test_large_message_comes_back_equal(kit: Kit, new_store: Any) -> None:
    async def body(store: FeedStore) -> None:
        message = bytes(range(256)) * (MAX_MESSAGE_SIZE // 256)

        assert await store.post("a", message, 30.0)

        assert await store.take("a") == [message]

    run(kit, new_store, body)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("", b"x", 1.0), "invalid mailbox ''"),
        (("a", b"", 1.0), "invalid message b''"),
        (("a", b"x" * (MAX_MESSAGE_SIZE + 1), 1.0), "expected 1 to 65536 bytes"),
        (("a", "x", 1.0), "invalid message 'x'"),
        (("a", b"x", 0.0), "invalid ttl 0.0"),
    ],
)
def test_invalid_message_raises_in_each_store(
    kit: Kit, new_store: Any, arguments: Any, text: str
) -> None:
    async def body(store: FeedStore) -> None:
        with pytest.raises(LocalProtocolError, match=re.escape(text)):
            await store.post(*arguments)

    run(kit, new_store, body)


def test_watcher_is_notified_of_its_mailbox_alone(kit: Kit, new_store: Any) -> None:
    async def body(store: FeedStore) -> None:
        notified: list[str] = []

        async def until(*expected: str) -> None:
            while set(notified) != set(expected):
                for name in expected:
                    await store.post(name, b"%d" % len(notified), 30.0)
                    await store.take(name)
                await kit.sleep(0.01)

        async with anyio.create_task_group() as group:
            group.start_soon(store.watch, "a", lambda: notified.append("a"))
            group.start_soon(store.scoped("x").watch, "b", lambda: notified.append("x"))
            await until("a")
            await store.post("b", b"1", 30.0)
            await store.post("c", b"1", 30.0)
            await kit.sleep(0.05)
            assert set(notified) == {"a"}
            group.cancel_scope.cancel()

    run(kit, new_store, body)
