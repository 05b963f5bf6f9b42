"""Metrics of one member: counts → OpenMetrics text.

The format is that of <https://prometheus.io/docs/specs/om/open_metrics_spec/>, which Prometheus and
the receiver of OpenTelemetry read. Labels are bounded: the names of events come from the network.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from gateway_proto._checks import rejected
from gateway_proto.fleet.member_record import ShardStatus

__all__ = ["FleetMetrics"]

_MAX_LABELS = 300
"""Maximum number of values of one label; further ones count as "other"."""
_MAX_LABEL_LENGTH = 100
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of the histogram, in seconds."""
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_Sample = tuple[str, Mapping[str, str], float]


class FleetMetrics:
    """Counts of one member since its start. Report each occurrence as it happens."""

    content_type: ClassVar[str] = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    """Content type of `text`, for the response to a scrape."""

    def __init__(self) -> None:
        self._events: Counter[int] = Counter()
        self._types: Counter[str] = Counter()
        self._takeovers: Counter[str] = Counter()
        self._appends = [0] * (len(_BUCKETS) + 1)
        self._append_seconds = 0.0
        self._fenced = 0
        self._sessions_lost = 0

    def received(self, shard: int, name: str) -> None:
        """Count a dispatch of a shard that was handled, or is in its log."""
        self._events[shard] += 1
        self._types[_bounded(self._types, name)] += 1

    def received_all(self, shard: int, names: Sequence[str]) -> None:
        """Count dispatches of a shard, as `received` does for each."""
        self._events[shard] += len(names)
        for name, count in Counter(names).items():
            self._types[_bounded(self._types, name)] += count

    def appended(self, seconds: float) -> None:
        """Count an acknowledged append, and the seconds that it took.

        Raises `LocalProtocolError` for a negative or infinite time.
        """
        if not 0 <= seconds < math.inf:
            raise rejected("seconds", seconds, "0 seconds or more")
        self._appends[bisect_left(_BUCKETS, seconds)] += 1
        self._append_seconds += seconds

    def acquired(self, why: str) -> None:
        """Count a shard that was acquired, and why: a start, a planned move, a dead owner."""
        self._takeovers[_bounded(self._takeovers, why)] += 1

    def fenced(self) -> None:
        """Count a shard that was lost to another member."""
        self._fenced += 1

    def session_lost(self) -> None:
        """Count a session that ended with its events not replayed."""
        self._sessions_lost += 1

    def text(self, shards: Mapping[int, ShardStatus], *, identifies_left: int | None = None) -> str:
        """Return all metrics as OpenMetrics text, with the status of the owned shards.

        `identifies_left` is that of `IdentifySlots.left`.
        """
        states = Counter(status.state for status in shards.values())
        latencies = {
            shard: status.latency for shard, status in shards.items() if status.latency is not None
        }
        lines = [
            *_family(
                "gateway_shards",
                "gauge",
                "Owned shards by the state of their connection.",
                _labelled("", "state", states),
            ),
            *_family(
                "gateway_events",
                "counter",
                "Dispatches that were handled or logged, by shard.",
                _labelled("_total", "shard", self._events),
            ),
            # Apart from the shards: the product of both is too large for Prometheus.
            *_family(
                "gateway_events_by_type",
                "counter",
                "Dispatches that were handled or logged, by the name of the event.",
                _labelled("_total", "type", self._types),
            ),
            *_family(
                "gateway_pending_bytes",
                "gauge",
                "Events that wait for the store.",
                [("", {}, sum(status.pending for status in shards.values()))],
            ),
            *_family(
                "gateway_append_seconds",
                "histogram",
                "Time of an append to the log of a shard.",
                self._histogram(),
            ),
            *_family(
                "gateway_fenced",
                "counter",
                "Shards lost to another member.",
                [("_total", {}, self._fenced)],
            ),
            *_family(
                "gateway_takeovers",
                "counter",
                "Shards acquired, by reason.",
                _labelled("_total", "why", self._takeovers),
            ),
            *_family(
                "gateway_sessions_lost",
                "counter",
                "Sessions that could not be resumed.",
                [("_total", {}, self._sessions_lost)],
            ),
            *_family(
                "gateway_identifies_left",
                "gauge",
                "Identifies that the token may still send until the reset.",
                [] if identifies_left is None else [("", {}, identifies_left)],
            ),
            *_family(
                "gateway_heartbeat_latency_seconds",
                "gauge",
                "Time from a heartbeat of the gateway to its acknowledgement, by shard.",
                _labelled("", "shard", latencies),
            ),
            "# EOF\n",
        ]
        return "\n".join(lines)

    def _histogram(self) -> Iterator[_Sample]:
        count = 0
        for bound, appends in zip((*_BUCKETS, math.inf), self._appends, strict=True):
            count += appends
            yield "_bucket", {"le": "+Inf" if bound == math.inf else str(bound)}, count
        yield "_sum", {}, self._append_seconds
        yield "_count", {}, count


def _bounded(counts: Counter[str], label: str) -> str:
    """Return a label, or "other" if there are too many already."""
    label = label[:_MAX_LABEL_LENGTH]
    return label if label in counts or len(counts) < _MAX_LABELS else "other"


def _labelled(
    suffix: str, label: str, values: Mapping[int, float] | Mapping[str, float]
) -> Iterator[_Sample]:
    for key, value in sorted(values.items()):
        yield suffix, {label: str(key)}, value


def _family(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for unit in ("bytes", "seconds"):
        if name.endswith(f"_{unit}"):
            yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"
    for suffix, labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{suffix}{f'{{{shown}}}' if shown else ''} {value}"


def _escaped(text: str) -> str:
    """Return the value of a label as OpenMetrics writes it, without lone surrogates."""
    return text.encode("utf-8", "replace").decode().translate(_ESCAPES)
