"""Process of a fleet whose events go to the logs; SIGTERM drains it. Run by tests of chaos.

python -m tests.adapters.fleet_owner API ENGINE NAME [asyncio | trio]
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

import anyio

from gateway_fleet import Fleet, open_fleet
from gateway_proto import Config, Dispatch
from tests.adapters.engines import open_store


def _print(what: str, **values: Any) -> None:
    print(json.dumps({"what": what, "at": time.time(), **values}), flush=True)


async def main(api: str, engine: str, name: str) -> None:
    config = Config(token="secret", intents=0, api_url=api, backoff_initial=0.1)
    store = open_store(engine, timeout=2.0)
    async with (
        open_fleet(config, store, member=name, ttl=3.0, interval=0.5, publish=True) as fleet,
        anyio.create_task_group() as group,
    ):
        group.start_soon(_drain_if_asked, fleet)
        _print("started")
        async for shard_id, event in fleet:
            if type(event) is not Dispatch:
                _print(type(event).__name__, shard=shard_id)
        group.cancel_scope.cancel()
    _print("ended")


async def _drain_if_asked(fleet: Fleet) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            await fleet.drain()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:4], backend=(sys.argv[4:] or ["asyncio"])[0])
