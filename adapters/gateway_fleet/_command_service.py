"""Commands of other processes, on the side of the member that owns their shards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import anyio

from gateway_fleet._owner import ShardOwner
from gateway_fleet._presences import Presences
from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet.store import StoreError
from gateway_proto import Config, DataError, GaveUpError, LocalProtocolError, State, UpdatePresence
from gateway_proto.fleet import (
    CommandAnswer,
    CommandInbox,
    GatewaySettings,
    TakenCommand,
    check_command,
    decode_command,
    mailbox_of,
)
from gateway_proto.fleet.notices import is_notice

__all__ = ["CommandService", "gateway_settings"]

_POLL_SECONDS = 0.5
"""Time between two looks into the mailbox, as notifications of posts may be missed."""
_RETRY_SECONDS = 0.2
_READY_SECONDS = 0.05
"""Time between two looks whether a connection can send a command."""
_ANSWER_TTL = 30.0
_ANSWER_ATTEMPTS = 5
_LEAVE_SECONDS = 1.0

_Outcome = tuple[Literal["sent", "not mine", "not sent", "invalid"], str]


def gateway_settings(config: Config, store: Any, *, publish: bool) -> GatewaySettings | None:
    """Return the settings by which others check commands; None if the store has no mailboxes."""
    if not callable(getattr(store, "watch", None)):
        return None
    return GatewaySettings(
        config.version.number,
        config.intents,
        config.encoding.value,
        config.payload_limit,
        publish,
    )


class CommandService:
    """Sends the commands in the mailbox of a member, each at most once.

    `bot` is the store of the bot, with the mailboxes of senders, `store` that of the generation.
    `owner_of` returns the owner of a shard, if that is in this process. Without `settings` there
    are no commands. `on_notice` is called after notices of other members.
    """

    def __init__(
        self,
        member: str,
        bot: Any,
        store: Any,
        settings: GatewaySettings | None,
        owner_of: Callable[[int], ShardOwner | None],
        presences: Presences,
        on_notice: Callable[[], object],
        failures: StoreFailures,
    ) -> None:
        self._on_notice = on_notice
        self._failures = failures
        self._presences = presences
        self._mailbox = mailbox_of(member)
        self._bot = bot
        self._store = store
        self._settings = settings
        self._owner_of = owner_of
        self._inbox = CommandInbox()
        self._changed = Notifier()

    async def run(self) -> None:
        """Take and send commands until cancelled."""
        if self._settings is None:
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._store.watch, self._mailbox, self._changed.notify)
            while True:
                await self._take(group)
                await self._changed.wait(_POLL_SECONDS)

    async def _take(self, group: Any) -> None:
        taken_at = anyio.current_time()
        if not self._inbox.has_capacity(now=taken_at):
            return
        try:
            messages = await self._store.take(self._mailbox)
        except StoreError as error:
            self._failures.request(None, "mailbox", error)
            await anyio.sleep(_RETRY_SECONDS)
            return
        self._failures.request(None, "mailbox", None)
        now = anyio.current_time()
        if any(map(is_notice, messages)):
            self._on_notice()
        for message in messages:
            taken = self._inbox.receive(message, taken_at=taken_at, now=now)
            if taken is not None:
                group.start_soon(self._handle, taken)

    async def _handle(self, taken: TakenCommand) -> None:
        outcome: _Outcome = "not mine", ""
        try:
            outcome = await self._sent(taken)
        finally:  # also if it is cancelled: then it was not sent
            self._inbox.done(taken, outcome[1] if outcome[0] == "sent" else None)
            message = taken.message
            answer = CommandAnswer(message.id, message.attempt, *outcome)
            with anyio.move_on_after(_LEAVE_SECONDS, shield=True):
                await self._answer(message.reply_to, answer)

    async def _answer(self, mailbox: str, answer: CommandAnswer) -> None:
        """Post an answer; give up if the store is away: the sender then does not know."""
        for _ in range(_ANSWER_ATTEMPTS):
            with contextlib.suppress(StoreError):
                if await self._bot.post(mailbox, answer.to_bytes(), _ANSWER_TTL):
                    return
            await anyio.sleep(_RETRY_SECONDS)

    async def _sent(self, taken: TakenCommand) -> _Outcome:
        """Send a command once its shard can; return the session, or why it was not sent."""
        message = taken.message
        if taken.session is not None:
            return "sent", taken.session
        try:
            command = decode_command(message.command)
            assert self._settings is not None
            check_command(command, self._settings)
        except (DataError, LocalProtocolError) as error:
            return "invalid", str(error)
        while (owner := self._owner_of(message.shard)) is not None:
            if isinstance(command, UpdatePresence):
                return await self._presence_sent(message.shard, taken.deadline)
            if anyio.current_time() >= taken.deadline:
                return "not sent", _why_not(owner.gateway)
            gateway = owner.gateway
            if gateway is not None and gateway.can_send(command):
                try:
                    # It does not wait, since it can send: nothing else happens in between.
                    await gateway.send(command)
                except (LocalProtocolError, GaveUpError) as error:
                    return "invalid", str(error)
                session = gateway.session
                return "sent", "" if session is None else session.id
            await anyio.sleep(_READY_SECONDS)
        return "not mine", ""

    async def _presence_sent(self, shard_id: int, deadline: float) -> _Outcome:
        try:
            is_sent = await self._presences.sent(shard_id, deadline)
        except LocalProtocolError as error:
            return "invalid", str(error)
        if is_sent is None:
            return "not mine", ""
        if is_sent:
            return "sent", ""
        return "not sent", "the shard is not READY; the presence is stored, and is sent then"


def _why_not(gateway: Any) -> str:
    state = None if gateway is None else gateway.state
    if state is not State.READY:
        return f"the shard is {'not connected' if state is None else state.value}, not READY"
    return "the rate limits of the gateway do not allow it yet"
