"""Dial → transport on asyncio: directly, through a proxy, or by a function of the caller."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from gateway_asyncio._connecting import Opening, as_transport, connect_first
from gateway_asyncio._resolving import resolve
from gateway_asyncio._streams import StreamTransport, deliver
from gateway_dialing import NO_LIMIT, Address, Attempt, BaseDialer, HttpTunnel
from gateway_proto import Dial

__all__ = ["Connect", "Dialer", "attach"]

Connect = Callable[[Dial], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens a stream of bytes to the host of a dial. TLS is added to it if `Dial.tls` is True."""


class Dialer(BaseDialer[socket.socket, asyncio.Transport]):
    """Opens transports for the dials of one gateway, or of all shards."""

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

    async def _call(
        self, connect: Callable[[Dial], Awaitable[object]], dial: Dial, attempt: Attempt
    ) -> asyncio.Transport:
        try:
            return await super()._call(connect, dial, attempt)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # This task was not cancelled, but something that `connect` awaited.
            raise attempt.failed(error) from error

    def _check_transport(self, opened: object) -> asyncio.Transport:
        return StreamTransport.of(opened)

    async def _resolve(self, host: str, port: int) -> Any:
        return await resolve(host, port)

    async def _connect_first(self, addresses: list[Address], attempt: Attempt) -> socket.socket:
        return await connect_first(addresses, attempt)

    async def _from_socket(self, sock: socket.socket) -> asyncio.Transport:
        return await as_transport(sock)

    async def encrypt(
        self, transport: asyncio.Transport, host: str, attempt: Attempt
    ) -> asyncio.Transport:
        attempt.encrypting(host)
        with _aborted_if_failed(transport, attempt):
            if isinstance(transport, StreamTransport):
                await transport.start_tls(self._tls.context, host)
                return transport
            encrypted = await asyncio.get_running_loop().start_tls(
                transport,
                transport.get_protocol(),
                self._tls.context,
                server_hostname=host,
                ssl_handshake_timeout=NO_LIMIT,
            )
            if encrypted is None or encrypted.is_closing():
                raise ConnectionResetError
        return encrypted

    async def _open_tunnel(
        self, transport: asyncio.Transport, tunnel: HttpTunnel, attempt: Attempt
    ) -> None:
        protocol = transport.get_protocol()
        assert isinstance(protocol, Opening)
        with _aborted_if_failed(transport, attempt):
            transport.write(tunnel.request)
            while not tunnel.receive(await protocol.read()):
                pass

    def _socks_proxy_class(self) -> Any:
        from python_socks.async_.asyncio import Proxy

        return Proxy


@contextlib.contextmanager
def _aborted_if_failed(transport: asyncio.Transport, attempt: Attempt) -> Iterator[None]:
    """Close a transport at once if a step on it fails or is cancelled; raises `DialError`."""
    try:
        yield
    except OSError as error:
        transport.abort()
        raise attempt.failed(error) from error
    except BaseException:
        transport.abort()
        raise


def attach(transport: asyncio.Transport, protocol: asyncio.BufferedProtocol) -> None:
    """Give an open transport, and the data that it has received, to the protocol that drives it."""
    opening = transport.get_protocol()
    early = bytes(opening.received) if isinstance(opening, Opening) else b""
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if early and not transport.is_closing():
        deliver(protocol, early)
