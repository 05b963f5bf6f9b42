"""Client on trio: `Gateway` and `open_gateway`."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from gateway_dialing import DialError, ProxySetting, opening
from gateway_proto import Client, Config, Dial, Event, Session
from gateway_proto.driver.arguments import check_before_dial, check_opening
from gateway_proto.driver.gateway import AdapterGateway
from gateway_proto.driver.iteration import LINGER_SECONDS
from gateway_proto.driver.iteration import Notifier as BaseNotifier
from gateway_trio._dialing import Connect, Dialer
from gateway_trio._driver import ConnectionDriver
from gateway_trio._notifier import Notifier
from gateway_trio._runtime_config import with_runtime_defaults
from gateway_trio._tasks import in_background

if TYPE_CHECKING:
    from gateway_proto.trace import Recorder

__all__ = ["EVENTS_PER_CHECKPOINT", "Gateway", "open_gateway"]

EVENTS_PER_CHECKPOINT = 256
"""Queued events that an iteration takes between two checkpoints."""


class Gateway(AdapterGateway):
    """A client that stays connected. Iterate over it for its events."""

    _driver: ConnectionDriver | None

    def __init__(self, client: Client, config: Config, *, dialer: Dialer, **options: Any) -> None:
        super().__init__(client, config, **options)
        self._dialer = dialer
        self._dialing = trio.CancelScope()
        self._lingering: list[ConnectionDriver] = []
        self._until_checkpoint = 0

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close and stop dialing; the session stays resumable if it is kept. The events then end.

        The peer has half a second to answer the close frame.
        """
        driver = self._driver
        self._begin_stop(keep_session=keep_session)
        if driver is not None:
            try:
                with trio.move_on_after(LINGER_SECONDS):
                    await driver.ended.wait()
            finally:
                driver.finish()

    # ----- for the context managers -----

    async def _run(self) -> None:
        """Dial and drive connections until the client has ended."""
        try:
            async with trio.open_nursery() as nursery:
                await self._dial_all(nursery)
                with trio.move_on_after(LINGER_SECONDS):
                    for driver in self._lingering:
                        await driver.closed.wait()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            cancelled, failed = group.split(trio.Cancelled)
            if failed is not None:
                self._fail(failed.exceptions[0] if len(failed.exceptions) == 1 else failed)
                if failed.subgroup((KeyboardInterrupt, SystemExit)) is not None:
                    raise
            if cancelled is not None:
                raise cancelled from None
        finally:
            self._finish()

    async def _leave(self) -> None:
        """Stop, unless that has happened."""
        try:
            if not self._is_finished and self._error is None:
                await self.stop()
        except Exception as error:
            self._fail(error)

    # ----- inside -----

    def _cancel_dial(self) -> None:
        self._dialing.cancel()

    async def _dial_all(self, nursery: trio.Nursery) -> None:
        while (dial := self._next_dial()) is not None:
            stream = None
            with trio.CancelScope() as self._dialing:
                await self._until_allowed(dial)
                await trio.sleep_until(dial.at)
                stream = await self._open(dial)
            if stream is not None and self._is_current(dial):
                await self._drive(stream, nursery)
            elif stream is not None:  # stopped just as it opened
                await trio.aclose_forcefully(stream)

    async def _open(self, dial: Dial) -> trio.abc.Stream | None:
        try:
            return await self._dialer.open(dial)
        except DialError as error:
            self._on_dial_failed(dial, str(error), permanent=error.permanent)
            return None

    async def _drive(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
        try:
            connection = self._client.dial_succeeded(now=trio.current_time())
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        self._driver = driver = ConnectionDriver(connection, stream, self._deliver)
        # The previous driver may still send its last bytes while the next dial begins.
        self._lingering = [each for each in self._lingering if not each.closed.is_set()]
        self._lingering.append(driver)
        nursery.start_soon(driver.run)
        try:
            await driver.ended.wait()
        finally:
            self._on_driver_ended()
        if driver.error is not None:
            self._fail(driver.error)

    def _take_queued(self) -> Event | None:
        if not self._until_checkpoint:
            return None
        self._until_checkpoint -= 1
        return self._next_event()

    async def _wait_for_event(self) -> Event:
        if not self._until_checkpoint:
            # A checkpoint per event would take five times as long as all other work for it.
            await trio.lowlevel.checkpoint()
            self._until_checkpoint = EVENTS_PER_CHECKPOINT
        return await super()._wait_for_event()

    def _now(self) -> float:
        return trio.current_time()

    def _task(self) -> object:
        return trio.lowlevel.current_task()

    def _make_notifier(self) -> Notifier:
        return Notifier()

    async def _wait_until(self, at: float | None, notifier: BaseNotifier) -> None:
        with trio.move_on_at(math.inf if at is None else at):
            await notifier.wait()


@opening
async def open_gateway(
    config: Config,
    *,
    session: Session | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: ProxySetting = True,
    connect: Connect | None = None,
    before_dial: Callable[[Dial], Awaitable[None]] | None = None,
    queue_limit: int = 1000,
    recorder: Recorder | None = None,
    raise_on_give_up: bool = True,
) -> AsyncIterator[Gateway]:
    """Open a gateway that stays connected; leaving closes it so that the session can be resumed.

    TLS is verified by the platform's default context unless `ssl_context` is given. `proxy` is
    the URL of a proxy, True for the proxy of the environment, or None. `connect` opens the
    transport instead. `before_dial` is awaited with each dial, which follows its return. While
    `queue_limit` events are queued, the stream is not read. A `recorder` records the client.

    After the last event the iteration raises `GaveUpError` if the client gave up, unless
    `raise_on_give_up` is False. It raises an exception of a callback, such as `Config.random` or
    one of the recorder. Without an iteration, leaving raises that exception.
    """
    check_opening(
        config, session, ssl_context, proxy, connect, queue_limit, recorder, raise_on_give_up
    )
    check_before_dial(before_dial)
    config = with_runtime_defaults(config)
    client = (Client if recorder is None else recorder.client)(config, session=session)
    dialer = Dialer(config, ssl_context=ssl_context, proxy=proxy, connect=connect)
    gateway = Gateway(
        client,
        config,
        dialer=dialer,
        queue_limit=queue_limit,
        raise_on_give_up=raise_on_give_up,
        before_dial=before_dial,
    )
    async with in_background(gateway._run, gateway._leave):
        yield gateway
    gateway._raise_unseen_error()
