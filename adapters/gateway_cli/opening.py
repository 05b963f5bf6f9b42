"""Transports for `doctor`, with a report of each step: name, connect, proxy, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, NoReturn

import attrs

from gateway_asyncio._connecting import as_transport, connect_first
from gateway_asyncio._dialing import Dialer
from gateway_asyncio._resolving import resolve
from gateway_cli import doctor_hints
from gateway_cli.words import reason_of
from gateway_dialing import Attempt, DialError, ProxySetting, in_order, proxy_for
from gateway_proto import Config
from gateway_proto.urls import Url

__all__ = ["Failed", "Finding", "Opener", "Steps"]


@attrs.frozen
class Finding:
    """Result of one step."""

    step: str
    good: bool
    text: str
    milliseconds: float
    hint: str = ""
    """Hint if the step failed."""


class Failed(Exception):
    """Failure of a step, already reported."""


class Steps:
    """Report of steps; calls `begin` before a step and `report` with its finding."""

    def __init__(self, report: Callable[[Finding], None], begin: Callable[[str], None]) -> None:
        self._report = report
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._began = 0.0

    def next(self, step: str) -> None:
        self._began = self._loop.time()
        self._begin(step)

    def good(self, step: str, text: str) -> None:
        self._report(Finding(step, True, text, self._took()))

    def bad(self, step: str, text: str, hint: str) -> NoReturn:
        self._report(Finding(step, False, text, self._took(), hint))
        raise Failed

    def _took(self) -> float:
        return round((self._loop.time() - self._began) * 1000, 1)


class Opener:
    """Opener of transports, as in the adapters, with a report of each step."""

    def __init__(
        self,
        config: Config,
        steps: Steps,
        proxy: ProxySetting,
        context: ssl.SSLContext | None,
    ) -> None:
        self._config = config
        self._proxy = proxy
        self._dialer = Dialer(config, ssl_context=context, proxy=proxy, connect=None)
        self._loop = asyncio.get_running_loop()
        self._next, self._good, self._bad = steps.next, steps.good, steps.bad

    async def open(self, url: Url) -> asyncio.Transport:
        """Open a transport; raises `Failed`."""
        transport = await self._transport(url)
        if url.tls:
            transport = await self._encrypted(transport, url)
            self._good("TLS", _of_session(transport.get_extra_info("ssl_object")))
        return transport

    async def _transport(self, url: Url) -> asyncio.Transport:
        proxy = proxy_for(self._proxy, str(url))
        if proxy is None:
            return await as_transport(await self._connect(url, await self._resolve(url)))
        self._next("proxy")
        attempt, seconds = Attempt(), self._config.handshake_timeout
        try:
            async with asyncio.timeout(seconds):
                opened = await self._dialer.through_proxy(proxy, url.host, url.port, attempt)
        except TimeoutError:
            self._bad("proxy", str(attempt.timed_out(seconds)), doctor_hints.PROXY)
        except DialError as error:
            self._bad("proxy", str(error), doctor_hints.PROXY)
        self._good("proxy", f"a tunnel through {proxy}")
        return opened

    async def _encrypted(self, transport: asyncio.Transport, url: Url) -> asyncio.Transport:
        self._next("TLS")
        try:
            async with asyncio.timeout(self._config.handshake_timeout):
                return await self._dialer.encrypt(transport, url.host, Attempt())
        except OSError as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            self._bad("TLS", _words(cause), doctor_hints.tls_hint(cause))

    async def _resolve(self, url: Url) -> list[Any]:
        self._next("name")
        try:
            async with asyncio.timeout(self._config.handshake_timeout):
                found: list[Any] = await resolve(url.host, url.port)
        except (OSError, UnicodeError) as error:
            reason = error if isinstance(error, OSError) else OSError(str(error))
            self._bad("name", f"{url.host}: {_words(reason)}", doctor_hints.dns_hint(reason))
        addresses = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
        is_one = addresses == url.host
        self._good("name", f"{url.host} is {'an IP address' if is_one else addresses}")
        return found

    async def _connect(self, url: Url, found: list[Any]) -> socket.socket:
        self._next("connect")
        attempt = Attempt()
        try:
            async with asyncio.timeout(self._config.handshake_timeout):
                sock = await connect_first(in_order(found), attempt)
        except OSError:  # the attempt has the reason of each address
            failures = _failures(attempt)
            every = "; ".join(f"{where}: {_words(error)}" for where, error in failures)
            hint = doctor_hints.connect_hint(failures[0][1])
            self._bad("connect", f"port {url.port} of {every}", hint)
        where = sock.getpeername()[0]
        also = "; ".join(
            f"not {one}: {_words(error)}" for one, error in _failures(attempt) if one != where
        )
        text = f"{where} port {url.port}"
        self._good("connect", f"{text} ({also})" if also else text)
        return sock


def _failures(attempt: Attempt) -> list[tuple[str, OSError]]:
    return [(one.sockaddr[0], reason or TimeoutError()) for one, reason in attempt.tried.items()]


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    text = error.strerror or str(error) if isinstance(error, ssl.SSLError) else reason_of(error)
    return text or "it took too long"


def _of_session(tls: ssl.SSLObject) -> str:
    certificate: Any = tls.getpeercert() or {}
    # The names of a directory are tuples.
    names = [value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str)]
    issuer = [value for parts in certificate.get("issuer", ()) for _, value in parts]
    return (
        f"{tls.version()}; a certificate for {', '.join(names[:3])}"
        f" by {issuer[-1] if issuer else 'nobody'}, until {certificate.get('notAfter')}"
    )
