"""Metrics of a member, as OpenMetrics text that Prometheus reads."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import FleetMetrics, ShardStatus

SHARDS = {
    0: ShardStatus("ready", pending=100, latency=0.25),
    1: ShardStatus("ready", pending=20),
    2: ShardStatus("resuming", latency=0.5),
}


def filled() -> FleetMetrics:
    metrics = FleetMetrics()
    for shard, name in ((0, "READY"), (0, "MESSAGE_CREATE"), (1, "MESSAGE_CREATE")):
        metrics.received(shard, name)
    for seconds in (0.0005, 0.001, 0.0011, 4, 60.0):
        metrics.appended(seconds)
    metrics.acquired("start")
    metrics.acquired("start")
    metrics.acquired("b is dead")
    metrics.fenced()
    metrics.session_lost()
    return metrics


def test_events_are_counted_at_once_as_if_one_by_one() -> None:
    one_by_one, at_once = FleetMetrics(), FleetMetrics()
    known, new, long = ["A", "B", "A"], ["A", "C"], ["A", "x" * 101, "x" * 102]
    for names in (known, known, new, long, [f"N{n}" for n in range(310)], ["N309", "A"], []):
        for name in names:
            one_by_one.received(3, name)
        at_once.received_all(3, names)

    assert at_once.text({}) == one_by_one.text({})


def test_text_has_each_metric_with_its_labels() -> None:
    lines = filled().text(SHARDS, identifies_left=900).splitlines()

    assert [line for line in lines if line[0] != "#" and "append" not in line] == [
        'gateway_shards{state="ready"} 2',
        'gateway_shards{state="resuming"} 1',
        'gateway_events_total{shard="0"} 2',
        'gateway_events_total{shard="1"} 1',
        'gateway_events_by_type_total{type="MESSAGE_CREATE"} 2',
        'gateway_events_by_type_total{type="READY"} 1',
        "gateway_pending_bytes 120",
        "gateway_fenced_total 1",
        'gateway_takeovers_total{why="b is dead"} 1',
        'gateway_takeovers_total{why="start"} 2',
        "gateway_sessions_lost_total 1",
        "gateway_identifies_left 900",
        'gateway_heartbeat_latency_seconds{shard="0"} 0.25',
        'gateway_heartbeat_latency_seconds{shard="2"} 0.5',
    ]
    assert lines[-1] == "# EOF"


def test_content_type_is_that_of_openmetrics() -> None:
    """<https://prometheus.io/docs/specs/om/open_metrics_spec/>, "Protocol Negotiation"."""
    name, *parameters = FleetMetrics.content_type.split("; ")

    assert name == "application/openmetrics-text"
    assert parameters == ["version=1.0.0", "charset=utf-8"]


def test_buckets_of_the_histogram_are_cumulative() -> None:
    lines = filled().text(SHARDS).splitlines()
    append = [line.removeprefix("gateway_append_seconds_") for line in lines if "_seconds_" in line]

    assert append[:2] == ['bucket{le="0.001"} 2', 'bucket{le="0.0025"} 3']
    assert append[-5:] == [
        'bucket{le="5.0"} 4',
        'bucket{le="10.0"} 4',
        'bucket{le="+Inf"} 5',
        "sum 64.0026",
        "count 5",
    ]


def test_identifies_left_is_omitted_without_a_limit() -> None:
    assert "\ngateway_identifies_left" not in filled().text(SHARDS)


def test_names_of_events_are_bounded() -> None:
    metrics = FleetMetrics()
    for number in range(1000):
        metrics.received(0, f"NAME_{number}" + "x" * 1000)

    lines = metrics.text({}).splitlines()
    types = [line for line in lines if line.startswith("gateway_events_by_type_total")]

    assert len(types) == 301
    metrics.received(0, "NAME_5" + "x" * 2000)
    assert f'type="NAME_5{"x" * 94}"}} 2' in metrics.text({})
    assert 'gateway_events_by_type_total{type="other"} 700' in types
    assert max(map(len, lines)) < 200


@pytest.mark.parametrize("seconds", [-0.1, math.nan, math.inf])
def test_append_without_a_time_raises(seconds: float) -> None:
    metrics = FleetMetrics()

    with pytest.raises(LocalProtocolError, match="invalid seconds"):
        metrics.appended(seconds)

    assert "gateway_append_seconds_count 0" in metrics.text({})


HOSTILE = 'a"b\\c\nd} 5\n# EOF'


def test_hostile_names_are_escaped() -> None:
    metrics = FleetMetrics()
    metrics.received(0, HOSTILE)
    metrics.received(0, "\ud800")

    text = metrics.text({})

    assert text.count("\n# EOF") == 1
    assert '{type="a\\"b\\\\c\\nd} 5\\n# EOF"} 1\n' in text
    assert '{type="?"} 1\n' in text


def test_prometheus_reads_the_text() -> None:
    parser: Any = pytest.importorskip(
        "prometheus_client.openmetrics.parser", reason="prometheus-client is not installed"
    )
    metrics = filled()
    metrics.received(1, HOSTILE)

    text = metrics.text(SHARDS, identifies_left=900)
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}

    assert {name: family.type for name, family in families.items()} == {
        "gateway_shards": "gauge",
        "gateway_events": "counter",
        "gateway_events_by_type": "counter",
        "gateway_pending_bytes": "gauge",
        "gateway_append_seconds": "histogram",
        "gateway_fenced": "counter",
        "gateway_takeovers": "counter",
        "gateway_sessions_lost": "counter",
        "gateway_identifies_left": "gauge",
        "gateway_heartbeat_latency_seconds": "gauge",
    }
    types = {
        sample.labels["type"]: sample.value for sample in families["gateway_events_by_type"].samples
    }
    assert types == {"READY": 1, "MESSAGE_CREATE": 2, HOSTILE: 1}
    assert families["gateway_append_seconds"].unit == "seconds"


def test_prometheus_reads_the_text_of_a_new_member() -> None:
    parser: Any = pytest.importorskip(
        "prometheus_client.openmetrics.parser", reason="prometheus-client is not installed"
    )

    families = list(parser.text_string_to_metric_families(FleetMetrics().text({})))

    assert len(families) == 10
