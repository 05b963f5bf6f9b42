"""The command `tail`: events as lines, a table below them, and the session file."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from gateway_asyncio import Gateway, Shards, open_gateway, open_shards
from gateway_cli.client_table import ClientTable
from gateway_cli.escaping import NOT_AS_JSON
from gateway_cli.options import (
    AllowPlaintextOption,
    ApiOption,
    ApiVersionOption,
    CompressionOption,
    ConnectionsOption,
    EncodingOption,
    GatewayOption,
    IntentsOption,
    JsonOption,
    NoProxyOption,
    ProxyOption,
    RecordOption,
    TokenFileOption,
    proxy_setting,
)
from gateway_cli.running import run
from gateway_cli.session_file import (
    NotSaved,
    SessionFile,
    check_session_option,
    session_file,
)
from gateway_cli.settings import Settings, client_config
from gateway_cli.show import MISUSED, Screen, fail
from gateway_cli.trace_output import open_recorder
from gateway_cli.trusting import tls_context
from gateway_cli.words import colour_of, data_of, describe
from gateway_proto import (
    Compression,
    Config,
    DialFailed,
    Dispatch,
    Encoding,
    GaveUpError,
    LocalProtocolError,
    Session,
)
from gateway_proto.session import session_after

__all__ = ["tail"]

_REFRESH_SECONDS = 0.5
_LOOKUP_SECONDS = 30.0
_FULL_SECONDS = 0.05


class _Ended(Exception):
    """End with a reason for the user."""


def tail(
    api: ApiOption = None,
    gateway: GatewayOption = None,
    version: ApiVersionOption = 10,
    intents: IntentsOption = None,
    encoding: EncodingOption = Encoding.JSON.value,
    compression: CompressionOption = Compression.NONE.value,
    shards: ConnectionsOption = None,
    session: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE", help="Keep the session here, and resume it at the next start."
        ),
    ] = None,
    token_file: TokenFileOption = None,
    allow_plaintext: AllowPlaintextOption = False,
    proxy: ProxyOption = None,
    no_proxy: NoProxyOption = False,
    record: RecordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print each event of a gateway as it arrives.

    On a terminal a table below the lines shows state, latency and rate of each shard. Ctrl-C ends
    it with 130 and keeps the session; if it gives up it prints the reason and ends with 1.

    \b
    Example:
      GATEWAY_TOKEN=any gateway-proto tail --api http://127.0.0.1:8080/api --intents guilds
    """
    check_session_option(session, shards, record)
    config = client_config(
        Settings(
            api=api,
            gateway=gateway,
            version=version,
            intents=intents,
            encoding=encoding,
            compression=compression,
            token_file=token_file,
            allow_plaintext=allow_plaintext,
        )
    )
    if shards is not None and not (config.version.shards and config.version.sends_hello):
        fail(f"invalid --shards {shards}: version {version} has no shards", status=MISUSED)
    options: dict[str, Any] = {
        "proxy": proxy_setting(proxy, config.endpoint, no_proxy=no_proxy),
        "ssl_context": tls_context() if config.endpoint.tls else None,
    }
    screen = Screen(as_json=as_json)
    try:
        with session_file(session, config) as file, open_recorder(record, screen.warn) as recorder:
            options["recorder"] = recorder
            run(screen.output, lambda: _tail(screen, config, shards, file, **options))
    except (GaveUpError, LocalProtocolError, NotSaved, _Ended) as error:
        fail(str(error))
    except OSError as error:
        fail(str(error.strerror or error))


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
        """Yield (shard id, event). The id is None for a gateway without shards."""
        if isinstance(self._source, Shards):
            async for shard_id, event in self._source:
                if shard_id is not None:  # otherwise it is the lookup's
                    yield shard_id, event
        else:
            async for event in self._source:
                yield None, event

    @property
    def gave_up(self) -> str:
        """Reasons of the gateways that gave up."""
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
    screen: Screen, config: Config, shards: int | None, file: SessionFile | None, **options: Any
) -> None:
    """Print events as they come, until the client gives up. Raises `_Ended`, OSError."""
    session = None if file is None else file.session
    connected: set[int | None] = set()
    async with _opened(config, shards, session, **options) as tailed:
        table = ClientTable(tailed.gateways, now=asyncio.get_running_loop().time())
        async with _shown(screen, table):
            async for shard_id, event in tailed.events():
                table.count(shard_id, event)
                session = session_after(session, event)
                # Objects are not dropped: reading stops until there is capacity for more.
                while screen.as_json and screen.output.is_full:
                    await asyncio.sleep(_FULL_SECONDS)
                _print(screen, shard_id, event, file, session)
                if isinstance(event, DialFailed) and shard_id not in connected:
                    raise _Ended(f"{describe(event)}; run gateway-proto doctor for details")
                if tailed.gateways[shard_id].state is not None:
                    connected.add(shard_id)
        if tailed.gave_up:
            raise _Ended(tailed.gave_up)


@contextlib.asynccontextmanager
async def _shown(screen: Screen, table: ClientTable) -> AsyncIterator[None]:
    """Keep the table at the bottom of the terminal up to date, where there is one."""
    if not screen.has_footer:
        yield
        return

    async def refresh(update: Any) -> None:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            table.measure(asyncio.get_running_loop().time())
            update()

    with screen.footer(table.table) as update:
        task = asyncio.create_task(refresh(update))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _print(
    screen: Screen,
    shard_id: int | None,
    event: Any,
    file: SessionFile | None,
    session: Session | None,
) -> None:
    """Print an event, and save the session after it is written: it is handled then."""
    then = None if file is None else lambda: file.save(session)
    if not screen.as_json:
        who = "tail" if shard_id is None else f"shard {shard_id}"
        screen.line(who, describe(event), colour=colour_of(event), then=then)
        return
    line: dict[str, Any] = {"event": type(event).__name__, "name": None, "sequence": None}
    if shard_id is not None:
        line["shard"] = shard_id
    if not isinstance(event, Dispatch):
        screen.object({**line, "text": describe(event)}, then=then)
        return
    data, error = data_of(event)
    line |= {"name": event.name, "sequence": event.sequence, "data": data}
    if error is None:
        try:
            screen.object(line, then=then)
            return
        except NOT_AS_JSON as problem:
            error = f"the data cannot be written as JSON: {problem}"
    screen.object({**line, "data": None, "error": error}, then=then)
