"""Store in Redis 7 or later, or Valkey, by coredis: on asyncio and trio (extra `redis`)."""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.abc import TaskStatus

from gateway_dialing import reason
from gateway_fleet._redis_address import is_url
from gateway_fleet._store_settings import MAX_APPENDS, check_settings
from gateway_fleet.store import StoreError
from gateway_proto import DataError, LocalProtocolError
from gateway_proto._checks import WORD
from gateway_proto.fleet import MAX_MESSAGES, LogHead, LogRecord, check_message

try:
    import coredis
    from coredis.exceptions import RedisError
    from coredis.retry import NoRetryPolicy
except ModuleNotFoundError as _error:
    if _error.name != "coredis":
        raise
    raise ModuleNotFoundError(
        "RedisStore needs coredis: install gateway-proto[redis]", name="coredis"
    ) from None

from gateway_fleet import _redis_scripts as scripts

__all__ = ["RedisStore"]

T = TypeVar("T")
_KEYS = 256
"""Keys of one call of a script."""
_MIN_BATCH, _MAX_BATCH = 2, 16
"""Numbers of records of one read: a record has 980 kB at most, unless one event is larger."""
_BATCH_SIZE = 2**20
"""Bytes of a read up to which the next one has twice as many records."""


class RedisStore:
    """Members, logs and values of a fleet in Redis or Valkey.

    `url` is `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS (verified by
    `ssl_context`, or by the system's certificates), or `unix:///path`. The log of a shard keeps the
    records of the last `retention` seconds, at most about `max_bytes`. A call takes at most
    `timeout` seconds.
    """

    keep_seconds: float | None = None

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "gw",
        retention: float = 3600.0,
        max_bytes: int = 256 * 2**20,
        timeout: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if not is_url(url):
            # It may have a password.
            raise LocalProtocolError(
                "invalid url: expected redis://host[:port][/db], rediss://host or unix:///path"
            )
        WORD.named("prefix", prefix)
        check_settings(
            retention=retention, max_bytes=max_bytes, timeout=timeout, ssl_context=ssl_context
        )
        options: dict[str, Any] = {}
        if url.startswith("rediss://"):
            options["ssl_context"] = ssl_context or ssl.create_default_context()
        try:
            client: Any = coredis.Redis.from_url(
                url, retry_policy=NoRetryPolicy(), connect_timeout=timeout, **options
            )
        except Exception as error:
            # The URL may have a password, and the text of the error may quote it.
            raise LocalProtocolError(
                f"invalid url: {type(error).__name__}, expected redis://host[:port][/db]"
            ) from None
        self._client = client
        self._prefix = prefix
        self._retention = int(retention)
        self._max_bytes = int(max_bytes)
        self._timeout = timeout
        self._group: Any = None
        self._appending: Any = None
        self._left = anyio.Event()

    async def __aenter__(self) -> Self:
        """Connect. Raises `StoreError` if the engine does not answer."""
        self._group = anyio.create_task_group()
        self._appending = anyio.Semaphore(MAX_APPENDS)
        self._left = anyio.Event()
        await self._group.__aenter__()
        try:
            await self._group.start(self._hold)
            await self._call(self._client.ping())
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        # Without the exception, which the task group would wrap.
        await self._group.__aexit__(None, None, None)

    async def _hold(self, *, task_status: TaskStatus[None]) -> None:
        """Keep the client open until the store is left.

        It is shielded: a member that is cancelled still stores its sessions before it leaves.
        """
        with anyio.CancelScope(shield=True):
            async with self._client:
                task_status.started()
                await self._left.wait()

    def scoped(self, prefix: str) -> RedisStore:
        WORD.named("prefix", prefix)
        scope = object.__new__(RedisStore)
        scope.__dict__.update(self.__dict__, _prefix=f"{self._prefix}:{prefix}")
        return scope

    async def heartbeat(self, member: str, value: bytes) -> dict[str, bytes]:
        answer = await self._run(scripts.HEARTBEAT, [f"{self._prefix}:members"], [member, value])
        names, values = answer[::2], answer[1::2]
        # A name that no member has written must not keep the others from their table.
        return {
            name.decode(errors="replace"): text for name, text in zip(names, values, strict=True)
        }

    async def head(self, shard: int) -> LogHead:
        data = await self._call(self._client.hget(self._key(shard, "head"), "h"))
        if data is None:
            return LogHead()
        try:
            return LogHead.from_bytes(bytes(data))
        except DataError as error:
            raise StoreError(f"shard {shard}: {error}") from None

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        position = await self._call(self._append(shard, after, record))
        return None if position < 0 else int(position)

    async def _append(self, shard: int, after: LogHead, record: LogRecord) -> Any:
        async with self._appending:
            parts, head = record.to_parts(), record.head(after.position + 1).to_bytes()
            keys = [self._key(shard, "head"), self._key(shard, "log")]
            limits = [self._retention, self._max_bytes, self._channel, shard]
            arguments = [after.position, after.id, record.id, head, *limits, *parts]
            return await scripts.APPEND.run(self._client, keys, arguments)

    async def compare_and_set(
        self, key: str, value: bytes | None, revision: int
    ) -> tuple[bytes | None, int]:
        name = f"{self._prefix}:{key}"
        if value is None:
            found, number = await self._call(self._client.hmget(name, ["v", "r"]))
        else:
            found, number = await self._run(scripts.COMPARE_AND_SET, [name], [revision, value])
        try:
            return found, int(number or 0)
        except ValueError:
            raise StoreError(f"the revision of {key} in the engine is not a number") from None

    async def forget(self, count: int, keys: Sequence[str]) -> bool:
        names = [f"{self._prefix}:members", *(f"{self._prefix}:{key}" for key in keys)]
        names += [self._key(shard, kind) for shard in range(count) for kind in ("head", "log")]
        for begin in range(0, len(names), _KEYS):
            # A log expires after the retention: what is read with it is kept longer.
            part = names[begin : begin + _KEYS]
            await self._run(scripts.FORGET, part, [2 * self._retention])
        return True

    async def records(self, shard: int, after: int) -> AsyncGenerator[tuple[int, LogRecord], None]:
        key = self._key(shard, "log")
        count = _MIN_BATCH
        while True:
            batch = await self._call(
                self._client.xrange(key, start=f"{after + 1}-0", end="+", count=count)
            )
            size = 0
            for entry in batch:
                after = int(entry.identifier.split(b"-")[0])
                # A field for each part.
                data = b"".join(entry.field_values.values())
                size += len(data)
                try:
                    yield after, LogRecord.from_bytes(data)
                except DataError as error:
                    raise StoreError(f"shard {shard}, record {after}: {error}") from None
            if len(batch) < count:
                return
            count = min(2 * count, _MAX_BATCH) if size <= _BATCH_SIZE else _MIN_BATCH

    async def listen(self, notify: Callable[[int], object]) -> None:
        async with self._subscribed(self._channel) as pubsub:
            async for message in pubsub:
                with contextlib.suppress(ValueError):
                    notify(int(message["data"]))

    async def post(self, mailbox: str, message: bytes, ttl: float) -> bool:
        check_message(mailbox, message, ttl)
        arguments = [message, math.ceil(ttl * 1000), MAX_MESSAGES]
        return bool(await self._run(scripts.POST, [self._mailbox(mailbox)], arguments))

    async def unpost(self, mailbox: str, message: bytes) -> bool:
        check_message(mailbox, message)
        return bool(await self._run(scripts.UNPOST, [self._mailbox(mailbox)], [message]))

    async def take(self, mailbox: str) -> list[bytes]:
        check_message(mailbox, b"-")
        return list(await self._run(scripts.TAKE, [self._mailbox(mailbox)], []))

    async def watch(self, mailbox: str, notify: Callable[[], object]) -> None:
        async with self._subscribed(self._mailbox(mailbox)) as pubsub:
            async for _ in pubsub:
                notify()

    def _subscribed(self, channel: str) -> Any:
        # It connects again by itself, and subscribes to the channel.
        return self._client.pubsub(channels=[channel], ignore_subscribe_messages=True)

    def _mailbox(self, name: str) -> str:
        """Return the key of a mailbox, which is also the channel of its posts."""
        return f"{self._prefix}:mailbox:{name}"

    @property
    def _channel(self) -> str:
        return f"{self._prefix}:appended"

    def _key(self, shard: int, kind: str) -> str:
        # In a cluster the braces keep the head and the log of a shard on one node.
        return f"{self._prefix}:{{{shard}}}:{kind}"

    async def _run(self, script: scripts.Script, keys: list[str], arguments: list[Any]) -> Any:
        return await self._call(script.run(self._client, keys, arguments))

    async def _call(self, request: Awaitable[T]) -> T:
        try:
            with anyio.fail_after(self._timeout):
                return await request
        except TimeoutError:
            # The connection may be dead without a sign. The next call opens another one.
            self._client.connection_pool.disconnect()
            raise StoreError(f"no answer in {self._timeout:g} s") from None
        except (RedisError, OSError, anyio.ClosedResourceError) as error:
            raise StoreError(_text_of(error)) from None
        except anyio.BrokenResourceError:
            raise StoreError("the connection was lost") from None


def _text_of(error: BaseException) -> str:
    """Return the text of an error; coredis has the reason of a failed connection in its cause."""
    text = f"{type(error).__name__}: {error}"
    cause = error.__cause__
    return text if cause is None else f"{text}: {reason(cause, schemes='redis')}"
