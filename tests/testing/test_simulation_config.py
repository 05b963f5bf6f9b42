"""Configs of seeds: all available versions, encodings and compressions."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from gateway_proto import Client, Compression, Config, Encoding, LocalProtocolError
from gateway_proto.encoding import etf
from gateway_proto.server import Server
from gateway_proto.testing import (
    FAULT_KINDS,
    FleetSimulation,
    FleetSimulationConfig,
    Link,
    SeededRandom,
    Simulation,
    SimulationConfig,
)
from gateway_proto.testing.simulation import config as module
from gateway_proto.versions import VERSIONS
from tests.wrong_values import async_function


def test_seeds_cover_all_versions_encodings_and_compressions() -> None:
    settings = [SimulationConfig.for_seed(seed) for seed in range(300)]

    assert {setting.version for setting in settings} == set(VERSIONS)
    assert {setting.compression for setting in settings} == set(Compression)
    encodings = {Encoding.JSON, Encoding.ETF} if etf.available() else {Encoding.JSON}
    assert {setting.encoding for setting in settings} == encodings
    assert {setting.sharded for setting in settings} == {True, False}


def test_each_seed_gives_a_valid_config() -> None:
    for seed in range(300):
        (bot, *_) = Simulation.for_seed(seed).clients
        assert isinstance(bot.config, Config)


def test_missing_etf_and_zstd_are_replaced_by_other_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(etf, "available", lambda: False)
    monkeypatch.setattr(module, "has_zstd", lambda: False)

    settings = [SimulationConfig.for_seed(seed) for seed in range(300)]

    assert {setting.encoding for setting in settings} == {Encoding.JSON}
    assert Compression.ZSTD_STREAM not in {setting.compression for setting in settings}


def test_excluded_faults_do_not_change_other_settings_of_a_seed() -> None:
    with_all, with_less = (
        SimulationConfig.for_seed(3),
        SimulationConfig.for_seed(3, excluded_faults=["cut"]),
    )

    assert with_less.excluded_faults == {"cut"}
    assert with_all.excluded_faults == set()
    assert (with_all.version, with_all.latency) == (with_less.version, with_less.latency)
    assert "cut" in FAULT_KINDS


def test_seeded_random_source_is_the_same_on_every_platform() -> None:
    random_source = SeededRandom(17)

    assert [random_source.randrange(1000) for _ in range(4)] == [854, 649, 146, 556]
    assert SeededRandom(17).child("a").random() != SeededRandom(17).child("b").random()
    assert all(0.0 <= SeededRandom(n).random() < 1.0 for n in range(1000))


NOT_A_NUMBER = ("1", True, b"1", math.nan, math.inf, -1, 10**5000, [1], object())
WRONG: dict[Any, tuple[Any, ...]] = {
    "int": (None, 1.5, *NOT_A_NUMBER),
    "float": (None, *NOT_A_NUMBER),
    "float | None": (0, *NOT_A_NUMBER),
    "bool": (None, 0, "no"),
    "Encoding": (None, "json", 0),
    "Compression": (None, "none", 0),
    "frozenset[str]": (None, 5, b"cut", ["cut", None], [[]], {"cut": 1}, ["rain"], "rain"),
}


@pytest.mark.parametrize("type_", [SimulationConfig, FleetSimulationConfig])
def test_wrong_value_of_a_field_is_named(type_: type[Any]) -> None:
    for field in attrs.fields(type_):
        for value in WRONG[field.type]:
            with pytest.raises(LocalProtocolError) as caught:
                type_(**{field.name: value})

            error = str(caught.value)
            assert f"{type_.__name__}.{field.name}" in error or "unknown fault kind" in error


@pytest.mark.parametrize("type_", [SimulationConfig, FleetSimulationConfig])
def test_one_excluded_fault_may_be_text(type_: type[Any]) -> None:
    assert type_(excluded_faults="cut").excluded_faults == {"cut"}
    assert type_.for_seed(1, excluded_faults="cut").excluded_faults == {"cut"}


@pytest.mark.parametrize("type_", [Simulation, FleetSimulation])
def test_wrong_argument_of_a_simulation_is_named(type_: type[Any]) -> None:
    wrong: dict[str, tuple[Any, ...]] = {
        "seed": (None, "1", 1.0, True, 10**5000),
        "config": ({}, "x", 5),
    }
    if type_ is Simulation:
        wrong |= {"client_config": ({}, "token"), "handle": ("f", async_function)}
    for field, values in wrong.items():
        for value in values:
            with pytest.raises(LocalProtocolError, match=f"{field} "):
                type_(**{"seed": 1, field: value})
    for value in (None, "1", math.inf):
        with pytest.raises(LocalProtocolError, match="seed"):
            type_.for_seed(value)
    simulation = type_(1)
    for value in ("1", math.nan, -1, math.inf, True):
        with pytest.raises(LocalProtocolError, match="seconds"):
            simulation.run(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client", None),
        ("client", "client"),
        ("server", {}),
        ("now", "0"),
        ("now", math.nan),
        ("chop", 5),
        ("chop", async_function),
        ("delay", -1),
        ("delay", "1"),
    ],
)
def test_wrong_argument_of_a_link_is_named(field: str, value: Any) -> None:
    config = Config(token="t", intents=0, gateway_url="ws://localhost")
    fields: dict[str, Any] = {"client": Client(config), "server": Server(), field: value}

    with pytest.raises(LocalProtocolError, match=f"{field} "):
        Link(**fields)


def test_wrong_time_of_a_link_is_named() -> None:
    link = Link(Client(Config(token="t", intents=0, gateway_url="ws://localhost")), Server())
    for value in (None, "1", -1, math.nan):
        with pytest.raises(LocalProtocolError, match="seconds"):
            link.run(value)  # type: ignore[arg-type]
        with pytest.raises(LocalProtocolError, match="within"):
            link.run_until(bool, within=value)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="condition"):
        link.run_until(async_function)  # type: ignore[arg-type]
