"""`gateway-proto serve`: world, scenario, TLS, control, limits and output."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from gateway_proto.server import ServerConfig
from tests.adapters.support import (
    COMMAND,
    ENVIRONMENT,
    request_json,
    run_command,
    serve_process,
    tail_process,
    wait_until,
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_ends_cleanly(number: signal.Signals) -> None:
    with serve_process() as serving:
        status, output = serving.stop(number)

    assert status == 0
    assert output.strip().endswith("stopped")
    assert "Traceback" not in output


def test_serve_uses_the_world_of_a_file(tmp_path: pathlib.Path) -> None:
    world = tmp_path / "world.json"
    world.write_text('{"guilds": [{"id": "5", "name": "the fifth"}]}')
    out = tmp_path / "out"
    with (
        serve_process("--world", str(world)) as serving,
        tail_process(out, "--api", serving.api, "--intents", "guilds"),
    ):
        wait_until("the guild", lambda: "GUILD_CREATE" in out.read_text())

    assert "the fifth" in out.read_text()


def test_serve_injects_the_faults_of_a_scenario(tmp_path: pathlib.Path) -> None:
    scenario = tmp_path / "scenario.json"
    scenario.write_text('[{"what": "close", "code": 4009, "after": 0.1}]')
    out = tmp_path / "out"
    with (
        serve_process("--scenario", str(scenario)) as serving,
        tail_process(out, "--api", serving.api),
    ):
        wait_until("RESUMED", lambda: "RESUMED" in out.read_text())

    assert "closed with 4009" in out.read_text()


def test_scenario_may_be_yaml(tmp_path: pathlib.Path) -> None:
    scenario, out = tmp_path / "scenario.yaml", tmp_path / "out"
    scenario.write_text("- what: close\n  on: ready\n  code: 4009\n  after: 0.1\n")
    with (
        serve_process("--scenario", str(scenario)) as serving,
        tail_process(out, "--api", serving.api),
    ):
        wait_until("RESUMED", lambda: "RESUMED" in out.read_text())

    assert "closed with 4009" in out.read_text()


def test_scenario_of_yaml_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "scenario.yaml"
    file.write_text("[]")

    result = run_command("serve", "--scenario", str(file))

    assert result.returncode == 2
    assert result.stderr == (
        f"gateway-proto: {file}: YAML needs pyyaml: install gateway-proto[cli]\n"
    )


def test_serve_with_tls_prints_the_certificate_to_trust(tmp_path: pathlib.Path) -> None:
    trusting, strange = tmp_path / "trusting", tmp_path / "strange"
    with serve_process("--tls") as serving:
        assert serving.process.stdout is not None
        ca = serving.process.stdout.readline().split()[-1]
        with tail_process(trusting, "--api", serving.api, SSL_CERT_FILE=ca):
            wait_until("READY", lambda: "READY" in trusting.read_text())
        with tail_process(strange, "--api", serving.api):
            wait_until("a refusal", lambda: "could not connect" in strange.read_text())
        assert serving.stop()[0] == 0

    assert (serving.api[:8], serving.gateway[:6]) == ("https://", "wss://")
    assert "certificate verify failed" in strange.read_text()
    assert not pathlib.Path(ca).exists()


def test_serve_is_controlled_over_http(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with (
        serve_process("--control") as serving,
        tail_process(out, "--api", serving.api),
    ):
        assert serving.process.stdout is not None
        control = serving.process.stdout.readline().split()[-1]
        wait_until("READY", lambda: "READY" in out.read_text())

        assert request_json(f"{control}/dispatch", {"t": "HELLO_THERE", "d": 5}) == {"count": 1}
        wait_until("the dispatch", lambda: "HELLO_THERE" in out.read_text())
        assert request_json(f"{control}/drop", {}) == {"count": 1}
        wait_until("RESUMED", lambda: "RESUMED" in out.read_text())
        received = [entry["event"] for entry in request_json(f"{control}/received?after=0")]
        (connection,) = request_json(f"{control}/connections")

    before, after = ["HttpRequested", "Opened", "Identify", "Ready"], ["Opened", "Resume"]
    # The first heartbeat follows after any part of the interval.
    events = [event for event in received if event != "Heartbeat"]
    assert events == [*before, "Closed", *after, "Resumed"]
    assert connection["number"] == 2


def test_serve_has_options_for_server_limits() -> None:
    options = ["--shards", "3", "--max-concurrency", "2", "--identifies-per-day", "7"]
    with serve_process(*options, "--url", "wss://gateway.example") as serving:
        found = request_json(f"{serving.api}/v10/gateway/bot")

    assert (found["url"], found["shards"]) == ("wss://gateway.example", 3)
    limit = found["session_start_limit"]
    assert (limit["total"], limit["max_concurrency"]) == (7, 2)


@pytest.mark.parametrize(
    ("option", "value", "expected_text"),
    [
        ("--max-concurrency", "0", "invalid --max-concurrency 0: expected an int from 1"),
        ("--identify-seconds", "nan", "invalid --identify-seconds nan: expected a number"),
        ("--session-lifetime", "-1", "invalid --session-lifetime -1.0: expected a number"),
        ("--allowed-intents", "guild", "invalid intent 'guild': expected a number or names"),
        ("--control-host", "a:1", "invalid --control-host 'a:1': expected the name"),
        ("--url", "ftp://x", "invalid --url 'ftp://x': expected the URL of a gateway"),
    ],
)
def test_invalid_setting_of_serve_is_named_as_option(
    option: str, value: str, expected_text: str
) -> None:
    result = run_command("serve", option, value)

    assert result.returncode == 2
    assert expected_text in result.stderr


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
    with serve_process() as serving, pytest.raises(urllib.error.HTTPError, match="404"):
        request_json(serving.api.removesuffix("/api") + "/control/connections")


def test_serve_logs_objects_without_a_token(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with serve_process("--json") as serving:
        api = json.loads(serving.api_line)["text"].split()[-1]
        with tail_process(out, "--api", api):
            wait_until("READY", lambda: "READY" in out.read_text())
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
        wait_until("the address", lambda: shows(b"WebSocket"))
        wait_until("an end of line", lambda: shows(b"\r\n"))
        gateway = re.search(rb"ws://[0-9.:]+", bytes(seen))
        assert gateway is not None
        with tail_process(tmp_path / "out", "--gateway", gateway[0].decode()):
            wait_until("a row of the table", lambda: shows(b"v10 json none"))
            wait_until("a rate", lambda: re.search(rb"1\d\.\d|2\d\.\d", seen) or shows(b"never"))
        wait_until("an empty table", lambda: shows(b"0 connected, 1 sessions"))
    finally:
        process.kill()
        process.wait()
        os.close(ours)
