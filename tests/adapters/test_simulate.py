"""`gateway-proto simulate`: output for held and for broken invariants."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
import typer.testing

from gateway_cli.app import app
from gateway_cli.simulate import _deferred_signals
from gateway_proto.testing import FleetSimulation, Simulation
from gateway_proto.testing.simulation.fleet.history import FleetHistory
from gateway_proto.testing.simulation.history import History

RUNNER = typer.testing.CliRunner()
DAYS = "0.1"


def _simulate(*arguments: str) -> tuple[int, str]:
    result = RUNNER.invoke(app, ["simulate", "--days", DAYS, *arguments])
    return result.exit_code, result.output


def test_successful_seeds_are_listed_with_digests_and_faults() -> None:
    code, output = _simulate("--seeds", "5-6")

    assert code == 0
    for seed in (5, 6):
        assert f"seed {seed}: " in output
        simulation = Simulation.for_seed(seed)
        seconds = float(DAYS) * 86400 / simulation.config.clients
        assert simulation.run(seconds).digest in output
    assert "in 2 histories" in output
    assert "nothing broken" in output
    assert "years an hour" in output


def test_years_are_split_into_enough_seeds() -> None:
    code, output = _simulate("--years", "0.001")

    assert code == 0
    assert "seed " not in output
    assert "0.00 years of one client in 4 histories" in output


@pytest.mark.slow
def test_several_processes_give_the_same_result() -> None:
    command = [sys.executable, "-m", "gateway_cli", "simulate", "--seeds", "5-8", "--jobs", "2"]

    result = subprocess.run(
        [*command, "--days", DAYS], capture_output=True, text=True, timeout=110, check=True
    )

    lines = _simulate("--seeds", "5-8")[1].splitlines()
    assert sorted(line for line in lines if line.startswith("seed ")) == sorted(
        line for line in result.stdout.splitlines() if line.startswith("seed ")
    )
    assert "in 4 histories" in result.stdout


def test_broken_invariant_is_reported_with_a_replay_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true = History.received

    def received(self: History, bot: Any, event: Any) -> None:
        true(self, bot, event)
        if "HeartbeatAcked" in repr(event):
            raise self.broken("NeverAcked", "it was acked", bot)

    monkeypatch.setattr(History, "received", received)

    code, output = _simulate("--seed", "5")
    machines_code, line = _simulate("--seed", "5", "--json")

    assert code == machines_code == 1
    report = json.loads(line)
    assert (report["good"], report["name"], report["seed"]) == (False, "NeverAcked", 5)
    assert report["replay"].startswith("gateway-proto simulate --seed 5 --without ")
    assert output.count("NeverAcked at ") == 2, "unchanged, and with fewer fault kinds"
    assert "replay: gateway-proto simulate --seed 5 --without " in output
    assert "HeartbeatAcked" in output


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
def test_violation_is_reported_if_its_shrinking_is_interrupted(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(self: History, *_: Any) -> None:
        raise self.broken("NeverStarts", "it started", None)

    def shrink(*_: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(History, "began", started)
    monkeypatch.setattr("gateway_proto.testing.shrink", shrink)

    code, output = _simulate("--seed", "5", *arguments)

    last = output.splitlines()[-1]
    assert code == 130
    if arguments:
        report = json.loads(last)
        assert (report["good"], report["name"], report["seed"]) == (False, "NeverStarts", 5)
    else:
        assert "NeverStarts is violated: gateway-proto simulate --seed 5" in last


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--seeds", "9-1"], "invalid --seeds '9-1'"),
        (["--seed", "x"], "invalid --seeds 'x'"),
        (["--seeds", "0-9999999999999999999"], "of at most 18 digits"),
        (["--seed", "9" * 5000], "of at most 18 digits"),
        (["--seed", "1", "--years", "1"], "either --seed or --years"),
        ([], "either --seed or --years"),
        (["--seed", "1", "--without", "rain"], "unknown fault kind 'rain'"),
    ],
)
def test_invalid_options_of_simulate_are_rejected(arguments: list[str], error: str) -> None:
    code, output = _simulate(*arguments)

    assert code == 2
    assert error in output


def test_simulate_has_json_output() -> None:
    code, output = _simulate("--seeds", "5-6", "--json")

    *histories, total = map(json.loads, output.splitlines())
    assert code == 0
    assert [history["seed"] for history in histories] == [5, 6]
    assert (total["good"], total["histories"]) == (True, 2)
    assert total["events"] == sum(history["events"] for history in histories)
    assert total["fault_counts"]


# ----- fleets -----


def test_fleet_is_simulated_for_a_fault_and_a_recovery_phase() -> None:
    result = RUNNER.invoke(app, ["simulate", "--fleet", "--seed", "3"])

    report = FleetSimulation.for_seed(3).run()
    assert result.exit_code == 0
    assert f"seed 3: {report.events} events, {report.digest}" in result.output
    figures = f"{report.records} records, {report.claims} claims, {report.identifies} Identifies"
    assert figures in " ".join(result.output.split())


def test_length_of_a_fleet_history_is_summed_over_its_shards() -> None:
    code, output = _simulate("--fleet", "--seed", "3", "--days", "0.001", "--json")

    history, total = map(json.loads, output.splitlines())
    simulation = FleetSimulation.for_seed(3)
    report = simulation.run(86.4 / simulation.config.shards)
    assert code == 0
    assert history["digest"] == report.digest
    assert total["identifies"] == report.identifies
    assert total["records"] == report.records


def test_broken_fleet_is_reported_with_a_replay_command(monkeypatch: pytest.MonkeyPatch) -> None:
    true = FleetHistory.started

    def started(self: FleetHistory, process: Any) -> None:
        true(self, process)
        raise self.broken("NeverStarts", "it started", None)

    monkeypatch.setattr(FleetHistory, "started", started)

    result = RUNNER.invoke(app, ["simulate", "--fleet", "--seed", "5", "--json"])

    report = json.loads(result.output)
    assert result.exit_code == 1
    assert (report["name"], report["seed"]) == ("NeverStarts", 5)
    assert report["replay"].startswith("gateway-proto simulate --fleet --seed 5 --without ")


def test_fault_kinds_of_clients_are_unknown_for_a_fleet() -> None:
    code, output = _simulate("--fleet", "--seed", "1", "--without", "bomb")

    assert code == 2
    assert "unknown fault kind 'bomb'" in output


def test_killed_process_of_a_simulation_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise BrokenProcessPool("a child process terminated abruptly")

    monkeypatch.setattr("gateway_cli.simulate._run_histories", broken)

    code, output = _simulate("--seeds", "0-1", "--jobs", "2")

    assert code == 1
    assert "a process of the simulation was killed" in output


def test_signal_while_processes_start_is_handled_afterwards() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: steps.append("handled"))
    steps = []
    try:
        with _deferred_signals():
            signal.raise_signal(signal.SIGTERM)
            steps.append("started")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert steps == ["started", "handled"]
