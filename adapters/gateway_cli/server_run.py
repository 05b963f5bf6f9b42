"""Driver of the server role for `serve`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator

import attrs

from gateway_asyncio import RunningServer, serve_gateway
from gateway_cli.certificate import certificate
from gateway_cli.server_table import ServerTable
from gateway_cli.show import Screen
from gateway_cli.words import describe
from gateway_proto.server import Server, ServerConfig, ServerConnection, ServerEvent
from gateway_proto.trace import Recorder

__all__ = ["run_server"]

_REFRESH_SECONDS = 0.5


async def _tick(serving: RunningServer, seconds: float) -> None:
    number = 0
    while True:
        await asyncio.sleep(seconds)
        number += 1
        serving.dispatch("TICK", {"number": number})


async def _refresh(screen: Screen, table: ServerTable) -> None:
    """Keep the table at the bottom of the terminal up to date."""
    with screen.footer(table.table) as update:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            table.measure(asyncio.get_running_loop().time())
            update()


@contextlib.contextmanager
def _accept_errors(screen: Screen) -> Iterator[None]:
    """Show that connections cannot be accepted."""
    handler = logging.Handler()
    handler.emit = lambda record: screen.line("serve", record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("gateway_proto.accept")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def run_server(
    screen: Screen,
    config: ServerConfig,
    *,
    host: str,
    port: int,
    tick: float | None,
    tls: bool,
    recorder: Recorder | None,
) -> None:
    """Serve until it is cancelled; raises OSError if an address cannot be had."""
    if recorder is None:
        server = Server(config)
    else:
        unguessable = random.SystemRandom().random
        server = recorder.server(attrs.evolve(config, random=unguessable))
    try:
        await _serve(screen, server, host=host, port=port, tick=tick, tls=tls)
    except asyncio.CancelledError:
        screen.line("serve", "stopped")
        raise


async def _serve(
    screen: Screen, server: Server, *, host: str, port: int, tick: float | None, tls: bool
) -> None:
    config = server.config
    table = ServerTable(server)

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        table.count(connection)
        number = connection.number
        screen.event("http" if number is None else f"#{number}", event, describe(event))

    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_accept_errors(screen))
        context, ca = stack.enter_context(certificate(host)) if tls else (None, None)
        serving = await stack.enter_async_context(
            serve_gateway(server, host, port, ssl_context=context, on_event=on_event)
        )
        screen.line("serve", f"HTTP       {serving.api_url}")
        screen.line("serve", f"WebSocket  {serving.url}")
        if ca is not None:
            screen.line("serve", f"trust      {ca}")
        if config.control is not None:
            base = serving.api_url.removesuffix("/api")
            screen.line("serve", f"control    {base}{config.control}")
        tasks = []
        if screen.has_footer:
            tasks.append(asyncio.create_task(_refresh(screen, table)))
        if tick is not None:
            tasks.append(asyncio.create_task(_tick(serving, tick)))
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
