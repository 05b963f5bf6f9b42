"""Lease of a member: whether it may dial for a shard that it believes to own."""

from __future__ import annotations

import anyio

from gateway_fleet._coordinator import Coordinator
from gateway_proto import Dial

__all__ = ["Lease"]

_LATE_SECONDS = 0.25
"""A dial that is later than this shows that the process was stopped."""


class Lease:
    """Holds dials back until a heartbeat shows that no other member owns the shard.

    Else a process that was stopped could take a session back from the next owner.
    """

    def __init__(self, coordinator: Coordinator, interval: float) -> None:
        self._coordinator = coordinator
        self._interval = interval
        self._claimed: dict[int, float] = {}

    def claimed(self, shard_id: int, sent_at: float) -> None:
        """Allow the first dial after a claim, which is as good as a heartbeat sent then."""
        self._claimed[shard_id] = sent_at

    async def before_dial(self, shard_id: int | None, dial: Dial) -> None:
        """Wait until a dial is due and allowed.

        A heartbeat that was sent after the loss must have been answered. If the dial is late, the
        process may have been stopped since: then one that is sent from now on.
        """
        if shard_id is None:
            return
        lost_at = anyio.current_time()
        await anyio.sleep(max(0.0, dial.at - lost_at))
        now = anyio.current_time()
        claimed_at = self._claimed.pop(shard_id, None)
        if claimed_at is not None and now - claimed_at <= self._interval:
            return
        is_late = claimed_at is not None or now - max(dial.at, lost_at) > _LATE_SECONDS
        since = now if is_late else max(lost_at, dial.at - self._interval)
        await self._coordinator.until_allowed(shard_id, since)
