"""The command `fleet run`: a member of a fleet, without handlers."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from gateway_cli.fleet_options import StoreOption, opened_store, run_with_store
from gateway_cli.options import (
    CompressionOption,
    JsonOption,
    NoProxyOption,
    ProxyOption,
    complete_intents,
    proxy_setting,
)
from gateway_cli.settings import Settings, client_config
from gateway_cli.show import MISUSED, Screen, fail
from gateway_cli.trusting import tls_context
from gateway_cli.words import colour_of, describe
from gateway_proto import Compression, Config, Dispatch, Encoding

if TYPE_CHECKING:
    from gateway_fleet import Fleet, RedisStore

__all__ = ["fleet_run"]

_LOOK_SECONDS = 0.2
"""Time between two looks at the owned shards."""
_LEAVE_SECONDS = 12.0
"""Time that a member which was not drained in time takes to store its sessions, at most."""


@attrs.frozen
class ShardOwned:
    """A shard was acquired by this process."""

    shard: int
    position: int
    """Position of the claim in the log of the shard."""


@attrs.frozen
class ShardGone:
    """A shard was given away, or lost to another process."""

    shard: int


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
    intents: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names, separated by commas, or a number; default: none.",
            autocompletion=complete_intents,
        ),
    ] = None,
    compression: CompressionOption = Compression.NONE.value,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Shards of all members; default: what others run, or the lookup recommends.",
            min=1,
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
        float,
        typer.Option(metavar="SECONDS", help="How long the logs keep events.", min=8),
    ] = 3600.0,
    drain_seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="How long a drain may take after a signal.", min=0, max=3600
        ),
    ] = 30.0,
    token_file: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE", help="Read the token here; else it is the variable GATEWAY_TOKEN."
        ),
    ] = None,
    allow_plaintext: Annotated[
        bool,
        typer.Option(
            "--allow-plaintext", help="Send the token to another host without TLS (ws, http)."
        ),
    ] = False,
    proxy: ProxyOption = None,
    no_proxy: NoProxyOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run some of a bot's shards: all members with this store and token divide them.

    Events are written into a log per shard in the store, each once and in order. SIGTERM and
    Ctrl-C drain: the other members resume the shards. A second signal ends it at once, with 130.

    \b
    Example:
      GATEWAY_TOKEN=any gateway-proto fleet run --store redis://127.0.0.1 --intents guilds
    """
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
            version=10,
            intents=intents,
            encoding=Encoding.JSON.value,
            compression=compression,
            token_file=token_file,
            allow_plaintext=allow_plaintext,
        )
    )
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
    running = _Member(screen, drain_seconds)
    engine = opened_store(store, retention=retention)
    run_with_store(
        screen,
        lambda: running.run(config, engine, options),
        on_signal=running.interrupt,
        grace=drain_seconds + _LEAVE_SECONDS,
    )


class _Member:
    """One run of a member: its lines, and its end by a signal."""

    def __init__(self, screen: Screen, drain_seconds: float) -> None:
        self._screen = screen
        self._drain_seconds = drain_seconds
        self._task: asyncio.Task[Any] | None = None
        self._fleet: Fleet | None = None
        self._drain_task: asyncio.Task[None] | None = None
        self._claims: dict[int, str] = {}

    def interrupt(self) -> None:
        """Drain; cancel `run` if there is nothing to drain yet."""
        if self._fleet is not None:
            self._drain_task = asyncio.ensure_future(self._drain(self._fleet))
        elif self._task is not None:
            self._task.cancel()

    async def run(self, config: Config, store: RedisStore, options: dict[str, Any]) -> None:
        """Take part in the fleet until it is drained. Raises `StoreError` and others."""
        from gateway_fleet import open_fleet

        self._task = asyncio.current_task()
        async with open_fleet(config, store, **options) as fleet:
            self._fleet = fleet
            self._screen.line("fleet", f"member {fleet.member} of {fleet.count} shards")
            watch = asyncio.create_task(self._watch(fleet))
            try:
                await self._take(fleet)
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
        self._screen.line("fleet", "drained")

    async def _take(self, fleet: Fleet) -> None:
        """Take the events, which logs them, and print those about connections."""
        async for shard_id, event in fleet:
            if type(event) is not Dispatch and colour_of(event):
                self._print_changes(fleet)  # it may be of a new shard
                who = "lookup" if shard_id is None else f"shard {shard_id}"
                self._screen.event(who, event, describe(event))

    async def _watch(self, fleet: Fleet) -> None:
        """Print each shard that comes or goes."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                self._print_changes(fleet)
                await asyncio.sleep(_LOOK_SECONDS)
        self._print_changes(fleet)

    def _print_changes(self, fleet: Fleet) -> None:
        owned, claims = fleet.owned, self._claims
        for shard, claim in list(claims.items()):
            if shard not in owned or owned[shard].id != claim:
                del claims[shard]
                self._screen.event(f"shard {shard}", ShardGone(shard), "no longer owned")
        for shard, head in sorted(owned.items()):
            if shard not in claims:
                claims[shard] = head.id
                event = ShardOwned(shard, head.position)
                text = f"owned, from record {head.position} of its log"
                self._screen.event(f"shard {shard}", event, text)

    async def _drain(self, fleet: Fleet) -> None:
        count = len(fleet.owned)
        self._screen.line("fleet", f"draining: {count} shards are given to other members")
        try:
            async with asyncio.timeout(self._drain_seconds):
                await fleet.drain()
        except TimeoutError:
            self._screen.line("fleet", f"not drained in {self._drain_seconds:g} s")
            assert self._task is not None
            self._task.cancel()
