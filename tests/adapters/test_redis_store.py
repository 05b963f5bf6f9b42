"""What `RedisStore` alone does: a lost engine, bounds of logs, access lists and settings."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

import pathlib
import re
import signal
import sys
from typing import Any

import anyio
import pytest

import gateway_fleet
from gateway_fleet import Store, StoreError
from gateway_fleet import _redis_scripts as scripts
from gateway_proto import LocalProtocolError
from gateway_proto.fleet import LoggedEvents, LogHead, LogRecord
from tests.adapters.engine_stores import (  # noqa: F401
    SESSION,
    collected,
    records_of,
    redis_engine,
    unclosed_streams,
)
from tests.adapters.engines import RedisProcess, free_port, needs_redis, redis_process
from tests.adapters.support import KITS, Kit
from tests.markdown_blocks import DOCS

pytestmark = [pytest.mark.parametrize("kit", KITS, ids=str), unclosed_streams]


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
def test_failed_connection_is_raised_with_its_reason(kit: Kit) -> None:
    async def main() -> None:
        url = f"redis://127.0.0.1:{free_port()}"
        with pytest.raises(StoreError, match="Connection refused"):
            async with gateway_fleet.RedisStore(url):
                pass

    kit.run(main)


@needs_redis
def test_stopped_engine_raises_after_the_timeout(kit: Kit, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        with redis_process(tmp_path) as process:
            async with kit.limit(), gateway_fleet.RedisStore(process.url, timeout=1.0) as store:
                assert await store.append(0, LogHead(), LogRecord("a.1", "a")) == 1
                process.process.send_signal(signal.SIGSTOP)
                with pytest.raises(StoreError, match="no answer in 1 s"):
                    await store.append(0, LogHead(1, "a.1"), LogRecord("a.2", "a"))
                process.process.send_signal(signal.SIGCONT)
                head = await _until_answered(store)
                assert head.position in (1, 2), "the late append is done or not"

    kit.run(main)


@needs_redis
def test_at_most_eight_records_are_encoded_at_once(
    kit: Kit, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[str] = []
    most: list[int] = []
    append = scripts.APPEND.run

    async def run(client: Any, keys: list[str], arguments: list[Any]) -> Any:
        running.append(keys[0])
        most.append(len(running))
        try:
            return await append(client, keys, arguments)
        finally:
            running.remove(keys[0])

    monkeypatch.setattr(scripts.APPEND, "run", run)

    async def main() -> None:
        with redis_process(tmp_path) as process:
            async with kit.limit(), gateway_fleet.RedisStore(process.url) as store:
                async with anyio.create_task_group() as group:
                    for shard in range(20):
                        group.start_soon(store.append, shard, LogHead(), LogRecord("a.1", "a"))
                assert [(await store.head(shard)).position for shard in range(20)] == [1] * 20

    kit.run(main)
    assert max(most) == 8
    assert len(most) == 20


async def _until_answered(store: Store) -> LogHead:
    while True:
        try:
            return await store.head(0)
        except StoreError:
            await anyio.sleep(0.05)


@needs_redis
def test_log_in_redis_is_bounded_in_bytes(kit: Kit, redis_engine: RedisProcess) -> None:
    async def main() -> None:
        options: Any = {"prefix": f"gw:bytes:{kit}", "max_bytes": 80_000}
        async with kit.limit(), gateway_fleet.RedisStore(redis_engine.url, **options) as store:
            head = LogHead()
            for number in range(300):
                record = LogRecord(
                    f"a.{number}", "a", events=LoggedEvents.of(("E", number, b"x" * 1000))
                )
                position = await store.append(0, head, record)
                assert position == number + 1
                head = record.head(position)

            kept = [position for position, _ in await records_of(store, 0)]
            assert kept == list(range(kept[0], 301))
            assert 60 <= len(kept) <= 90
            assert await store.head(0) == head

    kit.run(main)


@needs_redis
def test_log_is_read_in_few_large_or_many_small_records(
    kit: Kit, redis_engine: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    options: Any = {"prefix": f"gw:batches:{kit}"}

    async def main() -> None:
        async with kit.limit(), gateway_fleet.RedisStore(redis_engine.url, **options) as store:
            true = store._client.xrange

            def xrange(key: str, **options: Any) -> Any:
                counts.append(options["count"])
                return true(key, **options)

            monkeypatch.setattr(store._client, "xrange", xrange)
            sizes = [1] * 10 + [600_000] * 4 + [1] * 4
            records, after = [], LogHead()
            for at, size in enumerate(sizes, 1):
                events = LoggedEvents.of(("MESSAGE_CREATE", at, b"0" * size))
                record = LogRecord(f"a.{at}", "a", SESSION, events=events)
                assert await store.append(0, after, record) == at
                records.append((at, record))
                after = record.head(at)

            assert await records_of(store, 0) == records

    kit.run(main)
    # The third read has 8 records, 4 of them large; the next ones have 2, and then 4.
    assert counts == [2, 4, 8, 2, 4]


@needs_redis
def test_user_of_the_documented_acl_may_use_each_verb(kit: Kit, redis_engine: RedisProcess) -> None:
    import coredis

    page = (DOCS / "howto" / "fleet.md").read_text(encoding="utf-8")
    rules = re.findall(r"^ *user fleet (.*)", page, re.M)[0].split()

    async def main() -> None:
        async with coredis.Redis.from_url(redis_engine.url) as admin:
            await admin.acl_setuser("fleet", *map(str.encode, ["reset", *rules]))
        url = redis_engine.url.replace("//", "//fleet:a-long-password@")
        async with kit.limit(), gateway_fleet.RedisStore(url, prefix=f"gw:acl:{kit}") as store:
            notified: list[Any] = []
            async with anyio.create_task_group() as group:
                group.start_soon(store.listen, notified.append)
                group.start_soon(store.watch, "m", lambda: notified.append("m"))
                await store.heartbeat("a", b"1")
                await store.heartbeat("a", b"")
                await store.compare_and_set("key", b"v", 0)
                assert await store.scoped("x").forget(4, ["key"])
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
            assert len(await records_of(store, 3)) == head.position

    kit.run(main)


@pytest.mark.slow
@needs_redis
def test_old_records_in_redis_are_dropped(kit: Kit, redis_engine: RedisProcess) -> None:
    async def main() -> None:
        options: Any = {"prefix": f"gw:age:{kit}", "retention": 8}
        async with kit.limit(), gateway_fleet.RedisStore(redis_engine.url, **options) as store:
            head = LogHead()
            for number in range(13):
                record = LogRecord(f"a.{number}", "a")
                position = await store.append(0, head, record)
                assert position == number + 1
                head = record.head(position)
                await kit.sleep(1.0)
            kept = [position for position, _ in await records_of(store, 0)]
            assert kept[-1] == 13
            assert 3 <= kept[0] <= 6

    kit.run(main)


@needs_redis
def test_foreign_values_in_redis_raise_store_errors(kit: Kit, redis_engine: RedisProcess) -> None:
    prefix = f"foreign-{kit}"

    async def main() -> None:
        import coredis

        client: Any = coredis.Redis(port=redis_engine.port)
        async with gateway_fleet.RedisStore(redis_engine.url, prefix=prefix) as store, client:
            await client.hset(f"{prefix}:members", {b"\xff": b"x"})
            await client.hset(f"{prefix}:key", {b"v": b"x", b"r": b"many"})
            await client.hset(f"{prefix}:mailbox:m", {b"other": b"x", b"": b"0"})
            await client.xadd(f"{prefix}:{{1}}:log", {b"other": b"x"}, identifier="1-0")

            assert await store.heartbeat("a", b"y") == {"\ufffd": b"x", "a": b"y"}
            assert await store.post("m", b"message", 5.0)
            assert await store.take("m") == [b"message"]
            with pytest.raises(StoreError, match="the revision of key in the engine is not a num"):
                await store.compare_and_set("key", None, 0)
            with pytest.raises(StoreError, match="shard 1, record 1: data is not a record"):
                await records_of(store, 1)

    kit.run(main)


@needs_redis
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "host"}, "invalid url: expected redis://host[:port][/db], rediss://host or unix"),
        ({"url": "redis://"}, "invalid url: expected redis://host"),
        ({"url": "redis://u:hidden@/0"}, "invalid url: expected redis://host"),
        ({"url": "redis://u:hidden@h/first"}, "invalid url: expected redis://host"),
        ({"url": "redis://[hidden"}, "invalid url: expected redis://host"),
        ({"url": "unix://"}, "invalid url: expected redis://host"),
        ({"url": "http://u:hidden@h"}, "invalid url: expected redis://host"),
        ({"url": "redis://u:hidden@h:none"}, "invalid url: expected redis://"),
        ({"timeout": 0}, "invalid timeout 0: expected a number of seconds from more than 0"),
        ({"retention": 0}, "invalid retention 0: expected a number of seconds from 8"),
        ({"retention": float("inf")}, "invalid retention inf: expected a number of seconds"),
        ({"max_bytes": "1"}, "invalid max_bytes '1': expected an int from 65536"),
        ({"prefix": "\ud800"}, "invalid prefix '\\ud800': expected a str"),
        ({"ssl_context": True}, "invalid ssl_context True: expected an ssl.SSLContext, or None"),
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
