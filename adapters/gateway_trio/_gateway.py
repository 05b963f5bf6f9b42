"""Config → events: a client's whole life on trio."""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator

import attrs
import trio

from gateway_proto import (
    Client,
    Closed,
    Command,
    Config,
    Dial,
    Event,
    LocalProtocolError,
    Session,
    State,
    session_after,
)
from gateway_trio._pump import Pump

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
        given_random, given_offset = config.random, config.unix_offset
        config = attrs.evolve(
            config,
            random=given_random or random.random,
            unix_offset=time.time() - trio.current_time() if given_offset is None else given_offset,
        )
        self._config = config
        self._client = Client(config, session=session)
        self._session = session
        self._ssl_context = ssl_context
        self._queue: deque[Event] = deque()
        self._queue_limit = queue_limit
        self._handling: Event | None = None
        self._pump: Pump | None = None
        self._dialling = trio.CancelScope()
        self._stopping = False
        self._over = False
        self._news = trio.Event()
        self._sendable = trio.Event()

    # ----- for the user -----

    def __aiter__(self) -> Gateway:
        return self

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint()
        self._handled()
        while not self._queue:
            if self._over:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        self._handling = self._queue.popleft()
        if self._pump is not None and len(self._queue) <= self._queue_limit // 2:
            self._pump.resume()
        return self._handling

    async def send(self, command: Command) -> None:
        """Send a command, once the connection is READY; see `ClientConnection.send`.

        Raises `LocalProtocolError` for what cannot be sent, and where the life is over.
        """
        await trio.lowlevel.checkpoint()
        while not self._over:
            if self._pump is not None and self.state is State.READY:
                self._pump.connection.send(command, now=trio.current_time())
                self._pump.turn()
                return
            self._sendable = trio.Event()
            await self._sendable.wait()
        raise LocalProtocolError("the gateway is closed for good: nothing can be sent any more")

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close, and dial no more; the session stays resumable, or not. The events then end."""
        self._stopping = True
        self._client.stop(keep_session=keep_session, now=trio.current_time())
        if self._pump is not None:
            self._pump.resume()
            self._pump.turn()
            await self._pump.closed.wait()
        else:
            self._dialling.cancel()
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
        try:
            while (dial := self._client.next_dial()) is not None:
                self._take(self._client.events())
                stream = None
                with trio.CancelScope() as self._dialling:
                    await trio.sleep_until(dial.at)
                    stream = await self._connect(dial)
                if stream is not None and self._client.next_dial() is dial:
                    await self._run(stream)
                elif stream is not None:  # stopped just as it opened
                    await trio.aclose_forcefully(stream)
        finally:
            self._over = True
            self._take(self._client.events())
            self._sendable.set()
            self._news.set()

    async def _connect(self, dial: Dial) -> trio.abc.Stream | None:
        try:
            with trio.fail_after(self._config.handshake_timeout):
                return await self._open(dial)
        except (OSError, UnicodeError, trio.TooSlowError, trio.BrokenResourceError) as error:
            cause = error.__cause__ or error
            if self._client.next_dial() is dial:
                self._client.dial_failed(str(cause) or repr(cause), now=trio.current_time())
            return None

    async def _run(self, stream: trio.abc.Stream) -> None:
        connection = self._client.dial_succeeded(now=trio.current_time())
        self._pump = Pump(connection, stream, self._deliver)
        try:
            await self._pump.run()
        finally:
            self._pump = None

    async def _open(self, dial: Dial) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(dial.host, dial.port)
        if not dial.tls:
            return stream
        context = self._ssl_context or ssl.create_default_context()
        encrypted = trio.SSLStream(
            stream, context, server_hostname=dial.host, https_compatible=True
        )
        try:
            await encrypted.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return encrypted

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
    `queue_limit` events wait to be asked for, the stream is not read any further.
    """
    gateway = Gateway(config, session, ssl_context, queue_limit)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.live)
        try:
            yield gateway
        except trio.Cancelled:
            raise
        except BaseException as caught:
            # Raised again outside of the nursery, which would wrap it in a group.
            error = caught
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await gateway.stop()
            nursery.cancel_scope.cancel()
    if error is not None:
        raise error
