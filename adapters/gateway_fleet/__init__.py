"""Shards of one bot over several processes and machines, on asyncio and trio (extra `fleet`).

`RedisStore` needs the extra `redis`, `NatsStore` (asyncio alone) the extra `nats`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import anyio as _anyio
except ModuleNotFoundError as _error:
    if _error.name != "anyio":
        raise
    raise ModuleNotFoundError(
        "gateway_fleet needs anyio: install gateway-proto[fleet]", name="anyio"
    ) from None

from gateway_fleet._generation import find_fleet
from gateway_fleet._reshard import cancel_reshard, reshard
from gateway_fleet.commands import Commands, open_commands
from gateway_fleet.feed import Feed, open_feed
from gateway_fleet.fleet import Fleet, open_fleet
from gateway_fleet.memory import MemoryStore
from gateway_fleet.store import FeedStore, Store, StoreError
from gateway_proto.fleet import CommandError

if TYPE_CHECKING:
    from gateway_fleet.nats import NatsStore
    from gateway_fleet.redis import RedisStore

__all__ = [
    "CommandError",
    "Commands",
    "Feed",
    "FeedStore",
    "Fleet",
    "MemoryStore",
    "NatsStore",
    "RedisStore",
    "Store",
    "StoreError",
    "cancel_reshard",
    "find_fleet",
    "open_commands",
    "open_feed",
    "open_fleet",
    "reshard",
]

del _anyio


def __getattr__(name: str) -> Any:
    if name == "RedisStore":
        from gateway_fleet.redis import RedisStore

        return RedisStore
    if name == "NatsStore":
        from gateway_fleet.nats import NatsStore

        return NatsStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
