"""The shard of a guild."""

from __future__ import annotations

from gateway_proto._checks import POSITIVE, rejected

__all__ = ["shard_of"]


def shard_of(guild_id: str | int, count: int) -> int:
    """Return the shard that receives a guild's events: `(guild_id >> 22) % count`.

    Source: <https://docs.discord.com/developers/events/gateway>, "Sharding".
    """
    POSITIVE.named("count", count)
    try:
        return (int(guild_id) >> 22) % count
    except (TypeError, ValueError, OverflowError):
        raise rejected("guild_id", guild_id, "an id") from None
