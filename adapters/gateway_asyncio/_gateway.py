"""Client on asyncio: `Gateway` and `open_gateway`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gateway_asyncio._dialing import Connect, Dialer, attach
from gateway_asyncio._driver import ConnectionDriver
from gateway_asyncio._leaving import leave
from gateway_asyncio._notifier import Notifier
from gateway_asyncio._runtime_config import with_runtime_defaults
from gateway_dialing import DialError, ProxySetting, opening
from gateway_proto import Client, Config, Connection, Dial, Session
from gateway_proto.driver.arguments import check_before_dial, check_opening
from gateway_proto.driver.gateway import AdapterGateway
from gateway_proto.driver.iteration import LINGER_SECONDS
from gateway_proto.driver.iteration import Notifier as BaseNotifier

if TYPE_CHECKING:
    from gateway_proto.trace import Recorder

__all__ = ["Gateway", "open_gateway"]


class Gateway(AdapterGateway):
    """A client that stays connected. Iterate over it for its events."""

    # Without a __dict__ an idle connection takes one percent less memory.
    __slots__ = ("_dialer", "_is_dialing", "_lingering", "_loop", "_runner")
    _driver: ConnectionDriver | None

    def __init__(self, client: Client, config: Config, *, dialer: Dialer, **options: Any) -> None:
        super().__init__(client, config, **options)
        self._loop = asyncio.get_running_loop()
        self._dialer = dialer
        self._is_dialing = False  # or waiting for the time of a dial
        self._runner: asyncio.Task[None] | None = None
        self._lingering: list[ConnectionDriver] = []

    async def stop(self, *, keep_session: bool = True) -> None:
        """Close and stop dialing; the session stays resumable if it is kept. The events then end.

        The peer has half a second to answer the close frame.
        """
        driver = self._driver
        self._begin_stop(keep_session=keep_session)
        if driver is not None:
            try:
                await asyncio.wait([driver.ended], timeout=LINGER_SECONDS)
            finally:
                driver.finish()

    # ----- for the context managers -----

    def _start(self) -> None:
        """Call `_run` in a task."""
        self._is_dialing = False
        self._runner = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Dial and drive connections until the client has ended."""
        try:
            while (dial := self._next_dial()) is not None:
                self._is_dialing = True
                await self._until_allowed(dial)
                await asyncio.sleep(max(0.0, dial.at - self._loop.time()))
                transport = await self._open(dial)
                self._is_dialing = False
                if transport is not None and self._is_current(dial):
                    await self._drive(transport)
                elif transport is not None:  # stopped just as it opened
                    transport.abort()
            await self._until_closed()
        except BaseException as error:
            self._fail_unless_cancelled(error)
        finally:
            try:
                for driver in self._lingering:
                    driver.abort()
            finally:
                self._finish()

    @property
    def _is_started(self) -> bool:
        """Whether `_start` was called."""
        return self._runner is not None

    async def _until_ended(self) -> None:
        """Wait until the task of `_start` has ended."""
        assert self._runner is not None
        await asyncio.wait([self._runner])
        self._ensure_finished()

    def _begin_leaving(self) -> None:
        """Send a close frame, or end a dial, if `stop` has not done so."""
        try:
            if self._runner is not None and not self._runner.done() and self._error is None:
                self._begin_stop(keep_session=True)
        except Exception as error:
            self._fail(error)

    def _end_leaving(self) -> None:
        """End the task and the transports at once."""
        if self._runner is not None:
            self._runner.cancel()
        for driver in self._lingering:
            driver.finish()
            driver.abort()

    def _ensure_finished(self) -> None:
        """End the events of a task that was cancelled before its first step."""
        if not self._is_finished:
            self._finish()

    def _pending(self) -> list[asyncio.Future[None]]:
        """Return the futures of the task and of the transports."""
        runner: list[asyncio.Future[None]] = [] if self._runner is None else [self._runner]
        return [*runner, *(driver.closed for driver in self._lingering)]

    # ----- inside -----

    def _fail_unless_cancelled(self, error: BaseException) -> None:
        """End because of an exception of `_run`; raise one that also ends the task."""
        task = asyncio.current_task()
        is_cancelled = task is not None and task.cancelling() > 0
        # Without a cancellation of this task, something that a callback awaited was cancelled.
        if not isinstance(error, asyncio.CancelledError) or not is_cancelled:
            self._fail(error)
            if not isinstance(error, KeyboardInterrupt | SystemExit):
                return
        raise error

    def _cancel_dial(self) -> None:
        if self._runner is not None and self._is_dialing:
            self._runner.cancel()

    async def _open(self, dial: Dial) -> asyncio.Transport | None:
        try:
            return await self._dialer.open(dial)
        except DialError as error:
            self._on_dial_failed(dial, str(error), permanent=error.permanent)
            return None

    async def _drive(self, transport: asyncio.Transport) -> None:
        self._driver = driver = ConnectionDriver(self._on_transport_open, self._deliver)
        # The previous driver may still send its last bytes while the next dial begins.
        self._lingering = [each for each in self._lingering if not each.closed.done()]
        self._lingering.append(driver)
        try:
            attach(transport, driver)
            await driver.ended
        except BaseException:
            transport.abort()
            raise
        finally:
            self._on_driver_ended()
        if driver.error is not None:
            self._fail(driver.error)

    async def _until_closed(self) -> None:
        """Wait until the transports are closed; a peer that does not read is not waited for."""
        closed = [driver.closed for driver in self._lingering]
        if closed:
            await asyncio.wait(closed, timeout=LINGER_SECONDS)

    def _on_transport_open(self, driver: ConnectionDriver) -> Connection[Any, Any]:
        return self._client.dial_succeeded(now=self._loop.time())

    def _now(self) -> float:
        return self._loop.time()

    def _task(self) -> object:
        return asyncio.current_task()

    def _make_notifier(self) -> Notifier:
        return Notifier()

    async def _wait_until(self, at: float | None, notifier: BaseNotifier) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(at):
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
    `queue_limit` events are queued, the socket is not read. A `recorder` records the client.

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
    # Written here, not as a second context manager: that one would take 700 bytes.
    gateway._start()
    linger = True
    try:
        yield gateway
    except (asyncio.CancelledError, GeneratorExit):
        linger = False
        raise
    finally:
        await leave([gateway], linger=linger)
    gateway._raise_unseen_error()
