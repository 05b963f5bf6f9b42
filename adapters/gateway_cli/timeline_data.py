"""Data of a timeline page: states, heartbeats, dispatches, queues and decisions of a trace."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway_cli.timeline_lane import Lane
from gateway_cli.words import describe_trace_event

__all__ = ["timeline_data"]

Json = dict[str, Any]
_DECISIONS = {
    "DialScheduled": "dial",
    "DialFailed": "dial failed",
    "Ready": "new session",
    "Resumed": "resumed",
    "ReconnectRequested": "reconnect",
    "SessionInvalidated": "invalidated",
    "Closed": "closed",
    "GatewayFound": "gateway found",
    "GaveUp": "gave up",
    "HeartbeatLate": "late heartbeat",
    "ClockJumped": "clock jumped",
    "CommandsDelayed": "commands delayed",
    "UrlRejected": "URL rejected",
    "MalformedPayload": "malformed",
    "RequestFailed": "request failed",
}
"""Events that have a row, and its text."""
_NAMES = 9
"""Names of dispatches that have a colour of their own."""
_BINS = 100


def timeline_data(lines: list[Json]) -> Json:
    """Return the data of the page of these lines; times are seconds from the first line."""
    times = [line["at"] for line in lines if line.get("at") is not None]
    start = min(times, default=0.0)
    end = max(times, default=0.0) - start
    kinds = {line.get("new") for line in lines}
    reader = _TraceReader(start, clients=bool(kinds & {"client", "connection"}))
    for line in lines:
        reader.read(line)
    lanes = [lane for lane in reader.lanes if lane.states]
    for lane in lanes:
        lane.end(end)
    heartbeats = [heartbeat for lane in lanes for heartbeat in lane.heartbeats]
    names = Counter(name for _, name in reader.dispatches)
    latencies = [
        heartbeat["latency"] for heartbeat in heartbeats if heartbeat["latency"] is not None
    ]
    kinds_of = Counter(row["kind"] for row in reader.decisions)
    return {
        "unix": reader.unix,
        "end": end,
        "lanes": [lane.drawn() for lane in lanes],
        "heartbeats": heartbeats,
        "dispatches": _rates(reader.dispatches, names, end),
        "decisions": reader.decisions,
        "facts": {
            "seconds": round(end, 3),
            "connections": sum(lane.opened for lane in lanes),
            "lookups": sum(lane.lookups for lane in lanes),
            "dials": kinds_of["dial"],
            "failed dials": kinds_of["dial failed"],
            "sessions": kinds_of["new session"],
            "resumes": kinds_of["resumed"],
            "closes": kinds_of["closed"],
            "dispatches": len(reader.dispatches),
            "heartbeats acknowledged": len(latencies),
            "heartbeats not acknowledged": len(heartbeats) - len(latencies),
            "median latency, ms": _median(latencies),
            "longest latency, ms": round(max(latencies), 1) if latencies else None,
            "most commands waiting": max((c for ln in lanes for _, c in ln.waiting), default=0),
        },
    }


def _median(values: list[float]) -> float | None:
    return round(sorted(values)[len(values) // 2], 1) if values else None


def _rates(dispatches: list[tuple[float, str]], names: Counter[str], end: float) -> Json:
    """Return the counts of each name in each interval; rare names share one."""
    width = max(end / _BINS, 0.001)
    for nice in (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 21600):
        if nice >= width:
            width = nice
            break
    shown = [name for name, _ in names.most_common(_NAMES)]
    bins: dict[str, Counter[int]] = {name: Counter() for name in shown}
    for at, name in dispatches:
        key = name if name in bins else "all others"
        bins.setdefault(key, Counter())[int(at / width)] += 1
    return {
        "width": width,
        "names": [
            {
                "name": name,
                "count": sum(counts.values()),
                "at": [(index + 0.5) * width for index in sorted(counts)],
                "counts": [counts[index] for index in sorted(counts)],
            }
            for name, counts in bins.items()
        ],
    }


class _TraceReader:
    """Reader of the lines of a trace, in order."""

    def __init__(self, start: float, *, clients: bool) -> None:
        self._start = start
        self._clients = clients
        self._lane_of: dict[int, Lane] = {}
        self.decisions: list[Json] = []
        self.dispatches: list[tuple[float, str]] = []
        self.unix: float | None = None
        """Unix time of the first line, if a line contains it."""

    @property
    def lanes(self) -> list[Lane]:
        """Lanes, each once, in the order of their first lines."""
        return list(dict.fromkeys(self._lane_of.values()))

    def read(self, line: Json) -> None:
        """Process one line."""
        at = max(0.0, (line.get("at") or self._start) - self._start)
        number, new = line.get("id", 0), line.get("new")
        if new in ("client", "connection"):
            lane = self._lane_of[number] = Lane(f"{new} {number}", line["config"]["version"])
            if new == "connection":
                lane.open(at, number)
        made = line.get("made")
        if made is not None:
            if number not in self._lane_of and not self._clients:
                self._lane_of[made] = Lane(f"connection {made}", None)
            elif number in self._lane_of:
                self._lane_of[made] = self._lane_of[number]
            if made in self._lane_of:
                self._lane_of[made].open(at, made)
        if line.get("call") == "check_clock" and self.unix is None:
            self.unix = line["with"]["unix"] - at
        found = self._lane_of.get(number if made is None else made)
        if found is not None:
            self._read_fields(at, found, line)

    def _read_fields(self, at: float, lane: Lane, line: Json) -> None:
        lane.purpose = (line.get("dial") or {}).get("purpose", lane.purpose)
        if "state" in line:
            lane.be(at, line["state"], line.get("waiting", 0))
        for item in line.get("sent", ()):
            if "message" in item:
                lane.send(at)
                if not self._clients and item["message"].get("t"):
                    self.dispatches.append((at, item["message"]["t"]))
        for event in line.get("events", ()):
            lane.event(at, event)
            if "d" in event and "sequence" in event:
                self.dispatches.append((at, event["name"]))
            if event["type"] in _DECISIONS:
                self._decide(at, lane, event)

    def _decide(self, at: float, lane: Lane, event: Json) -> None:
        """Add the row of an event."""
        kind, text = _DECISIONS[event["type"]], describe_trace_event(event)
        last = self.decisions[-1] if self.decisions else None
        if event["type"] == "Closed" and lane.is_lookup:
            if last is not None and last["kind"] == "gateway found":
                return  # the end of a lookup that succeeded
            kind = "lookup failed"
        row = {"at": at, "lane": lane.name, "connection": lane.connection}
        # A client's events are taken before those of the connection whose end they follow.
        before = (
            event["type"] == "Closed"
            and last is not None
            and {**row, "kind": "dial", "text": last["text"]} == last
        )
        self.decisions.insert(len(self.decisions) - before, {**row, "kind": kind, "text": text})
