"""Proxy, host, port → transport on asyncio: a tunnel through an HTTP or SOCKS proxy."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from gateway_asyncio._connecting import Opening, as_transport, connect_tcp, encrypt
from gateway_dialing import Attempt, DialError, HttpTunnel, Proxy, Tls

__all__ = ["through_proxy"]


async def through_proxy(
    proxy: Proxy, host: str, port: int, tls: Tls, attempt: Attempt
) -> asyncio.Transport:
    """Return a transport to a host through a proxy; raises `DialError`."""
    attempt.through(str(proxy))
    if proxy.is_socks:
        transport = await as_transport(await _through_socks(proxy, host, port, attempt))
    else:
        transport = await as_transport(await connect_tcp(proxy.host, proxy.port, attempt))
        if proxy.tls:
            transport = await encrypt(transport, tls.context, proxy.host, attempt)
        await _tunnel(transport, HttpTunnel(proxy, host, port), attempt)
    attempt.tunnelled()
    return transport


async def _tunnel(transport: asyncio.Transport, tunnel: HttpTunnel, attempt: Attempt) -> None:
    attempt.tunnelling(tunnel.authority)
    protocol = transport.get_protocol()
    assert isinstance(protocol, Opening)
    try:
        transport.write(tunnel.request)
        while not tunnel.receive(await protocol.read()):
            pass
    except DialError as error:
        transport.abort()
        raise attempt.failed(error) from error
    except BaseException:
        transport.abort()
        raise


class _Direct:
    """Stands where python-socks connects to a proxy by itself, without Happy Eyeballs."""

    def __init__(self, attempt: Attempt, authority: str) -> None:
        self._attempt = attempt
        self._authority = authority

    async def connect(self, dest_host: str, dest_port: int, **_: Any) -> socket.socket:
        sock = await connect_tcp(dest_host, dest_port, self._attempt)
        self._attempt.tunnelling(self._authority)
        return sock


async def _through_socks(proxy: Proxy, host: str, port: int, attempt: Attempt) -> socket.socket:
    from python_socks import ProxyType
    from python_socks.async_.asyncio import Proxy as SocksProxy

    direct: Any = _Direct(attempt, f"{host}:{port}")
    socks = SocksProxy(
        ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else ProxyType.SOCKS4,
        proxy.host,
        proxy.port,
        proxy.username,
        proxy.password,
        proxy.resolves_names,
        forward=direct,
    )
    try:
        # python-socks has a limit of its own: the one of the dial names the step that it was in.
        return await socks.connect(host, port, timeout=86400.0)
    except DialError:
        raise
    except Exception as error:  # python-socks raises ValueError and others for some answers
        raise attempt.failed(error) from error
