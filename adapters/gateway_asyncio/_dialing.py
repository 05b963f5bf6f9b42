"""Dial → transport on asyncio: directly, through a proxy, or by a function of the caller."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from gateway_asyncio._connecting import Opening, as_transport, connect_tcp, encrypt
from gateway_asyncio._proxying import through_proxy
from gateway_asyncio._streams import StreamTransport, deliver
from gateway_dialing import Attempt, ProxySetting, Tls, is_failed_dial, proxy_for
from gateway_proto import Config, Dial, LocalProtocolError

__all__ = ["Connect", "Dialer", "attach"]

Connect = Callable[[Dial], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens a stream of bytes to where a dial leads. TLS is added to it if `Dial.tls` asks for it."""


class Dialer:
    """Opens transports for the dials of one gateway, or of a fleet of shards.

    A dial takes at most `Config.handshake_timeout` seconds, all its steps together. Raises
    `LocalProtocolError` for a proxy that cannot be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        ssl_context: ssl.SSLContext | None,
        proxy: ProxySetting,
        connect: Connect | None,
    ) -> None:
        self._timeout = config.handshake_timeout
        self._tls = Tls(ssl_context)
        self._proxy = proxy
        self._connect = connect
        if connect is None:
            proxy_for(proxy, str(config.endpoint))
        elif isinstance(proxy, str):
            raise LocalProtocolError("proxy and connect exclude each other: give one of them")

    async def open(self, dial: Dial) -> asyncio.Transport:
        """Open a transport; raises `DialError` with the reason of each address."""
        attempt = Attempt()
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return await self._open(dial, attempt)
        except TimeoutError as error:
            if not limit.expired():
                raise attempt.failed(error) from error
            raise attempt.timed_out(self._timeout) from error

    async def _open(self, dial: Dial, attempt: Attempt) -> asyncio.Transport:
        if self._connect is not None:
            return await self._by_caller(self._connect, dial, attempt)
        proxy = proxy_for(self._proxy, dial.url)
        if proxy is None:
            transport = await as_transport(await connect_tcp(dial.host, dial.port, attempt))
        else:
            transport = await through_proxy(proxy, dial.host, dial.port, self._tls, attempt)
        if dial.tls:
            transport = await encrypt(transport, self._tls.context, dial.host, attempt)
        return transport

    async def _by_caller(self, connect: Connect, dial: Dial, attempt: Attempt) -> asyncio.Transport:
        attempt.calling("connect")
        try:
            transport = StreamTransport.of(await connect(dial))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this task: something that `connect` awaited was cancelled.
            raise attempt.failed(error) from error
        except Exception as error:
            if not is_failed_dial(error):
                raise
            raise attempt.failed(error) from error
        if dial.tls:
            attempt.encrypting(dial.host)
            try:
                await transport.start_tls(self._tls.context, dial.host)
            except OSError as error:
                transport.abort()
                raise attempt.failed(error) from error
            except BaseException:
                transport.abort()
                raise
        return transport


def attach(transport: asyncio.Transport, protocol: asyncio.BufferedProtocol) -> None:
    """Give an open transport to the protocol that is to drive it, with all that arrived early."""
    opening = transport.get_protocol()
    early = bytes(opening.received) if isinstance(opening, Opening) else b""
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if early and not transport.is_closing():
        deliver(protocol, early)
