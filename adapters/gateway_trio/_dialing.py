"""Dial → stream on trio: directly, through a proxy, or by a function of the caller."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import trio

from gateway_dialing import Attempt, ProxySetting, Tls, is_failed_dial, proxy_for
from gateway_proto import Config, Dial, LocalProtocolError
from gateway_trio._connecting import connect_tcp, encrypt
from gateway_trio._proxying import through_proxy

__all__ = ["Connect", "Dialer"]

Connect = Callable[[Dial], Awaitable[trio.abc.Stream]]
"""Opens a stream of bytes to where a dial leads. TLS is added to it if `Dial.tls` asks for it."""


class Dialer:
    """Opens streams for the dials of one gateway, or of a fleet of shards.

    A dial takes at most `Config.handshake_timeout` seconds, all its steps together. Raises
    `LocalProtocolError` for a proxy that cannot be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        ssl_context: ssl.SSLContext | None,
        proxy: ProxySetting,
        connect: Connect | None,
    ) -> None:
        self._timeout = config.handshake_timeout
        self._tls = Tls(ssl_context)
        self._proxy = proxy
        self._connect = connect
        if connect is None:
            proxy_for(proxy, str(config.endpoint))
        elif isinstance(proxy, str):
            raise LocalProtocolError("proxy and connect exclude each other: give one of them")

    async def open(self, dial: Dial) -> trio.abc.Stream:
        """Open a stream; raises `DialError` with the reason of each address."""
        attempt = Attempt()
        with trio.move_on_after(self._timeout):
            return await self._open(dial, attempt)
        raise attempt.timed_out(self._timeout)

    async def _open(self, dial: Dial, attempt: Attempt) -> trio.abc.Stream:
        if self._connect is not None:
            stream = await self._by_caller(self._connect, dial, attempt)
        elif (proxy := proxy_for(self._proxy, dial.url)) is not None:
            stream = await through_proxy(proxy, dial.host, dial.port, self._tls, attempt)
        else:
            stream = await connect_tcp(dial.host, dial.port, attempt)
        if dial.tls:
            stream = await encrypt(stream, self._tls.context, dial.host, attempt)
        return stream

    async def _by_caller(self, connect: Connect, dial: Dial, attempt: Attempt) -> trio.abc.Stream:
        attempt.calling("connect")
        try:
            stream: object = await connect(dial)
        except Exception as error:
            if not is_failed_dial(error):
                raise
            raise attempt.failed(error) from error
        if not isinstance(stream, trio.abc.Stream):
            raise LocalProtocolError(
                f"connect returned {stream!r:.100}: expected a trio.abc.Stream"
            )
        return stream
