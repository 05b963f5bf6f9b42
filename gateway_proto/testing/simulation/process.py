"""A simulated process: its clocks, and its planned calls, which wait while it is frozen."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["SimulatedProcess"]

_UNIX = 1_700_000_000.0
"""Unix time at the start of the simulation."""


class SimulatedProcess:
    """The clocks and the planned calls of a process that may be frozen."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler: Scheduler = scheduler
        self.clock_lag: float = 0.0
        """Seconds for which its monotonic clock stood still."""
        self.unix_skew: float = 0.0
        """Seconds by which its unix time is wrong."""
        self.frozen: bool = False
        """Whether the process is frozen."""
        self.alive: bool = False
        """Whether the process runs."""
        self.run_number: int = 0
        """The number of starts."""
        self._deferred: list[Callable[[], None]] = []

    def clock(self) -> float:
        """Return the process's monotonic time in seconds."""
        return self.scheduler.now - self.clock_lag

    def unix(self) -> float:
        """Return the unix time of its system."""
        return _UNIX + self.scheduler.now + self.unix_skew

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Call a function at a time of the simulation, if this run of the process lasts.

        While the process is frozen the call is deferred.
        """
        number = self.run_number

        def run() -> None:
            if self.run_number != number or not self.alive:
                return
            if self.frozen:
                self._deferred.append(run)
            else:
                do()

        self.scheduler.at(time, run)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call a function after some seconds, as `at` does."""
        self.at(self.scheduler.now + seconds, do)

    def run_deferred(self) -> None:
        """Make the calls that were due while the process was frozen, in order."""
        deferred, self._deferred = self._deferred, []
        for run in deferred:
            run()
