"""beats, ACKs and traffic → is the peer alive, and how far away."""

from __future__ import annotations

__all__ = ["Heartbeats"]

_SHORTEST_INTERVAL = 0.01
"""Seconds; a server that names less would have us do nothing but beat."""
_LONGEST_INTERVAL = 86400.0


class Heartbeats:
    """What is known of a peer from its answers to scheduled heartbeats.

    A beat that answers the server's own request is none of them: it moves neither the schedule nor
    the latency.
    """

    def __init__(self, *, acks: bool) -> None:
        self._acks = acks
        self._awaited_since: float | None = None
        self._missed = 0
        self._heard = True
        self.interval: float = 0.0
        """Seconds."""
        self.latency: float | None = None
        """Seconds from the last acknowledged beat to its ACK."""

    def begin(self, milliseconds: float) -> None:
        """Begin anew, with this interval."""
        self.interval = min(max(milliseconds / 1000, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)
        self._awaited_since = None
        self.excuse()

    def excuse(self) -> None:
        """Silence up to now proves nothing: nobody listened."""
        self._missed = 0
        self._heard = True

    def heard(self) -> None:
        """Anything at all was received."""
        self._heard = True

    def is_zombie(self) -> bool:
        """At the time of a beat: whether the peer is dead, though the transport is open.

        It is where nothing at all came for one interval, or no ACK for two. A reader that is
        behind a large backlog has not seen its ACK yet, but sees traffic; a session that is half
        dead may still dispatch, but not for ever.
        """
        if self._awaited_since is None:
            return False
        self._missed += 1
        return not self._heard or self._missed >= 2

    def sent(self, now: float) -> None:
        """A scheduled beat went out."""
        if self._acks:
            self._awaited_since = now
            self._heard = False

    def acked(self, now: float) -> float | None:
        """An ACK came: the latency in seconds; None where no beat was waiting for it."""
        if self._awaited_since is None:
            return None
        self.latency = now - self._awaited_since
        self._awaited_since = None
        self._missed = 0
        return self.latency
