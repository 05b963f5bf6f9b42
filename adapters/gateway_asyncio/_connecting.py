"""Host, port → transport on asyncio: addresses in a race, then TLS over any transport."""

from __future__ import annotations

import asyncio
import socket
import ssl

from gateway_dialing import Address, Attempt, in_order

__all__ = ["Opening", "as_transport", "connect_first", "connect_tcp", "encrypt"]

_EYEBALLS_SECONDS = 0.25
"""Until the next address is tried in parallel (RFC 8305, section 5)."""
_HANDSHAKE_SECONDS = 86400.0
"""Nobody's limit: the one of the dial names the step that it was in, asyncio's own does not."""


class Opening(asyncio.Protocol):
    """The protocol of a transport until the dial is done; keeps what arrives meanwhile."""

    def __init__(self) -> None:
        self.received = bytearray()
        self._changed = asyncio.Event()
        self._is_over = False

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._changed.set()

    async def read(self) -> bytes:
        """Take what has arrived, at least one byte; b"" is the end of the stream."""
        while not self.received and not self._is_over:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self.received)
        self.received.clear()
        return data


async def encrypt(
    transport: asyncio.Transport, context: ssl.SSLContext, host: str, attempt: Attempt
) -> asyncio.Transport:
    """Return a transport with TLS over this one, verified for a host; raises `DialError`."""
    attempt.encrypting(host)
    try:
        encrypted = await asyncio.get_running_loop().start_tls(
            transport,
            transport.get_protocol(),
            context,
            server_hostname=host,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
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
