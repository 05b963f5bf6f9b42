"""A computer of a simulated fleet, which runs one process after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["Host"]


class _Process(Protocol):
    def thaw(self) -> None: ...


P = TypeVar("P", bound=_Process)


class Host(Generic[P]):
    """The processes of one computer. `run` makes one, with a name that no other has."""

    def __init__(
        self,
        name: str,
        run: Callable[[str, SeededRandom], P],
        *,
        scheduler: Scheduler,
        random: SeededRandom,
    ) -> None:
        self.process: P | None = None
        """The process that runs, if any."""
        self._name = name
        self._run = run
        self._scheduler = scheduler
        self._random = random
        self._runs = 0

    def start(self) -> P:
        """Return the process that runs. If none does, start one."""
        if self.process is not None:
            return self.process
        self._runs += 1
        random = self._random.child(f"run {self._runs}")
        self.process = self._run(f"{self._name}-{self._runs}", random)
        return self.process

    def recover(self) -> None:
        """Start a process if none runs, or run a frozen one again."""
        self.start().thaw()

    def end(self, seconds: float | None = None) -> P:
        """Remove the process that runs, and start another: soon, or after some seconds."""
        process, self.process = self.process, None
        assert process is not None
        if seconds is None:
            seconds = 1.0 + 9.0 * self._random.random()
        self._scheduler.after(seconds, self.start)
        return process
