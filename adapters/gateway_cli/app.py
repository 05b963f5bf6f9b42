"""arguments → Config; errors → one line and an exit status."""

from __future__ import annotations

import asyncio
import os
import pathlib
from typing import Annotated

import attrs
import typer

from gateway_cli.demo import ADAPTERS
from gateway_cli.demo import demo as show_demo
from gateway_cli.doctor import doctor
from gateway_cli.replay import replay_file
from gateway_cli.serve import serve as run_server
from gateway_cli.show import Screen, fail
from gateway_cli.simulate import simulate
from gateway_cli.tail import SessionFile, TailError
from gateway_cli.tail import tail as run_tail
from gateway_cli.timeline import timeline_file
from gateway_proto import (
    DIALECTS,
    Compression,
    Config,
    Encoding,
    Intents,
    LocalProtocolError,
    Scenario,
    ServerConfig,
    World,
    dialect,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="gateway-proto",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Discord gateway's client and server: watch one, serve one, or see both at work.",
)
_RECORD_HELP = "Write a trace here: what replay and timeline read. The token is not in it."
_ENCODING_HELP = "How payloads are written; etf needs the extra of that name."
_COMPRESS_HELP = "How the server compresses what it sends; the streams are for 6 and later."
_DIALECT_HELP = f"Version of the protocol: {', '.join(map(str, DIALECTS))}."


@app.command()
def demo(
    version: Annotated[int, typer.Option("--dialect", help=_DIALECT_HELP)] = 10,
    encoding: Annotated[Encoding, typer.Option(help=_ENCODING_HELP)] = Encoding.JSON,
    compress: Annotated[Compression, typer.Option(help=_COMPRESS_HELP)] = Compression.NONE,
    adapter: Annotated[str, typer.Option(help="asyncio or trio.")] = "asyncio",
) -> None:
    """Show a real client against the embedded server: identify, cut, resume, close.

    Ends in under ten seconds, with 0 if all went well.

    Example: gateway-proto demo --dialect 3 --compress payload --adapter trio
    """
    if adapter not in ADAPTERS:
        fail(f"there is no adapter {adapter!r}: use one of {', '.join(ADAPTERS)}")
    try:
        good = show_demo(
            Screen(),
            dialect=dialect(version).version,
            adapter=adapter,
            encoding=encoding,
            compression=compress,
        )
    except (LocalProtocolError, OSError) as error:
        fail(str(error))
    if not good:
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8080,
    token: Annotated[
        list[str] | None, typer.Option(help="Let in this token alone; may be repeated.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--dialect", help=f"Speak this one alone. {_DIALECT_HELP}")
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
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
    tick: Annotated[
        float | None,
        typer.Option(
            help="Dispatch a numbered TICK to everybody, every so many seconds.", min=0.001
        ),
    ] = None,
    record: Annotated[pathlib.Path | None, typer.Option(help=_RECORD_HELP)] = None,
) -> None:
    """Serve a gateway to test against, until Ctrl-C.

    On a terminal a table below the lines shows who is connected, and how much is going on.

    Example: gateway-proto serve --port 8080 --token secret --tick 5 --control
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
            run_server(
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


@app.command()
def tail(
    api: Annotated[
        str | None, typer.Option(help="The base under which /gateway lies; see the example.")
    ] = None,
    gateway: Annotated[str | None, typer.Option(help="Connect here, without a lookup.")] = None,
    version: Annotated[int, typer.Option("--dialect", help=_DIALECT_HELP)] = 10,
    intents: Annotated[str, typer.Option(help="Names, separated by commas, or a number.")] = "0",
    encoding: Annotated[Encoding, typer.Option(help=_ENCODING_HELP)] = Encoding.JSON,
    compress: Annotated[Compression, typer.Option(help=_COMPRESS_HELP)] = Compression.NONE,
    session: Annotated[
        pathlib.Path | None,
        typer.Option(help="Keep the session here, and resume it at the next start."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
    token_file: Annotated[
        pathlib.Path | None,
        typer.Option(help="Read the token here; else it is the variable GATEWAY_TOKEN."),
    ] = None,
    record: Annotated[pathlib.Path | None, typer.Option(help=_RECORD_HELP)] = None,
) -> None:
    """Print each event of a gateway as it comes.

    Ctrl-C ends it with 130 and keeps the session; when it gives up it says why and ends with 1.

    Example: GATEWAY_TOKEN=any gateway-proto tail --api http://127.0.0.1:8080/api --intents guilds
    """
    if (api is None) == (gateway is None):
        fail("say where to connect: either --api URL or --gateway URL")
    try:
        config = Config(
            token=_token(token_file),
            dialect=dialect(version),
            api_url=api,
            gateway_url=gateway,
            intents=Intents.parse(intents),
            encoding=encoding,
            compression=compress,
        )
        file = None if session is None else _session_file(session, config)
        run = run_tail(Screen(), config, session_file=file, as_json=as_json, record=record)
        asyncio.run(run)
    except (LocalProtocolError, TailError) as error:
        fail(str(error))
    except BrokenPipeError:
        # Whoever read has left; nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(1) from None
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _token(path: pathlib.Path | None) -> str:
    token = os.environ.get("GATEWAY_TOKEN", "") if path is None else path.read_text().strip()
    if not token:
        fail("there is no token: set GATEWAY_TOKEN, or name a file with --token-file")
    return token


def _session_file(path: pathlib.Path, config: Config) -> SessionFile:
    """The file; a session that does not fit is dropped with a word."""
    file = SessionFile(path)
    try:
        stored = file.load()
        if stored is not None:
            stored.check_fits(config)
    except LocalProtocolError as error:
        typer.echo(f"gateway-proto: {path} is not used: {error}", err=True)
        file.forget()
    return file


app.command("doctor")(doctor)
app.command("replay")(replay_file)
app.command("simulate")(simulate)
app.command("timeline")(timeline_file)


def main() -> None:
    """The command `gateway-proto`."""
    app()
