"""Dial → transport on asyncio: addresses in a race, then TLS; each failure with its reason."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, TypeVar, cast

from gateway_dialing import Address, Attempt, Tls, in_order

__all__ = ["Dialer", "attach", "connect_tcp"]

_EYEBALLS_SECONDS = 0.25
"""Until the next address is tried in parallel (RFC 8305, section 5)."""
_T = TypeVar("_T")


class Target(Protocol):
    """Where a transport leads to: a `Dial`, or a URL."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> bool: ...


class Opening(asyncio.Protocol):
    """The protocol of a transport until `attach` gives it another; keeps what arrives early."""

    def __init__(self) -> None:
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data


class Dialer:
    """Opens transports for the dials of one gateway, or of a fleet of shards.

    A dial takes at most `timeout` seconds, all its steps together.
    """

    def __init__(self, tls: Tls, *, timeout: float) -> None:
        self._tls = tls
        self._timeout = timeout

    async def open(self, target: Target) -> asyncio.Transport:
        """Open a transport; raises `DialError` with the reason of each address."""
        attempt = Attempt()
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return await self._open(target, attempt)
        except TimeoutError as error:
            if not limit.expired():
                raise attempt.failed(error) from error
            raise attempt.timed_out(self._timeout) from error

    async def _open(self, target: Target, attempt: Attempt) -> asyncio.Transport:
        transport = await as_transport(await connect_tcp(target.host, target.port, attempt))
        if target.tls:
            attempt.encrypting(target.host)
            transport = await self._encrypted(transport, target.host, attempt)
        return transport

    async def _encrypted(
        self, transport: asyncio.Transport, host: str, attempt: Attempt
    ) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        try:
            # asyncio's own limit of a handshake would end it without naming the step.
            encrypted = await loop.start_tls(
                transport,
                transport.get_protocol(),
                self._tls.context,
                server_hostname=host,
                ssl_handshake_timeout=2 * self._timeout,
            )
            if encrypted is None or encrypted.is_closing():
                raise ConnectionResetError
        except OSError as error:
            transport.abort()
            raise attempt.failed(error) from error
        except BaseException:
            transport.abort()
            raise
        return encrypted


def attach(transport: asyncio.Transport, protocol: asyncio.BufferedProtocol) -> None:
    """Give an open transport to the protocol that is to drive it, with all that arrived early."""
    early = bytes(cast("Opening", transport.get_protocol()).received)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    while early and not transport.is_closing():
        buffer = memoryview(protocol.get_buffer(len(early)))
        buffer[: len(early)] = early[: len(buffer)]
        protocol.buffer_updated(min(len(early), len(buffer)))
        early = early[len(buffer) :]


async def as_transport(sock: socket.socket) -> asyncio.Transport:
    """Return a transport that owns a connected socket."""
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(Opening, sock=sock)
    except BaseException:
        sock.close()
        raise
    return transport


async def connect_tcp(host: str, port: int, attempt: Attempt) -> socket.socket:
    """Connect to the first address of a host that answers (Happy Eyeballs, RFC 8305).

    Raises `DialError` if there is none, with the reason of each.
    """
    attempt.resolving(host)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise attempt.failed(error) from error
    attempt.connecting(host)
    return await connect_first(in_order(found), attempt)


async def connect_first(addresses: list[Address], attempt: Attempt) -> socket.socket:
    """Connect to the first of these addresses that answers; raises `DialError` if none does.

    asyncio's own `happy_eyeballs_delay` reports no addresses, and none at all in a timeout.
    """
    untried = addresses[::-1]
    pending: set[asyncio.Task[socket.socket | None]] = set()
    finished: set[asyncio.Task[socket.socket | None]] = set()
    try:
        while untried or pending:
            if untried:
                pending.add(asyncio.ensure_future(_connect(untried.pop(), attempt)))
            finished, pending = await asyncio.wait(
                pending,
                timeout=_EYEBALLS_SECONDS if untried else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in finished:
                finished = finished - {task}
                if (sock := task.result()) is not None:
                    attempt.connected()
                    return sock
        raise attempt.no_address_answers()
    finally:
        for task in finished | pending:
            task.add_done_callback(_close_socket)
            task.cancel()
        if pending:
            await asyncio.wait(pending)


async def _connect(address: Address, attempt: Attempt) -> socket.socket | None:
    """Connect to one address; None, with its reason noted, if it cannot be had."""
    attempt.trying(address)
    try:
        sock = socket.socket(address.family, address.kind, address.protocol)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        attempt.refused(address, error)
        return None
    return sock


def _close_socket(task: asyncio.Task[socket.socket | None]) -> None:
    """Close the socket of an attempt that was not the first, but connected too."""
    if not task.cancelled() and (sock := task.result()) is not None:
        sock.close()
