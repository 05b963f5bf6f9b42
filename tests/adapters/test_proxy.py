"""A proxy drops and delays connections; each event arrives once and in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import gateway_asyncio
import gateway_trio
from gateway_proto import Config, Dispatch, Ready, Resumed
from gateway_proto.server import Server, ServerConfig
from tests.adapters.proxy import Proxy

MEAN_BYTES = 12_000
CUTS = 12
SECONDS = 60
Run = Callable[[Callable[[], Awaitable[None]]], None]
RUNNERS: dict[str, tuple[Any, Run, Callable[[float], Awaitable[None]]]] = {
    "asyncio": (gateway_asyncio, lambda main: asyncio.run(main()), asyncio.sleep),
    "trio": (gateway_trio, lambda main: trio.run(main), trio.sleep),
}


@pytest.mark.parametrize("compression", ["none", "zlib-stream"])
@pytest.mark.parametrize("name", RUNNERS)
def test_drops_and_delays_at_any_byte_lose_no_dispatch(name: str, compression: str) -> None:
    adapter, run, sleep = RUNNERS[name]
    received: list[int] = []
    readies, resumes, sent = [], [], 0

    async def main() -> None:
        nonlocal sent
        async with adapter.serve_gateway(Server(ServerConfig(replay_limit=100_000))) as serving:
            with Proxy(serving.port, seed=7, mean_bytes=MEAN_BYTES) as proxy:
                config = Config(
                    token="t",
                    intents=0,
                    compression=compression,
                    gateway_url=f"ws://127.0.0.1:{proxy.port}",
                    backoff_initial=0.01,
                    backoff_max=0.05,
                    # The seed may drop many connections in a row before READY.
                    resume_attempts=10_000,
                    identify_attempts=10_000,
                )
                until = time.monotonic() + SECONDS
                async with adapter.open_gateway(config) as gateway:
                    async for event in gateway:
                        match event:
                            case Ready():
                                readies.append(event)
                            case Resumed():
                                resumes.append(event)
                            case Dispatch(name="NUMBER"):
                                received.append(event.data["n"])
                        if readies and proxy.cuts < CUTS:
                            if len(received) + 20 > sent:
                                sent += 10
                                for number in range(sent - 9, sent + 1):
                                    serving.dispatch("NUMBER", {"n": number, "text": "x" * 40})
                                await sleep(0.001)
                        else:
                            proxy.cutting = not readies
                        assert time.monotonic() < until, (proxy.cuts, len(received), sent)
                        if not proxy.cutting and len(received) >= sent:
                            break
                assert proxy.cuts >= CUTS

    run(main)

    assert received == list(range(1, sent + 1))
    assert sent > 100
    assert len(readies) == 1, "no session was lost"
    assert len(resumes) >= 5
