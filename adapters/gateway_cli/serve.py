"""The command `serve`: run the server role on a port."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Annotated, TypeVar

import attrs
import typer

from gateway_cli.options import (
    API_VERSION_HELP,
    JsonOption,
    RecordOption,
    complete_api_version,
    finite,
    version_of,
)
from gateway_cli.progress import read_text
from gateway_cli.running import run
from gateway_cli.serve_options import (
    AllowedIntentsOption,
    ConcurrencyOption,
    ControlHostOption,
    GuildsPerShardOption,
    IdentifiesPerDayOption,
    IdentifySecondsOption,
    MembersSecondsOption,
    ReplayBytesOption,
    ReplayLimitOption,
    SessionLifetimeOption,
    ShardsOption,
    UrlOption,
    server_config,
)
from gateway_cli.server_run import run_server
from gateway_cli.show import MISUSED, Screen, fail
from gateway_cli.trace_output import open_recorder
from gateway_cli.words import reason_of
from gateway_proto._checks import shown
from gateway_proto.driver.arguments import HOST
from gateway_proto.server import Scenario, World

__all__ = ["serve"]


T = TypeVar("T")


def serve(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", help="0 selects a free port.", min=0, max=65535)
    ] = 8080,
    token: Annotated[
        list[str] | None,
        typer.Option(metavar="TOKEN", help="Accept only this token; may be repeated."),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--api-version",
            metavar="VERSION",
            help=f"Accept only this version. {API_VERSION_HELP}",
            autocompletion=complete_api_version,
        ),
    ] = None,
    heartbeat_interval: Annotated[
        int,
        typer.Option(
            metavar="MILLISECONDS", help="Interval of heartbeats.", min=10, max=86_400_000
        ),
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
        typer.Option("--tls", help="Make a certificate, and print its file for SSL_CERT_FILE."),
    ] = False,
    url: UrlOption = None,
    shards: ShardsOption = None,
    max_concurrency: ConcurrencyOption = None,
    identify_seconds: IdentifySecondsOption = None,
    identifies_per_day: IdentifiesPerDayOption = None,
    allowed_intents: AllowedIntentsOption = None,
    guilds_per_shard: GuildsPerShardOption = None,
    members_seconds: MembersSecondsOption = None,
    session_lifetime: SessionLifetimeOption = None,
    replay_limit: ReplayLimitOption = None,
    replay_bytes: ReplayBytesOption = None,
    control: Annotated[
        bool,
        typer.Option("--control", help="Allow control over HTTP: dispatch, drop and read."),
    ] = False,
    control_host: ControlHostOption = None,
    tick: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Dispatch a numbered TICK to all clients every SECONDS.",
            min=0.001,
            callback=finite,
        ),
    ] = None,
    record: RecordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a gateway to test against, until Ctrl-C.

    On a terminal a table below the lines shows the connections and their rates.

    \b
    Example:
      gateway-proto serve --port 8080 --token secret --tick 5 --control
    """
    if version is not None:
        version_of(version)
    if not HOST.allows(host):
        fail(f"invalid --host {shown(host)}: expected {HOST.expected}", status=MISUSED)
    config = server_config(
        tokens=frozenset(token) if token else None,
        versions=None if version is None else (version,),
        heartbeat_interval=heartbeat_interval,
        url=url,
        shards=shards,
        max_concurrency=max_concurrency,
        identify_seconds=identify_seconds,
        identifies_per_day=identifies_per_day,
        allowed_intents=allowed_intents,
        guilds_per_shard=guilds_per_shard,
        members_seconds=members_seconds,
        session_lifetime=session_lifetime,
        replay_limit=replay_limit,
        replay_bytes=replay_bytes,
        control="/control" if control else None,
        control_hosts=tuple(control_host or ()),
    )
    if world is not None:
        config = attrs.evolve(config, world=_parsed(world, World.from_json))
    if scenario is not None:
        is_json = scenario.suffix.lower() == ".json"
        read = Scenario.from_json if is_json else Scenario.from_yaml
        config = attrs.evolve(config, scenario=_parsed(scenario, read))
    screen = Screen(as_json=as_json)
    try:
        with open_recorder(record, screen.warn) as recorder:
            run(
                screen.output,
                lambda: run_server(
                    screen, config, host=host, port=port, tick=tick, tls=tls, recorder=recorder
                ),
                status=0,
            )
    except (OSError, UnicodeError) as error:
        fail(f"cannot listen on {host} port {port}: {reason_of(error)}")
    except KeyboardInterrupt:
        pass


def _parsed(path: pathlib.Path, parse: Callable[[str], T]) -> T:
    """Return the value in a file; end with the reason if it is invalid."""
    text = read_text(path)
    try:
        return parse(text)
    except ImportError:
        fail(f"{path}: YAML needs pyyaml: install gateway-proto[cli]", status=MISUSED)
    except Exception as error:  # of msgspec, of YAML, of too deep a nesting: the file's fault
        fail(f"{path}: {error or type(error).__name__}", status=MISUSED)
