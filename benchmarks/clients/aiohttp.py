"""Client: aiohttp's WebSocket and orjson, and no gateway library at all."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson

from benchmarks.baseline import decompressor
from benchmarks.clients.stopwatch import IDENTIFY, Stopwatch


async def main() -> None:
    """Receive, decompress, decode and count."""
    watch = Stopwatch()
    decompress = decompressor(watch.compression)
    count, total = 0, watch.total
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(watch.url, max_msg_size=0, decode_text=False) as socket,
    ):
        while True:
            data = (await socket.receive()).data
            payload = orjson.loads(data if decompress is None else decompress(data))
            name = payload["t"]
            if name is None:
                await socket.send_str(IDENTIFY.decode())
            elif name == "READY":
                watch.start()
            else:
                count += 1
                if count == total:
                    watch.stop(count, payload["s"])


asyncio.run(main())
