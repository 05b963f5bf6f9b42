"""`Fleet.metrics()`: what happens to a member is counted, once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway_proto.server import Scenario
from tests.adapters.fleet_members import Bench, CutStore, run, until
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def _samples(running: Any) -> dict[str, float]:
    """Return the value of each sample by its name and label."""
    found = re.findall(r'^(\w+)(?:\{\w+="(.*)"\})? (\S+)$', running.fleet.metrics(), re.M)
    return {f"{name} {label}".strip(): float(value) for name, label, value in found}


@pytest.mark.parametrize("publish", [True, False])
def test_metrics_count_events_and_appends(kit: Kit, publish: bool) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(publish=publish)
        await bench.until_owned((one, 2))
        for number in range(10):
            bench.send(0, number, 2)
        await until(lambda: _samples(one).get("gateway_events_by_type_total NUMBER") == 10)
        await until(lambda: _samples(one)["gateway_append_seconds_count"] >= 2)

        found = _samples(one)
        assert found["gateway_events_by_type_total READY"] == 2
        assert found["gateway_events_total 0"] >= 11
        assert found["gateway_shards ready"] == 2
        assert found["gateway_takeovers_total start"] == 2
        assert found["gateway_append_seconds_sum"] > 0
        assert found["gateway_identifies_left"] == 998
        assert found["gateway_fenced_total"] == found["gateway_sessions_lost_total"] == 0

    run(kit, 2, body)


def test_metrics_count_moves_takeovers_and_fenced_shards(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.store)
        one = await bench.start(store, member="one")
        await bench.until_owned((one, 4))
        two = await bench.start(member="two")
        await bench.until_owned((one, 2), (two, 2))
        assert _samples(two)["gateway_takeovers_total move"] == 2
        assert _samples(one)["gateway_fenced_total"] == 0

        store.cut(cut=True)
        await bench.until_owned((two, 4))
        assert _samples(two)["gateway_takeovers_total takeover"] == 2
        assert _samples(two)["gateway_fenced_total"] == 0
        store.cut(cut=False)
        await until(lambda: _samples(one)["gateway_fenced_total"] == 2)

    run(kit, 4, body)


@pytest.mark.slow
def test_metrics_count_a_lost_session(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(publish=True)
        await until(lambda: _samples(one)["gateway_sessions_lost_total"] == 1)
        await bench.until_owned((one, 1))
        await until(lambda: _samples(one)["gateway_events_by_type_total READY"] == 2)

    scenario = Scenario.from_json('[{"what": "invalidate", "on": "ready", "resumable": false}]')
    run(kit, 1, body, scenario=scenario, identify_seconds=0.1)
