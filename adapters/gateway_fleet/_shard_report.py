"""Report of one shard that is owned: its status, and what is counted of its events."""

from __future__ import annotations

from typing import Any

import anyio

from gateway_fleet._store_failures import StoreFailures
from gateway_fleet.store import StoreError
from gateway_proto import Dispatch, Event, Ready
from gateway_proto.fleet import FleetMetrics, LogRecord, ShardStatus

__all__ = ["ShardReport"]


class ShardReport:
    """Figures of a shard for operators, since this process has owned it.

    `reason` says why it was acquired. `ready_at` is when its session began, or None if that is
    unknown.
    """

    def __init__(
        self,
        shard_id: int,
        metrics: FleetMetrics,
        failures: StoreFailures,
        *,
        reason: str,
        ready_at: float | None,
    ) -> None:
        self._shard_id = shard_id
        self._metrics = metrics
        self._failures = failures
        self._reason = reason
        self._ready_at = ready_at
        self._since = anyio.current_time()

    def status(self, gateway: Any, *, pending: int, now: float) -> ShardStatus:
        """Return the status of the shard; `pending` bytes are not in the log yet."""
        state, session = gateway.state, gateway.session
        return ShardStatus(
            state="" if state is None else state.value,
            sequence=0 if session is None else session.sequence,
            pending=pending,
            latency=gateway.latency,
            session_age=None if self._ready_at is None else now - self._ready_at,
            owned_for=now - self._since,
            reason=self._reason,
        )

    def taken(self, event: Event) -> None:
        """Report an event that was taken. What is logged is counted once it is in the log."""
        if isinstance(event, Ready):
            self._ready_at = anyio.current_time()

    def received(self, event: Dispatch) -> None:
        """Count a dispatch that was handled, and is not logged."""
        self._metrics.received(self._shard_id, event.name)
        self.taken(event)

    def appended(self, record: LogRecord, seconds: float) -> None:
        """Count the events of a record that the store acknowledged after `seconds`."""
        self._metrics.received_all(self._shard_id, record.events.names)
        self._metrics.appended(seconds)
        self._failures.request(self._shard_id, "append", None)
        if record.session_lost:
            self._metrics.session_lost()

    def append_failed(self, error: StoreError) -> None:
        """Log an append that the store fails, if that lasts."""
        self._failures.request(self._shard_id, "append", error)
