"""Identify slots that all members of a fleet share, as a queue for `open_shards`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet.store import Store, StoreError
from gateway_proto import Config
from gateway_proto.fleet import IdentifySlots, SlotWrite
from gateway_proto.shards import ShardPlan
from gateway_proto.timing.identify_budget import IDENTIFIES_PER_DAY

__all__ = ["SharedSlots", "identify_slots"]

_KEY = "slots"
_RETRY_SECONDS = 0.2


class SharedSlots:
    """`SlotQueue` whose slots are granted by compare-and-set on one value of the store.

    `may_identify` is asked before a shard gets its slot. It raises `StoreError` if it does not
    know: then, and if its answer is late, the shard waits for another slot.
    """

    def __init__(
        self,
        store: Store,
        may_identify: Callable[[int], Awaitable[bool]],
        failures: StoreFailures,
    ) -> None:
        self._store = store
        self._failures = failures
        self._may_identify = may_identify
        self._granted: list[tuple[int, Callable[[float], object], float]] = []
        self._slots: IdentifySlots | None = None
        self._changed = Notifier()
        self._sent_at = 0.0  # of the last write

    def begin(self, slots: IdentifySlots) -> None:
        """Use slots whose settings the lookup named; no shard joins before."""
        self._slots = slots

    @property
    def waiting_shards(self) -> tuple[int, ...]:
        return () if self._slots is None else self._slots.waiting_shards

    @property
    def left(self) -> int | None:
        """Identifies that are left until the reset; None if that is not known."""
        return None if self._slots is None else self._slots.left

    def spent(self, now: float) -> tuple[float, str] | None:
        """Return the seconds until slots are granted again, and why; None while some are left."""
        return None if self._slots is None else self._slots.spent(now=now)

    def join(self, shard_id: int, grant: Callable[[float], object]) -> None:
        assert self._slots is not None
        self._slots.join(shard_id, lambda _: self._granted.append((shard_id, grant, self._sent_at)))
        self._changed.notify()

    def leave(self, shard_id: int) -> None:
        if self._slots is not None:
            self._slots.leave(shard_id)

    def forget(self, shard_id: int) -> None:
        if self._slots is not None:
            self._slots.forget(shard_id)

    def next_timer(self) -> float | None:
        return None  # `run` waits

    def handle_timer(self, *, now: float) -> None:
        pass

    async def run(self) -> None:
        """Take slots for the shards that wait, until cancelled."""
        slots = self._slots
        assert slots is not None
        while True:
            for write in slots.writes(now=anyio.current_time()):
                await self._write(slots, write)
            # At the same time: else those of a slow store would be late.
            async with anyio.create_task_group() as group:
                while self._granted:
                    group.start_soon(self._identify, slots, *self._granted.pop(0))
            at = slots.next_timer()
            await self._changed.wait(None if at is None else max(0.0, at - anyio.current_time()))

    async def _identify(
        self,
        slots: IdentifySlots,
        shard_id: int,
        grant: Callable[[float], object],
        sent_at: float,
    ) -> None:
        try:
            may_identify = await self._may_identify(shard_id)
            self._failures.request(shard_id, "head", None)
            if may_identify and anyio.current_time() - sent_at > slots.stale_after:
                self.join(shard_id, grant)  # another member may have the next slot by now
            elif may_identify:
                grant(anyio.current_time())
        except StoreError as error:
            self._failures.request(shard_id, "head", error)
            await anyio.sleep(_RETRY_SECONDS)
            self.join(shard_id, grant)

    async def _write(self, slots: IdentifySlots, write: SlotWrite) -> None:
        self._sent_at = anyio.current_time()
        try:
            value, revision = await self._store.compare_and_set(_KEY, write.value, write.revision)
        except StoreError as error:
            self._failures.request(None, "identify slots", error)
            slots.written(write, None, now=anyio.current_time())
            return
        self._failures.request(None, "identify slots", None)
        now = anyio.current_time()
        slots.written(write, revision if value == write.value else None, now=now)
        slots.observed(value, revision, now=now)


def identify_slots(member: str, config: Config, plan: ShardPlan) -> IdentifySlots:
    """Return the slots of a member, as the lookup named their settings."""
    slots = IdentifySlots(
        member=member,
        max_concurrency=plan.max_concurrency,
        seconds=config.version.identify_seconds,
        reserve=config.identify_reserve,
        total=IDENTIFIES_PER_DAY,
    )
    if (limit := plan.start_limit) is not None:
        now = anyio.current_time()
        slots.looked_up(limit.total, limit.remaining, limit.reset_after, now=now)
    return slots
