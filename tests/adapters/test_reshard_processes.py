"""Change of the number of shards in processes: `fleet reshard`, members, and a consumer."""

from __future__ import annotations

import asyncio
import gc
import json
import pathlib
import signal
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_fleet import RedisStore, open_feed
from gateway_proto.fleet import Cutover, LoggedDispatch
from tests.adapters.engines import RedisProcess, needs_redis, redis_process
from tests.adapters.fleet_processes import fleet_process
from tests.adapters.support import ServeProcess, run_command, serve_process, wait_until

pytestmark = [
    needs_redis,
    pytest.mark.slow,
    # Of coredis, see test_fleet_commands.py.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject"),
]

GUILD = 6 << 22
"""Guild of shard 2 of 4, and of shard 6 of 8."""
OLD, NEW = 2, 6


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> Iterator[RedisProcess]:
    with redis_process(tmp_path) as process:
        yield process


@pytest.fixture
def serving() -> Iterator[ServeProcess]:
    with serve_process("--shards", "4", "--max-concurrency", "16", "--control") as process:
        yield process


class Consumer:
    """A consumer in a thread: the numbers and cutovers of its events, in order."""

    def __init__(self, url: str) -> None:
        self.items: list[tuple[int, Any]] = []
        self._url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Consumer:
        self._thread.start()
        wait_until("the consumer", lambda: self._loop is not None)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(30)

    def _run(self) -> None:
        async def consume() -> None:
            store, options = RedisStore(self._url), {"ttl": 2.0, "interval": 0.4}
            async with open_feed(store, group="g", from_start=True, **options) as feed:
                self._loop = asyncio.get_running_loop()
                async for shard, event in feed:
                    if isinstance(event, Cutover):
                        self.items.append((shard, event))
                    elif isinstance(event, LoggedDispatch) and event.name == "NUMBER":
                        self.items.append((shard, event.data["number"]))

        async def main() -> None:
            self._task = asyncio.create_task(consume())
            await asyncio.wait([self._task])

        asyncio.run(main())


class Sender:
    """Numbered events of one guild, one after the other, in a thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.last = 0

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._is_over.wait(0.05):
            data = {"guild_id": str(GUILD), "number": self.last + 1}
            body = json.dumps({"t": "NUMBER", "d": data}).encode()
            urllib.request.urlopen(f"{self._url}/control/dispatch", body, timeout=10).close()
            self.last += 1


def status_of(url: str) -> Any:
    result = run_command("fleet", "status", "--json", "--store", url, "--seconds", "0")
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def reshard(url: str, *words: str) -> Any:
    return run_command("fleet", "reshard", "--store", url, *words)


def test_reshard_survives_the_death_of_a_member(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    with (
        fleet_process(tmp_path, engine.url, serving.api, "one") as one,
        fleet_process(tmp_path, engine.url, serving.api, "two") as two,
    ):
        wait_until("4 shards", lambda: len({*one.shards_of("Ready"), *two.shards_of("Ready")}) == 4)
        with Consumer(engine.url) as consumer, Sender(serving.api.split("/api")[0]) as sender:
            wait_until("a number", lambda: len(consumer.items) > 0)
            result = reshard(engine.url, "8")
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout.endswith("announced a change from 4 to 8 shards\n")
            wait_until("a new shard", lambda: (status_of(engine.url)["next"] or {}).get("ready"))
            two.process.send_signal(signal.SIGKILL)
            again = reshard(engine.url, "16")
            wait_until("8 shards", lambda: status_of(engine.url)["count"] == 8)
            at = sender.last + 20
            wait_until("new numbers", lambda: (NEW, at) in consumer.items)

    assert again.returncode == 1
    assert "a change to 8 shards is under way" in again.stderr
    assert "changed over to 8 shards" in one.texts
    cuts = [n for n, (_, event) in enumerate(consumer.items) if event == Cutover()]
    assert sorted(consumer.items[n][0] for n in cuts) == [0, 1, 2, 3]
    old = [number for shard, number in consumer.items[: cuts[-1]] if shard == OLD]
    old = [number for number in old if number != Cutover()]
    new = [number for shard, number in consumer.items[cuts[-1] :] if shard == NEW]
    assert old == list(range(old[0], old[-1] + 1)), "each once, in order"
    assert new == list(range(new[0], new[-1] + 1)), "each once, in order"
    assert 0 <= old[-1] + 1 - new[0] <= 100, "none is lost, and few come twice"


def test_cancelled_reshard_changes_nothing(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    # Each shard waits 5.75 seconds for its slot, so that there is time to cancel.
    with (
        serve_process("--shards", "1") as slow,
        fleet_process(tmp_path, engine.url, slow.api, "one") as one,
    ):
        one.until("Ready", 1)
        nothing = reshard(engine.url, "--cancel")
        same = reshard(engine.url, "1")
        both = reshard(engine.url, "2", "--cancel")
        assert reshard(engine.url, "4").returncode == 0
        wait_until("a new shard", lambda: status_of(engine.url)["next"]["ready"])

        late = reshard(engine.url, "3", "--seconds", "1")
        cancelled = reshard(engine.url, "--cancel")

        wait_until("the end", lambda: status_of(engine.url)["next"] is None)
        status = status_of(engine.url)
    assert (nothing.returncode, both.returncode) == (1, 2)
    assert "no change of the number of shards is under way" in nothing.stderr
    assert "invalid count 1: the fleet runs 1 shards now" in same.stderr
    assert "a change to 4 shards is under way (preparing)" in late.stderr
    assert cancelled.stdout.endswith("cancelled: the fleet stays at 1 shards\n")
    assert (status["count"], status["shards"][0]["state"]) == (1, "ready")
    assert one.shards_of("Ready") == [0]
