"""Client: this project's asyncio adapter, as an application uses it."""

from __future__ import annotations

import asyncio

import msgspec

from benchmarks.clients.stopwatch import Stopwatch
from gateway_asyncio import open_gateway
from gateway_proto import Config, Dispatch, Ready


class Author(msgspec.Struct):
    """Author of a message."""

    id: str
    username: str = ""


class Fields(msgspec.Struct):
    """Fields that a bot that answers messages reads."""

    id: str | None = None
    guild_id: str | None = None
    channel_id: str | None = None
    content: str = ""
    author: Author | None = None


async def main() -> None:
    """`async for`; `event.data`, of all or each second event, or a few fields of it by a type."""
    watch = Stopwatch()
    url = f"ws://127.0.0.1:{watch.port}"
    config = Config(token="t", intents=513, gateway_url=url, compression=watch.compression)
    count, total, data, half, typed = 0, watch.total, watch.data, watch.half, watch.typed
    async with open_gateway(config) as gateway:
        async for event in gateway:
            if type(event) is Dispatch:
                if (data or (half and count & 1)) and event.data is None:
                    raise SystemExit("a dispatch without data")
                if typed and event.decode(Fields) is None:
                    raise SystemExit("a dispatch without fields")
                count += 1
                if count == total:
                    watch.stop(count, event.sequence)
            elif type(event) is Ready:
                watch.start()


asyncio.run(main())
