"""Dialing on trio: directly, through a proxy, or by a function of the caller."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio

from gateway_dialing import Address, Attempt, BaseDialer, HttpTunnel
from gateway_proto import Dial, LocalProtocolError
from gateway_proto._checks import shown
from gateway_trio._connecting import connect_first

__all__ = ["Connect", "Dialer"]

Connect = Callable[[Dial], Awaitable[trio.abc.Stream]]
"""Opens a stream of bytes to the host of a dial. TLS is added to it if `Dial.tls` is True."""
_CHUNK = 4096


class Dialer(BaseDialer[trio.socket.SocketType, trio.abc.Stream]):
    """Opener of streams for the dials of one gateway, or of all shards."""

    async def open(self, dial: Dial) -> trio.abc.Stream:
        """Open a stream; raises `DialError` with the reason of each address."""
        attempt = Attempt()
        with trio.move_on_after(self._timeout):
            return await self._open(dial, attempt)
        raise attempt.timed_out(self._timeout)

    def _check_transport(self, opened: object) -> trio.abc.Stream:
        if not isinstance(opened, trio.abc.Stream):
            raise LocalProtocolError(
                f"connect returned {shown(opened)}: expected a trio.abc.Stream"
            )
        return opened

    async def _resolve(self, host: str, port: int) -> Any:
        return await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)

    async def _connect_first(
        self, addresses: list[Address], attempt: Attempt
    ) -> trio.socket.SocketType:
        return await connect_first(addresses, attempt)

    async def _from_socket(self, sock: trio.socket.SocketType) -> trio.abc.Stream:
        return trio.SocketStream(sock)

    async def encrypt(
        self, transport: trio.abc.Stream, host: str, attempt: Attempt
    ) -> trio.abc.Stream:
        attempt.encrypting(host)
        async with _closed_if_failed(transport, attempt):
            encrypted = trio.SSLStream(
                transport, self._tls.context, server_hostname=host, https_compatible=True
            )
            await encrypted.do_handshake()
        return encrypted

    async def _open_tunnel(
        self, transport: trio.abc.Stream, tunnel: HttpTunnel, attempt: Attempt
    ) -> None:
        async with _closed_if_failed(transport, attempt):
            await transport.send_all(tunnel.request)
            while not tunnel.receive(bytes(await transport.receive_some(_CHUNK))):
                pass

    def _socks_proxy_class(self) -> Any:
        from python_socks.async_.trio import Proxy

        return Proxy


@contextlib.asynccontextmanager
async def _closed_if_failed(stream: trio.abc.Stream, attempt: Attempt) -> AsyncIterator[None]:
    """Close a stream at once if a step on it fails or is cancelled; raises `DialError`."""
    try:
        yield
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await trio.aclose_forcefully(stream)
        raise attempt.failed(error) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
