"""a port → the server role, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import random
import signal
import ssl
import tempfile
from collections.abc import Iterator

import attrs
import trustme

from gateway_asyncio import Serving, serve_gateway
from gateway_cli.board import Board
from gateway_cli.recording import recording
from gateway_cli.show import Screen, describe
from gateway_proto import Server, ServerConfig, ServerConnection, ServerEvent

__all__ = ["serve"]

_REFRESH_SECONDS = 0.5


async def _tick(serving: Serving, seconds: float) -> None:
    number = 0
    while True:
        await asyncio.sleep(seconds)
        number += 1
        serving.dispatch("TICK", {"number": number})


async def _refresh(screen: Screen, board: Board) -> None:
    """Keep the table at the foot of the terminal up to date."""
    with screen.foot(board.table) as update:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            board.measure(asyncio.get_running_loop().time())
            update()


@contextlib.contextmanager
def _certificate(host: str) -> Iterator[tuple[ssl.SSLContext, pathlib.Path]]:
    """A context with a certificate made for it, and the file of who must be trusted for that."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = dict.fromkeys((host, "localhost", "127.0.0.1", "::1"))
    authority.issue_cert(*names).configure_cert(context)
    with tempfile.TemporaryDirectory(prefix="gateway-proto-") as folder:
        path = pathlib.Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(path)
        yield context, path


async def serve(
    screen: Screen,
    config: ServerConfig,
    *,
    host: str,
    port: int,
    tick: float | None,
    tls: bool,
    record: pathlib.Path | None,
) -> None:
    """Serve until SIGINT or SIGTERM; raises OSError where an address or a file cannot be had."""
    with recording(record) as recorder:
        if recorder is None:
            server = Server(config)
        else:
            unguessable = random.SystemRandom().random
            server = recorder.server(attrs.evolve(config, random=unguessable))
        await _serve(screen, server, host=host, port=port, tick=tick, tls=tls)


async def _serve(
    screen: Screen, server: Server, *, host: str, port: int, tick: float | None, tls: bool
) -> None:
    config = server.config
    board = Board(server)

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        board.count(connection)
        number = connection.number
        screen.event("http" if number is None else f"#{number}", event, describe(event))

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Where the platform has no handlers for a loop, Ctrl-C ends it as KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        context, ca = stack.enter_context(_certificate(host)) if tls else (None, None)
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
        if screen.has_foot:
            tasks.append(asyncio.create_task(_refresh(screen, board)))
        if tick is not None:
            tasks.append(asyncio.create_task(_tick(serving, tick)))
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    screen.line("serve", "stopped")
