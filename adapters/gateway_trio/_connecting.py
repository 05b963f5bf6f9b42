"""Connecting on trio: a socket to the first address that answers."""

from __future__ import annotations

import trio

from gateway_dialing import ADDRESS_DELAY, Address, Attempt

__all__ = ["connect_first"]


async def connect_first(addresses: list[Address], attempt: Attempt) -> trio.socket.SocketType:
    """Connect to the first of these addresses that answers; raises `DialError` if none does.

    `trio.open_tcp_stream` does not report the addresses, and no reasons if it is cancelled.
    """
    connected: list[trio.socket.SocketType] = []
    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(_connect, address, attempt, connected, failed, nursery)
                with trio.move_on_after(ADDRESS_DELAY):
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
    """Connect to one address. If that fails, note the reason and let the next be tried at once."""
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
