"""The methods of a running gateway that wait, for event loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import attrs

from gateway_proto._checks import SECONDS
from gateway_proto.server import HttpRequested, ServerEvent
from gateway_pytest._searches import Searches
from gateway_pytest._waiting import Changes

__all__ = ["AsyncWaits"]

T = TypeVar("T")


@attrs.frozen(repr=False)
class AsyncWaits:
    """The methods of `RunningGateway` that wait, as coroutines for asyncio and trio.

    They do not block the loop, so the bot may run in the same one.
    """

    _changes: Changes
    _searches: Searches

    async def wait_until_ready(self, *, shards: int | None = None, timeout: float = 10.0) -> None:
        """Await like `RunningGateway.wait_until_ready`."""
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        await self._changes.async_wait(self._searches.ready(shards), timeout)

    @overload
    async def wait_for(self, what: type[T], *, timeout: float = 10.0) -> T: ...
    @overload
    async def wait_for(
        self, what: Callable[[ServerEvent], object], *, timeout: float = 10.0
    ) -> Any: ...
    async def wait_for(self, what: Any, *, timeout: float = 10.0) -> Any:
        """Await like `RunningGateway.wait_for`."""
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        return await self._changes.async_wait(self._searches.event(what), timeout)

    async def wait_for_request(
        self, method: str | None = None, path: str | None = None, *, timeout: float = 10.0
    ) -> HttpRequested:
        """Await like `RunningGateway.wait_for_request`."""
        __tracebackhide__ = True
        SECONDS.named("timeout", timeout)
        return await self._changes.async_wait(self._searches.request(method, path), timeout)
