"""Requests whose answers are read from the logs of a fleet."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from gateway_fleet._owner_lookup import RETRY_SECONDS, OwnerLookup
from gateway_fleet._runtime import Notifier
from gateway_fleet.store import FeedStore, StoreError
from gateway_proto import RequestError
from gateway_proto.events import RequestFailed
from gateway_proto.fleet import CommandError, LogAnswers, RequestOutcome, Sent

__all__ = ["LogRequests"]

_POLL_SECONDS = 0.2
"""Time between two looks at a log, as notifications of appends may be missed."""


class _Log:
    """The log of a shard while requests to it are pending."""

    def __init__(self, store: FeedStore, answers: LogAnswers, position: int) -> None:
        self.store = store
        self.answers = answers
        self.position = position
        self.changed = Notifier()
        self.outcomes: dict[int, RequestOutcome] = {}
        self.users = 0


class LogRequests:
    """Reads the logs of shards while requests to them are pending, and no longer."""

    def __init__(self, owners: OwnerLookup) -> None:
        self._owners = owners
        self._logs: dict[tuple[str, int], _Log] = {}
        self._listening = anyio.CancelScope()
        self._listening_to = ""

    @property
    def is_idle(self) -> bool:
        """Whether no log is read."""
        return not self._logs

    async def answer(
        self,
        tasks: Any,
        shard_id: int,
        request: Any,
        timeout: float,
        deadline: float,
        deliver: Callable[[Any], Awaitable[Sent]],
    ) -> Any:
        """Return the answer of a request, which `deliver` has sent, or raise `RequestError`."""
        log = await self._read(tasks, shard_id, request, timeout, deadline)
        now = anyio.current_time()
        number, request = log.answers.add(
            request, nonce=secrets.token_hex(8), timeout=timeout, now=now
        )
        log.users += 1
        try:
            sent = await deliver(request)
            log.answers.sent(number, sent.session, now=anyio.current_time())
            log.changed.notify()
            while number not in log.outcomes:
                await log.changed.wait()
            outcome = log.outcomes[number]
        finally:
            log.users -= 1
            log.answers.discard(number)
            log.outcomes.pop(number, None)
            log.changed.notify()
        if isinstance(outcome, RequestFailed):
            raise RequestError(outcome.reason, outcome.retry_after)
        return outcome.answer

    async def _read(
        self, tasks: Any, shard_id: int, request: Any, timeout: float, deadline: float
    ) -> _Log:
        """Return the log of a shard, which is read from here on at the latest."""
        no_answer = why = "the store did not answer"
        with anyio.move_on_after(max(0.0, deadline - anyio.current_time())):
            while True:
                with contextlib.suppress(StoreError):
                    await self._owners.read(is_fresh=False)
                    member, reason = self._owners.owner(shard_id, request, needs_log=True)
                    why = reason or no_answer
                    if member is not None and (log := await self._log(tasks, shard_id)) is not None:
                        return log
                await anyio.sleep(RETRY_SECONDS)
        raise CommandError(type(request).__name__, shard_id, timeout, why, False)

    async def _log(self, tasks: Any, shard_id: int) -> _Log | None:
        generation, store = self._owners.generation.id, self._owners.store
        version = self._owners.version(shard_id)
        head = await store.head(shard_id)
        log = self._logs.get((generation, shard_id))
        if log is None and version is not None:
            log = self._logs[generation, shard_id] = _Log(store, LogAnswers(version), head.position)
            # It begins after the caller has become a user.
            tasks.start_soon(self._follow, generation, shard_id, log)
            if self._listening_to != generation:
                self._listening.cancel()
                self._listening = anyio.CancelScope()
                self._listening_to = generation
                tasks.start_soon(self._listen, self._listening, store, generation)
        return log

    async def _follow(self, generation: str, shard_id: int, log: _Log) -> None:
        """Read answers until no request is pending."""
        while log.users:
            try:
                records = log.store.records(shard_id, log.position)
                async with contextlib.aclosing(records):
                    async for position, record in records:
                        log.position = position
                        self._add(log, log.answers.add_record(record, now=anyio.current_time()))
            except StoreError:
                await anyio.sleep(RETRY_SECONDS)
                with contextlib.suppress(StoreError):
                    # The engine may have lost the end of the log.
                    head = await log.store.head(shard_id)
                    log.position = min(log.position, head.position)
            self._add(log, log.answers.expire(now=anyio.current_time()))
            if log.users:
                await log.changed.wait(_POLL_SECONDS)
        del self._logs[generation, shard_id]

    def _add(self, log: _Log, outcomes: list[RequestOutcome]) -> None:
        if outcomes:
            log.outcomes.update({outcome.number: outcome for outcome in outcomes})
            log.changed.notify()

    async def _listen(self, scope: anyio.CancelScope, store: FeedStore, generation: str) -> None:
        """Look at a log when a record was appended to it."""

        def on_append(shard_id: int) -> None:
            if (log := self._logs.get((generation, shard_id))) is not None:
                log.changed.notify()

        with scope:
            await store.listen(on_append)
