"""Benchmarks: the whole corpus is read, and a missing fast path fails."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from benchmarks import fleet, hostile_input, process, server
from benchmarks.__main__ import main
from benchmarks.baseline import Baseline
from benchmarks.corpus import dispatches
from benchmarks.encoder import COMPRESSIONS, GatewayEncoder, conversation, raw_dispatches
from benchmarks.options import Options
from gateway_proto import ClientConnection

_SHORTER = ["--short", "--only", "process", "--dispatches", "100", "--rounds", "1"]


def test_corpus_depends_only_on_the_seed_and_has_realistic_sizes() -> None:
    sizes = [len(msgspec.json.encode(d)) for _, d in dispatches(10_000)]

    assert sizes == [len(msgspec.json.encode(d)) for _, d in dispatches(10_000)]
    assert sizes != [len(msgspec.json.encode(d)) for _, d in dispatches(10_000, seed=6)]
    assert 1000 < statistics.mean(sizes) < 1400
    assert 650 < statistics.median(sizes) < 850
    assert max(sizes) > 100_000


@pytest.mark.parametrize("size", [1, 100, 65536])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_baseline_reads_every_dispatch_at_any_chunk_size(compression: str, size: int) -> None:
    hello, _, ready, frames = conversation(compression, raw_dispatches(30))
    data = hello + ready + frames
    baseline = Baseline(compression)

    count = sum(baseline.feed(data[at : at + size]) for at in range(0, len(data), size))

    assert count == 31  # with READY


def test_payload_keys_have_the_order_of_discord() -> None:
    frame = GatewayEncoder("none").dispatch("TYPING_START", 7, b'{"user_id":"1"}')

    assert frame[2:] == b'{"t":"TYPING_START","s":7,"op":0,"d":{"user_id":"1"}}'


def test_client_that_misses_a_dispatch_aborts_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_client", lambda client, chunks, take: 99)

    with pytest.raises(SystemExit, match="client read 99 of 100 dispatches"):
        process.measure(Options(dispatches=100, rounds=1))


@pytest.mark.slow
def test_short_run_fails_if_a_ratio_exceeds_twice_its_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "_TARGETS", {"client": {"none": 0.01}})

    status = main(_SHORTER)

    assert status == 1
    assert "lost: process: client of baseline, none" in capsys.readouterr().err


@pytest.mark.slow
def test_short_run_fails_without_the_fast_path_of_dispatches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ClientConnection, "_fast_path_allowed", lambda connection: False)
    arguments = ["--short", "--only", "process", "--dispatches", "4000", "--rounds", "3"]

    status = main(arguments)

    assert status == 1
    assert "lost: process: client of baseline, none" in capsys.readouterr().err


@pytest.mark.slow
def test_short_run_passes_if_all_ratios_are_within_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "_TARGETS", {"client": {"none": 1000.0}})

    status = main(_SHORTER)

    assert status == 0
    assert "yes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--rounds", "0"], "--rounds 0 is not 1 or more"),
        (["--short", "--only", "loopback"], "--short measures"),
        (["--short", "--chart", "x.svg"], "--chart needs the measurement loopback"),
    ],
)
def test_incompatible_options_exit_with_an_error(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)

    assert raised.value.code == 2
    assert error in capsys.readouterr().err


def test_cost_that_grows_with_the_square_of_the_input_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare(size: int, power: int) -> Callable[[], float]:
        return lambda: float(size**power)

    def timed(work: Callable[[], float]) -> tuple[float, None]:
        return work(), None

    cases = [
        hostile_input.Case(str(power), partial(prepare, power=power), 1000) for power in (1, 2)
    ]
    monkeypatch.setattr(hostile_input, "CASES", cases)
    monkeypatch.setattr(hostile_input, "timed", timed)

    result = hostile_input.measure(Options(rounds=3))

    assert [figure.lost for figure in hostile_input.figures(result)] == [False, True]
    assert "cost of each unit of hostile input" in hostile_input.show(result)


@pytest.mark.slow
def test_server_run_compares_everything_with_a_bare_server() -> None:
    result = server.measure(Options(rounds=1, short=True))

    figures = server.figures(result)
    assert len(figures) == 4 * len(COMPRESSIONS)
    assert all(figure.measured is not None and figure.measured > 0 for figure in figures)
    assert "bare aiohttp" in server.show(result)


@pytest.mark.parametrize(("compression", "larger"), [("none", 1), ("zlib-stream", 30)])
def test_servers_that_send_different_bytes_end_the_run(compression: str, larger: int) -> None:
    def run(size: int) -> server.Run:
        made = object.__new__(server.Run)
        made.sizes = {"stream": size}
        return made

    with pytest.raises(SystemExit, match="asyncio sent"):
        server.check_sizes({"bare": [run(1000)], "asyncio": [run(1000 + larger)]}, compression)
    server.check_sizes({"bare": [run(1000)], "asyncio": [run(1000)]}, compression)


@pytest.mark.slow
def test_fleet_run_logs_every_dispatch(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = fleet.StoreKind("missing", fleet.STORES[0].run, module="no_such_module", target=1.0)
    monkeypatch.setattr(fleet, "STORES", (fleet.STORES[0], missing))
    monkeypatch.setattr(fleet, "_SHARDS", (1,))
    monkeypatch.setattr(fleet, "_COMPRESSIONS", ("none",))

    result = fleet.measure(Options(dispatches=600, rounds=1))

    assert set(result["cells"]["none"]["1"]) == {"receive", "memory"}
    assert result["left_out"] == {"missing": "no_such_module"}
    shown = fleet.show(result)
    assert "none, memory" in shown
    assert "missing is left out: no_such_module is not installed" in shown
    assert [figure.measured for figure in fleet.figures(result)] == [None, None]
