"""Exponential backoff with full jitter."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff", "DialBackoffs"]

_LOSS_FACTOR = 1.3
"""Growth of the delays after lost connections. With 2, the wait after a minute is half a minute."""


class Backoff:
    """Wait before the next dial: random, up to a limit that grows by a factor with each failure.

    The owner decides when to reset it. It keeps a client from redialling a server that accepts and
    then drops every connection in a tight loop; a returned server should be dialled soon.
    """

    __slots__ = ("_factor", "_initial", "_maximum", "_random", "failures")

    def __init__(
        self,
        *,
        initial: float,
        maximum: float,
        random: Callable[[], float],
        factor: float = 2.0,
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._factor = factor
        self._random = random
        self.failures: int = 0
        """Failures since the start, or since the last `reset`."""

    def record_loss(self) -> None:
        """Record a failure."""
        self.failures += 1

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0

    def delay(self) -> float:
        """Return the seconds to wait after the last failure."""
        steps = min(max(self.failures - 1, 0), 64)
        return self._random() * min(self._maximum, self._initial * self._factor**steps)


class DialBackoffs:
    """Backoffs of the dials of a client, by what failed.

    One is for outages and ends with HELLO. A gateway that opens connections and loses them recovers
    only with a READY that lasts, which ends the other two. Identifies are counted per day, so only
    the losses of connections that sent one wait up to `maximum`; all else waits up to
    `outage_maximum`.
    """

    __slots__ = ("_identified", "_resumed", "outage")

    def __init__(
        self,
        *,
        initial: float,
        maximum: float,
        outage_maximum: float,
        random: Callable[[], float],
    ) -> None:
        short = min(outage_maximum, maximum)
        self.outage: Backoff = Backoff(initial=initial, maximum=short, random=random)
        """Backoff of dials that do not reach HELLO."""
        self._resumed = Backoff(initial=initial, maximum=short, random=random, factor=_LOSS_FACTOR)
        self._identified = Backoff(
            initial=initial, maximum=maximum, random=random, factor=_LOSS_FACTOR
        )

    @property
    def losses(self) -> int:
        """Connections lost after HELLO since the last `end_losses`."""
        return self._resumed.failures + self._identified.failures

    def after(self, *, reached: bool, identified: bool) -> Backoff:
        """Return the backoff after a connection, by whether it had HELLO and sent Identify."""
        if not reached:
            return self.outage
        return self._identified if identified else self._resumed

    def end_losses(self) -> None:
        """Forget all lost connections: READY lasted."""
        self._resumed.reset()
        self._identified.reset()
