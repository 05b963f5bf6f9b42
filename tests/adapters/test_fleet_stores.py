"""Logs, members and values of each store of a fleet; a new engine must pass these.

The mailboxes of each store are in `test_fleet_mailboxes.py`.
"""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import Store
from gateway_proto.fleet import LoggedEvents, LogHead, LogRecord
from tests.adapters.engine_stores import (  # noqa: F401
    SESSION,
    collected,
    nats_engine,
    new_store,
    records_of,
    redis_engine,
    run,
    unclosed_streams,
)
from tests.adapters.support import KITS, Kit

pytestmark = [pytest.mark.parametrize("kit", KITS, ids=str), unclosed_streams]


def test_append_after_the_head_returns_its_position(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        first = LogRecord("a.1", "a", SESSION, claim=True)
        second = LogRecord(
            "a.2", "a", SESSION, LoggedEvents.of(("MESSAGE_CREATE", 3, b'{"id":"1"}'))
        )
        assert await store.head(5) == LogHead()

        assert await store.append(5, LogHead(), first) == 1
        assert await store.append(5, first.head(1), second) == 2

        assert await store.head(5) == LogHead(2, "a.2", "a", SESSION)
        assert await records_of(store, 5) == [(1, first), (2, second)]
        assert await records_of(store, 5, 1) == [(2, second)]
        assert await records_of(store, 5, 2) == []
        assert await store.head(6) == LogHead()

    run(kit, new_store, body)


def test_append_after_another_record_is_refused(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        mine, other = LogRecord("a.1", "a"), LogRecord("b.1", "b")
        assert await store.append(0, LogHead(), mine) == 1

        assert await store.append(0, LogHead(), other) is None
        assert await store.append(0, LogHead(1, "b.0"), other) is None, "the id counts, too"
        assert await store.append(0, LogHead(2, "a.1"), other) is None
        assert await store.append(0, LogHead(), mine) is None, "the owner reads the head"

        assert await store.head(0) == mine.head(1)
        assert await records_of(store, 0) == [(1, mine)]

    run(kit, new_store, body)


def test_one_of_many_concurrent_appends_wins(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        won = []

        async def append(number: int) -> None:
            record = LogRecord(f"m.{number}", "m")
            if await store.append(0, LogHead(), record) is not None:
                won.append(record)

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(append, number)

        assert await records_of(store, 0) == [(1, won[0])]
        assert len(won) == 1

    run(kit, new_store, body)


def test_heartbeat_writes_one_member_and_reads_all(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        assert await store.heartbeat("a", b"1") == {"a": b"1"}
        assert await store.heartbeat("b", b"\x00\xff") == {"a": b"1", "b": b"\x00\xff"}
        assert await store.heartbeat("a", b"2") == {"a": b"2", "b": b"\x00\xff"}

        assert await store.heartbeat("b", b"") == {"a": b"2"}

    run(kit, new_store, body)


def test_value_is_written_at_its_revision_only(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        assert await store.compare_and_set("slots", None, 0) == (None, 0)
        assert await store.compare_and_set("slots", b"x", 1) == (None, 0)
        assert await store.compare_and_set("slots", b"x", 0) == (b"x", 1)
        assert await store.compare_and_set("slots", b"y", 0) == (b"x", 1)
        assert await store.compare_and_set("slots", b"y", 1) == (b"y", 2)

        assert await store.compare_and_set("slots", None, 0) == (b"y", 2)

    run(kit, new_store, body)


def test_scopes_are_separate_and_share_the_connection(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        one, other = store.scoped("one"), store.scoped("other")
        await one.heartbeat("a", b"1")
        await one.append(0, LogHead(), LogRecord("a.1", "a"))
        await one.compare_and_set("key", b"v", 0)

        assert await other.heartbeat("b", b"2") == {"b": b"2"}
        assert await other.head(0) == LogHead()
        assert await other.compare_and_set("key", None, 0) == (None, 0)
        assert (await store.scoped("one").head(0)).position == 1
        assert (await store.scoped("one").scoped("x").head(0)).position == 0

    run(kit, new_store, body)


def test_large_records_come_back_equal(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        data = b'"' + b"\xc3\xa9" * 1_000_000 + b'"'
        records = [
            LogRecord(f"a.{n}", "a", SESSION, LoggedEvents.of(("BIG", n, data))) for n in range(20)
        ]
        head = LogHead()
        for record in records:
            position = await store.append(3, head, record)
            assert position is not None
            head = record.head(position)

        assert [record for _, record in await records_of(store, 3)] == records

    run(kit, new_store, body)


def test_exception_of_the_body_is_not_wrapped(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        await store.head(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(kit, new_store, body)
