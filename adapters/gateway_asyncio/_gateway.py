"""Config → events: a client on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from gateway_asyncio._clock import with_clock
from gateway_asyncio._dialing import Connect, Dialer, attach
from gateway_asyncio._leaving import LINGER_SECONDS, run_gateways
from gateway_asyncio._news import News
from gateway_asyncio._pump import Pump
from gateway_dialing import DialError, ProxySetting
from gateway_proto import Client, Config, Connection, Dial, Session, Turns
from gateway_proto._arguments import check_opening
from gateway_proto._driving import Notifier
from gateway_proto.gateway import AdapterGateway

if TYPE_CHECKING:
    from gateway_proto.trace import Recorder

__all__ = ["Gateway", "open_gateway"]


class Gateway(AdapterGateway):
    """A client that stays connected. Iterate over it for its events."""

    # An idle connection takes a percent less without a dict.
    __slots__ = ("_dialer", "_is_dialling", "_life", "_lingering", "_loop")
    _pump: Pump | None

    def __init__(
        self,
        client: Client,
        config: Config,
        *,
        dialer: Dialer,
        queue_limit: int,
        news: Notifier | None = None,
        turns: Turns | None = None,
        raise_on_give_up: bool = True,
        shard_id: int | None = None,
    ) -> None:
        super().__init__(
            client,
            config,
            queue_limit=queue_limit,
            news=news or News(),
            sendable=News(),
            turns=turns,
            raise_on_give_up=raise_on_give_up,
            shard_id=shard_id,
        )
        self._loop = asyncio.get_running_loop()
        self._dialer = dialer
        self._is_dialling = False  # or waiting for the time of a dial
        self._life: asyncio.Task[None] | None = None
        self._lingering: list[Pump] = []

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close and dial no more, so that the session stays resumable, or not. The events then end.

        The peer has half a second to answer the close frame.
        """
        pump = self._begin_stop(keep_session=keep_session)
        if pump is not None:
            try:
                await asyncio.wait([pump.ended], timeout=LINGER_SECONDS)
            finally:
                pump.finish()

    # ----- for the context managers -----

    def start(self) -> None:
        """Run `live` in a task."""
        self._is_dialling = False
        self._life = asyncio.create_task(self.live())

    async def live(self) -> None:
        """Dial, and drive connections, until the client dials no more."""
        try:
            while self.error is None and (dial := self._client.next_dial()) is not None:
                self._take(self._client.events())
                self._is_dialling = True
                await asyncio.sleep(max(0.0, dial.at - self._loop.time()))
                transport = await self._open(dial)
                self._is_dialling = False
                if transport is not None and self._client.next_dial() is dial:
                    await self._drive(transport)
                elif transport is not None:  # stopped just as it opened
                    transport.abort()
            await self._until_closed()
        except Exception as error:
            self._fail(error)
        finally:
            for pump in self._lingering:
                pump.abort()
            self._finish()

    @property
    def is_started(self) -> bool:
        """Whether `start` was called."""
        return self._life is not None

    async def until_ended(self) -> None:
        """Wait until the task of `start` has ended."""
        assert self._life is not None
        await asyncio.wait([self._life])
        if not self.over:  # cancelled before its first step
            self._finish()

    def begin_leaving(self) -> None:
        """Send a close frame, or end a dial, if `stop` has not done so."""
        try:
            if self._life is not None and not self._life.done() and self.error is None:
                self._begin_stop(keep_session=True)
        except Exception as error:
            self._fail(error)

    def end_leaving(self) -> None:
        """End the task and the transports at once."""
        if self._life is not None:
            self._life.cancel()
        for pump in self._lingering:
            pump.finish()
            pump.abort()

    def finish(self) -> None:
        """End the events of a task that was cancelled before its first step."""
        if not self.over:
            self._finish()

    def waiting_for(self) -> list[asyncio.Future[None]]:
        """What ends when this gateway has: the task, and transports."""
        life: list[asyncio.Future[None]] = [] if self._life is None else [self._life]
        return [*life, *(pump.closed for pump in self._lingering)]

    # ----- inside -----

    def _begin_stop(self, *, keep_session: bool) -> Pump | None:
        self._stopping = True
        if self.error is None:
            self._client.stop(keep_session=keep_session, now=self._loop.time())
        if (pump := self._pump) is not None:
            pump.resume()
            pump.turn()
        elif self._life is not None and self._is_dialling:
            self._life.cancel()
        if not keep_session:
            self._forget_session()
        return pump

    async def _open(self, dial: Dial) -> asyncio.Transport | None:
        try:
            return await self._dialer.open(dial)
        except DialError as error:
            if self._client.next_dial() is dial:
                self._client.dial_failed(
                    str(error), permanent=error.permanent, now=self._loop.time()
                )
            return None

    async def _drive(self, transport: asyncio.Transport) -> None:
        self._pump = pump = Pump(self._dialled, self._deliver)
        # It sends its last bytes while the next dial begins.
        self._lingering = [each for each in self._lingering if not each.closed.done()]
        self._lingering.append(pump)
        try:
            attach(transport, pump)
            await pump.ended
        except BaseException:
            transport.abort()
            raise
        finally:
            self._pump = None
        if pump.error is not None:
            self._fail(pump.error)

    async def _until_closed(self) -> None:
        """Wait until the transports are closed, but not for a peer that does not read."""
        closed = [pump.closed for pump in self._lingering]
        if closed:
            await asyncio.wait(closed, timeout=LINGER_SECONDS)

    def _dialled(self, pump: Pump) -> Connection[Any, Any]:
        return self._client.dial_succeeded(now=self._loop.time())

    def _now(self) -> float:
        return self._loop.time()

    def _task(self) -> object:
        return asyncio.current_task()

    def _make_notifier(self) -> News:
        return News()


@contextlib.asynccontextmanager
async def open_gateway(
    config: Config,
    *,
    session: Session | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: ProxySetting = True,
    connect: Connect | None = None,
    queue_limit: int = 1000,
    recorder: Recorder | None = None,
    raise_on_give_up: bool = True,
) -> AsyncIterator[Gateway]:
    """Connect, and stay connected; leaving closes so that the session can be resumed.

    TLS is verified by the platform's default context unless `ssl_context` is given. `proxy` is
    the URL of a proxy, True for that of the environment, or None; `connect` opens the transport
    instead. Once `queue_limit` events wait to be asked for, the socket is not read. A `recorder`
    records it.

    After the last event the iteration raises `GaveUpError` if the client gave up, unless
    `raise_on_give_up` is False. It raises what was raised in a callback, such as `Config.random` or
    the recorder's; if nobody iterates, leaving raises that.
    """
    check_opening(
        config, session, ssl_context, proxy, connect, queue_limit, recorder, raise_on_give_up
    )
    config = with_clock(config)
    client = (Client if recorder is None else recorder.client)(config, session=session)
    dialer = Dialer(config, ssl_context=ssl_context, proxy=proxy, connect=connect)
    gateway = Gateway(
        client,
        config,
        dialer=dialer,
        queue_limit=queue_limit,
        raise_on_give_up=raise_on_give_up,
    )
    async with run_gateways([gateway]):
        yield gateway
