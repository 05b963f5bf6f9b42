"""a port → the server role, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import random
import ssl
import tempfile
from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar

import attrs
import typer

from gateway_asyncio import Serving, serve_gateway
from gateway_cli.board import Board
from gateway_cli.options import (
    DIALECT_HELP,
    JsonOption,
    RecordOption,
    complete_dialect,
    version_of,
)
from gateway_cli.reading import read_text
from gateway_cli.recording import recording
from gateway_cli.running import run
from gateway_cli.show import MISUSED, Screen, fail
from gateway_cli.words import describe
from gateway_proto import (
    LocalProtocolError,
    Scenario,
    Server,
    ServerConfig,
    ServerConnection,
    ServerEvent,
    World,
)
from gateway_proto.trace import Recorder

__all__ = ["serve"]

_REFRESH_SECONDS = 0.5

T = TypeVar("T")


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
    board = Board(server)

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        board.count(connection)
        number = connection.number
        screen.event("http" if number is None else f"#{number}", event, describe(event))

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
            await asyncio.get_running_loop().create_future()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def serve(
    host: Annotated[str, typer.Option(metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", help="0 takes a free one.", min=0, max=65535)
    ] = 8080,
    token: Annotated[
        list[str] | None,
        typer.Option(metavar="TOKEN", help="Let in this token alone; may be repeated."),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--dialect",
            metavar="VERSION",
            help=f"Speak this one alone. {DIALECT_HELP}",
            autocompletion=complete_dialect,
        ),
    ] = None,
    heartbeat_interval: Annotated[
        int, typer.Option(metavar="MILLISECONDS", help="Of the clients.", min=10, max=86_400_000)
    ] = 41250,
    world: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE", help='JSON: {"user": {...}, "guilds": [...]}, as GUILD_CREATE has them.'
        ),
    ] = None,
    scenario: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML or JSON: a list of faults, such as {'what': 'drop', 'on': 'ready'}.",
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
            metavar="SECONDS",
            help="Dispatch a numbered TICK to all clients every SECONDS.",
            min=0.001,
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
    if version is not None:
        version_of(version)
    try:
        config = ServerConfig(
            tokens=frozenset(token) if token else None,
            heartbeat_interval=heartbeat_interval,
            control="/control" if control else None,
        )
        if version is not None:
            config = attrs.evolve(config, versions=(version,))
    except LocalProtocolError as error:
        fail(str(error), status=MISUSED)
    if world is not None:
        config = attrs.evolve(config, world=_parsed(world, World.from_json))
    if scenario is not None:
        is_json = scenario.suffix.lower() == ".json"
        read = Scenario.from_json if is_json else Scenario.from_yaml
        config = attrs.evolve(config, scenario=_parsed(scenario, read))
    screen = Screen(as_json=as_json)
    try:
        with recording(record, screen.warn) as recorder:
            run(
                screen.output,
                lambda: _run(
                    screen, config, host=host, port=port, tick=tick, tls=tls, recorder=recorder
                ),
                status=0,
            )
    except (OSError, UnicodeError) as error:
        fail(f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}")
    except KeyboardInterrupt:
        pass


def _parsed(path: pathlib.Path, parse: Callable[[str], T]) -> T:
    """Return what a file describes; or say why it does not, and end."""
    text = read_text(path)
    try:
        return parse(text)
    except Exception as error:  # of msgspec, of YAML, of too deep a nesting: the file's fault
        fail(f"{path}: {error or type(error).__name__}", status=MISUSED)
