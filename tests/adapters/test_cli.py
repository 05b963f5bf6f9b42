"""The command line in real processes: demo, tail, errors and exit statuses."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pathlib
import signal
import socket

import attrs
import pytest
import typer

from gateway_cli import doctor
from gateway_cli.settings import Settings, client_config
from gateway_proto import Compression, Encoding
from tests.adapters.support import (
    PATIENCE,
    json_lines,
    run_command,
    run_process,
    serve_process,
    tail_process,
    wait_until,
)


@pytest.mark.parametrize(
    ("arguments", "expected_text"),
    [
        ("--api-version 3 --compression zlib-stream", "version 3 has no zlib-stream compression"),
        ("--api-version 5 --compression zstd-stream", "version 5 has no zstd-stream compression"),
        ("--encoding etf --compression payload", "payload compression is for json"),
    ],
)
@pytest.mark.parametrize("command", ["demo", "tail --gateway ws://localhost:1"])
def test_conflicting_options_are_reported_in_one_line(
    command: str, arguments: str, expected_text: str
) -> None:
    result = run_command(*command.split(), *arguments.split())

    assert result.returncode == 2
    assert expected_text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_plain_text_is_allowed_by_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "any")
    given = Settings(
        api="http://gateway.example/api",
        gateway=None,
        version=10,
        intents=None,
        encoding="json",
        compression="none",
        token_file=None,
        allow_plaintext=True,
    )

    config = client_config(given)

    assert config.url_policy.check("ws://gateway.example")[1] == ""
    with pytest.raises(typer.Exit) as ended:
        client_config(attrs.evolve(given, allow_plaintext=False))
    assert ended.value.exit_code == 2


def test_doctor_checks_another_host_in_plain_text() -> None:
    config = doctor._config(
        api_url="http://gateway.example/api",
        version=10,
        encoding=Encoding.JSON,
        compression=Compression.NONE,
        seconds=1.0,
    )

    assert config.url_policy.check("ws://gateway.example")[1] == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "--api-version 4",
        "--api-version 6 --compression zlib-stream --encoding etf",
        "--api-version 10 --compression zstd-stream --adapter trio",
    ],
)
def test_demo_succeeds_in_other_versions_encodings_compressions(arguments: str) -> None:
    if "etf" in arguments:
        pytest.importorskip("erlpack")

    result = run_process("demo", *arguments.split())

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].startswith("success")


@pytest.mark.parametrize("version", [pytest.param("3", marks=pytest.mark.slow), "10"])
@pytest.mark.parametrize("adapter", ["asyncio", "trio"])
def test_demo_shows_the_main_features(version: str, adapter: str) -> None:
    """It fails by itself if it takes longer than nine seconds."""
    result = run_process("demo", "--api-version", version, "--adapter", adapter)

    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("success")
    for words in (
        "lookup at",
        "READY",
        "heartbeat",
        "playing chess",
        "the connection is dropped",
        "RESUMED",
    ):
        assert any(words in line for line in lines), words
    assert ("ACK" in result.stdout) == (version == "10")
    assert "\x1b" not in result.stdout, "colour in a pipe"
    assert "demo-token" not in result.stdout


GATEWAY = ["tail", "--gateway", "ws://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("arguments", "expected_text"),
    [
        (["demo", "--api-version", "99"], "invalid --api-version 99: use one of 3, 4, 5"),
        (["demo", "--adapter", "curio"], "invalid --adapter 'curio': use one of asyncio, trio"),
        (["demo", "--encoding", "xml"], "invalid --encoding 'xml': use one of json, etf"),
        (["serve", "--world", "/no/such/world"], "/no/such/world: No such file or directory"),
        (["serve", "--scenario", "/no/such"], "/no/such: No such file or directory"),
        (["serve", "--record", "/no/such/file"], "--record /no/such/file: No such file"),
        (["serve", "--api-version", "99"], "invalid --api-version 99: use one of 3, 4, 5"),
        (["serve", "--world", "/"], "/: Is a directory"),
        (["serve", "--world", "/dev/zero"], "/dev/zero: a device, not a file"),
        (["tail"], "pass --api URL or --gateway URL"),
        ([*GATEWAY, "--api", "http://127.0.0.1:1"], "--api and --gateway exclude each other"),
        (["tail", "--api", "ftp://localhost"], "scheme must be ws, wss, http or https"),
        (["tail", "--api", "http://"], "expected a host without user name"),
        (["tail", "--api", "http://example.com/api"], "or add --allow-plaintext"),
        ([*GATEWAY, "--intents", "guild,x"], "invalid --intents 'guild,x': "),
        ([*GATEWAY, "--api-version", "11"], "invalid --api-version 11: use one of 3, 4, 5"),
        ([*GATEWAY, "--token-file", "/no/such"], "/no/such: No such file or directory"),
        ([*GATEWAY, "--session", "/no/such/file"], "--session /no/such/file: No such file"),
        ([*GATEWAY, "--session", "/dev/null"], "--session /dev/null: not a regular file"),
        ([*GATEWAY, "--record", "/dev/null"], "--record /dev/null: not a regular file"),
        ([*GATEWAY, "--record", "/"], "--record /: Is a directory"),
        (
            [*GATEWAY, "--api-version", "3", "--compression", "zlib-stream"],
            "version 3 has no zlib-stream compression",
        ),
        (["tail", "--fly"], "No such option: --fly"),
        (["serve", "--port", "99999"], "99999"),
        (["serve", "--port=many"], "'many'"),
        (["doctor", "--timeout", "0"], "Invalid value '0' for '--timeout'"),
        (["serve", "--port", "secret-token-in-the-wrong-place"], "Invalid value for '--port'"),
        (["replay", "/no/such"], "/no/such: No such file or directory"),
        (["timeline", "/"], "/: Is a directory"),
        (["serve", "--host", ""], "invalid --host '': expected the name or address of an"),
        (["serve", "--host", " x"], "invalid --host ' x': expected the name or address of an"),
        (["serve", "--host", "x" * 64], "expected the name or address of an interface in ASCII"),
        (["serve", "--tick", "inf"], "invalid --tick inf: expected a finite number"),
        (["simulate", "--years", "inf"], "invalid --years inf: expected a finite number"),
        ([*GATEWAY, "--shards", "65537"], "--shards"),
        ([*GATEWAY, "--session", "a", "--record", "./a"], "--session and --record name one file"),
        (
            ["tail", "--api", "http://me:secret-token@127.0.0.1"],
            "invalid gateway URL 'http://127.0.0.1': expected a host without user name",
        ),
        (
            [*GATEWAY, "--encoding", "etf", "--compression", "payload"],
            "payload compression is for json: with etf set --compression to a stream",
        ),
        (
            ["fleet", "reshard", "--store", "redis://localhost"],
            "missing COUNT: pass it, or --cancel",
        ),
        (
            ["fleet", "status", "--store", "redis://:secret-token@localhost:99999"],
            "invalid --store: expected redis://host[:port][/db]",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_error_is_reported_in_one_line_with_status_2(
    arguments: list[str], expected_text: str
) -> None:
    result = run_command(*arguments)

    assert result.returncode == 2
    assert expected_text in result.stderr
    assert result.stderr.startswith("gateway-proto: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr + result.stdout
    assert "secret-token" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected_text"),
    [
        (["serve", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 8080"),
        (["tail", "--gateway", "ws://127.0.0.1:1"], "could not connect to ws://127.0.0.1:1"),
        (
            ["tail", "--api", "http://127.0.0.1:1/api"],
            "could not connect to http://127.0.0.1:1/api",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_failed_connection_is_reported_in_one_line_with_status_1(
    arguments: list[str], expected_text: str
) -> None:
    result = run_command(*arguments)

    assert result.returncode == 1
    assert expected_text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_tail_without_token_names_its_sources() -> None:
    result = run_command("tail", "--gateway", "ws://localhost", GATEWAY_TOKEN="")

    assert result.returncode == 2
    assert "GATEWAY_TOKEN" in result.stderr
    assert "--token-file" in result.stderr


def test_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = run_command("serve", "--port", str(port))

    assert result.returncode == 1
    reason = os.strerror(errno.EADDRINUSE)
    assert result.stderr == f"gateway-proto: cannot listen on 127.0.0.1 port {port}: {reason}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "encoding", "compression"),
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
    version: str, encoding: str, compression: str, tmp_path: pathlib.Path
) -> None:
    if encoding == "etf":
        pytest.importorskip("erlpack")
    out = tmp_path / "out"
    options = [
        "--api-version",
        version,
        "--encoding",
        encoding,
        "--compression",
        compression,
        "--json",
    ]
    with (
        serve_process("--tick", "0.02") as serving,
        tail_process(out, "--api", serving.api, *options),
    ):
        wait_until("ticks", lambda: sum(line["name"] == "TICK" for line in json_lines(out)) >= 3)
        serving.stop()

    lines = json_lines(out)
    ready = next(line for line in lines if line["event"] == "Ready")
    assert (ready["name"], ready["sequence"]) == ("READY", 1)
    ticks = [line for line in lines if line["name"] == "TICK"]
    numbers = [tick["data"]["number"] for tick in ticks]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_tail_without_a_lookup_connects_directly(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with serve_process() as serving, tail_process(out, "--gateway", serving.gateway):
        wait_until("READY", lambda: "READY" in out.read_text())

    assert "look up" not in out.read_text()


def test_token_may_be_read_from_a_file(tmp_path: pathlib.Path) -> None:
    token_file, out = tmp_path / "token", tmp_path / "out"
    token_file.write_text("from-a-file\n")
    options = ("--token-file", str(token_file))
    with (
        serve_process("--token", "from-a-file") as serving,
        tail_process(out, "--gateway", serving.gateway, *options),
    ):
        wait_until("READY", lambda: "READY" in out.read_text())


def test_fatal_close_is_reported_and_sets_the_status() -> None:
    with serve_process("--token", "another") as serving:
        result = run_command("tail", "--gateway", serving.gateway)

    assert result.returncode == 1
    assert "4004" in result.stderr
    assert "Authentication failed" in result.stderr
    assert "secret-token" not in result.stdout + result.stderr


def test_ctrl_c_ends_tail_with_130_and_keeps_the_session(tmp_path: pathlib.Path) -> None:
    file, out = tmp_path / "session", tmp_path / "out"
    with (
        serve_process() as serving,
        tail_process(out, "--gateway", serving.gateway, "--session", str(file)) as tail,
    ):
        wait_until("a session", file.exists)
        tail.send_signal(signal.SIGINT)
        _, errors = tail.communicate(timeout=PATIENCE)

    assert tail.returncode == 130
    assert errors == b""
    assert json.loads(file.read_text())["sequence"] >= 1


@pytest.mark.parametrize("text", ["not a session", '{"id": "x"}', "\x00"])
def test_file_without_a_session_is_kept_with_status_2(text: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "session"
    file.write_text(text)

    result = run_command("tail", "--gateway", "ws://127.0.0.1:1", "--session", str(file))

    assert result.returncode == 2
    assert f"--session {file}: not a session" in result.stderr
    assert file.read_text() == text
    assert os.listdir(tmp_path) == ["session"]


def test_session_of_another_token_is_kept_until_replaced(tmp_path: pathlib.Path) -> None:
    file, out = tmp_path / "session", tmp_path / "out"
    text = '{"id":"x","sequence":1,"version":10,"token_fingerprint":"0000000000000000"}'
    file.write_text(text)

    refused = run_command("tail", "--gateway", "ws://127.0.0.1:1", "--session", str(file))
    kept = file.read_text()
    with (
        serve_process() as serving,
        tail_process(out, "--gateway", serving.gateway, "--session", str(file)) as tail,
    ):
        wait_until("a new session", lambda: file.read_text() != text)
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=PATIENCE)

    assert f"{file} is not used" in refused.stderr
    assert kept == text
    assert json.loads(file.read_text())["id"] != "x"


def test_help_shows_an_example_of_each_command() -> None:
    for command in ("demo", "serve", "tail"):
        result = run_command(command, "--help")

        assert result.returncode == 0
        assert "Example:" in result.stdout
        assert f"gateway-proto {command}" in " ".join(result.stdout.split())


@pytest.mark.slow
def test_client_killed_ten_times_loses_no_event(tmp_path: pathlib.Path) -> None:
    """Only an event killed between printing and saving is repeated."""
    file = tmp_path / "session"
    runs: list[list[int]] = []
    # A session stores 1000 dispatches: each restart may take forty seconds.
    with serve_process("--tick", "0.04") as serving:
        for run in range(11):
            out = tmp_path / f"out-{run}"
            options = ("--session", str(file), "--json", "--gateway", serving.gateway)

            def ticks(out: pathlib.Path = out) -> list[int]:
                return [
                    line["data"]["number"] for line in json_lines(out) if line["name"] == "TICK"
                ]

            with tail_process(out, *options):
                wait_until("ticks", lambda: len(ticks()) >= 20)
                # __exit__ kills it with SIGKILL while ticks flow.
            assert ticks(), "no event was printed"
            identified = [line["event"] for line in json_lines(out)].count("Ready")
            assert identified == (1 if run == 0 else 0), "it started a new session"
            runs.append(ticks())

    for numbers in runs:
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for before, after in itertools.pairwise(runs):
        # The next number, or the last again if killed between printing and saving.
        assert after[0] in (before[-1], before[-1] + 1)
