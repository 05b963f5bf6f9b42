"""Connection to a server of NATS: it is opened again whenever it is lost, and answers requests.

nats-py connects once here. Its own reconnection waits until what was written is sent, which may be
never if the network is cut off, and it sends the requests of that time late.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client

from gateway_fleet._nats_address import NatsAddress
from gateway_fleet._nats_link import NatsLink, connect, discard
from gateway_fleet._runtime import Notifier
from gateway_fleet.store import StoreError

__all__ = ["NatsConnection"]

_RETRY_SECONDS = (0.02, 0.1, 0.5)
_RESERVED = 16 * 2**10
"""Bytes of a message that are left for its headers."""


class NatsConnection:
    """Requests to a server, over whichever connection there is.

    Each call waits for a connection as long as it takes: limit its time.
    """

    def __init__(
        self, address: NatsAddress, *, timeout: float, ssl_context: ssl.SSLContext | None
    ) -> None:
        if address.tls and ssl_context is None:
            # Once, not for each attempt: it blocks the event loop for 50 ms.
            ssl_context = ssl.create_default_context()
        self.opened = 0
        """Number of connections so far."""
        self._address = address
        self._timeout = timeout
        self._ssl_context = ssl_context
        self._reason = ""
        self._link: NatsLink | None = None
        self._opened = Notifier()
        self._numbers = 0
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, again after each loss. Raises `StoreError` if the first attempt fails."""
        self._link, self._opened = None, Notifier()
        tried = asyncio.Event()
        self._task = asyncio.create_task(self._run(tried))
        await tried.wait()
        if self._link is None:
            raise StoreError(self._reason)

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def reason(self) -> str:
        """Reason of the last failed request or connection; empty if that is not known."""
        return self._reason

    def renew(self) -> None:
        """Give the present connection up: it may be dead without a sign."""
        if self._link is not None:
            self._link.lost.set()

    async def connected(self) -> int:
        """Wait for a connection; return its number."""
        await self._connected()
        return self.opened

    async def max_size(self) -> int:
        """Return the maximum bytes of a message, apart from its headers."""
        return int((await self._connected()).client.max_payload) - _RESERVED

    async def request(
        self, subject: str, *data: bytes, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Return the message that answers a request, whose data may be in parts."""
        return (await self._answers(subject, data, headers or {}, lambda _: True))[0]

    async def collect(self, subject: str, data: bytes) -> list[Any]:
        """Return the messages that answer a request; the last has a status and no data."""
        return await self._answers(subject, (data,), {}, _is_status)

    async def listen(self, subject: str, notify: Callable[[Any], object]) -> None:
        """Call `notify` with each message, until cancelled."""

        async def on_message(message: Any) -> None:
            notify(message)

        while True:
            link = await self._connected()
            with contextlib.suppress(nats.errors.Error, OSError):
                subscription = await link.client.subscribe(subject, cb=on_message)
                try:
                    await link.lost.wait()
                finally:
                    with contextlib.suppress(nats.errors.Error, OSError):
                        await subscription.unsubscribe()
            await link.lost.wait()

    async def _answers(
        self,
        subject: str,
        data: Sequence[bytes],
        headers: Mapping[str, str],
        is_last: Callable[[Any], bool],
    ) -> list[Any]:
        """Return the messages that answer a request, up to the last one."""
        link = await self._connected()
        self._numbers += 1
        name = str(self._numbers)
        answers: asyncio.Queue[Any] = asyncio.Queue()
        link.asking[name] = subject, answers
        messages = []
        try:
            await link.publish(subject, f"{link.inbox}.{name}", headers, data)
            while True:
                message = await answers.get()
                if isinstance(message, StoreError):
                    raise message
                messages.append(message)
                if is_last(message):
                    return messages
        except (nats.errors.Error, OSError) as error:
            raise StoreError(f"{type(error).__name__}: {error}") from None
        finally:
            del link.asking[name]

    async def _connected(self) -> NatsLink:
        while self._link is None or self._link.lost.is_set():
            await self._opened.wait()
        return self._link

    def _on_error(self, error: Exception) -> None:
        # It follows the errors of the servers.
        if not isinstance(error, nats.errors.NoServersError):
            self._reason = f"{type(error).__name__}: {error}".removesuffix(": ")

    async def _run(self, tried: asyncio.Event) -> None:
        failures = 0
        while True:
            client = Client()
            try:
                link = await connect(
                    client,
                    self._address,
                    timeout=self._timeout,
                    ssl_context=self._ssl_context,
                    on_error=self._on_error,
                )
                failures = 0
                self.opened += 1
                self._link = link
                self._reason = ""
                self._opened.notify()
                tried.set()
                await link.until_lost()
            except Exception as error:  # also of a server that is not one of NATS
                self._on_error(error)
                tried.set()
                await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1
            finally:
                await discard(client)


def _is_status(message: Any) -> bool:
    return not message.data and "Status" in (message.headers or {})
