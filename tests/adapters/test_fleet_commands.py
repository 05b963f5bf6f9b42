"""`gateway-proto fleet`: members in their own processes, against a server of Redis."""

from __future__ import annotations

import asyncio
import gc
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_fleet import find_fleet
from gateway_fleet._bots import register_bot
from gateway_proto.fleet import FleetMetrics
from tests.adapters.engines import (
    KINDS,
    EngineProcess,
    RedisProcess,
    engine_process,
    free_port,
    needs_redis,
    redis_process,
)
from tests.adapters.fleet_processes import fleet_process
from tests.adapters.support import (
    COMMAND,
    ENVIRONMENT,
    PATIENCE,
    ServeProcess,
    run_command,
    serve_process,
    wait_until,
)
from tests.adapters.terminals import on_terminal

TOKEN = "secret-token"
# Of coredis, if it cannot connect or loses a connection; see `collected`.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in.*MemoryObject")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what coredis leaves unclosed within the test, whose filter ignores it."""
    yield
    gc.collect()


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> Iterator[RedisProcess]:
    with redis_process(tmp_path) as process:
        yield process


@pytest.fixture(params=KINDS)
def any_engine(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[EngineProcess]:
    with engine_process(request.param, tmp_path) as process:
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


@pytest.mark.slow
def test_signal_drains_a_member(
    tmp_path: pathlib.Path, any_engine: EngineProcess, serving: ServeProcess
) -> None:
    engine = any_engine
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


@pytest.mark.slow
def test_run_shows_that_the_store_is_away(
    tmp_path: pathlib.Path, any_engine: EngineProcess, serving: ServeProcess
) -> None:
    with fleet_process(tmp_path, any_engine.url, serving.api, "one") as one:
        one.until("Ready", 4)
        any_engine.process.send_signal(signal.SIGSTOP)
        wait_until("a failure", lambda: "the store fails, trying again" in one.texts[-1])
        assert one.texts[-1].startswith("heartbeat: ")
        any_engine.process.send_signal(signal.SIGCONT)
        wait_until("an answer", lambda: "the store answers again after" in one.texts[-1])
        one.process.send_signal(signal.SIGTERM)

        assert one.ended() == (0, "")


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@needs_redis
@pytest.mark.parametrize("words", [[], ["--count", "2"]], ids=["lookup", "count"])
def test_unreachable_api_is_hinted_at_once(
    tmp_path: pathlib.Path, engine: RedisProcess, words: list[str]
) -> None:
    api = f"http://127.0.0.1:{free_port()}/api"
    with fleet_process(tmp_path, engine.url, api, "one", *words) as one:
        wait_until("retries", lambda: sum(x["who"] == "lookup" for x in one.lines) >= 3)
        one.process.send_signal(signal.SIGTERM)
        status, errors = one.ended()

    assert (status, errors) == ((0, "") if words else (130, ""))
    assert [line["text"] for line in one.lines if line["who"] == "hint"] == [
        "Connection refused: check that the server is running and that the port is correct. "
        f"It is tried again until it answers; gateway-proto doctor --api {api} checks each step."
    ]


@needs_redis
def test_run_serves_metrics(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    with fleet_process(tmp_path, engine.url, serving.api, "one", "--metrics", "0") as one:
        one.until("Ready", 4)
        url = one.texts[0].removeprefix("metrics at ")
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            text = answer.read().decode()
            kind = answer.headers["Content-Type"]

    assert kind == FleetMetrics.content_type
    assert 'gateway_takeovers_total{why="start"} 4\n' in text
    assert text.endswith("# EOF\n")


def test_metrics_on_a_port_in_use_end_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["--store", "redis://127.0.0.1:1", "--api", "http://127.0.0.1:1/api"]
        result = run_command("fleet", "run", *words, "--metrics", port)

    assert result.returncode == 1
    assert result.stderr.startswith(f"gateway-proto: cannot serve metrics on port {port}: ")
    assert result.stderr.count("\n") == 1


# ----- status -----


@pytest.mark.slow
def test_status_shows_members_and_shards(
    tmp_path: pathlib.Path, any_engine: EngineProcess, serving: ServeProcess
) -> None:
    engine = any_engine
    with fleet_process(tmp_path, engine.url, serving.api, "one") as one:
        one.until("Ready", 4)
        with fleet_process(tmp_path, engine.url, serving.api, "two") as two:
            two.until("Resumed", 2)
            two.process.kill()
            two.ended()
            wait_until("one", lambda: len(one.shards_of("Resumed")) == 2)
            found = status_of(engine.url)
            shown = run_command("fleet", "status", "--store", engine.url, COLUMNS="80").stdout
        one.process.kill()
        one.ended()
        silent = status_of(engine.url, "--seconds", "0.5")

    assert found["count"] == 4 and len(found["bot"]) > 8
    ages = {row["member"]: row["heartbeat_age"] for row in found["members"]}
    assert 0 <= ages["one"] < 4
    assert ages["two"] is None
    assert [row["owner"] for row in found["shards"]] == ["one"] * 4
    assert {row["alive"] for row in silent["members"]} == {False}
    assert {row["state"] for row in found["shards"]} <= {"ready", "resuming"}
    ready = [row["session_age"] for row in found["shards"] if row["reason"] == "first claim"]
    assert ready and all(age > 0 for age in ready)
    assert "taken over from two" in {row["reason"] for row in found["shards"]}
    assert all(row["sequence"] > 1 and row["pending"] >= 0 for row in found["shards"])
    assert "4 of 4 shards owned, 1 of 2 members alive" in shown
    assert re.search(r"^two +\d +\S+ +no +none seen *$", shown, re.M)
    assert len(re.findall(r"^ *\d one .* \d+[sm], (first claim|taken over.*) *$", shown, re.M)) == 4
    assert max(map(len, shown.splitlines())) <= 80
    assert {row["heartbeat_age"] for row in silent["members"]} == {None}


@pytest.mark.slow
def test_watch_keeps_the_table_up_to_date(
    tmp_path: pathlib.Path, any_engine: EngineProcess, serving: ServeProcess
) -> None:
    engine = any_engine
    words = [*COMMAND, "fleet", "status", "--store", engine.url, "--watch"]
    with fleet_process(tmp_path, engine.url, serving.api, "one") as one:
        one.until("Ready", 4)
        with on_terminal(words, {**ENVIRONMENT, "COLUMNS": "80"}) as terminal:
            terminal.wait_for("4 of 4 shards owned, 1 of 1 members alive")
            with fleet_process(tmp_path, engine.url, serving.api, "two"):
                terminal.wait_for("2 of 2 members alive")
            engine.kill()
            terminal.wait_for("the store failed: ")
            engine.start()
            terminal.shown = ""
            terminal.wait_for("1 of 2 members alive")
            terminal.process.send_signal(signal.SIGINT)

            assert terminal.process.wait(PATIENCE) == 130


@pytest.mark.slow
@needs_redis
def test_watch_as_json_writes_an_object_each_second(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    words = [*COMMAND, "fleet", "status", "--store", engine.url, "--watch", "--json"]
    with fleet_process(tmp_path, engine.url, serving.api, "one") as one:
        one.until("Ready", 4)
        with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            lines = [json.loads(watch.stdout.readline()) for _ in range(2)]
            watch.kill()

    assert [len(line["shards"]) for line in lines] == [4, 4]


def status_of(url: str, *words: str) -> Any:
    result = run_command("fleet", "status", "--json", "--store", url, *words)
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    return json.loads(line)


# ----- drain -----


@pytest.mark.slow
def test_drain_command_moves_the_shards_of_a_member(
    tmp_path: pathlib.Path, any_engine: EngineProcess, serving: ServeProcess
) -> None:
    engine = any_engine
    with (
        fleet_process(tmp_path, engine.url, serving.api, "one") as one,
        fleet_process(tmp_path, engine.url, serving.api, "two") as two,
    ):
        one.until("ShardOwned", 2)
        two.until("ShardOwned", 2)
        result = run_command("fleet", "drain", "one", "--store", engine.url)
        assert (result.returncode, result.stderr) == (0, "")
        assert one.ended() == (0, "")
        wait_until(
            "all", lambda: [row["owner"] for row in status_of(engine.url)["shards"]] == ["two"] * 4
        )

        assert result.stdout.splitlines()[-1].endswith("one is drained")
        assert one.texts[-1] == "drained"
        # A member with the name of a drained one is not drained.
        before = len(one.shards_of("ShardOwned"))
        with fleet_process(tmp_path, engine.url, serving.api, "one") as again:
            wait_until("return", lambda: len(again.shards_of("ShardOwned")) >= before + 2)


@needs_redis
def test_drain_of_a_dead_member_ends_with_the_reason(
    tmp_path: pathlib.Path, engine: RedisProcess, serving: ServeProcess
) -> None:
    with fleet_process(tmp_path, engine.url, serving.api, "one") as one:
        one.until("ShardOwned", 4)
        bot = status_of(engine.url, "--seconds", "0")["bot"]
        one.process.kill()
        one.ended()

    assert one.texts[0] == f"member one of 4 shards, bot {bot}"
    words = ["--store", engine.url, "--seconds", "0.5"]
    dead = run_command("fleet", "drain", "one", *words)
    unknown = run_command("fleet", "drain", "three", *words)

    assert dead.returncode == unknown.returncode == 1
    assert dead.stderr == (
        "gateway-proto: one wrote no heartbeat in 0.5 s: it is dead, or cut off\n"
    )
    assert unknown.stderr == "gateway-proto: invalid member 'three': the fleet has one\n"


# ----- errors -----


@pytest.mark.parametrize("words", ["status", "drain one"])
def test_store_without_the_fleet_is_an_error(words: str, any_engine: EngineProcess) -> None:
    given = ["fleet", *words.split(), "--store", any_engine.url]
    empty, unknown = run_command(*given), run_command(*given, "--bot", "f" * 16)

    assert empty.returncode == unknown.returncode == 1
    assert empty.stderr == (
        "gateway-proto: the store has no fleet: no member has been started yet\n"
    )
    assert unknown.stderr == "gateway-proto: the store has no fleet of the bot 'ffffffffffffffff'\n"


@needs_redis
def test_store_with_several_bots_needs_the_option(engine: RedisProcess) -> None:
    async def register() -> None:
        from gateway_fleet import RedisStore

        async with RedisStore(engine.url) as store:
            await register_bot(store, "f1")
            await register_bot(store, "f2")

    asyncio.run(register())

    result = run_command("fleet", "status", "--store", engine.url)

    assert result.returncode == 1
    assert result.stderr == (
        "gateway-proto: the store has several bots: expected --bot, one of f1, f2\n"
    )


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("", 2, "Missing option '--store'"),
        ("--store http://x", 2, "invalid --store: expected redis://"),
        ("--store redis://x --interval 4 --ttl 9", 2, "invalid --interval 4: at most a third"),
        ("--store redis://x --interval 0", 2, "invalid --interval 0: at most a third"),
        ("--store redis://x --api-version 3", 2, "invalid --api-version 3: it has no shards"),
        ("--store redis://x --api-version 11", 2, "invalid --api-version 11: use one of"),
        ("--store redis://x --intents fly", 2, "invalid --intents 'fly'"),
        ("--store redis://u:pw@127.0.0.1:PORT", 1, "the store failed: "),
        ("--store redis://x --replicas 3", 2, "--replicas is for a server of NATS alone"),
        ("--store nats://u:pw@h:x", 2, "invalid --store: expected nats://host"),
        ("--store redis://u:pw@h:x", 2, "invalid --store: expected redis://host[:port]"),
        ("--store redis://", 2, "invalid --store: expected redis://host"),
        ("--store unix://", 2, "invalid --store: expected redis://host"),
        ("--store nats://x --replicas 2", 2, "invalid --replicas 2: expected 1, 3 or 5"),
        ("--store nats://x --retention inf", 2, "invalid --retention inf: expected a number of"),
        ("--store redis://x --retention inf", 2, "invalid --retention inf: expected a number of"),
        ("--store redis://x --retention nan", 2, "Invalid value 'nan' for '--retention'"),
        ("--store redis://x --ttl inf", 2, "Invalid value 'inf' for '--ttl'"),
        ("--store redis://x --count 65537", 2, "Invalid value '65537' for '--count'"),
        ("--store redis://x --member -", 2, "invalid --member '-': expected a str of 1 to 128"),
        ("--store redis://x --proxy ftp://u:pw@h", 2, "invalid --proxy 'ftp://h'"),
        ("--store redis://x --token-file /no/pew", 2, "--token-file /no/pew: No such file"),
        ("--store redis://x --token-file /etc/hosts", 2, "--token-file /etc/hosts: the token "),
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


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("status --bot secret-token", "invalid --bot: expected the 16 digits that"),
        ("drain one --bot F00", "invalid --bot: expected the 16 digits that"),
        ("drain one --seconds inf", "Invalid value 'inf' for '--seconds'"),
        ("status --seconds nan", "Invalid value 'nan' for '--seconds'"),
        ("reshard 65537", "Invalid value for 'COUNT': Input should be less than"),
        ("reshard 2 --seconds nan", "Invalid value 'nan' for '--seconds'"),
    ],
)
def test_invalid_option_of_a_fleet_is_named(words: str, reason: str) -> None:
    result = run_command("fleet", *words.split(), "--store", "redis://127.0.0.1:1")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"gateway-proto: {reason}")
    assert result.stderr.count("\n") == 1
    assert TOKEN not in result.stderr


@pytest.mark.parametrize(("package", "extra"), [("coredis", "redis"), ("nats", "nats")])
def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"gateway_fleet.{extra}", raising=False)

    url = f"{extra}://x"
    result = run_command("fleet", "run", "--store", url, "--api", "http://127.0.0.1:1/api")

    assert result.returncode == 2
    assert result.stderr == (
        f"gateway-proto: --store needs {package}: install gateway-proto[{extra}]\n"
    )
