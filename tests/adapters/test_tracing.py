"""Traces on the command line, in both adapters and in the pytest plugin."""

from __future__ import annotations

import asyncio
import json
import pathlib
import subprocess
from typing import Any

import pytest
import trio

import gateway_asyncio
import gateway_trio
from gateway_proto import Config, Dispatch, Ready, UpdatePresence
from gateway_proto.server import Server, ServerConfig
from gateway_proto.trace import Recorder, TraceError, read, replay
from gateway_pytest import assert_replays
from tests.adapters.support import (
    PATIENCE,
    json_lines,
    run_command,
    serve_process,
    tail_process,
    wait_until,
)

DEMO = pathlib.Path(__file__).parents[2] / "docs" / "traces" / "demo.jsonl"
TOKEN = "a-token-that-is-secret"


async def _live(module: Any, lines: list[str], served: list[str], now: Any) -> None:
    recorder, other = Recorder(lines.append), Recorder(served.append)
    server = other.server(ServerConfig(heartbeat_interval=50))
    async with module.serve_gateway(server) as serving:
        config = Config(token=TOKEN, intents=0, api_url=serving.api_url, compression="zlib-stream")
        async with module.open_gateway(config, recorder=recorder) as gateway:
            async for event in gateway:
                if isinstance(event, Ready):
                    await gateway.send(UpdatePresence())
                    serving.dispatch("ECHO", {"content": f"{TOKEN} is it"})
                elif isinstance(event, Dispatch) and event.name == "ECHO":
                    serving.drop()
                elif type(event).__name__ == "Resumed":
                    break
    recorder.close()
    other.close()


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_adapter_records_a_complete_client_and_server(loop: str) -> None:
    lines: list[str] = []
    served: list[str] = []

    if loop == "trio":
        trio.run(_live, gateway_trio, lines, served, trio.current_time)
    else:
        asyncio.run(_live(gateway_asyncio, lines, served, None))

    for trace in (lines, served):
        assert TOKEN not in "".join(trace)
        assert [step for step in replay(trace) if step.differences] == []
    came = [event["type"] for line in read(lines) for event in line.get("events", ())]
    assert {"Ready", "Dispatch", "Resumed", "GatewayFound", "DialScheduled"} <= set(came)
    calls = {line.get("call") for line in read(served)}
    assert {"accept", "dispatch", "drop", "receive_data"} <= calls


async def _shards(module: Any, lines: list[str]) -> None:
    recorder = Recorder(lines.append)
    async with module.serve_gateway(Server(ServerConfig(shards=2, max_concurrency=2))) as serving:
        config = Config(token=TOKEN, intents=0, api_url=serving.api_url)
        async with module.open_shards(config, recorder=recorder) as shards:
            ready = 0
            async for _, event in shards:
                ready += isinstance(event, Ready)
                if ready == 2:
                    break
    recorder.close()


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_all_shards_are_recorded_in_one_trace(loop: str) -> None:
    lines: list[str] = []

    if loop == "trio":
        trio.run(_shards, gateway_trio, lines)
    else:
        asyncio.run(_shards(gateway_asyncio, lines))

    assert TOKEN not in "".join(lines)
    assert [step for step in replay(lines) if step.differences] == []
    assert [line["config"]["shard"] for line in read(lines) if line.get("new") == "client"] == [
        *[None, [0, 2], [1, 2]],
    ]


# ----- the command line -----


def test_traces_of_tail_and_serve_can_be_replayed(tmp_path: pathlib.Path) -> None:
    trace, served, out = tmp_path / "t.jsonl", tmp_path / "s.jsonl", tmp_path / "out"
    with serve_process("--tick", "0.05", "--record", str(served)) as serving:
        arguments = ("--api", serving.api, "--compression", "zlib-stream", "--json")
        with tail_process(out, *arguments, "--record", str(trace)) as process:
            wait_until("a tick", lambda: out.exists() and "TICK" in out.read_text())
            process.terminate()
            process.wait(PATIENCE)
        serving.stop()

    assert "secret-token" not in trace.read_text() + served.read_text()
    assert trace.stat().st_mode & 0o777 == 0o600
    for file in (trace, served):
        result = run_command("replay", str(file))
        assert result.returncode == 0, result.stdout + result.stderr
        assert "lines agree" in result.stdout
    assert len(json_lines(out)) > 3


def test_unwritable_file_is_reported() -> None:
    result = run_command("tail", "--gateway", "ws://localhost:1", "--record", "/nowhere/at/all")

    assert (result.returncode, result.stdout) == (2, "")
    assert "/nowhere/at/all" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_replay_shows_each_transition() -> None:
    result = run_command("replay", str(DEMO))

    assert result.returncode == 0
    assert "state connecting → identifying" in result.stdout
    assert "state resuming → ready" in result.stdout
    assert "event Resumed" in result.stdout
    assert 'sends {"op":6,' in result.stdout
    assert "dial resume ws://localhost" in result.stdout
    count = len(DEMO.read_text().splitlines()) - 1
    assert result.stdout.splitlines()[-1] == f"all {count} lines agree"


def _otherwise(tmp_path: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Write the demo trace as a library with other timers would record it."""
    lines = DEMO.read_text().splitlines()
    index = next(i for i, line in enumerate(lines) if '"state":"ready"' in line)
    line = json.loads(lines[index])
    line["timer"] += 1.5
    lines[index] = json.dumps(line)
    path = tmp_path / "bug.jsonl"
    path.write_text("\n".join(lines))
    return path, index + 1


def test_replay_shows_differences(tmp_path: pathlib.Path) -> None:
    path, number = _otherwise(tmp_path)

    result = run_command("replay", str(path), "--quiet")

    assert result.returncode == 1
    head, *more = result.stdout.splitlines()
    assert head.split()[0] == str(number)
    assert "timer recorded" in more[-3] and "timer now" in more[-2]
    assert more[-1].startswith("1 of ")
    with pytest.raises(AssertionError, match=rf"line {number}, receive_data: timer recorded"):
        assert_replays(path)


def test_replay_json_output_is_complete(tmp_path: pathlib.Path) -> None:
    path, number = _otherwise(tmp_path)

    result = run_command("replay", str(path), "--json")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 1
    assert lines[-1] == {"lines": len(lines) - 1, "different": 1}
    (different,) = [line for line in lines[:-1] if line["differences"]]
    assert different["number"] == number
    assert [d["what"] for d in different["differences"]] == ["timer"]


def test_replay_continues_at_enter_and_ends_at_q() -> None:
    from tests.adapters.support import COMMAND, ENVIRONMENT

    result = subprocess.run(
        [*COMMAND, "replay", str(DEMO), "--step"],
        env=ENVIRONMENT,
        input="\n\nq\n",
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode == 0
    assert "    4 " in result.stdout and "    5 " not in result.stdout


@pytest.mark.parametrize("command", ["replay", "timeline"])
@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("", "line 1: not a trace"),
        ('{"event": "Ready"}', "line 1: not a trace"),
        ("cut", "the last line is truncated"),
        ("odd", "a line is not as traces have it: "),
        (b"\xff\xff", "neither UTF-8 nor UTF-16"),
        (None, "No such file"),
    ],
)
def test_invalid_trace_is_reported_in_one_line_with_status_2(
    command: str, text: Any, expected_text: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "t.jsonl"
    if text == "cut":
        text = DEMO.read_text()[:5000]
    if text == "odd":
        head, first = DEMO.read_text().splitlines()[:2]
        text = f'{head}\n{first[:-1]}, "events": 5}}'
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    result = run_command(command, str(path))

    assert result.returncode == 2
    assert expected_text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_trace_can_be_used_as_a_test() -> None:
    assert_replays(DEMO)
    with pytest.raises(TraceError, match="line 1"):
        assert_replays(__file__)


def test_recorded_server_has_the_type_server() -> None:
    assert type(Recorder(lambda _: None).server()) is Server
