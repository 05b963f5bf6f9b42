"""Identify slots of a process: what connects `IdentifySlots` with the store and the lookup."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.fleet import IdentifySlots, SlotWrite
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.store import StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.timing.rate_limit import SECONDS_PER_DAY

__all__ = ["SlotsDriver"]

_KEY = "slots"
_TICK = 1e-6
"""Seconds by which two clocks may differ because of rounding."""
_LOOKUP_INTERVAL = 30.0
"""Seconds from one lookup to the next."""


class SlotsDriver:
    """The identify slots of one process. `identifies` counts those of all machines."""

    def __init__(
        self,
        process: SimulatedProcess,
        member: str,
        store: StoreClient,
        config: FleetSimulationConfig,
        identifies: Callable[[], int],
    ) -> None:
        self.slots: IdentifySlots = IdentifySlots(
            member=member,
            max_concurrency=config.max_concurrency,
            reserve=config.identify_reserve,
        )
        """The state machine."""
        self._process = process
        self._store = store
        self._config = config
        self._identifies = identifies
        self._timer: float | None = None
        self._is_stopped = False
        self._look_up()

    def stop(self) -> None:
        """Send nothing more."""
        self._is_stopped = True

    def join(self, shard: int, grant: Callable[[float], bool]) -> None:
        """Queue a shard for a slot."""
        self.slots.join(shard, grant)
        # Not at once: a slot may be asked for while another one is granted.
        self._process.after(0.0, self._step)

    def leave(self, shard: int) -> None:
        """Remove a shard that no longer needs a slot."""
        self.slots.leave(shard)

    def _look_up(self) -> None:
        if self._is_stopped:
            return
        total, now = self._config.identify_budget, self._process.clock()
        reset_after = int(SECONDS_PER_DAY * 1000)
        self.slots.looked_up(total, max(0, total - self._identifies()), reset_after, now=now)
        self._process.after(_LOOKUP_INTERVAL, self._look_up)
        self._step()

    def _step(self) -> None:
        """Send the request that is due, and set the timer."""
        if self._is_stopped:
            return
        now, at = self._process.clock(), self.slots.next_timer()
        if at is not None and at <= now + _TICK:
            for write in self.slots.writes(now=max(now, at)):
                self._send(write)
            at = self.slots.next_timer()
        if at is None:
            return
        if self._timer is None or at < self._timer:
            self._timer = at
            self._process.at(at + self._process.clock_lag, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._step()

    def _send(self, write: SlotWrite) -> None:
        def done(answer: tuple[bytes | None, int]) -> None:
            (value, revision), now = answer, self._process.clock()
            self.slots.written(write, revision if value == write.value else None, now=now)
            self.slots.observed(value, revision, now=now)
            self._step()

        def failed() -> None:
            self.slots.written(write, None, now=self._process.clock())
            self._step()

        self._store.compare_and_set(_KEY, write.value, write.revision, done, failed)
