"""What each store of a fleet does, on both event loops; a new engine must pass these."""

from __future__ import annotations

import gc
import itertools
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

import gateway_fleet
from gateway_fleet import FeedStore, MemoryStore, Store, StoreError
from gateway_proto import LocalProtocolError, Session
from gateway_proto.fleet import MAX_MESSAGE_SIZE, MAX_MESSAGES, LogHead, LogRecord
from tests.adapters.engines import (
    KINDS,
    SLOW_NATS,
    NatsProcess,
    RedisProcess,
    nats_process,
    needs_nats,
    needs_redis,
    open_store,
    redis_process,
)
from tests.adapters.support import KITS, Kit
from tests.markdown_blocks import DOCS

SESSION = Session(id="s", sequence=3, version=10, shard=(0, 2))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def nats_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    with nats_process(tmp_path_factory.mktemp("nats")) as process:
        yield process


_prefixes = itertools.count()


def _new_store(request: pytest.FixtureRequest, kit: Kit, kind: str) -> Callable[[], Any]:
    if kind == "memory":
        return MemoryStore
    if kind == "nats" and kit.name != "asyncio":
        pytest.skip("NatsStore is for asyncio alone")
    process = request.getfixturevalue("engine" if kind == "redis" else "nats_engine")
    prefix = f"gw-{next(_prefixes)}"
    return lambda: open_store(process.url, prefix=prefix)


@pytest.fixture(params=["memory", *KINDS])
def new_store(request: pytest.FixtureRequest, kit: Kit) -> Callable[[], Any]:
    return _new_store(request, kit, request.param)


pytestmark = [
    pytest.mark.parametrize("kit", KITS, ids=str),
    # Of coredis, if it cannot connect or loses a connection; see `collected`.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what coredis leaves unclosed within the test, whose filter ignores it."""
    yield
    gc.collect()


def run(kit: Kit, new_store: Callable[[], Any], body: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with kit.limit(), new_store() as store:
            await body(store)

    kit.run(main)


async def _records(store: Store, shard: int, after: int = 0) -> list[tuple[int, LogRecord]]:
    return [item async for item in store.records(shard, after)]


def test_append_after_the_head_returns_its_position(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        first = LogRecord("a.1", "a", SESSION, claim=True)
        second = LogRecord("a.2", "a", SESSION, events=(("MESSAGE_CREATE", 3, b'{"id":"1"}'),))
        assert await store.head(5) == LogHead()

        assert await store.append(5, LogHead(), first) == 1
        assert await store.append(5, first.head(1), second) == 2

        assert await store.head(5) == LogHead(2, "a.2", "a", SESSION)
        assert await _records(store, 5) == [(1, first), (2, second)]
        assert await _records(store, 5, 1) == [(2, second)]
        assert await _records(store, 5, 2) == []
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
        assert await _records(store, 0) == [(1, mine)]

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

        assert await _records(store, 0) == [(1, won[0])]
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
        records = [LogRecord(f"a.{n}", "a", SESSION, (("BIG", n, data),)) for n in range(20)]
        head = LogHead()
        for record in records:
            position = await store.append(3, head, record)
            assert position is not None
            head = record.head(position)

        assert [record for _, record in await _records(store, 3)] == records

    run(kit, new_store, body)


def test_exception_of_the_body_is_not_wrapped(kit: Kit, new_store: Any) -> None:
    async def body(store: Store) -> None:
        await store.head(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(kit, new_store, body)


# ----- mailboxes -----


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
        # Its messages expire after whole seconds.
        pytest.param(("nats", 1.2), marks=[needs_nats, pytest.mark.slow]),
    ],
    ids=lambda param: param[0],
)
def expiring_store(request: pytest.FixtureRequest, kit: Kit) -> tuple[Callable[[], Any], float]:
    """Return a function that makes stores, and when a message of 0.05 s has expired."""
    kind, seconds = request.param
    return _new_store(request, kit, kind), seconds


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


# ----- Redis alone -----


@needs_redis
def test_engine_that_is_away_raises_and_returns(kit: Kit, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        with redis_process(tmp_path) as process:
            async with kit.limit(), gateway_fleet.RedisStore(process.url, timeout=1.0) as store:
                record = LogRecord("a.1", "a", SESSION)
                assert await store.append(0, LogHead(), record) == 1
                process.kill()
                for _ in range(2):
                    with pytest.raises(StoreError):
                        await store.head(0)
                process.start()
                assert await store.head(0) == record.head(1)
                assert await store.append(0, record.head(1), LogRecord("a.2", "a")) == 2
            process.kill()
            with pytest.raises(StoreError):
                async with gateway_fleet.RedisStore(process.url, timeout=1.0):
                    pass

    kit.run(main)


@needs_redis
def test_stopped_engine_raises_after_the_timeout(kit: Kit, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        with redis_process(tmp_path) as process:
            async with kit.limit(), gateway_fleet.RedisStore(process.url, timeout=0.3) as store:
                assert await store.append(0, LogHead(), LogRecord("a.1", "a")) == 1
                process.process.send_signal(signal.SIGSTOP)
                with pytest.raises(StoreError, match=r"no answer in 0\.3 s"):
                    await store.append(0, LogHead(1, "a.1"), LogRecord("a.2", "a"))
                process.process.send_signal(signal.SIGCONT)
                head = await _until_answered(store)
                assert head.position in (1, 2), "the late append is done or not"

    kit.run(main)


async def _until_answered(store: Store) -> LogHead:
    while True:
        try:
            return await store.head(0)
        except StoreError:
            await anyio.sleep(0.05)


@needs_redis
def test_log_in_redis_is_bounded_in_bytes(kit: Kit, engine: RedisProcess) -> None:
    async def main() -> None:
        options: Any = {"prefix": f"gw:bytes:{kit}", "max_bytes": 80_000}
        async with kit.limit(), gateway_fleet.RedisStore(engine.url, **options) as store:
            head = LogHead()
            for number in range(300):
                record = LogRecord(f"a.{number}", "a", events=(("E", number, b"x" * 1000),))
                position = await store.append(0, head, record)
                assert position == number + 1
                head = record.head(position)

            kept = [position for position, _ in await _records(store, 0)]
            assert kept == list(range(kept[0], 301))
            assert 60 <= len(kept) <= 90
            assert await store.head(0) == head

    kit.run(main)


@needs_redis
def test_user_of_the_documented_acl_may_use_each_verb(kit: Kit, engine: RedisProcess) -> None:
    import coredis

    page = (DOCS / "howto" / "fleet.md").read_text(encoding="utf-8")
    rules = re.findall(r"^ *user fleet (.*)", page, re.M)[0].split()

    async def main() -> None:
        async with coredis.Redis.from_url(engine.url) as admin:
            await admin.acl_setuser("fleet", *map(str.encode, ["reset", *rules]))
        url = engine.url.replace("//", "//fleet:a-long-password@")
        async with kit.limit(), gateway_fleet.RedisStore(url, prefix=f"gw:acl:{kit}") as store:
            notified: list[Any] = []
            async with anyio.create_task_group() as group:
                group.start_soon(store.listen, notified.append)
                group.start_soon(store.watch, "m", lambda: notified.append("m"))
                await store.heartbeat("a", b"1")
                await store.heartbeat("a", b"")
                await store.compare_and_set("key", b"v", 0)
                head = LogHead()
                while len(set(notified)) < 2:
                    record = LogRecord(f"a.{head.position}", "a")
                    position = await store.append(3, head, record)
                    assert position is not None
                    head = record.head(position)
                    await store.post("m", record.to_bytes(), 1.0)
                    await store.unpost("m", record.to_bytes())
                    await store.post("m", record.to_bytes(), 1.0)
                    await store.take("m")
                group.cancel_scope.cancel()
            assert len(await _records(store, 3)) == head.position

    kit.run(main)


@pytest.mark.slow
@needs_redis
def test_old_records_in_redis_are_dropped(kit: Kit, engine: RedisProcess) -> None:
    async def main() -> None:
        options: Any = {"prefix": f"gw:age:{kit}", "retention": 8}
        async with kit.limit(), gateway_fleet.RedisStore(engine.url, **options) as store:
            head = LogHead()
            for number in range(13):
                record = LogRecord(f"a.{number}", "a")
                position = await store.append(0, head, record)
                assert position == number + 1
                head = record.head(position)
                await kit.sleep(1.0)
            kept = [position for position, _ in await _records(store, 0)]
            assert kept[-1] == 13
            assert 3 <= kept[0] <= 6

    kit.run(main)


@needs_redis
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "host"}, "invalid url: expected redis://host, rediss://host or unix:///path"),
        ({"url": "http://u:hidden@h"}, "invalid url: expected redis://host"),
        ({"url": "redis://u:hidden@h:none"}, "invalid url: ValueError, expected redis://"),
        ({"timeout": -1}, "invalid timeout -1: expected seconds"),
        ({"retention": 0}, "invalid retention 0: expected 8 seconds or more"),
        ({"max_bytes": "1"}, "invalid max_bytes '1': expected 65536 bytes or more"),
        ({"prefix": ""}, "invalid prefix '': expected a str"),
    ],
)
def test_invalid_settings_of_a_redis_store_raise(
    kit: Kit, options: dict[str, Any], text: str
) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError) as caught:
            gateway_fleet.RedisStore(**{"url": "redis://localhost", **options})
        assert text in str(caught.value)
        assert "hidden" not in str(caught.value)

    kit.run(main)


def test_missing_extra_is_named(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    monkeypatch.delitem(sys.modules, "gateway_fleet.redis", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"install gateway-proto\[redis\]"):
        import gateway_fleet.redis  # noqa: F401
