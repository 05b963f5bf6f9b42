"""The command line, as its user sees it: real processes, what they print and how they end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_proto import ServerConfig

ROOT = pathlib.Path(__file__).parent.parent.parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")]),
    "GATEWAY_TOKEN": "secret-token",
    "COLUMNS": "200",
}
COMMAND = [sys.executable, "-W", "error::ResourceWarning", "-m", "gateway_cli"]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Serving:
    """`gateway-proto serve` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.api_line = self.process.stdout.readline()
        self.api = self.api_line.split()[-1]
        self.gateway = self.process.stdout.readline().split()[-1]

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=20)
        return self.process.returncode, output


@contextlib.contextmanager
def _serving(*arguments: str) -> Iterator[Serving]:
    serving = Serving(*arguments)
    try:
        yield serving
    finally:
        serving.process.kill()
        serving.process.communicate()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--dialect 3 --compress zlib-stream", "version 3 has no zlib-stream compression"),
        ("--dialect 5 --compress zstd-stream", "version 5 has no zstd-stream compression"),
        ("--encoding etf --compress payload", "payload compression is for json"),
    ],
)
@pytest.mark.parametrize("command", ["demo", "tail --gateway ws://localhost:1"])
def test_conflicting_options_are_reported_in_one_line(
    command: str, arguments: str, says: str
) -> None:
    result = _run(*command.split(), *arguments.split())

    assert result.returncode == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "--dialect 4",
        "--dialect 6 --compress zlib-stream --encoding etf",
        "--dialect 10 --compress zstd-stream --adapter trio",
    ],
)
def test_demo_succeeds_in_other_versions_encodings_compressions(arguments: str) -> None:
    if "etf" in arguments:
        pytest.importorskip("erlpack")

    result = _run("demo", *arguments.split())

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].startswith("all went well")


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
    # A line that the kill cut in the middle was not printed.
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _await(what: str, condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited too long for {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def _tailing(
    out: pathlib.Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    with out.open("ab") as file:
        process = subprocess.Popen(
            [*COMMAND, "tail", *arguments],
            env={**ENVIRONMENT, **environment},
            stdout=file,
            stderr=subprocess.PIPE,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("dialect", ["3", "10"])
@pytest.mark.parametrize("adapter", ["asyncio", "trio"])
def test_demo_shows_the_main_features_in_under_ten_seconds(dialect: str, adapter: str) -> None:
    began = time.monotonic()

    result = _run("demo", "--dialect", dialect, "--adapter", adapter)

    assert time.monotonic() - began < 10
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("all went well")
    for words in (
        "look up",
        "READY",
        "heartbeat",
        "playing chess",
        "the connection is cut",
        "RESUMED",
    ):
        assert any(words in line for line in lines), words
    assert ("ACK" in result.stdout) == (dialect == "10")
    assert "\x1b" not in result.stdout, "colour in a pipe"
    assert "demo-token" not in result.stdout


GATEWAY = ["tail", "--gateway", "ws://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--dialect", "99"], "invalid --dialect 99: use one of 3, 4, 5"),
        (["demo", "--adapter", "curio"], "invalid --adapter 'curio': use one of asyncio, trio"),
        (["demo", "--encoding", "xml"], "invalid --encoding 'xml': use one of json, etf"),
        (["serve", "--world", "/no/such/world"], "/no/such/world: No such file or directory"),
        (["serve", "--scenario", "/no/such"], "/no/such: No such file or directory"),
        (["serve", "--record", "/no/such/file"], "--record /no/such/file: No such file"),
        (["serve", "--dialect", "99"], "invalid --dialect 99: use one of 3, 4, 5"),
        (["serve", "--world", "/"], "/: Is a directory"),
        (["serve", "--world", "/dev/zero"], "/dev/zero: a device, not a file"),
        (["tail"], "say --api URL or --gateway URL"),
        ([*GATEWAY, "--api", "http://127.0.0.1:1"], "--api and --gateway exclude each other"),
        (["tail", "--api", "ftp://localhost"], "scheme must be ws, wss, http or https"),
        (["tail", "--api", "http://"], "expected a host without user name"),
        (["tail", "--api", "http://example.com/api"], "or add --allow-plaintext"),
        ([*GATEWAY, "--intents", "guild,x"], "invalid --intents 'guild,x': "),
        ([*GATEWAY, "--dialect", "11"], "invalid --dialect 11: use one of 3, 4, 5"),
        ([*GATEWAY, "--token-file", "/no/such"], "/no/such: No such file or directory"),
        ([*GATEWAY, "--session", "/no/such/file"], "--session /no/such/file: No such file"),
        ([*GATEWAY, "--session", "/dev/null"], "--session /dev/null: not a regular file"),
        ([*GATEWAY, "--record", "/dev/null"], "--record /dev/null: not a regular file"),
        ([*GATEWAY, "--record", "/"], "--record /: Is a directory"),
        (
            [*GATEWAY, "--dialect", "3", "--compress", "zlib-stream"],
            "version 3 has no zlib-stream compression",
        ),
        (["tail", "--fly"], "No such option: --fly"),
        (["replay", "/no/such"], "/no/such: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_error_is_reported_in_one_line_with_status_2(arguments: list[str], says: str) -> None:
    result = _run(*arguments)

    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.startswith("gateway-proto: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr + result.stdout
    assert "secret-token" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 8080"),
        (["tail", "--gateway", "ws://127.0.0.1:1"], "cannot connect to ws://127.0.0.1:1"),
        (["tail", "--api", "http://127.0.0.1:1/api"], "cannot connect to http://127.0.0.1:1/api"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_failed_connection_is_reported_in_one_line_with_status_1(
    arguments: list[str], says: str
) -> None:
    result = _run(*arguments)

    assert result.returncode == 1
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_tail_without_token_names_its_sources() -> None:
    result = _run("tail", "--gateway", "ws://localhost", GATEWAY_TOKEN="")

    assert result.returncode == 2
    assert "GATEWAY_TOKEN" in result.stderr
    assert "--token-file" in result.stderr


def test_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = _run("serve", "--port", str(port))

    assert result.returncode == 1
    assert result.stderr.startswith(f"gateway-proto: cannot listen on 127.0.0.1 port {port}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly(number: signal.Signals) -> None:
    with _serving() as serving:
        status, output = serving.stop(number)

    assert status == 0
    assert output.strip().endswith("stopped")
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("dialect", "encoding", "compress"),
    [
        ("3", "json", "none"),
        ("3", "json", "payload"),
        ("3", "etf", "none"),
        ("6", "json", "zlib-stream"),
        ("8", "etf", "zlib-stream"),
        ("10", "json", "payload"),
        ("10", "json", "zstd-stream"),
        ("10", "etf", "zstd-stream"),
    ],
)
def test_tail_prints_each_event_as_an_object(
    dialect: str, encoding: str, compress: str, tmp_path: pathlib.Path
) -> None:
    if encoding == "etf":
        pytest.importorskip("erlpack")
    out = tmp_path / "out"
    options = ["--dialect", dialect, "--encoding", encoding, "--compress", compress, "--json"]
    with _serving("--tick", "0.02") as serving, _tailing(out, "--api", serving.api, *options):
        _await("ticks", lambda: sum(line["name"] == "TICK" for line in _lines(out)) >= 3)
        serving.stop()

    lines = _lines(out)
    ready = next(line for line in lines if line["event"] == "Ready")
    assert (ready["name"], ready["sequence"]) == ("READY", 1)
    ticks = [line for line in lines if line["name"] == "TICK"]
    numbers = [tick["data"]["number"] for tick in ticks]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_serve_uses_the_world_of_a_file(tmp_path: pathlib.Path) -> None:
    world = tmp_path / "world.json"
    world.write_text('{"guilds": [{"id": "5", "name": "the fifth"}]}')
    out = tmp_path / "out"
    with (
        _serving("--world", str(world)) as serving,
        _tailing(out, "--api", serving.api, "--intents", "guilds"),
    ):
        _await("the guild", lambda: "GUILD_CREATE" in out.read_text())

    assert "the fifth" in out.read_text()


def test_serve_injects_the_faults_of_a_scenario(tmp_path: pathlib.Path) -> None:
    scenario = tmp_path / "scenario.json"
    scenario.write_text('[{"what": "close", "code": 4009, "after": 0.1}]')
    out = tmp_path / "out"
    with (
        _serving("--scenario", str(scenario)) as serving,
        _tailing(out, "--api", serving.api),
    ):
        _await("RESUMED", lambda: "RESUMED" in out.read_text())

    assert "closed with 4009" in out.read_text()


def test_scenario_may_be_yaml(tmp_path: pathlib.Path) -> None:
    scenario, out = tmp_path / "scenario.yaml", tmp_path / "out"
    scenario.write_text("- what: close\n  on: ready\n  code: 4009\n  after: 0.1\n")
    with (
        _serving("--scenario", str(scenario)) as serving,
        _tailing(out, "--api", serving.api),
    ):
        _await("RESUMED", lambda: "RESUMED" in out.read_text())

    assert "closed with 4009" in out.read_text()


def test_serve_with_tls_prints_the_certificate_to_trust(tmp_path: pathlib.Path) -> None:
    trusting, strange = tmp_path / "trusting", tmp_path / "strange"
    with _serving("--tls") as serving:
        assert serving.process.stdout is not None
        ca = serving.process.stdout.readline().split()[-1]
        with _tailing(trusting, "--api", serving.api, SSL_CERT_FILE=ca):
            _await("READY", lambda: "READY" in trusting.read_text())
        with _tailing(strange, "--api", serving.api):
            _await("a refusal", lambda: "cannot connect" in strange.read_text())
        assert serving.stop()[0] == 0

    assert (serving.api[:8], serving.gateway[:6]) == ("https://", "wss://")
    assert "certificate verify failed" in strange.read_text()
    assert not pathlib.Path(ca).exists()


def _ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": "Bot any"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_serve_is_controlled_over_http(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with (
        _serving("--control") as serving,
        _tailing(out, "--api", serving.api),
    ):
        assert serving.process.stdout is not None
        control = serving.process.stdout.readline().split()[-1]
        _await("READY", lambda: "READY" in out.read_text())

        assert _ask(f"{control}/dispatch", {"t": "HELLO_THERE", "d": 5}) == {"count": 1}
        _await("the dispatch", lambda: "HELLO_THERE" in out.read_text())
        assert _ask(f"{control}/drop", {}) == {"count": 1}
        _await("RESUMED", lambda: "RESUMED" in out.read_text())
        events = [entry["event"] for entry in _ask(f"{control}/received?after=0")]
        (connection,) = _ask(f"{control}/connections")

    before, after = ["HttpRequested", "Opened", "Identify", "Ready"], ["Opened", "Resume"]
    assert events == [*before, "Closed", *after, "Resumed"]
    assert connection["number"] == 2


def test_serve_has_options_for_server_limits() -> None:
    options = ["--shards", "3", "--max-concurrency", "2", "--identifies-a-day", "7"]
    with _serving(*options, "--url", "wss://gateway.example") as serving:
        found = _ask(f"{serving.api}/v10/gateway/bot")

    assert (found["url"], found["shards"]) == ("wss://gateway.example", 3)
    limit = found["session_start_limit"]
    assert (limit["total"], limit["max_concurrency"]) == (7, 2)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--max-concurrency", "0", "invalid --max-concurrency 0: expected an int from 1"),
        ("--identify-seconds", "nan", "invalid --identify-seconds nan: expected a number"),
        ("--session-lifetime", "-1", "invalid --session-lifetime -1.0: expected a number"),
        ("--allowed-intents", "guild", "invalid intent 'guild': expected a number or names"),
        ("--control-host", "a:1", "invalid --control-host 'a:1': expected the name"),
        ("--url", "ftp://x", "invalid --url 'ftp://x': expected the URL of a gateway"),
    ],
)
def test_invalid_setting_of_serve_is_named_as_option(option: str, value: str, says: str) -> None:
    result = _run("serve", option, value)

    assert result.returncode == 2
    assert says in result.stderr


def test_settings_of_serve_are_those_of_server_config() -> None:
    from gateway_cli.serve_options import server_config

    config = server_config(
        allowed_intents="guilds,guild_members",
        members_seconds=0.0,
        replay_bytes=1000,
        replay_limit=None,
    )

    assert (config.allowed_intents, config.members_seconds, config.replay_bytes) == (3, 0.0, 1000)
    assert config.replay_limit == ServerConfig().replay_limit


def test_serve_without_control_has_no_control_routes() -> None:
    with _serving() as serving, pytest.raises(urllib.error.HTTPError, match="404"):
        _ask(serving.api.removesuffix("/api") + "/control/connections")


def test_serve_logs_objects_without_a_token(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with _serving("--json") as serving:
        api = json.loads(serving.api_line)["text"].split()[-1]
        with _tailing(out, "--api", api):
            _await("READY", lambda: "READY" in out.read_text())
        code, output = serving.stop()

    lines = [json.loads(line) for line in output.splitlines()]
    identify = next(line for line in lines if line.get("event") == "Identify")
    assert code == 0
    assert (identify["who"], identify["intents"]) == ("#1", 0)
    assert identify["seconds"] > 0
    assert "secret-token" not in output
    assert lines[-1]["text"] == "stopped"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the platform has no pseudo-terminals")
def test_serve_shows_its_connections_on_a_terminal(tmp_path: pathlib.Path) -> None:
    ours, theirs = os.openpty()
    seen = bytearray()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--tick", "0.05"],
        env={**ENVIRONMENT, "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)

    def shows(wanted: bytes) -> bool:
        seen.extend(os.read(ours, 65536))
        return wanted in seen

    try:
        _await("the address", lambda: shows(b"WebSocket"))
        _await("an end of line", lambda: shows(b"\r\n"))
        gateway = re.search(rb"ws://[0-9.:]+", bytes(seen))
        assert gateway is not None
        with _tailing(tmp_path / "out", "--gateway", gateway[0].decode()):
            _await("a row of the table", lambda: shows(b"v10 json none"))
            _await("a rate", lambda: re.search(rb"1\d\.\d|2\d\.\d", seen) or shows(b"never"))
        _await("an empty table", lambda: shows(b"0 connected, 1 sessions"))
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_tail_without_a_lookup_connects_directly(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with _serving() as serving, _tailing(out, "--gateway", serving.gateway):
        _await("READY", lambda: "READY" in out.read_text())

    assert "look up" not in out.read_text()


def test_token_may_be_read_from_a_file(tmp_path: pathlib.Path) -> None:
    token_file, out = tmp_path / "token", tmp_path / "out"
    token_file.write_text("from-a-file\n")
    options = ("--token-file", str(token_file))
    with (
        _serving("--token", "from-a-file") as serving,
        _tailing(out, "--gateway", serving.gateway, *options),
    ):
        _await("READY", lambda: "READY" in out.read_text())


def test_fatal_close_is_reported_and_sets_the_status() -> None:
    with _serving("--token", "another") as serving:
        result = _run("tail", "--gateway", serving.gateway)

    assert result.returncode == 1
    assert "4004" in result.stderr
    assert "Authentication failed" in result.stderr
    assert "secret-token" not in result.stdout + result.stderr


def test_ctrl_c_ends_tail_with_130_and_keeps_the_session(tmp_path: pathlib.Path) -> None:
    file, out = tmp_path / "session", tmp_path / "out"
    with (
        _serving() as serving,
        _tailing(out, "--gateway", serving.gateway, "--session", str(file)) as tail,
    ):
        _await("a session", file.exists)
        tail.send_signal(signal.SIGINT)
        _, errors = tail.communicate(timeout=20)

    assert tail.returncode == 130
    assert errors == b""
    assert json.loads(file.read_text())["sequence"] >= 1


@pytest.mark.parametrize("text", ["not a session", '{"id": "x"}', "\x00"])
def test_file_without_a_session_is_kept_with_status_2(text: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "session"
    file.write_text(text)

    result = _run("tail", "--gateway", "ws://127.0.0.1:1", "--session", str(file))

    assert result.returncode == 2
    assert f"--session {file}: not a session" in result.stderr
    assert file.read_text() == text
    assert os.listdir(tmp_path) == ["session"]


def test_session_of_another_token_is_kept_until_replaced(tmp_path: pathlib.Path) -> None:
    file, out = tmp_path / "session", tmp_path / "out"
    text = '{"id":"x","sequence":1,"dialect":10,"fingerprint":"0000000000000000"}'
    file.write_text(text)

    refused = _run("tail", "--gateway", "ws://127.0.0.1:1", "--session", str(file))
    kept = file.read_text()
    with (
        _serving() as serving,
        _tailing(out, "--gateway", serving.gateway, "--session", str(file)) as tail,
    ):
        _await("a new session", lambda: file.read_text() != text)
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=20)

    assert f"{file} is not used" in refused.stderr
    assert kept == text
    assert json.loads(file.read_text())["id"] != "x"


def test_help_shows_an_example_of_each_command() -> None:
    for command in ("demo", "serve", "tail"):
        result = _run(command, "--help")

        assert result.returncode == 0
        assert "Example:" in result.stdout
        assert f"gateway-proto {command}" in " ".join(result.stdout.split())


def test_client_killed_ten_times_loses_no_event(tmp_path: pathlib.Path) -> None:
    """Twice is only what the kill caught between printing and saving."""
    file = tmp_path / "session"
    runs: list[list[int]] = []
    # A session keeps a thousand dispatches: a busy machine has twenty seconds for each restart.
    with _serving("--tick", "0.02") as serving:
        for run in range(11):
            out = tmp_path / f"out-{run}"
            options = ("--session", str(file), "--json", "--gateway", serving.gateway)

            def ticks(out: pathlib.Path = out) -> list[int]:
                return [line["data"]["number"] for line in _lines(out) if line["name"] == "TICK"]

            with _tailing(out, *options):
                _await("ticks", lambda: len(ticks()) >= 20)
                # __exit__ kills it with SIGKILL while ticks flow.
            assert ticks(), "nothing was printed"
            identified = [line["event"] for line in _lines(out)].count("Ready")
            assert identified == (1 if run == 0 else 0), "it began a new session"
            runs.append(ticks())

    for numbers in runs:
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for before, after in itertools.pairwise(runs):
        # The next number, or once more the last: the one between printing and saving.
        assert after[0] in (before[-1], before[-1] + 1)
