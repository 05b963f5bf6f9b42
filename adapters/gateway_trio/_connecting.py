"""Host, port → stream on trio: addresses in a race, then TLS over any stream."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator

import trio

from gateway_dialing import Address, Attempt, in_order

__all__ = ["closed_if_failed", "connect_tcp", "encrypt"]

_EYEBALLS_SECONDS = 0.25
"""Until the next address is tried in parallel (RFC 8305, section 5)."""


@contextlib.asynccontextmanager
async def closed_if_failed(stream: trio.abc.Stream, attempt: Attempt) -> AsyncIterator[None]:
    """Close a stream at once if a step on it fails or is cancelled; raises `DialError`."""
    try:
        yield
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await trio.aclose_forcefully(stream)
        raise attempt.failed(error) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def encrypt(
    stream: trio.abc.Stream, context: ssl.SSLContext, host: str, attempt: Attempt
) -> trio.abc.Stream:
    """Return a stream with TLS over this one, verified for a host; raises `DialError`."""
    attempt.encrypting(host)
    async with closed_if_failed(stream, attempt):
        encrypted = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        await encrypted.do_handshake()
    return encrypted


async def connect_tcp(host: str, port: int, attempt: Attempt) -> trio.SocketStream:
    """Connect to the first address of a host that answers (Happy Eyeballs, RFC 8305).

    Raises `DialError` if there is none, with the reason of each.
    """
    attempt.resolving(host)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise attempt.failed(error) from error
    attempt.connecting(host)
    return trio.SocketStream(await _connect_first(in_order(found), attempt))


async def _connect_first(addresses: list[Address], attempt: Attempt) -> trio.socket.SocketType:
    """Connect to the first of these addresses that answers; raises `DialError` if none does.

    `trio.open_tcp_stream` names no addresses, and has no reasons at all if it is cancelled.
    """
    connected: list[trio.socket.SocketType] = []
    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(_connect, address, attempt, connected, failed, nursery)
                with trio.move_on_after(_EYEBALLS_SECONDS):
                    await failed.wait()
        if not connected:
            raise attempt.no_address_answers()
    except BaseException:
        for sock in connected:
            sock.close()
        raise
    attempt.connected()
    for sock in connected[1:]:
        sock.close()
    return connected[0]


async def _connect(
    address: Address,
    attempt: Attempt,
    connected: list[trio.socket.SocketType],
    failed: trio.Event,
    nursery: trio.Nursery,
) -> None:
    """Connect to one address; else note its reason, and let the next be tried at once."""
    attempt.trying(address)
    try:
        sock = trio.socket.socket(address.family, address.kind, address.protocol)
        try:
            await sock.connect(address.sockaddr)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        attempt.refused(address, error)
        failed.set()
        return
    connected.append(sock)
    nursery.cancel_scope.cancel()
