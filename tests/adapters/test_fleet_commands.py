"""`gateway-proto fleet`: members in their own processes, against a server of Redis."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import sys
from collections.abc import Iterator

import pytest

from gateway_fleet import find_fleet
from tests.adapters.engines import RedisProcess, free_port, needs_redis, redis_process
from tests.adapters.fleet_processes import fleet_process
from tests.adapters.support import ServeProcess, run_command, serve_process, wait_until

TOKEN = "secret-token"


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> Iterator[RedisProcess]:
    with redis_process(tmp_path) as process:
        yield process


@pytest.fixture(scope="module")
def serving() -> Iterator[ServeProcess]:
    with serve_process("--shards", "4", "--max-concurrency", "16", "--tick", "0.1") as process:
        yield process


async def _logged(url: str) -> dict[int, list[str]]:
    """Return the names of the events in the log of each shard."""
    from gateway_fleet import RedisStore

    async with RedisStore(url) as store:
        found = await find_fleet(store, TOKEN)
        assert found is not None
        logs, count = found
        return {
            shard: [
                name
                for _, record in [item async for item in logs.records(shard, 0)]
                for name, *_ in record.events
            ]
            for shard in range(count)
        }


# ----- run -----


@needs_redis
def test_signal_drains_a_member(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    with fleet_process(tmp_path, engine.url, serving.api, "one") as one:
        one.until("Ready", 4)
        with fleet_process(tmp_path, engine.url, serving.api, "two") as two:
            two.until("Resumed", 2)
            one.process.send_signal(signal.SIGTERM)

            assert one.ended() == (0, "")
            two.until("Resumed", 4)

    assert one.texts[-1] == "drained"
    assert sorted(one.shards_of("ShardGone")) == sorted(one.shards_of("ShardOwned")) == [0, 1, 2, 3]
    assert two.shards_of("Ready") == []
    assert "secret-token" not in str(one.lines)


@needs_redis
def test_run_writes_events_into_the_logs(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    with fleet_process(tmp_path, engine.url, serving.api, "one") as one:
        one.until("Ready", 4)
        wait_until(
            "a TICK in each log",
            lambda: all("TICK" in names for names in asyncio.run(_logged(engine.url)).values()),
        )

    assert all(names[0] == "READY" for names in asyncio.run(_logged(engine.url)).values())


@needs_redis
def test_run_without_publish_logs_sessions_alone(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    with fleet_process(tmp_path, engine.url, serving.api, "one", "--no-publish") as one:
        one.until("Ready", 4)
        one.process.send_signal(signal.SIGINT)
        assert one.ended() == (0, "")
    with fleet_process(tmp_path, engine.url, serving.api, "two", "--no-publish") as two:
        two.until("Resumed", 4)

    assert set(map(tuple, asyncio.run(_logged(engine.url)).values())) == {()}


@needs_redis
def test_second_signal_ends_a_drain_at_once(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    with fleet_process(tmp_path, engine.url, serving.api, "one") as one:
        one.until("Ready", 4)
        engine.process.send_signal(signal.SIGSTOP)
        one.process.send_signal(signal.SIGTERM)
        wait_until("the drain", lambda: any("draining" in text for text in one.texts))
        one.process.send_signal(signal.SIGTERM)

        assert one.ended() == (130, "")
    assert "drained" not in one.texts


@needs_redis
def test_drain_that_takes_too_long_ends_the_member(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    words = ["--drain-seconds", "0.3"]
    with fleet_process(tmp_path, engine.url, serving.api, "one", *words) as one:
        one.until("Ready", 4)
        engine.kill()
        one.process.send_signal(signal.SIGTERM)
        status, _ = one.ended()

    assert status == 130
    assert "not drained in 0.3 s" in one.texts
    assert "drained" not in one.texts


# ----- errors -----


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("", 2, "Missing option '--store'"),
        ("--store http://x", 2, "invalid --store: invalid url: expected redis://"),
        ("--store redis://x --interval 4 --ttl 9", 2, "invalid --interval 4: at most a third"),
        ("--store redis://x --interval 0", 2, "invalid --interval 0: at most a third"),
        ("--store redis://x --intents fly", 2, "invalid --intents 'fly'"),
        ("--store redis://u:pw@127.0.0.1:PORT", 1, "the store failed: "),
    ],
)
@needs_redis
def test_run_ends_with_the_reason(words: str, status: int, reason: str) -> None:
    words = words.replace("PORT", str(free_port()))
    result = run_command("fleet", "run", "--api", "http://127.0.0.1:1/api", *words.split())

    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith(f"gateway-proto: {reason}")
    assert result.stderr.count("\n") == 1
    assert "pw" not in result.stderr


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    monkeypatch.delitem(sys.modules, "gateway_fleet.redis", raising=False)

    result = run_command("fleet", "run", "--store", "redis://x", "--api", "http://127.0.0.1:1/api")

    assert result.returncode == 2
    assert result.stderr == ("gateway-proto: --store needs coredis: install gateway-proto[redis]\n")
