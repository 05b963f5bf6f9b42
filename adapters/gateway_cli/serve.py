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
from typing import Annotated

import attrs
import typer

from gateway_asyncio import Serving, serve_gateway
from gateway_cli.board import Board
from gateway_cli.options import DIALECT_HELP, JsonOption, RecordOption, complete_dialect
from gateway_cli.recording import recording
from gateway_cli.show import Screen, describe, fail
from gateway_proto import (
    LocalProtocolError,
    Scenario,
    Server,
    ServerConfig,
    ServerConnection,
    ServerEvent,
    World,
)

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
    import trustme  # and with it cryptography, which few runs need

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = dict.fromkeys((host, "localhost", "127.0.0.1", "::1"))
    authority.issue_cert(*names).configure_cert(context)
    with tempfile.TemporaryDirectory(prefix="gateway-proto-") as folder:
        path = pathlib.Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(path)
        yield context, path


async def _run(
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


def serve(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8080,
    token: Annotated[
        list[str] | None, typer.Option(help="Let in this token alone; may be repeated.")
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--dialect",
            help=f"Speak this one alone. {DIALECT_HELP}",
            autocompletion=complete_dialect,
        ),
    ] = None,
    heartbeat_interval: Annotated[
        int, typer.Option(help="Milliseconds.", min=10, max=86_400_000)
    ] = 41250,
    world: Annotated[
        pathlib.Path | None,
        typer.Option(help='JSON: {"user": {...}, "guilds": [...]}, as GUILD_CREATE has them.'),
    ] = None,
    scenario: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="YAML or JSON: a list of faults, such as {'what': 'drop', 'on': 'ready'}."
        ),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Make a certificate, and say what to trust: SSL_CERT_FILE."),
    ] = False,
    control: Annotated[
        bool,
        typer.Option("--control", help="Let whoever reaches the port dispatch, cut and read."),
    ] = False,
    tick: Annotated[
        float | None,
        typer.Option(
            help="Dispatch a numbered TICK to everybody, every so many seconds.", min=0.001
        ),
    ] = None,
    record: RecordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a gateway to test against, until Ctrl-C.

    On a terminal a table below the lines shows who is connected, and how much is going on.

    \b
    Example:
      gateway-proto serve --port 8080 --token secret --tick 5 --control
    """
    try:
        config = ServerConfig(
            tokens=frozenset(token) if token else None,
            heartbeat_interval=heartbeat_interval,
            control="/control" if control else None,
        )
        if version is not None:
            config = attrs.evolve(config, versions=(version,))
        if world is not None:
            config = attrs.evolve(config, world=World.from_json(world.read_bytes()))
        if scenario is not None:
            is_json = scenario.suffix == ".json"
            read = Scenario.from_json if is_json else Scenario.from_yaml
            config = attrs.evolve(config, scenario=read(scenario.read_bytes()))
        asyncio.run(
            _run(
                Screen(as_json=as_json),
                config,
                host=host,
                port=port,
                tick=tick,
                tls=tls,
                record=record,
            )
        )
    except LocalProtocolError as error:
        fail(str(error))
    except FileNotFoundError as error:
        fail(f"there is no file {error.filename}")
    except OSError as error:
        fail(f"cannot listen on {host} port {port}: {error.strerror or error}")
    except KeyboardInterrupt:
        pass
