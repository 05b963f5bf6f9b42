"""Shared state of all stores of `NatsStore.scoped`: the connection, the streams, the time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec

from gateway_fleet._nats_api import JetStream
from gateway_fleet._nats_log import NatsLog
from gateway_fleet._nats_streams import NatsStreams, seconds_of
from gateway_fleet._store_settings import MAX_APPENDS
from gateway_fleet.store import StoreError
from gateway_proto import LocalProtocolError

__all__ = ["NatsShared"]

T = TypeVar("T")
_LOOK_SECONDS = 5.0
"""Time between two looks how old the oldest record is."""
_ENDED = "ended"
"""Key of the value that is written when the values of a scope are needed no longer."""
_LAG_SECONDS = 0.01
"""Time between two looks whether a replica has what was written."""
_LAG_LOOKS = 25
"""Number of looks after which a value that is missing is written again."""


class NatsShared:
    """Tables, logs and mailboxes by the subjects of their entries."""

    def __init__(self, api: JetStream, streams: NatsStreams, timeout: float) -> None:
        self.connection = api.connection
        self.streams = streams
        self._api = api
        self._timeout = timeout
        self._logs: dict[str, NatsLog] = {}
        self._opened = 0  # number of the connection for which the streams were looked at
        self._lock = asyncio.Lock()
        self.appending: asyncio.Semaphore = asyncio.Semaphore(MAX_APPENDS)
        self._looked_at = 0.0

    async def open(self) -> None:
        """Connect, and look at the streams."""
        # Of this event loop.
        self._lock = asyncio.Lock()
        self.appending = asyncio.Semaphore(MAX_APPENDS)
        await self.call(self.connection.open())
        await self.call(self.ready())

    async def call(self, request: Awaitable[T]) -> T:
        """Return the result of a request. Raises `StoreError` after the time limit."""
        try:
            async with asyncio.timeout(self._timeout):
                return await request
        except TimeoutError:
            # The connection may be dead without a sign.
            self.connection.renew()
            why = f": {self.connection.reason}" if self.connection.reason else ""
            raise StoreError(f"no answer in {self._timeout:g} s{why}") from None
        except LocalProtocolError:
            raise
        except (LookupError, TypeError, ValueError, msgspec.MsgspecError) as error:
            # Other programs may write to the streams.
            name = type(error).__name__
            raise StoreError(f"what the engine has is invalid: {name}: {error}") from None

    async def ready(self) -> None:
        """Wait for a connection, and for the streams of its server."""
        async with self._lock:
            opened = await self.connection.connected()
            if self._opened != opened:
                # The server may have been restarted, and may have lost the end of the streams.
                self._logs.clear()
                await self.streams.ensure()
                self._opened = opened

    async def log(self, subject: str) -> NatsLog:
        """Return the log of a shard."""
        await self.ready()
        log = self._logs.get(subject)
        if log is None:
            log = self._logs[subject] = NatsLog(self._api, self.streams.log, subject)
        return log

    async def heartbeat(self, subject: str, name: str, value: bytes) -> dict[str, bytes]:
        """Write the value of a member, or remove it if it is empty; return those of all."""
        await self.ready()
        bucket, written = f"KV_{self.streams.members}", 0
        if value:
            written = await self._api.publish(subject + name, value) or 0
        elif name in await self._members(bucket, subject):
            await self._api.purge(bucket, subject + name)
        table = await self._members(bucket, subject)
        # A replica may be behind. Once it has this value, it has all that were written before.
        looks = 0
        while written and table.get(name, (0, b""))[0] < written:
            await asyncio.sleep(_LAG_SECONDS)
            looks += 1
            if looks % _LAG_LOOKS == 0 and name not in table:
                # Another member has removed it just now, since this one was dead for long.
                written = await self._api.publish(subject + name, value) or 0
            table = await self._members(bucket, subject)
        now = asyncio.get_running_loop().time()
        if now - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            await self.streams.look()
        return {name: value for name, (_, value) in table.items()}

    async def _members(self, bucket: str, subject: str) -> dict[str, tuple[int, bytes]]:
        """Return sequence and value of each member."""
        # A watch of nats-py receives nothing once the server was restarted.
        messages, _ = await self._api.batch(bucket, {"multi_last": [f"{subject}*"]})
        return {
            message.headers["Nats-Subject"].removeprefix(subject): (
                int(message.headers["Nats-Sequence"]),
                message.data,
            )
            for message in messages
        }

    async def compare_and_set(
        self, subject: str, value: bytes | None, revision: int
    ) -> tuple[bytes | None, int]:
        """Write a value if the last one has the revision; return the last one."""
        await self.ready()
        if value is not None:
            written = await self._api.publish(subject, value, last=revision)
            if written is not None:
                return value, written
        found = await self._api.last_message(f"KV_{self.streams.values}", subject)
        return (None, 0) if found is None else (found.data, found.seq)

    async def forget(self, subject: str) -> bool:
        """Remove the values under a subject, twice the retention after the first call."""
        await self.ready()
        stream, retention = f"KV_{self.streams.values}", self.streams.retention
        if retention is None or await self._api.last_message(stream, f"{subject}>") is None:
            return True
        ended = await self._api.last_message(stream, subject + _ENDED)
        if ended is None:
            await self._api.publish(subject + _ENDED, b"-", last=0)
            return False
        info = await self._api.stream(stream)
        if seconds_of(info["ts"]) - seconds_of(ended.time) < 2 * retention:
            return False
        await self._api.purge(stream, f"{subject}>")
        return True

    async def post(self, subject: str, message: bytes, seconds: int) -> bool:
        """Put a message into a mailbox; return False if it is full."""
        await self.ready()
        headers = {"Nats-TTL": str(seconds)}
        return await self._api.publish(subject, message, headers=headers) is not None

    async def remove(self, subject: str, limit: int, message: bytes | None) -> list[bytes]:
        """Remove a message of a mailbox, or all; return those that no other call has removed."""
        await self.ready()
        stream = self.streams.mail
        body = {"seq": 1, "next_by_subj": subject, "batch": limit}
        messages, _ = await self._api.batch(stream, body)
        found = [each for each in messages if message in (None, each.data)]
        removed = await asyncio.gather(
            *(self._api.delete(stream, int(each.headers["Nats-Sequence"])) for each in found),
            return_exceptions=True,
        )
        for result in removed:
            if isinstance(result, BaseException):
                raise result
        return [each.data for each, is_removed in zip(found, removed, strict=True) if is_removed]
