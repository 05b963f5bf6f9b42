"""Config → events: a client's whole life on trio."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import trio

from gateway_dialing import DialError, Tls
from gateway_proto import (
    Client,
    Command,
    Config,
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
from gateway_trio._clock import with_clock
from gateway_trio._dialing import Dialer
from gateway_trio._pump import Pump
from gateway_trio._tasks import News, in_background

if TYPE_CHECKING:
    from gateway_proto.trace import Recorder

__all__ = ["Gateway", "open_gateway"]

_EVENTS_A_CHECKPOINT = 64


class Gateway(GatewayBase):
    """A client that stays connected. Iterate over it for its events."""

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
        self._config = config
        self._dialer = dialer
        self._answers: dict[int, tuple[trio.Event, list[RequestAnswered | RequestFailed]]] = {}
        self._awaited = 0
        self._pump: Pump | None = None
        self._dialling = trio.CancelScope()
        self._stopping = False
        self._unchecked = 0
        self._news = news or News()
        self._sendable = News()

    # ----- for the user -----

    def __aiter__(self) -> Gateway:
        return self

    async def __anext__(self) -> Event:
        if self._unchecked == 0:
            # One for each event would take five times as long as all else that is done for it.
            await trio.lowlevel.checkpoint()
        self._unchecked = (self._unchecked + 1) % _EVENTS_A_CHECKPOINT
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
        pump.connection.send(command, now=trio.current_time())
        pump.turn()

    async def request(self, request: Request, *, timeout: float = 30.0) -> Any:
        """Send a request, once the connection is READY, and await its whole answer.

        Returns `GuildMembers`, `SoundboardSounds` or `ChannelInfo`; raises `RequestError` where it
        fails, `timeout` seconds after its last part at the latest.
        """
        pump = await self._ready()
        connection: Any = pump.connection
        number = connection.request(request, now=trio.current_time(), timeout=timeout)
        come, outcome = self._answers[number] = trio.Event(), []
        try:
            pump.turn()
            with self._awaiting():
                await come.wait()
        finally:
            del self._answers[number]
        if isinstance(outcome[0], RequestFailed):
            raise RequestError(outcome[0].why, outcome[0].retry_after)
        return outcome[0].answer

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
            self._forget_session()

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
            self.over = True
            self._take(self._client.events())
            self._sendable.tell()
            self._news.tell()

    async def _connect(self, dial: Dial) -> trio.abc.Stream | None:
        try:
            return await self._dialer.open(dial)
        except DialError as error:
            if self._client.next_dial() is dial:
                self._client.dial_failed(str(error), now=trio.current_time())
            return None

    async def _run(self, stream: trio.abc.Stream) -> None:
        connection = self._client.dial_succeeded(now=trio.current_time())
        self._pump = Pump(connection, stream, self._deliver)
        try:
            await self._pump.run()
        finally:
            self._pump = None

    @contextlib.contextmanager
    def _awaiting(self) -> Iterator[None]:
        self._awaited += 1
        if self._pump is not None:
            self._pump.resume()
        try:
            yield
        finally:
            self._awaited -= 1

    async def _ready(self) -> Pump:
        await trio.lowlevel.checkpoint()
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
            if isinstance(event, RequestAnswered | RequestFailed) and event.number in self._answers:
                come, outcome = self._answers[event.number]
                outcome.append(event)
                come.set()
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
    `queue_limit` events wait to be asked for, the stream is not read. A `recorder` records it.
    """
    config = with_clock(config)
    client = (Client if recorder is None else recorder.client)(config, session=session)
    dialer = Dialer(Tls(ssl_context), timeout=config.handshake_timeout)
    gateway = Gateway(client, config, dialer=dialer, queue_limit=queue_limit)
    async with in_background([gateway.live], gateway.stop):
        yield gateway
