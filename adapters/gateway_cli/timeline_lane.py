"""Lane of a timeline page: states, heartbeats and queues of one client or connection."""

from __future__ import annotations

from collections import deque
from typing import Any

from gateway_proto import DialPurpose
from gateway_proto.versions import VERSIONS

__all__ = ["Lane"]

Json = dict[str, Any]


class Lane:
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
