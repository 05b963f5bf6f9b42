"""Store in NATS 2.11 or later with JetStream, by nats-py: on asyncio (extra `nats`)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import anyio

from gateway_fleet.store import StoreError
from gateway_proto import DataError, LocalProtocolError
from gateway_proto._checks import WORD, Check
from gateway_proto.fleet import MAX_MESSAGES, LogHead, LogRecord, check_message

try:
    import nats as _nats
except ModuleNotFoundError as _error:
    if _error.name != "nats":
        raise
    raise ModuleNotFoundError(
        "NatsStore needs nats-py: install gateway-proto[nats]", name="nats"
    ) from None

from gateway_fleet._nats_address import parse_address, text_of_token, token_of
from gateway_fleet._nats_api import JetStream
from gateway_fleet._nats_connection import NatsConnection
from gateway_fleet._nats_log import NatsLog
from gateway_fleet._nats_shared import NatsShared
from gateway_fleet._nats_streams import NatsStreams
from gateway_fleet._store_settings import REPLICAS, check_settings

__all__ = ["NatsStore"]

del _nats

_PREFIX = Check(
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value)),
    "1 to 64 letters, digits, hyphens or underscores",
)


class NatsStore:
    """Members, logs and values of a fleet in streams of NATS.

    `url` is `nats://[user:password@]host[:port]`, with further hosts of the same cluster after
    commas, or `tls://` for TLS (verified by `ssl_context`, or by the system's certificates). A
    token takes the place of `user:password`. The logs keep the records of the last `retention`
    seconds, by default 3600, and at most `max_bytes` in all. Without these arguments the settings
    of a log that exists are left as they are. `replicas` is the number of copies of a stream that
    is created. A call takes at most `timeout` seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "gw",
        retention: float | None = None,
        max_bytes: int | None = None,
        replicas: int = 1,
        timeout: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        address = parse_address(url) if isinstance(url, str) else None
        if address is None:
            # The URL may have a password.
            raise LocalProtocolError(
                "invalid url: expected nats://host[:port][,host[:port]] or tls://host"
            )
        _PREFIX.named("prefix", prefix)
        REPLICAS.named("replicas", replicas)
        check_settings(
            retention=8 if retention is None else retention,
            max_bytes=2**16 if max_bytes is None else max_bytes,
            timeout=timeout,
            ssl_context=ssl_context,
        )
        api = JetStream(NatsConnection(address, timeout=timeout, ssl_context=ssl_context))
        size = None if max_bytes is None else int(max_bytes)
        streams = NatsStreams(api, prefix, retention=retention, max_bytes=size, replicas=replicas)
        self._shared = NatsShared(api, streams, timeout)
        self._scope = ""

    async def __aenter__(self) -> Self:
        """Connect, and create the streams. Raises `StoreError` if the engine does not answer."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise LocalProtocolError(
                "NatsStore needs asyncio, since nats-py does: use RedisStore on trio"
            ) from None
        try:
            await self._shared.open()
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
        with anyio.CancelScope(shield=True):
            await self._shared.connection.close()

    def scoped(self, prefix: str) -> NatsStore:
        WORD.named("prefix", prefix)
        scope = object.__new__(NatsStore)
        scope.__dict__.update(self.__dict__, _scope=f"{self._scope}{token_of(prefix)}.")
        return scope

    @property
    def keep_seconds(self) -> float | None:
        """A quarter of the time for which the log keeps records: see `Store.keep_seconds`."""
        retention = self._shared.streams.retention
        return None if retention is None else retention / 4

    async def heartbeat(self, member: str, value: bytes) -> dict[str, bytes]:
        shared = self._shared
        subject = f"$KV.{shared.streams.members}.{self._scope}"
        table = await shared.call(shared.heartbeat(subject, token_of(member), value))
        return {text_of_token(token): text for token, text in table.items()}

    async def head(self, shard: int) -> LogHead:
        async def ask() -> LogHead:
            return await (await self._log(shard)).head()

        return await self._shared.call(ask())

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        async def ask() -> int | None:
            async with self._shared.appending:
                return await (await self._log(shard)).append(after, record)

        return await self._shared.call(ask())

    async def compare_and_set(
        self, key: str, value: bytes | None, revision: int
    ) -> tuple[bytes | None, int]:
        shared = self._shared
        subject = f"$KV.{shared.streams.values}.{self._scope}{token_of(key)}"
        return await shared.call(shared.compare_and_set(subject, value, revision))

    async def forget(self, count: int, keys: Sequence[str]) -> bool:
        # The engine drops records, members and messages by their age.
        shared = self._shared
        subject = f"$KV.{shared.streams.values}.{self._scope}"
        return await shared.call(shared.forget(subject))

    async def records(self, shard: int, after: int) -> AsyncGenerator[tuple[int, LogRecord], None]:
        log = await self._shared.call(self._log(shard))
        async with contextlib.aclosing(log.records(after)) as batches:
            while (batch := await self._shared.call(anext(batches, None))) is not None:
                for position, data in batch:
                    try:
                        yield position, LogRecord.from_bytes(data)
                    except DataError as error:
                        raise StoreError(f"shard {shard}, record {position}: {error}") from None

    async def listen(self, notify: Callable[[int], object]) -> None:
        subject = f"{self._shared.streams.appended}.{self._scope}"

        def on_message(message: Any) -> None:
            shard = message.subject.removeprefix(subject)
            if shard.isdecimal():
                notify(int(shard))

        await self._shared.connection.listen(f"{subject}*", on_message)

    async def post(self, mailbox: str, message: bytes, ttl: float) -> bool:
        check_message(mailbox, message, ttl)
        shared = self._shared
        subject = self._mailbox(shared.streams.mail, mailbox)
        return await shared.call(shared.post(subject, message, math.ceil(ttl)))

    async def unpost(self, mailbox: str, message: bytes) -> bool:
        check_message(mailbox, message)
        shared = self._shared
        subject = self._mailbox(shared.streams.mail, mailbox)
        return bool(await shared.call(shared.remove(subject, MAX_MESSAGES, message)))

    async def take(self, mailbox: str) -> list[bytes]:
        check_message(mailbox, b"-")
        shared = self._shared
        subject = self._mailbox(shared.streams.mail, mailbox)
        return await shared.call(shared.remove(subject, MAX_MESSAGES, None))

    async def watch(self, mailbox: str, notify: Callable[[], object]) -> None:
        subject = self._mailbox(self._shared.streams.posted, mailbox)
        await self._shared.connection.listen(subject, lambda _: notify())

    async def _log(self, shard: int) -> NatsLog:
        return await self._shared.log(f"{self._shared.streams.log}.{self._scope}{shard}")

    def _mailbox(self, stream: str, name: str) -> str:
        return f"{stream}.{self._scope}{token_of(name)}"
