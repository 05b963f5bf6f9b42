"""Configs of seeds: all available versions, encodings and compressions."""

from __future__ import annotations

import pytest

from gateway_proto import Compression, Config, Encoding
from gateway_proto.encoding import etf
from gateway_proto.testing import FAULT_KINDS, SeededRandom, Simulation, SimulationConfig
from gateway_proto.testing.simulation import config as module
from gateway_proto.versions import VERSIONS


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
