"""Change of a fleet to another number of shards, as the members' records in the store show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway_cli.fleet_view import FleetView, read_members

if TYPE_CHECKING:
    from gateway_fleet import Store

__all__ = ["FleetChange", "read_change"]


@attrs.frozen
class FleetChange:
    """The generation that is announced, and how far its shards are."""

    generation: str
    count: int
    phase: str
    ready: int
    """Shards whose connections are READY."""

    @property
    def text(self) -> str:
        """The change in one line."""
        return f"change to {self.count} shards: {self.ready} of them ready, {self.phase}"


async def read_change(store: Store, bot: str) -> FleetChange | None:
    """Return the change that is under way, or None. Raises `StoreError`."""
    from gateway_fleet._generation import read_generations

    scope = store.scoped(bot)
    generations, _ = await read_generations(scope)
    if generations is None or generations.next is None:
        return None
    view = FleetView(bot, generations.next, 0.0)
    view.observe(await read_members(scope.scoped(generations.next.id)), now=0.0)
    return FleetChange(
        generations.next.id,
        generations.next.count,
        generations.phase.value,
        sum(row.status.state == "ready" for row in view.shards()),
    )
