"""events → lines, and a table below them; the session, as printed, → a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from gateway_asyncio import Gateway, Shards, open_gateway, open_shards
from gateway_cli.options import (
    ApiOption,
    CompressOption,
    DialectOption,
    EncodingOption,
    GatewayOption,
    JsonOption,
    NoProxyOption,
    ProxyOption,
    RecordOption,
    complete_intents,
    proxy_setting,
)
from gateway_cli.recording import recording
from gateway_cli.session_file import SessionFile
from gateway_cli.show import Screen, describe, fail
from gateway_cli.watch import Watch
from gateway_dialing import ProxySetting
from gateway_proto import (
    Compression,
    Config,
    DialFailed,
    Dispatch,
    Encoding,
    GaveUpError,
    Intents,
    LocalProtocolError,
    Session,
    dialect,
    session_after,
)

__all__ = ["tail"]

_REFRESH_SECONDS = 0.5
_LOOKUP_SECONDS = 30.0


class _Ended(Exception):
    """It ended for a reason that its user should know."""


def tail(
    api: ApiOption = None,
    gateway: GatewayOption = None,
    version: DialectOption = 10,
    intents: Annotated[
        str,
        typer.Option(
            help="Names, separated by commas, or a number.", autocompletion=complete_intents
        ),
    ] = "0",
    encoding: EncodingOption = Encoding.JSON,
    compress: CompressOption = Compression.NONE,
    shards: Annotated[
        int | None,
        typer.Option(help="So many connections; 0: as many as the lookup recommends.", min=0),
    ] = None,
    session: Annotated[
        pathlib.Path | None,
        typer.Option(help="Keep the session here, and resume it at the next start."),
    ] = None,
    token_file: Annotated[
        pathlib.Path | None,
        typer.Option(help="Read the token here; else it is the variable GATEWAY_TOKEN."),
    ] = None,
    proxy: ProxyOption = None,
    no_proxy: NoProxyOption = False,
    record: RecordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print each event of a gateway as it comes.

    On a terminal a table below the lines shows state, latency and rate of each shard. Ctrl-C ends
    it with 130 and keeps the session; when it gives up it says why and ends with 1.

    \b
    Example:
      GATEWAY_TOKEN=any gateway-proto tail --api http://127.0.0.1:8080/api --intents guilds
    """
    if (api is None) == (gateway is None):
        fail("say where to connect: either --api URL or --gateway URL")
    if shards is not None and session is not None:
        fail("--session keeps the session of one connection: leave it out, or --shards")
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
        file = None if session is None else SessionFile.of(session, config)
        screen = Screen(as_json=as_json)
        way = proxy_setting(proxy, no_proxy=no_proxy)
        asyncio.run(_tail(screen, config, shards, session_file=file, record=record, proxy=way))
    except (GaveUpError, LocalProtocolError, _Ended) as error:
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


class _Tail:
    """One gateway or several, by shard id, and their events."""

    def __init__(self, source: Gateway | Shards) -> None:
        self._source = source
        self.gateways: dict[int | None, Gateway] = {}
        if isinstance(source, Gateway):
            self.gateways[None] = source
        else:
            self.gateways.update(source.gateways.items())

    async def events(self) -> AsyncIterator[tuple[int | None, Any]]:
        """(shard id, event); None is the id of what is no shard."""
        if isinstance(self._source, Shards):
            async for shard_id, event in self._source:
                if shard_id is not None:  # otherwise it is the lookup's
                    yield shard_id, event
        else:
            async for event in self._source:
                yield None, event

    @property
    def gave_up(self) -> str:
        """Why those gave up that did."""
        reasons = [gateway.gave_up for gateway in self.gateways.values()]
        return "; ".join(dict.fromkeys(filter(None, reasons)))


@contextlib.asynccontextmanager
async def _opened(
    config: Config, shards: int | None, session: Session | None, **options: Any
) -> AsyncIterator[_Tail]:
    if shards is None:
        opening = open_gateway(config, session=session, raise_on_give_up=False, **options)
        async with opening as gateway:
            yield _Tail(gateway)
        return
    async with contextlib.AsyncExitStack() as stack:
        many_opening = open_shards(config, count=shards or None, raise_on_give_up=False, **options)
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                many = await stack.enter_async_context(many_opening)
                await many.planned()
        except TimeoutError:
            where = config.endpoint
            raise _Ended(f"{where} named no gateway in {_LOOKUP_SECONDS:.0f} s") from None
        yield _Tail(many)


async def _tail(
    screen: Screen,
    config: Config,
    shards: int | None,
    *,
    session_file: SessionFile | None,
    record: pathlib.Path | None,
    proxy: ProxySetting,
) -> None:
    """Print events as they come, until the client gives up. Raises `_Ended`, OSError."""
    session = None if session_file is None else session_file.load()
    connected: set[int | None] = set()
    with recording(record) as recorder:
        async with _opened(config, shards, session, recorder=recorder, proxy=proxy) as tailed:
            watch = Watch(tailed.gateways, now=asyncio.get_running_loop().time())
            async with _shown(screen, watch):
                async for shard_id, event in tailed.events():
                    watch.count(shard_id, event)
                    _print(screen, shard_id, event)
                    if session_file is not None:
                        session = session_after(session, event)
                        session_file.save(session)
                    if isinstance(event, DialFailed) and shard_id not in connected:
                        raise _Ended(f"{describe(event)}; gateway-proto doctor says more")
                    if tailed.gateways[shard_id].state is not None:
                        connected.add(shard_id)
            if tailed.gave_up:
                raise _Ended(tailed.gave_up)


@contextlib.asynccontextmanager
async def _shown(screen: Screen, watch: Watch) -> AsyncIterator[None]:
    """Keep the table at the foot of the terminal up to date, where there is one."""
    if not screen.has_foot:
        yield
        return

    async def refresh(update: Any) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            watch.measure(asyncio.get_running_loop().time())
            update()

    with screen.foot(watch.table) as update:
        task = asyncio.create_task(refresh(update))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _print(screen: Screen, shard_id: int | None, event: Any) -> None:
    if not screen.as_json:
        screen.line("tail" if shard_id is None else f"shard {shard_id}", describe(event))
        return
    line: dict[str, Any] = {"event": type(event).__name__, "name": None, "sequence": None}
    if shard_id is not None:
        line["shard"] = shard_id
    if isinstance(event, Dispatch):
        line |= {"name": event.name, "sequence": event.sequence, "data": event.data}
    else:
        line["text"] = describe(event)
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
