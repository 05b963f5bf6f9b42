"""Steps of a dial on any event loop: directly, through a proxy, or by a function of the caller."""

from __future__ import annotations

import abc
import inspect
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from gateway_dialing._attempt import Address, Attempt, in_order
from gateway_dialing._failures import DialError, is_failed_dial
from gateway_dialing._proxies import Proxy, ProxySetting, proxy_for
from gateway_dialing._tls import Tls
from gateway_dialing._tunnel import HttpTunnel
from gateway_proto import Config, Dial, LocalProtocolError
from gateway_proto._checks import rejected

__all__ = ["ADDRESS_DELAY", "NO_LIMIT", "BaseDialer", "check_proxy"]

ADDRESS_DELAY = 0.25
"""Seconds until the next address is tried in parallel (RFC 8305, section 5)."""
NO_LIMIT = 86400.0
"""Seconds given to a library that has its own time limit: the limit of the dial, which names the
step that it ended, comes first."""
SocketT = TypeVar("SocketT")
TransportT = TypeVar("TransportT")


def check_proxy(proxy: ProxySetting, connect: object, config: Config) -> None:
    """Raise `LocalProtocolError` for a proxy that cannot be used."""
    if connect is None:
        proxy_for(proxy, str(config.endpoint))
    elif isinstance(proxy, str):
        raise LocalProtocolError("proxy and connect exclude each other: give one of them")


class BaseDialer(abc.ABC, Generic[SocketT, TransportT]):
    """Event-loop-independent base of the adapters' `Dialer`.

    A dialer opens transports for the dials of one gateway, or of all shards. A dial takes at most
    `Config.handshake_timeout` seconds for all its steps together. Raises `LocalProtocolError` for a
    proxy that cannot be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        ssl_context: ssl.SSLContext | None,
        proxy: ProxySetting,
        connect: Callable[[Dial], Awaitable[object]] | None,
    ) -> None:
        self._timeout = config.handshake_timeout
        self._tls = Tls(ssl_context)
        self._proxy = proxy
        self._connect = connect
        check_proxy(proxy, connect, config)

    async def _open(self, dial: Dial, attempt: Attempt) -> TransportT:
        """Take all steps of a dial; raises `DialError`."""
        if self._connect is not None:
            transport = await self._call(self._connect, dial, attempt)
        elif (proxy := proxy_for(self._proxy, dial.url)) is not None:
            transport = await self.through_proxy(proxy, dial.host, dial.port, attempt)
        else:
            transport = await self._connect_tcp(dial.host, dial.port, attempt)
        if dial.tls:
            transport = await self.encrypt(transport, dial.host, attempt)
        return transport

    async def _call(
        self, connect: Callable[[Dial], Awaitable[object]], dial: Dial, attempt: Attempt
    ) -> TransportT:
        """Let the caller's function open the transport."""
        attempt.calling("connect")
        try:
            opening = connect(dial)
            if not inspect.isawaitable(opening):
                raise rejected("connect()", opening, "an awaitable, as an async function returns")
            return self._check_transport(await opening)
        except Exception as error:
            if not is_failed_dial(error):
                raise
            raise attempt.failed(error) from error

    async def _connect_tcp(self, host: str, port: int, attempt: Attempt) -> TransportT:
        return await self._from_socket(await self._connect_socket(host, port, attempt))

    async def _connect_socket(self, host: str, port: int, attempt: Attempt) -> SocketT:
        """Connect to the first address of a host that answers (Happy Eyeballs, RFC 8305).

        Raises `DialError` with the reason of each if all fail.
        """
        attempt.resolving(host)
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise attempt.failed(error) from error
        attempt.connecting(host)
        return await self._connect_first(in_order(found), attempt)

    async def through_proxy(
        self, proxy: Proxy, host: str, port: int, attempt: Attempt
    ) -> TransportT:
        """Return a transport to a host through a proxy; raises `DialError`."""
        attempt.through(str(proxy))
        if proxy.is_socks:
            sock = await self._through_socks(proxy, host, port, attempt)
            transport = await self._from_socket(sock)
        else:
            transport = await self._connect_tcp(proxy.host, proxy.port, attempt)
            if proxy.tls:
                transport = await self.encrypt(transport, proxy.host, attempt)
            tunnel = HttpTunnel(proxy, host, port)
            attempt.tunnelling(tunnel.authority)
            await self._open_tunnel(transport, tunnel, attempt)
        attempt.tunnelled()
        return transport

    async def _through_socks(self, proxy: Proxy, host: str, port: int, attempt: Attempt) -> SocketT:
        from python_socks import ProxyType

        forward: Any = _Forward(self._connect_socket, attempt, f"{host}:{port}")
        socks = self._socks_proxy_class()(
            ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else ProxyType.SOCKS4,
            proxy.host,
            proxy.port,
            proxy.username,
            proxy.password,
            proxy.resolves_names,
            forward=forward,
        )
        try:
            sock: SocketT = await socks.connect(host, port, timeout=NO_LIMIT)
        except DialError:
            raise
        except Exception as error:  # python-socks raises ValueError and others for some answers
            raise attempt.failed(error) from error
        return sock

    # ----- defined by the adapters -----

    @abc.abstractmethod
    def _check_transport(self, opened: object) -> TransportT:
        """Return what `connect` returned as a transport; raises `LocalProtocolError`."""

    @abc.abstractmethod
    async def _resolve(self, host: str, port: int) -> Any:
        """Return what `getaddrinfo` finds for stream sockets."""

    @abc.abstractmethod
    async def _connect_first(self, addresses: list[Address], attempt: Attempt) -> SocketT:
        """Connect to the first address that answers; raises `DialError` if none does."""

    @abc.abstractmethod
    async def _from_socket(self, sock: SocketT) -> TransportT:
        """Return a transport that owns a connected socket."""

    @abc.abstractmethod
    async def encrypt(self, transport: TransportT, host: str, attempt: Attempt) -> TransportT:
        """Return a transport with TLS over this one, verified for a host; raises `DialError`."""

    @abc.abstractmethod
    async def _open_tunnel(
        self, transport: TransportT, tunnel: HttpTunnel, attempt: Attempt
    ) -> None:
        """Send the request for a tunnel and receive the answer; raises `DialError`."""

    @abc.abstractmethod
    def _socks_proxy_class(self) -> Any:
        """Return the class of python-socks for this event loop."""


class _Forward(Generic[SocketT]):
    """Connection to a SOCKS proxy, by Happy Eyeballs instead of python-socks's own way."""

    def __init__(
        self,
        connect: Callable[[str, int, Attempt], Awaitable[SocketT]],
        attempt: Attempt,
        authority: str,
    ) -> None:
        self._connect = connect
        self._attempt = attempt
        self._authority = authority

    async def connect(self, dest_host: str, dest_port: int, **_: Any) -> SocketT:
        sock = await self._connect(dest_host, dest_port, self._attempt)
        self._attempt.tunnelling(self._authority)
        return sock
