"""beats, ACKs and traffic → is the peer alive, and how far away."""

from __future__ import annotations

import enum
import math
from typing import Any

__all__ = ["EarlyHeartbeats", "Heartbeats", "ZombiePolicy", "milliseconds"]

_SHORTEST_INTERVAL = 0.01
"""Seconds; a server that names less would have us do nothing but beat."""
_LONGEST_INTERVAL = 86400.0
_LARGEST = 2**48
"""Milliseconds: as good as no heartbeat, and can be stored."""


def milliseconds(value: Any) -> int | None:
    """Return a heartbeat interval as a server wrote it, in whole milliseconds; None: not usable.

    Compatible servers write it as a fraction, or as text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not 0 < number < math.inf:
        return None
    return min(max(1, int(number)), _LARGEST)


class ZombiePolicy(enum.Enum):
    """What proves, at the time of a heartbeat, that the peer lives."""

    ACK = "an ACK of the last heartbeat"
    """As the documentation has it; misfires where the reader is behind a large backlog."""
    TRAFFIC = "anything since the last heartbeat"
    """Misses a session that is half dead and still dispatches."""
    TRAFFIC_THEN_ACK = "anything for one interval, an ACK after two"


class EarlyHeartbeats(enum.Enum):
    """When the first heartbeat may follow a Resume; some gateways were seen to choke on it."""

    ALWAYS = "when it is due"
    AFTER_ANSWER = "when it is due, and the server has said something"
    AFTER_READY = "when it is due, and the replay is over"


class Heartbeats:
    """What is known of a peer from its answers to scheduled heartbeats.

    A beat that answers the server's own request is none of them: it moves neither the schedule nor
    the latency.
    """

    __slots__ = (
        "_acks",
        "_awaited_since",
        "_heard",
        "_missed",
        "_policy",
        "due",
        "held",
        "interval",
        "latency",
    )

    def __init__(self, *, acks: bool, policy: ZombiePolicy = ZombiePolicy.TRAFFIC_THEN_ACK) -> None:
        self._acks = acks
        self._policy = policy
        self._awaited_since: float | None = None
        self.excuse()
        self.interval: float = 0.0
        """Seconds."""
        self.due: float = 0.0
        """When the next beat is due, or the last was."""
        self.held: bool = False
        """Whether a beat is due that may not be sent yet."""
        self.latency: float | None = None
        """Seconds from the last acknowledged beat to its ACK."""

    def begin(self, milliseconds: float, now: float, *, first: float) -> None:
        """Begin anew, with this interval; the first beat is due after a part of it."""
        self.interval = min(max(milliseconds / 1000, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)
        self.due = now + self.interval * first
        self.held = False
        self.latency = None
        self._awaited_since = None
        self.excuse()

    def places(self, seconds: float) -> int:
        """How many beats, and answers to the server's request, so many seconds may need."""
        return math.ceil(seconds / self.interval) + 1 if self.interval else 1

    def excuse(self) -> None:
        """Silence up to now proves nothing: nobody listened."""
        self._missed = 0
        self._heard = True

    def heard(self) -> None:
        """Anything at all was received."""
        self._heard = True

    def is_zombie(self) -> bool:
        """At the time of a beat: whether the peer is dead, though the transport is open.

        By default it is where nothing at all came for one interval, or no ACK for two. A reader
        that is behind a large backlog has not seen its ACK yet, but sees traffic; a session that is
        half dead may still dispatch, but not for ever.
        """
        if self._awaited_since is None:
            return False
        self._missed += 1
        match self._policy:
            case ZombiePolicy.ACK:
                return True
            case ZombiePolicy.TRAFFIC:
                return not self._heard
            case _:
                return not self._heard or self._missed >= 2

    def sent(self, now: float) -> float:
        """A scheduled beat went out; returns how late, in seconds."""
        late = now - self.due
        # A late beat delays the next ones; they do not follow in a burst.
        self.due = now + self.interval
        self.held = False
        if self._acks:
            self._awaited_since = now
            self._heard = False
        return late

    def acked(self, now: float) -> float | None:
        """An ACK came: the latency in seconds; None where no beat was waiting for it."""
        if self._awaited_since is None:
            return None
        self.latency = now - self._awaited_since
        self._awaited_since = None
        self._missed = 0
        return self.latency
