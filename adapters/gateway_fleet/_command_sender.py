"""Commands to shards of a fleet, on the side of their sender."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from gateway_fleet._log_requests import LogRequests
from gateway_fleet._open_calls import OpenCalls
from gateway_fleet._owner_lookup import RETRY_SECONDS, OwnerLookup
from gateway_fleet._presences import presence_key
from gateway_fleet._runtime import Notifier, failure_of
from gateway_fleet.store import FeedStore, StoreError
from gateway_proto import DataError, LocalProtocolError, UpdatePresence
from gateway_proto._checks import DURATION
from gateway_proto.client.command_encoding import check_is_request
from gateway_proto.driver.event_queue import log_error
from gateway_proto.fleet import (
    CommandAnswer,
    CommandError,
    Delivery,
    DesiredPresence,
    FindOwner,
    Generation,
    NotSent,
    PostCommand,
    RemoveCommand,
    Sent,
    encode_command,
)

__all__ = ["CommandSender"]

T = TypeVar("T")
_POLL_SECONDS = 0.2
"""Time between two looks for answers, as notifications may be missed."""
_WITHDRAW_SECONDS = 1.0


class _Waiting:
    """A delivery, and the task that waits for its answer."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.changed = Notifier()


class CommandSender:
    """Sends commands to the owners of shards, and waits for what becomes of them.

    `bot` is the store of the bot, and `current` returns the generation to use from now on. The
    mailbox of the answers is in the former; those of the members, and their logs, in the latter.
    """

    def __init__(
        self,
        bot: FeedStore,
        generation: Generation,
        current: Callable[[], Awaitable[Generation | None]],
    ) -> None:
        self._bot = bot
        self._owners = OwnerLookup(bot, generation, current)
        self._requests = LogRequests(self._owners)
        self._mailbox = f"sender:{secrets.token_hex(16)}"
        self._waiting: dict[str, _Waiting] = {}
        self._changed = Notifier()
        self._has_begun = anyio.Event()
        self._tasks: Any = None
        self.calls: OpenCalls = OpenCalls()

    @property
    def count(self) -> int:
        """Number of shards, as of the last command or of the opening."""
        return self._owners.generation.count

    @property
    def is_idle(self) -> bool:
        """Whether no command and no request is pending."""
        return not self._waiting and self._requests.is_idle

    def changed(self) -> None:
        """Use another generation from the next command on."""
        self._owners.changed()

    async def run(self) -> None:
        """Take answers until cancelled, or until an exception, which ends all calls.

        Nothing is asked of the store before the first command.
        """
        try:
            async with anyio.create_task_group() as self._tasks:
                await self._has_begun.wait()
                self._tasks.start_soon(self._bot.watch, self._mailbox, self._changed.notify)
                while True:
                    if self._waiting:
                        await self._take()
                    await self._changed.wait(_POLL_SECONDS if self._waiting else None)
        except BaseException as error:
            if (failure := failure_of(error)) is None:
                raise
            log_error(failure)
            self.calls.error = failure
        finally:
            self.calls.end()

    async def send(self, shard_id: int, command: Any, timeout: float) -> None:
        """Have a command sent; a presence is stored before."""
        self.calls.check()
        DURATION.named("timeout", timeout)
        encoded = encode_command(command)
        deadline = anyio.current_time() + timeout
        with self.calls.call():
            await self._owners.check_shard(shard_id, timeout)
            generation = self._owners.generation
            if isinstance(command, UpdatePresence):
                await self._store_presence(shard_id, command, timeout, deadline)
            await self._deliver(shard_id, generation, command, encoded, timeout, deadline)

    async def request(self, shard_id: int, request: Any, timeout: float) -> Any:
        """Have a request sent, and return its answer."""
        self.calls.check()
        DURATION.named("timeout", timeout)
        check_is_request(request)
        deadline = anyio.current_time() + timeout

        async def deliver(request: Any) -> Sent:
            encoded = encode_command(request)
            return await self._deliver(
                shard_id, generation, request, encoded, timeout, deadline, needs_log=True
            )

        answer: Any = None
        with self.calls.call():
            await self._owners.check_shard(shard_id, timeout)
            generation = self._owners.generation
            answer = await self._requests.answer(
                self._tasks, shard_id, request, timeout, deadline, deliver
            )
        return answer

    async def _deliver(
        self,
        shard_id: int,
        generation: Generation,
        command: Any,
        encoded: bytes,
        timeout: float,
        deadline: float,
        *,
        needs_log: bool = False,
    ) -> Sent:
        now = anyio.current_time()
        delivery = Delivery(
            shard_id,
            encoded,
            id=secrets.token_hex(16),
            reply_to=self._mailbox,
            seconds=max(deadline - now, 0.001),
            now=now,
        )
        waiting = self._waiting[delivery.id] = _Waiting(delivery)
        self._has_begun.set()
        self._changed.notify()
        store = self._owners.store
        try:
            while (step := delivery.next_step(now=anyio.current_time())) is not None:
                if isinstance(step, FindOwner):
                    done = await _within(delivery, self._owners.read(is_fresh=step.is_fresh))
                    if (present := self._owners.generation) != generation:
                        # The shard with this id has other guilds, and no such presence is stored.
                        delivery.outcome = NotSent(f"the fleet has {present.count} shards now")
                        continue
                    member, why = None, "the store did not answer"
                    if done:
                        member, why = self._owners.owner(shard_id, command, needs_log=needs_log)
                    delivery.owner_found(member, why, now=anyio.current_time())
                    store = self._owners.store  # of the generation that has the mailbox
                elif isinstance(step, PostCommand):
                    post = store.post(step.mailbox, step.message, step.ttl)
                    done = await _within(delivery, post)
                    delivery.posted(done, now=anyio.current_time())
                elif isinstance(step, RemoveCommand):
                    done = await _within(delivery, store.unpost(step.mailbox, step.message))
                    delivery.removed(done, now=anyio.current_time())
                else:
                    await waiting.changed.wait(max(0.0, step.until - anyio.current_time()))
        finally:
            del self._waiting[delivery.id]
            if delivery.outcome is None and (posted := delivery.posted_message) is not None:
                # The caller no longer waits: nobody should take the command.
                with anyio.move_on_after(_WITHDRAW_SECONDS, shield=True):
                    await _answered(store.unpost(posted.mailbox, posted.message))
        outcome = delivery.outcome
        if isinstance(outcome, NotSent):
            if outcome.is_invalid:
                raise LocalProtocolError(outcome.why)
            name = type(command).__name__
            raise CommandError(name, shard_id, timeout, outcome.why, outcome.may_be_sent)
        assert outcome is not None
        return outcome

    async def _take(self) -> None:
        """Take the answers that have arrived."""
        for message in await _answered(self._bot.take(self._mailbox)) or ():
            try:
                answer = CommandAnswer.from_bytes(message)
            except DataError:
                continue
            if (waiting := self._waiting.get(answer.id)) is not None:
                waiting.delivery.answered(answer, now=anyio.current_time())
                waiting.changed.notify()

    async def _store_presence(
        self, shard_id: int, presence: Any, timeout: float, deadline: float
    ) -> None:
        """Write the presence that each owner of the shard sends."""
        self._owners.owner(shard_id, presence, needs_log=False)  # whether it can be sent
        key, store = presence_key(shard_id), self._owners.store
        wanted = DesiredPresence(presence, secrets.token_hex(8)).to_bytes()
        value: bytes | None = None
        revision = 0
        with anyio.move_on_after(max(0.0, deadline - anyio.current_time())):
            while True:
                answer = await _answered(store.compare_and_set(key, value, revision))
                if answer is None:
                    await anyio.sleep(RETRY_SECONDS)
                    continue
                if answer[0] == wanted:
                    return
                value, revision = wanted, answer[1]
        why = "the store did not answer"
        raise CommandError(type(presence).__name__, shard_id, timeout, why, value is not None)


async def _answered(request: Awaitable[T]) -> T | None:
    """Return the answer of the store, or None without one."""
    try:
        return await request
    except StoreError:
        return None


async def _within(delivery: Delivery, request: Awaitable[T]) -> T | None:
    """Return the answer of the store until the deadline of a delivery, or None."""
    with anyio.move_on_after(max(0.0, delivery.deadline - anyio.current_time())):
        return await _answered(request)
    return None
