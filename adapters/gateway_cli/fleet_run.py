"""The command `fleet run`: a member of a fleet, without handlers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway_cli.fleet_member import LEAVE_SECONDS, RunningMember
from gateway_cli.fleet_options import StoreOption, check_option, opened_store, run_with_store
from gateway_cli.options import (
    AllowPlaintextOption,
    ApiVersionOption,
    CompressionOption,
    IntentsOption,
    JsonOption,
    NoProxyOption,
    ProxyOption,
    TokenFileOption,
    finite,
    proxy_setting,
)
from gateway_cli.settings import Settings, client_config
from gateway_cli.show import MISUSED, Screen, fail
from gateway_cli.trusting import tls_context
from gateway_proto import Compression, Encoding
from gateway_proto.fleet.member_record import MAX_SHARDS, MEMBER

__all__ = ["fleet_run"]


def fleet_run(
    store: StoreOption,
    api: Annotated[
        str | None,
        typer.Option(
            "--api",
            metavar="URL",
            envvar="GATEWAY_API",
            help="The base URL of /gateway; without it: Discord's.",
        ),
    ] = None,
    intents: IntentsOption = None,
    version: ApiVersionOption = 10,
    compression: CompressionOption = Compression.NONE.value,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Shards of all members; default: what others run, or the lookup recommends.",
            min=1,
            max=MAX_SHARDS,
        ),
    ] = None,
    member: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of this process, unlike that of any other; default: host, process, random.",
        ),
    ] = None,
    ttl: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="A member without heartbeats for SECONDS loses its shards.",
            min=0.3,
            max=3600,
            callback=finite,
        ),
    ] = 10.0,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Time from heartbeat to heartbeat; default: a fifth of --ttl."
        ),
    ] = None,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish/--no-publish", help="Write events into the logs, or the sessions alone."
        ),
    ] = True,
    retention: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long the logs keep events; default: 3600, or as NATS has it.",
            min=8,
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Servers of NATS that have a copy of each log, 1, 3 or 5, once it is created.",
        ),
    ] = None,
    metrics: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Serve OpenMetrics on 127.0.0.1; 0 selects a free port.",
            min=0,
            max=65535,
        ),
    ] = None,
    drain_seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How long a drain may take after a signal.",
            min=0,
            max=3600,
            callback=finite,
        ),
    ] = 30.0,
    token_file: TokenFileOption = None,
    allow_plaintext: AllowPlaintextOption = False,
    proxy: ProxyOption = None,
    no_proxy: NoProxyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run some of a bot's shards: all members with this store and token divide them.

    Events are written into a log per shard in the store, each once and in order. SIGTERM,
    Ctrl-C and a closed terminal drain: the other members resume the shards. A second signal ends
    it at once, with 130.

    \b
    Example:
      GATEWAY_TOKEN=any gateway-proto fleet run --store redis://127.0.0.1 --intents guilds
    """
    if member is not None:
        check_option("--member", MEMBER, member)
    interval = ttl / 5 if interval is None else interval
    if not 0 < interval <= ttl / 3:
        fail(
            f"invalid --interval {interval:g}: at most a third of --ttl {ttl:g}, above 0",
            status=MISUSED,
        )
    config = client_config(
        Settings(
            api=api,
            gateway=None,
            version=version,
            intents=intents,
            encoding=Encoding.JSON.value,
            compression=compression,
            token_file=token_file,
            allow_plaintext=allow_plaintext,
        )
    )
    if not (config.version.shards and config.version.sends_hello):
        fail(f"invalid --api-version {version}: it has no shards", status=MISUSED)
    options: dict[str, Any] = {
        "count": count,
        "member": member,
        "ttl": ttl,
        "interval": interval,
        "publish": publish,
        "proxy": proxy_setting(proxy, config.endpoint, no_proxy=no_proxy),
        "ssl_context": tls_context() if config.endpoint.tls else None,
    }
    screen = Screen(as_json=as_json)
    running = RunningMember(screen, drain_seconds)
    engine = opened_store(store, retention=retention, replicas=replicas)
    run_with_store(
        screen,
        lambda: running.run(config, engine, options, metrics),
        on_signal=running.interrupt,
        grace=drain_seconds + LEAVE_SECONDS,
    )
