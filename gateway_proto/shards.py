"""guild id → shard; shard → identify key."""

from __future__ import annotations

__all__ = ["identify_key", "shard_of"]


def shard_of(guild_id: str | int, count: int) -> int:
    """The shard that receives a guild's events: `(guild_id >> 22) % count`."""
    return (int(guild_id) >> 22) % count


def identify_key(shard_id: int, max_concurrency: int) -> int:
    """Shards with the same key take turns to identify: `shard_id % max_concurrency`."""
    return shard_id % max_concurrency
