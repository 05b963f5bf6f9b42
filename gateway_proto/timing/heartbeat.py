"""Heartbeat schedule, zombie detection and latency.

It sends nothing: `ClientConnection` calls `on_timer` and sends the heartbeat.
"""

from __future__ import annotations

import enum
import math
from typing import Any

__all__ = [
    "EarlyHeartbeats",
    "HeartbeatAction",
    "HeartbeatScheduler",
    "ZombiePolicy",
    "parse_interval",
]

_MIN_INTERVAL = 0.01
"""Seconds. A shorter interval from a server would leave time for nothing but heartbeats."""
_MAX_INTERVAL = 86400.0
_MAX_MILLISECONDS = 2**48
"""An upper bound that a session can store; in effect no heartbeats at all."""


def parse_interval(value: Any) -> int | None:
    """Return the interval that a server sent, in whole milliseconds; None if it is unusable.

    Compatible servers send it as a fraction, or as text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not 0 < number < math.inf:
        return None
    return min(max(1, int(number)), _MAX_MILLISECONDS)


class ZombiePolicy(enum.Enum):
    """Evidence, at the time of a heartbeat, that the peer still responds."""

    ACK = "ack"
    """As documented, <https://docs.discord.com/developers/events/gateway#sending-heartbeats>;
    a false alarm if the reader has a large backlog."""
    TRAFFIC = "traffic"
    """Misses a server that still dispatches but no longer acknowledges."""
    TRAFFIC_THEN_ACK = "traffic_then_ack"
    """Any data in each interval, and an ACK in every second one."""


class EarlyHeartbeats(enum.Enum):
    """Time of the first heartbeat after a Resume; some gateways cannot handle an early one."""

    ALWAYS = "always"
    AFTER_ANSWER = "after_answer"
    AFTER_READY = "after_ready"


class HeartbeatAction(enum.Enum):
    """Result of `HeartbeatScheduler.on_timer`."""

    SEND = "send"
    """Send a heartbeat now."""
    DEFER = "defer"
    """Call `on_timer` again once heartbeats are allowed."""
    ZOMBIE = "zombie"
    """Drop the connection: the peer does not respond."""


class HeartbeatScheduler:
    """Schedule of heartbeats, and the peer's answers to the scheduled ones.

    A heartbeat that answers the server's own request changes neither the schedule nor the latency.
    """

    __slots__ = (
        "_acks",
        "_awaited_since",
        "_missed",
        "_policy",
        "deferred",
        "delay",
        "due",
        "has_traffic",
        "interval",
        "latency",
    )

    def __init__(self, *, acks: bool, policy: ZombiePolicy = ZombiePolicy.TRAFFIC_THEN_ACK) -> None:
        self._acks = acks
        self._policy = policy
        self._awaited_since: float | None = None  # time of the heartbeat that has no ACK yet
        self._missed = 0  # heartbeats that were due before that ACK
        self.interval: float = 0.0
        """Seconds."""
        self.due: float = 0.0
        """Time of the next heartbeat."""
        self.deferred: bool = False
        """Whether a heartbeat is due that may not be sent yet."""
        self.delay: float = 0.0
        """Seconds by which the last heartbeat was late; 0 for one that was deferred."""
        self.latency: float | None = None
        """Seconds from the last acknowledged heartbeat to its ACK."""
        self.has_traffic: bool = True
        """Whether data was received since the last heartbeat. The owner sets it."""

    def start(self, milliseconds: float, now: float, *, first: float) -> None:
        """Start with this interval; the first heartbeat is due after the fraction `first` of it."""
        self.interval = min(max(milliseconds / 1000, _MIN_INTERVAL), _MAX_INTERVAL)
        self.due = now + self.interval * first
        self.deferred = False
        self.latency = None
        self._awaited_since = None
        self.reset_liveness()

    def slots_needed(self, seconds: float) -> int:
        """Return how many sends to reserve in `seconds`: the heartbeats, and one on request."""
        return math.ceil(seconds / self.interval) + 1 if self.interval else 1

    def reset_liveness(self) -> None:
        """Forget missed ACKs and missing traffic.

        Call it after a time without reading, in which both say nothing about the peer.
        """
        self._missed = 0
        self.has_traffic = True

    def on_timer(self, now: float, *, is_allowed: bool, is_reading: bool) -> HeartbeatAction:
        """Return what to do when a heartbeat is due; SEND records it as sent.

        `is_reading` is False while the owner does not read, so that a missing ACK says nothing.
        """
        if not is_allowed:
            self.deferred = True
            return HeartbeatAction.DEFER
        if is_reading and self.is_zombie():
            return HeartbeatAction.ZOMBIE
        self.record_sent(now)
        return HeartbeatAction.SEND

    def is_zombie(self) -> bool:
        """Whether the peer does not respond, though the transport is open.

        Call it once for each heartbeat. By default a peer is a zombie after one interval without
        any data, or two without an ACK. A reader with a large backlog has not seen its ACK yet, but
        sees traffic; a failing server may dispatch for a while without sending ACKs.
        """
        if self._awaited_since is None:
            return False
        self._missed += 1
        match self._policy:
            case ZombiePolicy.ACK:
                return True
            case ZombiePolicy.TRAFFIC:
                return not self.has_traffic
            case _:
                return not self.has_traffic or self._missed >= 2

    def record_sent(self, now: float) -> None:
        """Record that a scheduled heartbeat was sent, and schedule the next one."""
        self.delay = 0.0 if self.deferred else now - self.due
        # A late heartbeat delays the next ones, so that they are not sent in a burst.
        self.due = now + self.interval
        self.deferred = False
        if self._acks:
            self._awaited_since = now
            self.has_traffic = False

    def record_ack(self, now: float) -> float | None:
        """Record an ACK. Return the latency in seconds, or None if no heartbeat awaited an ACK."""
        if self._awaited_since is None:
            return None
        self.latency = now - self._awaited_since
        self._awaited_since = None
        self._missed = 0
        return self.latency
