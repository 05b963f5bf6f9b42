"""Iteration over the events of a fleet, through all its generations."""

from __future__ import annotations

from typing import Any, TypeAlias

from gateway_fleet._keeper import Keeper
from gateway_fleet._owner import ShardOwner
from gateway_proto import Event, GaveUpError
from gateway_proto.fleet import Cutover

__all__ = ["FleetIteration"]

_Item: TypeAlias = tuple[int | None, Event | Cutover]


class FleetIteration:
    """One `async for` loop over a fleet. It ends when the loop drops it."""

    __slots__ = ("_iteration", "_keeper", "_member", "_publish", "_shards", "_taken")

    def __init__(self, keeper: Keeper, *, publish: bool) -> None:
        self._keeper = keeper
        self._publish = publish
        self._taken: tuple[ShardOwner, Event] | None = None
        self._begin()

    def _begin(self) -> None:
        self._member = self._keeper.handed_out
        self._shards: Any = self._member.shards
        self._iteration = aiter(self._shards)

    def __aiter__(self) -> FleetIteration:
        return self

    async def __anext__(self) -> _Item:
        if self._taken is not None:
            (owner, event), self._taken = self._taken, None
            owner.add(event)  # it was handled
        while True:
            item: tuple[int | None, Event] | None = self._next_nowait()
            if item is None and (item := await self._wait()) is None:
                return None, Cutover()
            if item[0] is None:
                return item
            found = self._member.owners.get(item[0])
            if found is None or found.is_over:
                continue  # an event that arrived before another member took the shard over
            if self._publish:
                found.add(item[1])
                while not found.ledger.has_room and not found.is_over:
                    await found.room.wait()
            else:
                self._taken = found, item[1]
            return item

    def _next_nowait(self) -> tuple[int | None, Event] | None:
        if untaken := self._member.crossing.untaken:
            return untaken.pop(0)
        item: tuple[int | None, Event] | None = self._shards.next_nowait()
        return item

    async def _wait(self) -> tuple[int | None, Event] | None:
        """Wait for an event; None if the next generation is handed out from now on."""
        try:
            item: tuple[int | None, Event] = await anext(self._iteration)
        except (StopAsyncIteration, GaveUpError):
            if self._keeper.cross():
                self._begin()
                return None
            self._member.raise_error()
            raise
        return item
