"""Config → events: a client's whole life on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import attrs

from gateway_asyncio._pump import Pump
from gateway_proto import (
    Client,
    Closed,
    Command,
    Config,
    Connection,
    Dial,
    Event,
    LocalProtocolError,
    Session,
    State,
    session_after,
)

__all__ = ["Gateway", "open_gateway"]


class Gateway:
    """A client that stays connected. Iterate over it for its events."""

    def __init__(
        self,
        config: Config,
        session: Session | None,
        ssl_context: ssl.SSLContext | None,
        queue_limit: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        given_random, given_offset = config.random, config.unix_offset
        config = attrs.evolve(
            config,
            random=given_random or random.random,
            unix_offset=time.time() - self._loop.time() if given_offset is None else given_offset,
        )
        self._config = config
        self._client = Client(config, session=session)
        self._session = session
        self._ssl_context = ssl_context
        self._queue: deque[Event] = deque()
        self._queue_limit = queue_limit
        self._handling: Event | None = None
        self._pump: Pump | None = None
        self._life: asyncio.Task[None] | None = None
        self._stopping = False
        self._over = False
        self._news = asyncio.Event()
        self._sendable = asyncio.Event()

    # ----- for the user -----

    def __aiter__(self) -> Gateway:
        return self

    async def __anext__(self) -> Event:
        self._handled()
        while not self._queue:
            if self._over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        self._handling = self._queue.popleft()
        if self._pump is not None and len(self._queue) <= self._queue_limit // 2:
            self._pump.resume()
        return self._handling

    async def send(self, command: Command) -> None:
        """Send a command, once the connection is READY; see `ClientConnection.send`.

        Raises `LocalProtocolError` for what cannot be sent, and where the life is over.
        """
        while not self._over:
            if self._pump is not None and self.state is State.READY:
                assert self._pump.connection is not None
                self._pump.connection.send(command, now=self._loop.time())
                self._pump.turn()
                return
            self._sendable.clear()
            await self._sendable.wait()
        raise LocalProtocolError("the gateway is closed for good: nothing can be sent any more")

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close, and dial no more; the session stays resumable, or not. The events then end."""
        self._stopping = True
        self._client.stop(keep_session=keep_session, now=self._loop.time())
        if self._pump is not None:
            self._pump.resume()
            self._pump.turn()
            await asyncio.wait([self._pump.closed])
        elif self._life is not None:
            self._life.cancel()  # it waits for a dial, or for the time of one
        if not keep_session:
            self._session = None
            self._handling = None

    @property
    def session(self) -> Session | None:
        """As of the last event *handled*: one counts as handled when the next is asked for."""
        return self._session

    @property
    def state(self) -> State | None:
        """Where the present connection is; None while there is none."""
        connection = self._client.connection
        return None if connection is None else connection.state

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        return self._client.latency

    @property
    def gave_up(self) -> str | None:
        """Why the client dials no more; None while it lives, and after `stop`."""
        return self._client.gave_up

    @property
    def last_closed(self) -> Closed | None:
        """How the last connection ended."""
        return self._client.last_closed

    # ----- the life -----

    async def live(self) -> None:
        """Dial, and pump, until the client dials no more."""
        self._life = asyncio.current_task()
        try:
            while (dial := self._client.next_dial()) is not None:
                self._take(self._client.events())
                await asyncio.sleep(max(0.0, dial.at - self._loop.time()))
                if self._client.next_dial() is dial:  # not stopped meanwhile
                    await self._connect(dial)
        finally:
            self._over = True
            self._take(self._client.events())
            self._sendable.set()
            self._news.set()

    async def _connect(self, dial: Dial) -> None:
        pump = Pump(self._dialled, self._deliver)
        context = (self._ssl_context or ssl.create_default_context()) if dial.tls else None
        try:
            async with asyncio.timeout(self._config.handshake_timeout):
                await self._loop.create_connection(lambda: pump, dial.host, dial.port, ssl=context)
        except (OSError, UnicodeError) as error:
            if self._client.next_dial() is dial:
                self._client.dial_failed(str(error) or repr(error), now=self._loop.time())
            return
        self._pump = pump
        try:
            await pump.closed
        finally:
            self._pump = None
            pump.abort()

    def _dialled(self, pump: Pump) -> Connection[Any, Any] | None:
        if self._client.next_dial() is None:  # stopped meanwhile
            return None
        return self._client.dial_succeeded(now=self._loop.time())

    def _deliver(self, pump: Pump, events: list[Event]) -> bool:
        self._take(events)
        self._take(self._client.events())
        if self.state is State.READY:
            self._sendable.set()
        # Whoever stops asks for no more events, and must not wait for a socket that nobody reads.
        return self._stopping or len(self._queue) < self._queue_limit

    def _take(self, events: list[Event]) -> None:
        if events:
            self._queue.extend(events)
            self._news.set()

    def _handled(self) -> None:
        if self._handling is not None:
            self._session = session_after(self._session, self._handling)
            self._handling = None


@contextlib.asynccontextmanager
async def open_gateway(
    config: Config,
    *,
    session: Session | None = None,
    ssl_context: ssl.SSLContext | None = None,
    queue_limit: int = 1000,
) -> AsyncIterator[Gateway]:
    """Connect, and stay connected; leaving closes so that the session can be resumed.

    TLS is verified by the platform's default context unless `ssl_context` is given. Once
    `queue_limit` events wait to be asked for, the socket is not read any further.
    """
    gateway = Gateway(config, session, ssl_context, queue_limit)
    life = asyncio.create_task(gateway.live())
    try:
        yield gateway
    finally:
        try:
            if not life.done():
                await gateway.stop()
        finally:
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life
