"""Connection check without a token: from the lookup to HELLO, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from gateway_cli import doctor_hints
from gateway_cli.opening import Failed, Finding, Opener, Steps
from gateway_cli.words import describe
from gateway_dialing import ProxySetting
from gateway_proto import (
    ClientConnection,
    Closed,
    Config,
    Connection,
    EncodingIgnored,
    GatewayFound,
    Hello,
    Opened,
    State,
)
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.urls import Url

__all__ = ["ConnectionCheck", "Finding"]


class _Stream:
    """An open transport that drives a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self.silent = False
        """Whether it ended because no data was received."""

    async def drive(self, connection: Connection[Any, Any]) -> AsyncGenerator[Any, None]:
        """Yield the connection's events, each before the resulting output is sent."""
        while True:
            for event in connection.events():
                yield event
            self._writer.write(connection.data_to_send())
            if _is_over(connection):
                return
            try:
                async with asyncio.timeout_at(connection.next_timer()):
                    data = await self._reader.read(65536)
            except TimeoutError:
                connection.handle_timer(now=self._loop.time())
                self.silent = _is_over(connection)
                continue
            except OSError:
                data = b""
            if data:
                connection.receive_data(data, now=self._loop.time())
            else:
                connection.receive_eof(now=self._loop.time())


def _is_over(connection: Connection[Any, Any]) -> bool:
    return connection.state is State.CLOSED


class ConnectionCheck:
    """Checks of each step; calls `begin` before a step and `report` with its finding."""

    def __init__(
        self,
        config: Config,
        report: Callable[[Finding], None],
        begin: Callable[[str], None],
        *,
        proxy: ProxySetting = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        steps = Steps(report, begin)
        self._opener = Opener(config, steps, proxy, context)
        self._next, self._good, self._bad = steps.next, steps.good, steps.bad

    async def run(self) -> bool:
        """Check from the lookup to HELLO; return whether all steps succeeded."""
        try:
            url = self._config.endpoint
            if self._config.gateway_url is None:
                url = await self._look_up(url)
            await self._check_websocket(url)
        except Failed:
            return False
        return True

    async def _look_up(self, url: Url) -> Url:
        async with self._stream(url) as stream:
            self._next("lookup")
            found = None
            now = self._loop.time()
            connection = LookupConnection(self._config, url, now=now)
            async with contextlib.aclosing(stream.drive(connection)) as events:
                async for event in events:
                    match event:
                        case GatewayFound():
                            found = event.url
                        case Closed() if found is None:
                            what = doctor_hints.lookup_hint(event, silent=stream.silent)
                            self._bad("lookup", f"{url}: {event.error}", what)
            self._good("lookup", f"{url} names {found}")
        gateway, reason = self._config.url_policy.check(found or "")
        if gateway is None:
            self._bad(
                "trust",
                f"a client will not go to {found}: {reason}",
                doctor_hints.UNTRUSTED_GATEWAY_HINT,
            )
        return gateway

    async def _check_websocket(self, url: Url) -> None:
        async with self._stream(url) as stream:
            step = "WebSocket"
            self._next(step)
            connection = ClientConnection(self._config, url, now=self._loop.time())
            async with contextlib.aclosing(stream.drive(connection)) as events:
                async for event in events:
                    match event:
                        case Opened():
                            self._good(step, f"open at {url.host_header}{event.path}")
                            step = "HELLO"
                            self._next(step)
                            if not self._config.version.sends_hello:
                                # The next payload would carry the token.
                                self._good(step, "this version has none: more needs a token")
                                return
                        case EncodingIgnored():
                            self._bad("encoding", describe(event), doctor_hints.ENCODING)
                        case Hello():
                            self._good(step, f"a heartbeat every {event.heartbeat_interval} ms")
                            step = "close"
                            self._next(step)
                            connection.close(now=self._loop.time())
                        case Closed() if step == "close":
                            self._good(step, describe(event))
                        case Closed():
                            of = (
                                doctor_hints.upgrade_hint
                                if step == "WebSocket"
                                else doctor_hints.hello_hint
                            )
                            self._bad(step, describe(event), of(event, silent=stream.silent))

    # ----- to a transport -----

    @contextlib.asynccontextmanager
    async def _stream(self, url: Url) -> AsyncIterator[_Stream]:
        transport = await self._opener.open(url)
        try:
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            yield _Stream(reader, writer)
        finally:
            transport.abort()
