"""Data of a timeline page: states, heartbeats, dispatches, queues and decisions of a trace."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from gateway_cli.words import describe_trace_event
from gateway_proto import DialPurpose
from gateway_proto.versions import VERSIONS

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


class _Lane:
    """History of one client, or of one connection without a client."""

    def __init__(self, name: str, version: int | None) -> None:
        self.name = name
        self.opened = 0
        self.lookups = 0
        self.connection = 0
        self.is_lookup = False
        self.purpose: str | None = None
        """Purpose of the next dial."""
        self.states: list[Json] = []
        self.heartbeats: list[Json] = []
        self.waiting: list[tuple[float, int]] = []
        self._capacity: list[tuple[float, int]] = []
        self._sent: deque[float] = deque()
        self._unanswered: list[float] = []
        protocol = None if version is None else VERSIONS[version]
        self._limit, self._seconds = (0, 0.0) if protocol is None else protocol.send_limit
        self._acks = protocol is not None and protocol.acks_heartbeats

    def open(self, at: float, connection: int) -> None:
        """Record an open transport, which has its own rate limit."""
        self.is_lookup = self.purpose == DialPurpose.LOOKUP.value
        self.lookups += self.is_lookup
        self.opened += not self.is_lookup
        self.connection = connection
        self._age(at)
        self._sent.clear()
        self._capacity.append((at, self._limit))

    def be(self, at: float, state: str, waiting: int) -> None:
        """Record the state of the present connection and the number of waiting commands."""
        if (self.waiting[-1][1] if self.waiting else 0) != waiting:
            self.waiting.append((at, waiting))
        last = self.states[-1] if self.states else None
        if last is not None and last["end"] is None:
            if (last["state"], last["connection"]) == (state, self.connection):
                return
            last["end"] = at
        if state != "closed":
            now = {"start": at, "end": None, "state": state, "connection": self.connection}
            self.states.append(now)

    def send(self, at: float) -> None:
        """Record a sent message."""
        self._age(at)
        self._sent.append(at)
        self._capacity.append((at, self._limit - len(self._sent)))

    def event(self, at: float, event: Json) -> None:
        """Record an event about heartbeats, or the end of the connection."""
        kind = event["type"]
        if kind == "HeartbeatSent":
            self._unanswered.append(at)
        elif kind == "HeartbeatAcked":
            self._unanswered.clear()
            if event["latency"] is not None:
                self._heartbeat(at, event["latency"] * 1000)
        elif kind == "Closed":
            for sent in self._unanswered if self._acks else ():
                self._heartbeat(sent, None)
            self._unanswered.clear()

    def end(self, at: float) -> None:
        """Record the end of the trace."""
        self._age(at)
        if self.states[-1]["end"] is None:
            self.states[-1]["end"] = at
        for points in (self._capacity, self.waiting):
            points.append((at, points[-1][1] if points else 0))

    def drawn(self) -> Json:
        """Return the data of this lane for the page."""
        capacity = self._capacity if self._limit else []
        return {
            "name": self.name,
            "states": self.states,
            "waiting": self.waiting,
            "capacity": capacity,
        }

    def _heartbeat(self, at: float, latency: float | None) -> None:
        self.heartbeats.append(
            {"at": at, "latency": latency, "lane": self.name, "connection": self.connection}
        )

    def _age(self, at: float) -> None:
        while self._sent and self._sent[0] + self._seconds <= at:
            free_at = self._sent.popleft() + self._seconds
            self._capacity.append((free_at, self._limit - len(self._sent)))


class _TraceReader:
    """Reader of the lines of a trace, in order."""

    def __init__(self, start: float, *, clients: bool) -> None:
        self._start = start
        self._clients = clients
        self._lane_of: dict[int, _Lane] = {}
        self.decisions: list[Json] = []
        self.dispatches: list[tuple[float, str]] = []
        self.unix: float | None = None
        """Unix time of the first line, if a line contains it."""

    @property
    def lanes(self) -> list[_Lane]:
        """Lanes, each once, in the order of their first lines."""
        return list(dict.fromkeys(self._lane_of.values()))

    def read(self, line: Json) -> None:
        """Process one line."""
        at = max(0.0, (line.get("at") or self._start) - self._start)
        number, new = line.get("id", 0), line.get("new")
        if new in ("client", "connection"):
            lane = self._lane_of[number] = _Lane(f"{new} {number}", line["config"]["version"])
            if new == "connection":
                lane.open(at, number)
        made = line.get("made")
        if made is not None:
            if number not in self._lane_of and not self._clients:
                self._lane_of[made] = _Lane(f"connection {made}", None)
            elif number in self._lane_of:
                self._lane_of[made] = self._lane_of[number]
            if made in self._lane_of:
                self._lane_of[made].open(at, made)
        if line.get("call") == "check_clock" and self.unix is None:
            self.unix = line["with"]["unix"] - at
        found = self._lane_of.get(number if made is None else made)
        if found is not None:
            self._read_fields(at, found, line)

    def _read_fields(self, at: float, lane: _Lane, line: Json) -> None:
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

    def _decide(self, at: float, lane: _Lane, event: Json) -> None:
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
