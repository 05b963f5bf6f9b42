"""Guilds of READY that have not arrived yet, derived from events.

READY only lists guild ids. Each guild then arrives in a GUILD_CREATE:
<https://docs.discord.com/developers/events/gateway-events#guild-create>.

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
    """Ids of guilds that READY listed and that have not arrived. None means before READY."""

    missing: frozenset[str] | None = None

    @property
    def done(self) -> bool:
        """Whether READY and all of its guilds have arrived, or were reported as unavailable."""
        return self.missing is not None and not self.missing

    def after(self, event: Event) -> Backfill:
        """Return the state after `event`."""
        if isinstance(event, Ready):
            guilds = _decoded(event, _Guilds())
            return Backfill(
                frozenset(str(guild.id) for guild in guilds.guilds if guild.unavailable)
            )
        if not self.missing or not isinstance(event, Dispatch):
            return self
        # A guild with an outage is deleted as unavailable, and arrives later:
        # https://docs.discord.com/developers/events/gateway-events#guild-delete
        if event.name not in ("GUILD_CREATE", "GUILD_DELETE"):
            return self
        guild = _decoded(event, _Guild(""))
        return Backfill(self.missing - {str(guild.id)})


def _decoded(event: Dispatch, otherwise: Any) -> Any:
    try:
        return event.decode(type(otherwise))
    except DataError:
        return otherwise
