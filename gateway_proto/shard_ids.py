"""The shard of a guild."""

from __future__ import annotations

from gateway_proto._checks import ID, POSITIVE, as_id

__all__ = ["shard_of"]


def shard_of(guild_id: str | int, count: int) -> int:
    """Return the shard that receives a guild's events: `(guild_id >> 22) % count`.

    Source: <https://docs.discord.com/developers/events/gateway>, "Sharding".
    """
    POSITIVE.named("count", count)
    ID.named("guild_id", as_id(guild_id))
    return (int(guild_id) >> 22) % count
