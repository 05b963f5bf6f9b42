"""Process of a fleet whose events go to the logs; SIGTERM drains it. Run by tests of chaos."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

from gateway_fleet import open_fleet
from gateway_proto import Config, Dispatch
from tests.adapters.engines import open_store


def _print(what: str, **values: Any) -> None:
    print(json.dumps({"what": what, "at": time.time(), **values}), flush=True)


async def main(api: str, engine: str, name: str) -> None:
    config = Config(token="secret", intents=0, api_url=api, backoff_initial=0.1)
    store = open_store(engine, timeout=2.0)
    async with open_fleet(config, store, member=name, ttl=3.0, interval=0.5, publish=True) as fleet:
        loop = asyncio.get_running_loop()
        draining: list[asyncio.Task[None]] = []
        loop.add_signal_handler(
            signal.SIGTERM, lambda: draining.append(loop.create_task(fleet.drain()))
        )
        _print("started")
        async for shard_id, event in fleet:
            if type(event) is not Dispatch:
                _print(type(event).__name__, shard=shard_id)
    _print("ended")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
