"""a port → the server role, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import weakref

from gateway_asyncio import Serving, serve_gateway
from gateway_cli.show import Screen, describe
from gateway_proto import Server, ServerConfig, ServerConnection, ServerEvent

__all__ = ["serve"]


async def _tick(serving: Serving, seconds: float) -> None:
    number = 0
    while True:
        await asyncio.sleep(seconds)
        number += 1
        serving.dispatch("TICK", {"number": number})


async def serve(
    screen: Screen, config: ServerConfig, *, host: str, port: int, tick: float | None
) -> None:
    """Serve until SIGINT or SIGTERM; raises OSError where the address cannot be had."""
    numbers: weakref.WeakKeyDictionary[ServerConnection, int] = weakref.WeakKeyDictionary()
    count = itertools.count(1)

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        if connection not in numbers:
            numbers[connection] = next(count)
        screen.line(f"#{numbers[connection]}", describe(event))

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Where the platform has no handlers for a loop, Ctrl-C ends it as KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with serve_gateway(Server(config), host, port, on_event=on_event) as serving:
        screen.line("serve", f"HTTP       {serving.api_url}")
        screen.line("serve", f"WebSocket  {serving.url}")
        ticking = None if tick is None else asyncio.create_task(_tick(serving, tick))
        try:
            await stop.wait()
        finally:
            if ticking is not None:
                ticking.cancel()
    screen.line("serve", "stopped")
