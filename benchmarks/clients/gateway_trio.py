"""Client: this project's trio adapter, as an application uses it."""

from __future__ import annotations

import trio

from benchmarks.clients.stopwatch import Stopwatch
from gateway_proto import Config, Dispatch, Ready
from gateway_trio import open_gateway


async def main() -> None:
    """`async for`, and `event.data` where it is asked for."""
    watch = Stopwatch()
    url = f"ws://127.0.0.1:{watch.port}"
    config = Config(token="t", intents=513, gateway_url=url, compression=watch.compression)
    count, total, data = 0, watch.total, watch.data
    async with open_gateway(config) as gateway:
        async for event in gateway:
            if type(event) is Dispatch:
                if data and event.data is None:
                    raise SystemExit("a dispatch without data")
                count += 1
                if count == total:
                    watch.stop(count, event.sequence)
            elif type(event) is Ready:
                watch.start()


trio.run(main)
