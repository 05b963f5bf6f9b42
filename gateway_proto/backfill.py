"""events → the guilds that are still to come after READY: when a client's own state is whole.

READY is not the end of the beginning: it names the guilds, and GUILD_CREATE brings each.

    backfill = Backfill()
    backfill = backfill.after(event)  # for each event, in order
    if backfill.done: ...
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_proto.errors import DataError
from gateway_proto.events import Dispatch, Event, Ready

__all__ = ["Backfill"]


class _Guild(msgspec.Struct):
    id: str | int
    unavailable: bool | None = None


class _Guilds(msgspec.Struct):
    guilds: list[_Guild] = []


class Backfill(msgspec.Struct, frozen=True):
    """Which guilds of READY have not come yet; None before READY."""

    missing: frozenset[str] | None = None

    @property
    def done(self) -> bool:
        """Whether READY and all of its guilds have come, or were said to be away."""
        return self.missing is not None and not self.missing

    def after(self, event: Event) -> Backfill:
        """The backfill once `event` has happened."""
        if isinstance(event, Ready):
            guilds = _decoded(event, _Guilds())
            return Backfill(
                frozenset(str(guild.id) for guild in guilds.guilds if guild.unavailable)
            )
        if not self.missing or not isinstance(event, Dispatch):
            return self
        # A guild that has an outage is deleted as unavailable, and comes later.
        if event.name not in ("GUILD_CREATE", "GUILD_DELETE"):
            return self
        guild = _decoded(event, _Guild(""))
        return Backfill(self.missing - {str(guild.id)})


def _decoded(event: Dispatch, otherwise: Any) -> Any:
    try:
        return event.decode(type(otherwise))
    except DataError:
        return otherwise
