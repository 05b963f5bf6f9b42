"""Look-up of the owners of shards, for processes that are not members of the fleet."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from gateway_fleet.store import FeedStore, StoreError
from gateway_proto import LocalProtocolError
from gateway_proto._checks import shown
from gateway_proto.fleet import Generation, ShardOwners, check_command
from gateway_proto.versions import VERSIONS, ProtocolVersion

__all__ = ["RETRY_SECONDS", "OwnerLookup"]

T = TypeVar("T")
RETRY_SECONDS = 0.2
_LATE_SECONDS = 1.0
"""Seconds for which the members table is used before it is read again."""
_FRESH_SECONDS = 0.02


class OwnerLookup:
    """A generation of a bot's fleet, and its members, as they were read last.

    `current` returns the generation to use, if it is known.
    """

    def __init__(
        self,
        bot: FeedStore,
        generation: Generation,
        current: Callable[[], Awaitable[Generation | None]],
    ) -> None:
        self._current = current
        self.bot: FeedStore = bot
        self.generation: Generation = generation
        self.store: FeedStore = bot.scoped(generation.id)
        """Store with the members and the logs of the generation."""
        self._owners = ShardOwners()
        self._read_at = -math.inf
        self._lock = anyio.Lock()

    async def read(self, *, is_fresh: bool) -> bool:
        """Read the generation and its members, unless that was done just now."""
        async with self._lock:
            age = anyio.current_time() - self._read_at
            if age > (_FRESH_SECONDS if is_fresh else _LATE_SECONDS):
                generation = await self._current()
                if generation is not None and generation != self.generation:
                    self.generation = generation
                    self.store = self.bot.scoped(generation.id)
                # The empty value of no member changes nothing.
                self._owners.read(await self.store.heartbeat("-", b""))
                self._read_at = anyio.current_time()
        return True

    def changed(self) -> None:
        """Read again before the next command: the generation has changed."""
        self._read_at = -math.inf

    async def check_shard(self, shard_id: Any, timeout: float) -> None:
        """Raise `LocalProtocolError` unless the fleet has a shard."""
        if isinstance(shard_id, int) and not isinstance(shard_id, bool):
            # Without an answer the last known number of shards counts.
            with anyio.move_on_after(timeout), contextlib.suppress(StoreError):
                await self.read(is_fresh=False)
            if 0 <= shard_id < self.generation.count:
                return
        raise LocalProtocolError(
            f"invalid shard_id {shown(shard_id)}: expected an int from 0 to "
            f"{self.generation.count - 1}"
        )

    def owner(self, shard_id: int, command: Any, *, needs_log: bool) -> tuple[str | None, str]:
        """Return the owner of a shard, if it can send a command; else None, and why not.

        Raises `LocalProtocolError` for a command that it cannot send.
        """
        member = self._owners.owner(shard_id)
        if member is None:
            return None, "no member owns the shard"
        settings = self._owners.settings(member)
        if settings is None:
            return None, f"{member} takes no commands"
        check_command(command, settings)
        if needs_log and not settings.publishes:
            raise LocalProtocolError(
                f"invalid request to shard {shard_id}: {member} logs no events, "
                "which open_fleet(..., publish=True) does"
            )
        return member, ""

    def version(self, shard_id: int) -> ProtocolVersion | None:
        """Return the protocol version of a shard's owner; None if it is unknown."""
        member = self._owners.owner(shard_id)
        settings = None if member is None else self._owners.settings(member)
        return None if settings is None else VERSIONS.get(settings.version)
