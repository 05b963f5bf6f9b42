"""a config without a token → what is found on the road to a gateway, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, NoReturn

import attrs

from gateway_cli import advice
from gateway_cli.show import describe
from gateway_proto import (
    ClientConnection,
    Closed,
    Config,
    Connection,
    GatewayFound,
    Hello,
    LookupConnection,
    Opened,
    State,
    Url,
)

__all__ = ["Finding", "Probe"]


@attrs.frozen
class Finding:
    """What one step came to."""

    step: str
    good: bool
    text: str
    milliseconds: float
    advice: str = ""
    """What to do, where it is not good."""


class _Failed(Exception):
    """A step failed, and was told; there is no next one."""


class _Stream:
    """An open transport, and a connection that is driven over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self.silent = False
        """Whether it ended since nothing came."""

    async def drive(self, connection: Connection[Any, Any]) -> AsyncGenerator[Any, None]:
        """Its events, each before what it makes the connection send is sent."""
        while True:
            for event in connection.events():
                yield event
            self._writer.write(connection.data_to_send())
            if _is_over(connection):
                return
            try:
                async with asyncio.timeout_at(connection.next_timer()):
                    data = await self._reader.read(65536)
            except TimeoutError:
                connection.handle_timer(now=self._loop.time())
                self.silent = _is_over(connection)
                continue
            except OSError:
                data = b""
            if data:
                connection.receive_data(data, now=self._loop.time())
            else:
                connection.receive_eof(now=self._loop.time())


def _is_over(connection: Connection[Any, Any]) -> bool:
    return connection.state is State.CLOSED


class Probe:
    """Goes the road; `tell` is called with what is found, `begin` with what is tried next."""

    def __init__(
        self, config: Config, tell: Callable[[Finding], None], begin: Callable[[str], None]
    ) -> None:
        self._config = config
        self._tell = tell
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._began = 0.0

    async def run(self) -> bool:
        """From the lookup to HELLO; returns whether all is well."""
        try:
            url = self._config.endpoint
            if self._config.gateway_url is None:
                url = await self._look_up(url)
            await self._greet(url)
        except _Failed:
            return False
        return True

    async def _look_up(self, url: Url) -> Url:
        async with self._stream(url) as stream:
            self._next("lookup")
            found = None
            now = self._loop.time()
            connection = LookupConnection(self._config, url, now=now)
            async with contextlib.aclosing(stream.drive(connection)) as events:
                async for event in events:
                    match event:
                        case GatewayFound():
                            found = event.url
                        case Closed() if found is None:
                            what = advice.of_answer(event, silent=stream.silent)
                            self._bad("lookup", f"{url}: {event.error}", what)
            self._good("lookup", f"{url} names {found}")
        gateway, why = self._config.trust.check(found or "")
        if gateway is None:
            self._bad("trust", f"a client will not go to {found}: {why}", advice.TRUST)
        return gateway

    async def _greet(self, url: Url) -> None:
        async with self._stream(url) as stream:
            step = "WebSocket"
            self._next(step)
            connection = ClientConnection(self._config, url, now=self._loop.time())
            async with contextlib.aclosing(stream.drive(connection)) as events:
                async for event in events:
                    match event:
                        case Opened():
                            self._good(step, f"open at {url.host_header}{event.path}")
                            step = "HELLO"
                            self._next(step)
                            if not self._config.dialect.greets:
                                # What comes next is the token, and there is none.
                                self._good(step, "this version has none: more needs a token")
                                return
                        case Hello():
                            self._good(step, f"a heartbeat every {event.heartbeat_interval} ms")
                            step = "close"
                            self._next(step)
                            connection.close(now=self._loop.time())
                        case Closed() if step == "close":
                            self._good(step, describe(event))
                        case Closed():
                            of = advice.of_upgrade if step == "WebSocket" else advice.of_hello
                            self._bad(step, describe(event), of(event, silent=stream.silent))

    # ----- to a transport -----

    @contextlib.asynccontextmanager
    async def _stream(self, url: Url) -> AsyncIterator[_Stream]:
        sock = await self._connect(url, await self._resolve(url))
        context = ssl.create_default_context() if url.tls else None
        self._next("TLS")
        try:
            async with asyncio.timeout(self._config.handshake_timeout):
                reader, writer = await asyncio.open_connection(
                    sock=sock, ssl=context, server_hostname=url.host if url.tls else None
                )
        except OSError as error:
            sock.close()
            self._bad("TLS", _words(error), advice.of_tls(error))
        try:
            if url.tls:
                self._good("TLS", _of_session(writer.get_extra_info("ssl_object")))
            yield _Stream(reader, writer)
        finally:
            writer.transport.abort()

    async def _resolve(self, url: Url) -> list[Any]:
        self._next("name")
        try:
            async with asyncio.timeout(self._config.handshake_timeout):
                found = await self._loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = error if isinstance(error, OSError) else OSError(str(error))
            self._bad("name", f"{url.host}: {_words(why)}", advice.of_name(why))
        addresses = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
        is_one = addresses == url.host
        self._good("name", f"{url.host} is {'an address already' if is_one else addresses}")
        return found

    async def _connect(self, url: Url, found: list[Any]) -> socket.socket:
        self._next("connect")
        failures: list[tuple[str, OSError]] = []
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                async with asyncio.timeout(self._config.handshake_timeout):
                    await self._loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failures.append((address[0], error))
                continue
            text = f"{address[0]} port {url.port}"
            also = "; ".join(f"not {where}: {_words(error)}" for where, error in failures)
            self._good("connect", f"{text} ({also})" if also else text)
            return sock
        _, first = failures[0]
        every = "; ".join(f"{where}: {_words(error)}" for where, error in failures)
        self._bad("connect", f"port {url.port} of {every}", advice.of_address(first))

    # ----- what is told -----

    def _next(self, step: str) -> None:
        self._began = self._loop.time()
        self._begin(step)

    def _good(self, step: str, text: str) -> None:
        self._tell(Finding(step, True, text, self._took()))

    def _bad(self, step: str, text: str, what_to_do: str) -> NoReturn:
        self._tell(Finding(step, False, text, self._took(), what_to_do))
        raise _Failed

    def _took(self) -> float:
        return round((self._loop.time() - self._began) * 1000, 1)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    # The loop's words for a refused connection repeat the address; the system's do not.
    if error.errno is not None and error.errno > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or str(error) or "it took too long"


def _of_session(tls: ssl.SSLObject) -> str:
    certificate: Any = tls.getpeercert() or {}
    names = [value for _, value in certificate.get("subjectAltName", ())]
    issuer = [value for parts in certificate.get("issuer", ()) for _, value in parts]
    return (
        f"{tls.version()}; a certificate for {', '.join(names[:3])}"
        f" by {issuer[-1] if issuer else 'nobody'}, until {certificate.get('notAfter')}"
    )
