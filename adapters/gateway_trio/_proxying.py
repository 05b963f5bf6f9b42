"""Proxy, host, port → stream on trio: a tunnel through an HTTP or SOCKS proxy."""

from __future__ import annotations

from typing import Any

import trio

from gateway_dialing import Attempt, DialError, HttpTunnel, Proxy, Tls
from gateway_trio._connecting import closed_if_failed, connect_tcp, encrypt

__all__ = ["through_proxy"]

_CHUNK = 4096


async def through_proxy(
    proxy: Proxy, host: str, port: int, tls: Tls, attempt: Attempt
) -> trio.abc.Stream:
    """Return a stream to a host through a proxy; raises `DialError`."""
    attempt.through(str(proxy))
    if proxy.is_socks:
        stream: trio.abc.Stream = await _through_socks(proxy, host, port, attempt)
    else:
        stream = await connect_tcp(proxy.host, proxy.port, attempt)
        if proxy.tls:
            stream = await encrypt(stream, tls.context, proxy.host, attempt)
        await _tunnel(stream, HttpTunnel(proxy, host, port), attempt)
    attempt.tunnelled()
    return stream


async def _tunnel(stream: trio.abc.Stream, tunnel: HttpTunnel, attempt: Attempt) -> None:
    attempt.tunnelling(tunnel.authority)
    async with closed_if_failed(stream, attempt):
        await stream.send_all(tunnel.request)
        while not tunnel.receive(bytes(await stream.receive_some(_CHUNK))):
            pass


class _Direct:
    """Stands where python-socks connects to a proxy by itself, without Happy Eyeballs."""

    def __init__(self, attempt: Attempt, authority: str) -> None:
        self._attempt = attempt
        self._authority = authority

    async def connect(self, dest_host: str, dest_port: int, **_: Any) -> trio.socket.SocketType:
        stream = await connect_tcp(dest_host, dest_port, self._attempt)
        self._attempt.tunnelling(self._authority)
        return stream.socket


async def _through_socks(proxy: Proxy, host: str, port: int, attempt: Attempt) -> trio.SocketStream:
    from python_socks import ProxyType
    from python_socks.async_.trio import Proxy as SocksProxy

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
        return trio.SocketStream(await socks.connect(host, port, timeout=86400.0))
    except DialError:
        raise
    except Exception as error:  # python-socks raises ValueError and others for some answers
        raise attempt.failed(error) from error
