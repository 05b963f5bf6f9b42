"""Dial → stream on trio: addresses in a race, then TLS; each failure with its reason."""

from __future__ import annotations

from typing import Protocol

import trio

from gateway_dialing import Address, Attempt, Tls, in_order

__all__ = ["Dialer", "connect_tcp"]

_EYEBALLS_SECONDS = 0.25
"""Until the next address is tried in parallel (RFC 8305, section 5)."""


class Target(Protocol):
    """Where a stream leads to: a `Dial`, or a URL."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> bool: ...


class Dialer:
    """Opens streams for the dials of one gateway, or of a fleet of shards.

    A dial takes at most `timeout` seconds, all its steps together.
    """

    def __init__(self, tls: Tls, *, timeout: float) -> None:
        self._tls = tls
        self._timeout = timeout

    async def open(self, target: Target) -> trio.abc.Stream:
        """Open a stream; raises `DialError` with the reason of each address."""
        attempt = Attempt()
        with trio.move_on_after(self._timeout):
            return await self._open(target, attempt)
        raise attempt.timed_out(self._timeout)

    async def _open(self, target: Target, attempt: Attempt) -> trio.abc.Stream:
        stream: trio.abc.Stream = await connect_tcp(target.host, target.port, attempt)
        if target.tls:
            attempt.encrypting(target.host)
            stream = await self._encrypted(stream, target.host, attempt)
        return stream

    async def _encrypted(
        self, stream: trio.abc.Stream, host: str, attempt: Attempt
    ) -> trio.abc.Stream:
        try:
            encrypted = trio.SSLStream(
                stream, self._tls.context, server_hostname=host, https_compatible=True
            )
            await encrypted.do_handshake()
        except (OSError, trio.BrokenResourceError) as error:
            await trio.aclose_forcefully(stream)
            raise attempt.failed(error) from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
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
