"""What `NatsStore` alone does: its streams and subjects, large records, retention."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_fleet import NatsStore, StoreError
from gateway_fleet._nats_log import NatsLog
from gateway_proto.fleet import LoggedEvents, LogHead, LogRecord
from tests.adapters.engines import NatsProcess, nats_process, needs_nats
from tests.adapters.nats_logs import PREFIXES, SESSION, client_of, fill, noise, positions, run

pytestmark = needs_nats


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    with nats_process(tmp_path_factory.mktemp("nats")) as process:
        yield process


# ----- the log -----


def test_records_of_many_shards_are_found_by_position(engine: NatsProcess) -> None:
    async def body() -> None:
        prefix, rng = next(PREFIXES), random.Random(7)
        async with NatsStore(engine.url, prefix=prefix) as store:
            for _ in range(50):
                await fill(store, rng.choice((0, 0, 0, 1, 2)), 1)
            for shard in range(3):
                expected = await positions(store, shard)
                assert expected == list(range(expected[0], expected[0] + len(expected)))
                # Without what the store remembers.
                async with NatsStore(engine.url, prefix=prefix) as other:
                    for after in (0, *expected[::6], expected[-1], expected[-1] + 5):
                        found = await positions(other, shard, after)
                        assert found == [each for each in expected if each > after]
                        assert await positions(other.scoped("x"), shard, after) == []

    run(body)


def test_at_most_eight_records_are_encoded_at_once(
    engine: NatsProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[NatsLog] = []
    most: list[int] = []
    append = NatsLog.append

    async def counted(self: NatsLog, after: LogHead, record: LogRecord) -> int | None:
        running.append(self)
        most.append(len(running))
        try:
            return await append(self, after, record)
        finally:
            running.remove(self)

    monkeypatch.setattr(NatsLog, "append", counted)

    async def body() -> None:
        async with NatsStore(engine.url, prefix=next(PREFIXES)) as store:
            appends = (store.append(shard, LogHead(), LogRecord("a.1", "a")) for shard in range(20))
            assert None not in await asyncio.gather(*appends)

    run(body)
    assert max(most) == 8
    assert len(most) == 20


@pytest.mark.parametrize(
    "headers",
    [{"Gateway-Position": "many"}, {"Gateway-Parts": "a,b", "Gateway-Head": "{}"}],
    ids=["position", "parts"],
)
def test_foreign_headers_raise_store_errors(engine: NatsProcess, headers: dict[str, str]) -> None:
    async def body() -> None:
        prefix = next(PREFIXES)
        async with NatsStore(engine.url, prefix=prefix) as store:
            async with client_of(engine.url) as admin:
                await admin.publish(f"{prefix}-log.3", b"x", headers=headers)

            with pytest.raises(StoreError, match="what the engine has is invalid: ValueError"):
                await positions(store, 3)

    run(body)


def test_position_grows_after_all_records_were_dropped(engine: NatsProcess) -> None:
    async def body() -> None:
        prefix = next(PREFIXES)
        async with NatsStore(engine.url, prefix=prefix) as store:
            old = await fill(store, 3, 5)
            async with client_of(engine.url) as admin:
                await admin.purge_stream(f"{prefix}-log")

            assert await store.append(3, old, LogRecord("late", "a")) is None
            assert await store.head(3) == LogHead()
            claim = LogRecord("b.1", "b", claim=True)
            position = await store.append(3, LogHead(), claim)

            assert position is not None and position > old.position
            assert await store.head(3) == claim.head(position)
            assert await store.append(3, old, LogRecord("late", "a")) is None
            assert await positions(store, 3, old.position) == [position]

    run(body)


def test_record_above_the_maximum_payload_is_in_parts(engine: NatsProcess) -> None:
    async def body() -> None:
        prefix = next(PREFIXES)
        big = LogRecord("a.1", "a", SESSION, LoggedEvents.of(("GUILD_CREATE", 3, noise(6_000_000))))
        assert len(big.to_bytes()) > 2 * 2**20
        async with NatsStore(engine.url, prefix=prefix) as store:
            before = await fill(store, 0, 1)
            assert await store.append(0, before, big) == before.position + 1
        async with NatsStore(engine.url, prefix=prefix) as store:
            head = big.head(before.position + 1)
            assert await store.head(0) == head
            assert await store.append(0, before, LogRecord("b", "b")) is None
            assert await store.append(0, head, LogRecord("a.2", "a")) == head.position + 1
            found = [record async for _, record in store.records(0, before.position)]
            assert found == [big, LogRecord("a.2", "a")]

            async with client_of(engine.url) as admin:
                first = await admin.get_last_msg(f"{prefix}-log", f"{prefix}-log.0.part")
                await admin.delete_msg(f"{prefix}-log", first.seq)
            assert await positions(store, 0, before.position) == [head.position + 1]

    run(body)


def test_log_keeps_records_for_its_retention_and_size(engine: NatsProcess) -> None:
    async def body() -> None:
        prefix = next(PREFIXES)
        async with NatsStore(engine.url, prefix=prefix) as store:
            assert store.keep_seconds == 900
        settings: dict[str, Any] = {"retention": 60, "max_bytes": 100_000}
        async with NatsStore(engine.url, prefix=prefix, **settings) as store:
            assert store.keep_seconds == 15
            await fill(store, 0, 1)
        async with NatsStore(engine.url, prefix=prefix) as store:
            assert store.keep_seconds == 15, "the settings of a log are kept"
            head = await fill(store, 1, 300, 1000)
            kept = await positions(store, 1)
            assert 60 < len(kept) < 100 and kept[-1] == head.position
            assert await store.head(0) == LogHead(), "older than all that is kept"
            assert store.keep_seconds == 15
            await store.heartbeat("a", b"1")
            assert store.keep_seconds < 5, "a quarter of the time for which the log has space"

    run(body)


@pytest.mark.slow
def test_old_records_in_nats_are_dropped(engine: NatsProcess) -> None:
    async def body() -> None:
        async with NatsStore(engine.url, prefix=next(PREFIXES), retention=8) as store:
            assert store.keep_seconds == 2
            first = await fill(store, 0, 1)
            for _ in range(11):
                await asyncio.sleep(1.0)
                last = await fill(store, 0, 1)
            kept = await positions(store, 0)
            assert kept[-1] == last.position
            assert first.position + 2 <= kept[0] <= first.position + 5

    run(body)


# ----- streams and subjects -----


def test_stream_with_other_settings_raises(engine: NatsProcess) -> None:
    async def body() -> None:
        prefix = next(PREFIXES)
        async with client_of(engine.url) as admin:
            await admin.add_stream(name=f"{prefix}-log", subjects=[f"{prefix}-log.*"])
        text = f"the stream {prefix}-log has subjects .*: expected "
        with pytest.raises(StoreError, match=text):
            async with NatsStore(engine.url, prefix=prefix):
                pass

    run(body)


def test_heartbeat_that_another_member_removes_is_repeated(
    engine: NatsProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that was stopped removes one that had been dead, and has returned since."""
    removals = []
    prefix = next(PREFIXES)

    async def body() -> None:
        async with (
            NatsStore(engine.url, prefix=prefix) as store,
            NatsStore(engine.url, prefix=prefix) as other,
        ):
            await store.heartbeat("m", b"1")
            api = store._shared._api
            publish = api.publish

            async def publish_and_lose(*arguments: Any, **options: Any) -> Any:
                written = await publish(*arguments, **options)
                if not removals:
                    removals.append(await other.heartbeat("m", b""))
                return written

            monkeypatch.setattr(api, "publish", publish_and_lose)
            assert await store.heartbeat("m", b"2") == {"m": b"2"}

    run(body)
    assert removals == [{}]


def test_members_have_any_names(engine: NatsProcess) -> None:
    async def body() -> None:
        names = ["web-1.example", "a b", "*", ">", "=2E", "50%", "münchen", "x" * 256, "~/:"]
        async with NatsStore(engine.url, prefix=next(PREFIXES)) as store:
            for name in names:
                table = await store.heartbeat(name, name.encode())
            assert table == {name: name.encode() for name in names}

    run(body)
