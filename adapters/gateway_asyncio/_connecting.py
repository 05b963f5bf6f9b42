"""Addresses → transport on asyncio: the first address that answers."""

from __future__ import annotations

import asyncio
import socket

from gateway_dialing import ADDRESS_DELAY, Address, Attempt

__all__ = ["Opening", "as_transport", "connect_first"]


class Opening(asyncio.Protocol):
    """Protocol of a transport during the dial; buffers the data that arrives."""

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
        """Return the data that has arrived, at least one byte; b"" is the end of the stream."""
        while not self.received and not self._is_over:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self.received)
        self.received.clear()
        return data


async def as_transport(sock: socket.socket) -> asyncio.Transport:
    """Return a transport that owns a connected socket."""
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(Opening, sock=sock)
    except BaseException:
        sock.close()
        raise
    return transport


async def connect_first(addresses: list[Address], attempt: Attempt) -> socket.socket:
    """Connect to the first of these addresses that answers; raises `DialError` if none does.

    asyncio's own `happy_eyeballs_delay` does not report the addresses, and nothing in a timeout.
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
                timeout=ADDRESS_DELAY if untried else None,
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
    """Connect to one address. If that fails, note the reason and return None."""
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
    """Close the socket of a task that connected after another one."""
    if not task.cancelled() and (sock := task.result()) is not None:
        sock.close()
