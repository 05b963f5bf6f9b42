"""Config → events: a client's whole life on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from gateway_asyncio._clock import with_clock
from gateway_asyncio._dialing import Dialer, attach
from gateway_asyncio._news import News
from gateway_asyncio._pump import Pump
from gateway_dialing import DialError, Tls
from gateway_proto import (
    Client,
    Command,
    Config,
    Connection,
    Dial,
    Event,
    GatewayBase,
    LocalProtocolError,
    Request,
    RequestAnswered,
    RequestError,
    RequestFailed,
    Session,
    State,
    Turns,
)

if TYPE_CHECKING:
    from gateway_proto.trace import Recorder

__all__ = ["Gateway", "open_gateway"]


class Gateway(GatewayBase):
    """A client that stays connected. Iterate over it for its events."""

    # An idle connection takes a percent less without a dict.
    __slots__ = (
        "_answers",
        "_awaited",
        "_config",
        "_dialer",
        "_life",
        "_loop",
        "_news",
        "_pump",
        "_sendable",
        "_stopping",
    )

    def __init__(
        self,
        client: Client,
        config: Config,
        *,
        dialer: Dialer,
        queue_limit: int,
        news: News | None = None,
        turns: Turns | None = None,
    ) -> None:
        super().__init__(client, queue_limit=queue_limit, turns=turns)
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._dialer = dialer
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._awaited = 0
        self._pump: Pump | None = None
        self._life: asyncio.Task[None] | None = None
        self._stopping = False
        self._news = news or News()
        self._sendable = News()

    # ----- for the user -----

    def __aiter__(self) -> Gateway:
        return self

    async def __anext__(self) -> Event:
        while (event := self.take()) is None:
            if self.over:
                raise StopAsyncIteration
            await self._news.wait()
        return event

    async def send(self, command: Command) -> None:
        """Send a command, once the connection is READY; see `ClientConnection.send`.

        Meanwhile events are read without a limit, since nobody may be there to take them. Raises
        `LocalProtocolError` for what cannot be sent, and where the life is over.
        """
        pump = await self._ready()
        pump.connection.send(command, now=self._loop.time())
        pump.turn()

    async def request(self, request: Request, *, timeout: float = 30.0) -> Any:
        """Send a request, once the connection is READY, and await its whole answer.

        Returns `GuildMembers`, `SoundboardSounds` or `ChannelInfo`; raises `RequestError` where it
        fails, `timeout` seconds after its last part at the latest.
        """
        pump = await self._ready()
        number = pump.connection.request(request, now=self._loop.time(), timeout=timeout)
        self._answers[number] = self._loop.create_future()
        try:
            pump.turn()
            with self._awaiting():
                return await self._answers[number]
        finally:
            del self._answers[number]

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
            self._forget_session()

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
            self.over = True
            self._take(self._client.events())
            self._sendable.tell()
            self._news.tell()

    async def _connect(self, dial: Dial) -> None:
        try:
            transport = await self._dialer.open(dial)
        except DialError as error:
            if self._client.next_dial() is dial:
                self._client.dial_failed(str(error), now=self._loop.time())
            return
        if self._client.next_dial() is not dial:  # stopped meanwhile
            transport.abort()
            return
        pump = self._pump = Pump(self._dialled, self._deliver)
        try:
            attach(transport, pump)
            await pump.closed
        finally:
            self._pump = None
            transport.abort()

    def _dialled(self, pump: Pump) -> Connection[Any, Any]:
        return self._client.dial_succeeded(now=self._loop.time())

    @contextlib.contextmanager
    def _awaiting(self) -> Iterator[None]:
        self._awaited += 1
        if self._pump is not None:
            self._pump.resume()
        try:
            yield
        finally:
            self._awaited -= 1

    async def _ready(self) -> Any:
        with self._awaiting():
            while not self.over:
                if self._pump is not None and self.state is State.READY:
                    return self._pump
                await self._sendable.wait()
        raise LocalProtocolError("the gateway is closed for good: nothing can be sent any more")

    def _make_room(self) -> None:
        if self._pump is not None:
            self._pump.resume()

    def _deliver(self, pump: Pump, events: list[Event]) -> bool:
        self._take(events)
        self._take(self._client.events())
        if self.state is State.READY:
            self._sendable.tell()
        # Whoever stops, or awaits READY or an answer, asks for no events, and must not wait for a
        # socket that nobody reads.
        return self._stopping or self._awaited > 0 or self._has_room()

    def _take(self, events: list[Event]) -> None:
        if not events:
            return
        for event in events if self._answers else ():
            if isinstance(event, RequestAnswered | RequestFailed):
                answer = self._answers.get(event.number)
                if answer is None or answer.done():
                    continue
                if isinstance(event, RequestAnswered):
                    answer.set_result(event.answer)
                else:
                    answer.set_exception(RequestError(event.why, event.retry_after))
        self._put(events)
        self._news.tell()


@contextlib.asynccontextmanager
async def open_gateway(
    config: Config,
    *,
    session: Session | None = None,
    ssl_context: ssl.SSLContext | None = None,
    queue_limit: int = 1000,
    recorder: Recorder | None = None,
) -> AsyncIterator[Gateway]:
    """Connect, and stay connected; leaving closes so that the session can be resumed.

    TLS is verified by the platform's default context unless `ssl_context` is given. Once
    `queue_limit` events wait to be asked for, the socket is not read. A `recorder` records it.
    """
    config = with_clock(config)
    client = (Client if recorder is None else recorder.client)(config, session=session)
    dialer = Dialer(Tls(ssl_context), timeout=config.handshake_timeout)
    gateway = Gateway(client, config, dialer=dialer, queue_limit=queue_limit)
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
