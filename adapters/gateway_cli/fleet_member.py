"""One run of a member: the lines that it prints, its metrics, and its end by a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from gateway_cli.doctor_hints import retry_hint
from gateway_cli.metrics_server import serve_metrics
from gateway_cli.show import Screen, fail
from gateway_cli.words import colour_of, describe, reason_of
from gateway_proto import Closed, Config, DialFailed, Dispatch
from gateway_proto.driver.log_text import clean
from gateway_proto.session import token_fingerprint

if TYPE_CHECKING:
    from gateway_fleet import FeedStore, Fleet

__all__ = ["LEAVE_SECONDS", "RunningMember"]

_FLEET_LOG = "gateway_proto.fleet"
_LOOK_SECONDS = 0.2
"""Time between two looks at the owned shards."""
LEAVE_SECONDS = 12.0
"""Time that a member which was not drained in time takes to store its sessions, at most."""


@attrs.frozen
class ShardOwned:
    """A shard was acquired by this process."""

    shard: int
    position: int
    """Position of the claim in the log of the shard."""


@attrs.frozen
class ShardGone:
    """A shard was given away, or lost to another process."""

    shard: int


class RunningMember:
    """One run of a member: its lines, and its end by a signal."""

    def __init__(self, screen: Screen, drain_seconds: float) -> None:
        self._screen = screen
        self._api: str | None = None
        self._has_hint = False
        self._drain_seconds = drain_seconds
        self._task: asyncio.Task[Any] | None = None
        self._fleet: Fleet | None = None
        self._drain_task: asyncio.Task[None] | None = None
        self._claims: dict[int, str] = {}

    def interrupt(self) -> None:
        """Drain; cancel `run` if there is nothing to drain yet."""
        if self._fleet is not None:
            self._drain_task = asyncio.ensure_future(self._drain(self._fleet))
        elif self._task is not None:
            self._task.cancel()

    async def run(
        self, config: Config, store: FeedStore, options: dict[str, Any], port: int | None
    ) -> None:
        """Take part in the fleet until it is drained. Raises `StoreError` and others."""
        from gateway_fleet import open_fleet

        self._task = asyncio.current_task()
        self._api = None if config.api_url is None else clean(config.api_url, config.token)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._metrics(port))
            stack.enter_context(_handled(_FLEET_LOG, self._show_record))
            with _handled("gateway_proto", self._show_lookup):
                fleet = await stack.enter_async_context(open_fleet(config, store, **options))
            self._fleet = fleet
            bot = token_fingerprint(config.token)
            text = f"member {fleet.member} of {fleet.count} shards, bot {bot}"
            self._screen.line("fleet", text)
            watch = asyncio.create_task(self._watch(fleet))
            try:
                await self._take(fleet)
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
        self._screen.line("fleet", "drained")

    def _show_lookup(self, record: logging.LogRecord) -> None:
        """Show failures of the lookup of the number of shards, which has no iteration."""
        text = record.getMessage()
        is_failure = record.levelno >= logging.WARNING or text.startswith("connection closed")
        if is_failure and record.name != _FLEET_LOG:
            self._screen.line("lookup", text, colour="yellow")
            self._hint(text)

    def _show_record(self, record: logging.LogRecord) -> None:
        colour = "yellow" if record.levelno >= logging.WARNING else ""
        self._screen.line("fleet", record.getMessage(), colour=colour)

    def _hint(self, text: str) -> None:
        """Say once what to do about a lookup that is tried again."""
        hint = None if self._has_hint else retry_hint(text, api=self._api)
        if hint is not None:
            self._has_hint = True
            self._screen.line("hint", hint, colour="yellow")

    @contextlib.asynccontextmanager
    async def _metrics(self, port: int | None) -> AsyncIterator[None]:
        """Serve the metrics, if they are wanted; end with the reason if the port is in use."""
        if port is None:
            yield
            return
        async with contextlib.AsyncExitStack() as stack:
            try:
                serving = serve_metrics(
                    port, lambda: None if self._fleet is None else self._fleet.metrics()
                )
                url = await stack.enter_async_context(serving)
            except OSError as error:
                fail(f"cannot serve metrics on port {port}: {reason_of(error)}")
            self._screen.line("fleet", f"metrics at {url}")
            yield

    async def _take(self, fleet: Fleet) -> None:
        """Take the events, which logs them, and print those about connections."""
        from gateway_proto.fleet import Cutover

        async for shard_id, event in fleet:
            if isinstance(event, Cutover):
                self._print_changes(fleet)
                self._screen.line("fleet", f"changed over to {fleet.count} shards")
            elif type(event) is not Dispatch and colour_of(event):
                self._print_changes(fleet)  # it may be of a new shard
                who = "lookup" if shard_id is None else f"shard {shard_id}"
                self._screen.event(who, event, describe(event))
                if shard_id is None and isinstance(event, Closed | DialFailed):
                    self._hint(describe(event))

    async def _watch(self, fleet: Fleet) -> None:
        """Print each shard that comes or goes."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                self._print_changes(fleet)
                await asyncio.sleep(_LOOK_SECONDS)
        self._print_changes(fleet)

    def _print_changes(self, fleet: Fleet) -> None:
        owned, claims = fleet.owned, self._claims
        for shard, claim in list(claims.items()):
            if shard not in owned or owned[shard].id != claim:
                del claims[shard]
                self._screen.event(f"shard {shard}", ShardGone(shard), "no longer owned")
        for shard, head in sorted(owned.items()):
            if shard not in claims:
                claims[shard] = head.id
                event = ShardOwned(shard, head.position)
                text = f"owned, from record {head.position} of its log"
                self._screen.event(f"shard {shard}", event, text)

    async def _drain(self, fleet: Fleet) -> None:
        count = len(fleet.owned)
        self._screen.line("fleet", f"draining: {count} shards are given to other members")
        try:
            async with asyncio.timeout(self._drain_seconds):
                await fleet.drain()
        except TimeoutError:
            self._screen.line("fleet", f"not drained in {self._drain_seconds:g} s")
            assert self._task is not None
            self._task.cancel()


@contextlib.contextmanager
def _handled(name: str, handle: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Pass the records of a logger, from INFO on, to a function."""
    handler = logging.Handler()
    handler.emit = handle  # type: ignore[method-assign, assignment]
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
