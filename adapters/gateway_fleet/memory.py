"""Store in the memory of one process, for a fleet of one process and for tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from gateway_proto.fleet import LogHead, LogRecord, ReferenceStore

__all__ = ["MemoryStore"]

_KEPT_SECONDS = 7200.0
"""Seconds for which logs of an earlier number of shards are kept: the default retention, twice."""


class MemoryStore:
    """Store in memory; its contents end with it. Several fleets of one event loop may share it."""

    keep_seconds: float | None = None

    def __init__(self) -> None:
        self._store = ReferenceStore()
        self._prefix = ""
        self._ends: dict[str, float] = {}
        self._listeners: dict[str, list[Callable[[int], object]]] = defaultdict(list)
        self._watchers: dict[tuple[str, str], list[Callable[[], object]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def scoped(self, prefix: str) -> MemoryStore:
        scope = MemoryStore()
        scope._store = self._store.scoped(prefix)
        scope._prefix = f"{self._prefix}:{prefix}"
        scope._ends = self._ends
        scope._listeners = self._listeners
        scope._watchers = self._watchers
        return scope

    async def heartbeat(self, member: str, value: bytes) -> dict[str, bytes]:
        await anyio.lowlevel.checkpoint()
        return self._store.heartbeat(member, value)

    async def head(self, shard: int) -> LogHead:
        await anyio.lowlevel.checkpoint()
        return self._store.head(shard)

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        await anyio.lowlevel.checkpoint()
        position = self._store.append(shard, after, record)
        if position is not None:
            for notify in self._listeners[self._prefix]:
                notify(shard)
        return position

    async def compare_and_set(
        self, key: str, value: bytes | None, revision: int
    ) -> tuple[bytes | None, int]:
        await anyio.lowlevel.checkpoint()
        return self._store.compare_and_set(key, value, revision)

    async def forget(self, count: int, keys: Sequence[str]) -> bool:
        await anyio.lowlevel.checkpoint()
        now = anyio.current_time()
        if now < self._ends.setdefault(self._prefix, now + _KEPT_SECONDS):
            return False
        for prefix in [*self._ends]:
            if f"{prefix}:".startswith(f"{self._prefix}:"):
                del self._ends[prefix]
        self._store.forget()
        return True

    async def records(self, shard: int, after: int) -> AsyncGenerator[tuple[int, LogRecord], None]:
        for item in self._store.records(shard, after):
            await anyio.lowlevel.checkpoint()
            yield item

    async def listen(self, notify: Callable[[int], object]) -> None:
        listeners = self._listeners[self._prefix]
        listeners.append(notify)
        try:
            await anyio.sleep_forever()
        finally:
            listeners.remove(notify)

    async def post(self, mailbox: str, message: bytes, ttl: float) -> bool:
        await anyio.lowlevel.checkpoint()
        done = self._store.post(mailbox, message, ttl, now=anyio.current_time())
        for notify in self._watchers.get((self._prefix, mailbox), ()):
            notify()
        return done

    async def unpost(self, mailbox: str, message: bytes) -> bool:
        await anyio.lowlevel.checkpoint()
        return self._store.unpost(mailbox, message, now=anyio.current_time())

    async def take(self, mailbox: str) -> list[bytes]:
        await anyio.lowlevel.checkpoint()
        return self._store.take(mailbox, now=anyio.current_time())

    async def watch(self, mailbox: str, notify: Callable[[], object]) -> None:
        key = self._prefix, mailbox
        watchers = self._watchers.setdefault(key, [])
        watchers.append(notify)
        try:
            await anyio.sleep_forever()
        finally:
            watchers.remove(notify)
            if not watchers:
                self._watchers.pop(key, None)
