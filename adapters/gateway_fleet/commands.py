"""Commands and requests from any process to any shard of a fleet: `Commands`, `open_commands`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import overload

import anyio

from gateway_fleet._arguments import check_feed_store
from gateway_fleet._bots import check_bot, wait_for_fleet
from gateway_fleet._command_sender import CommandSender
from gateway_fleet._generation import read_generation
from gateway_fleet.store import FeedStore
from gateway_proto.commands import (
    Command,
    Request,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
)
from gateway_proto.events import ChannelInfo, GuildMembers, SoundboardSounds
from gateway_proto.fleet import Generation

__all__ = ["Commands", "open_commands"]


class Commands:
    """Commands and requests to the shards of a fleet, in whichever process each shard is."""

    def __init__(self, sender: CommandSender) -> None:
        self._sender = sender

    @property
    def count(self) -> int:
        """Number of shards, as of the last command or of the opening: a fleet may change it."""
        return self._sender.count

    async def send(self, shard_id: int, command: Command, *, timeout: float = 5.0) -> None:
        """Have a command sent by the member that owns a shard, at most once, within `timeout`.

        Returns once it is sent. A presence is a state: it is stored, and each owner of the shard
        sends it. Raises `CommandError` if the command was not sent, or if that is not known, and
        `LocalProtocolError` for one that cannot be sent.
        """
        await self._sender.send(shard_id, command, timeout)

    @overload
    async def request(
        self, shard_id: int, request: RequestGuildMembers, *, timeout: float = 30.0
    ) -> GuildMembers: ...

    @overload
    async def request(
        self, shard_id: int, request: RequestSoundboardSounds, *, timeout: float = 30.0
    ) -> SoundboardSounds: ...

    @overload
    async def request(
        self, shard_id: int, request: RequestChannelInfo, *, timeout: float = 30.0
    ) -> ChannelInfo: ...

    @overload
    async def request(
        self, shard_id: int, request: Request, *, timeout: float = 30.0
    ) -> GuildMembers | SoundboardSounds | ChannelInfo: ...

    async def request(
        self, shard_id: int, request: Request, *, timeout: float = 30.0
    ) -> GuildMembers | SoundboardSounds | ChannelInfo:
        """Have a request sent as by `send`, and return its whole answer, out of the shard's log.

        Raises `RequestError` if it fails, at the latest `timeout` seconds after the request was
        sent or its last part arrived; `CommandError` and `LocalProtocolError` as `send` does. All
        members need `publish=True`. The nonce is replaced by one that no other process uses.
        """
        answer: GuildMembers | SoundboardSounds | ChannelInfo
        answer = await self._sender.request(shard_id, request, timeout)
        return answer


@contextlib.asynccontextmanager
async def open_commands(store: FeedStore, *, bot: str | None = None) -> AsyncIterator[Commands]:
    """Send commands to the shards of a fleet, from a process that needs no events.

    `bot` is as in `open_feed`, whose feeds send commands, too. Waits for the fleet to begin. Raises
    `StoreError` if the store does not answer, and `LocalProtocolError` for invalid arguments.
    """
    check_bot(bot)
    check_feed_store(store)
    async with store as entered:
        bot_store, generation = await wait_for_fleet(entered, bot)

        async def current() -> Generation | None:
            return (await read_generation(bot_store))[0]

        sender = CommandSender(bot_store, generation, current)
        error: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sender.run)
            try:
                yield Commands(sender)
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as caught:
                # Raised again outside of the group, which would wrap it.
                error = caught
            tasks.cancel_scope.cancel()
        if (error := error or sender.calls.error) is not None:
            raise error
