"""Listener on asyncio that keeps accepting after it ran out of file descriptors.

`loop.create_server` calls accept() `backlog` times in a row, and logs a traceback for each failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from gateway_dialing import AcceptErrors

__all__ = ["Listener", "open_listener"]

_BACKLOG = 1024
"""Connections that the system queues: a bot with many shards opens all of them at once."""
_AT_ONCE = 32
"""Maximum number of connections to accept in a row, before others are served."""
_UNAVAILABLE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of an address that the system does not have, or of a system without IPv6."""


class Listener:
    """Listening sockets, and the tasks that accept connections."""

    def __init__(
        self,
        sockets: list[socket.socket],
        protocol: Callable[[], asyncio.BaseProtocol],
        ssl_context: ssl.SSLContext | None,
        handshake_timeout: float,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._sockets = sockets
        self._protocol = protocol
        self._ssl_context = ssl_context
        self._handshake_timeout = None if ssl_context is None else handshake_timeout
        self._loop = asyncio.get_running_loop()
        self._errors = AcceptErrors()
        self._on_error = on_error
        self._tasks: set[asyncio.Task[None]] = set()
        for listening in sockets:
            self._start(self._accept(listening))

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the first socket."""
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    async def close(self) -> None:
        """Stop accepting, and drop the connections that are in a TLS handshake."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        try:
            # A task may end with an error of its connection, which no longer matters.
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for listening in self._sockets:
                listening.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _open(self, accepted: socket.socket) -> None:
        """Make the transport of a connection that was accepted."""
        task = self._start(self._connect(accepted))
        task.add_done_callback(functools.partial(self._on_opened, accepted))

    def _on_opened(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        """Close a connection without a transport. Its task may have been cancelled at once."""
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            accepted.close()
        # A client may disconnect or not finish the TLS handshake: not an error of the server.
        if error is not None and not isinstance(error, OSError):
            self._on_error(error)

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                await self._until_readable(listening)
                for _ in range(_AT_ONCE):
                    accepted, _ = listening.accept()
                    accepted.setblocking(False)
                    self._open(accepted)
            except BlockingIOError:
                pass
            except OSError as error:
                await asyncio.sleep(self._errors.pause(error, now=self._loop.time()))

    async def _until_readable(self, listening: socket.socket) -> None:
        """Wait until a connection can be accepted.

        `loop.sock_accept` would lose a connection that is accepted as its task is cancelled.
        """
        readable = self._loop.create_future()
        try:
            self._loop.add_reader(listening, _set_readable, readable)
        except NotImplementedError:  # the event loop of Windows
            accepted, _ = await self._loop.sock_accept(listening)
            self._open(accepted)
            return
        try:
            await readable
        finally:
            self._loop.remove_reader(listening)

    async def _connect(self, accepted: socket.socket) -> None:
        await self._loop.connect_accepted_socket(
            self._protocol,
            accepted,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._handshake_timeout,
        )


def _set_readable(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


async def open_listener(
    protocol: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None,
    handshake_timeout: float,
    on_error: Callable[[BaseException], None],
) -> Listener:
    """Listen on every address of a host, all with one port; raises OSError if none is available.

    `on_error` gets an exception that is not due to the client, such as one of the TLS context.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    failed: OSError | None = None
    with contextlib.ExitStack() as stack:
        for family, _, _, _, address in dict.fromkeys(found):
            # A free port is the same for all addresses: clients try them in any order.
            bound = sockets[0].getsockname()[1] if sockets else port
            try:
                opened = socket.create_server(
                    (address[0], bound, *address[2:]), family=family, backlog=_BACKLOG
                )
            except OSError as error:
                if error.errno not in _UNAVAILABLE:
                    raise
                failed = error
                continue
            stack.enter_context(opened)
            opened.setblocking(False)
            sockets.append(opened)
        if not sockets:
            raise failed or OSError(f"{host} has no address")
        stack.pop_all()
    return Listener(sockets, protocol, ssl_context, handshake_timeout, on_error)
