"""Identify slots as a service that all processes of a bot share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway_proto.client.connection import ClientConnection
from gateway_proto.shards.plan import IdentifyQueue
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["IdentifyService", "ShardProcess"]


class ShardProcess(Protocol):
    """The process of one shard, as the service uses it."""

    number: int
    """The shard's id."""
    frozen: bool
    """Whether the process is frozen."""

    def clock(self) -> float:
        """Return the process's monotonic time in seconds."""
        ...

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call a function after some seconds, or when the process is no longer frozen."""
        ...


class IdentifyService:
    """An `IdentifyQueue` that outlives the processes that use it."""

    def __init__(self, scheduler: Scheduler, *, max_concurrency: int) -> None:
        self._scheduler = scheduler
        self._queue = IdentifyQueue(max_concurrency=max_concurrency)
        self._planned: float | None = None

    def needed(self, process: ShardProcess, connection: ClientConnection) -> None:
        """Grant a connection an identify slot as soon as one is free."""

        def grant(_at: float) -> None:
            if process.frozen:  # it would identify too late, in the slot of another shard
                process.after(0.0, lambda: self.needed(process, connection))
            else:
                connection.grant_identify(now=process.clock())

        self._queue.leave(process.number)
        self._queue.join(process.number, grant)
        self._grant()

    def leave(self, number: int) -> None:
        """Remove a shard whose process has ended."""
        self._queue.leave(number)

    def _grant(self) -> None:
        now = self._scheduler.now
        if self._planned is not None and self._planned <= now:
            self._planned = None
        self._queue.handle_timer(now=now)
        at = self._queue.next_timer()
        if at is not None and (self._planned is None or at < self._planned):
            self._planned = at
            self._scheduler.at(at, self._grant)
