"""Client: hikari's shard, its raw event path alone.

Its event manager is replaced by one that counts what `consume_raw_event` is given: the shard has
decoded the whole payload by then (with orjson), and hikari has made no object of it yet.
"""

from __future__ import annotations

import asyncio
from typing import Any

import hikari
from hikari.api.shard import GatewayCompression
from hikari.impl.config import HTTPSettings, ProxySettings
from hikari.impl.shard import GatewayShardImpl

from benchmarks.clients.stopwatch import Stopwatch

_COMPRESSIONS = {
    "none": None,
    "zlib-stream": GatewayCompression.TRANSPORT_ZLIB_STREAM,
    "zstd-stream": GatewayCompression.TRANSPORT_ZSTD_STREAM,
}


class Counter:
    """In place of the event manager, and of the factory of its events."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self._count = 0

    def consume_raw_event(self, name: str, shard: Any, payload: Any) -> None:
        """A dispatch."""
        if name == "READY":
            self._watch.start()
            return
        self._count += 1
        if self._count == self._watch.total:
            self._watch.stop(self._count, shard._seq)

    async def dispatch(self, event: Any, **_: Any) -> None:
        """An event of hikari's own."""

    def deserialize_connected_event(self, shard: Any) -> None:
        """Event of a connected shard."""


async def main() -> None:
    """One shard, until it has counted all."""
    watch = Stopwatch()
    counter: Any = Counter(watch)
    shard = GatewayShardImpl(
        compression=_COMPRESSIONS[watch.compression],
        intents=hikari.Intents.ALL,
        http_settings=HTTPSettings(),
        proxy_settings=ProxySettings(),
        event_manager=counter,
        event_factory=counter,
        token="t",
        url=f"ws://127.0.0.1:{watch.port}",
    )
    await shard.start()
    await shard.join()


asyncio.run(main())
