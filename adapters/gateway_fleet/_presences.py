"""Desired presences of shards: values of the store that each owner of a shard sends."""

from __future__ import annotations

import logging

import anyio

from gateway_fleet._owner import ShardOwner
from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet.store import Store, StoreError
from gateway_proto import DataError, GaveUpError, LocalProtocolError, State
from gateway_proto.driver.log_text import clean
from gateway_proto.fleet import DesiredPresence

__all__ = ["Presences", "presence_key"]

_log = logging.getLogger("gateway_proto.fleet")
_RETRY_SECONDS = 0.2
_READY_SECONDS = 0.25
"""Time between two looks whether a shard with a new presence is READY."""


def presence_key(shard_id: int) -> str:
    """Return the key of the value with the desired presence of a shard."""
    return f"presence:{shard_id}"


class _Kept:
    """Presence of one shard that is here."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.changed = Notifier()
        self.asked = 0
        """Number of times that another process has written one."""
        self.seen = 0
        """Number of these that were read, and sent."""
        self.revision = 0
        """Revision of the value that was read last."""
        self.problem = ""
        """Reason for which it cannot be sent."""


class Presences:
    """Sends the desired presences of the shards of this process.

    The client of a shard keeps its last presence, and sends it again whenever that is needed. So a
    presence is read when the shard is acquired, and when another process says that it wrote one.
    """

    def __init__(self, store: Store, failures: StoreFailures) -> None:
        self._store = store
        self._failures = failures
        self._kept: dict[int, _Kept] = {}

    async def keep(self, owner: ShardOwner) -> None:
        """Send the presence of a shard until it is forgotten."""
        with anyio.CancelScope() as scope:
            kept = self._kept[owner.shard_id] = _Kept(scope)
            while True:
                asked = kept.asked
                await self._send(owner, kept)
                kept.seen = asked
                kept.changed.notify()
                while kept.asked == asked:
                    await kept.changed.wait()

    def forget(self, shard_id: int) -> None:
        """End `keep`: the shard is no longer here."""
        kept = self._kept.pop(shard_id, None)
        if kept is not None:
            kept.scope.cancel()
            kept.changed.notify()

    async def sent(self, shard_id: int, deadline: float) -> bool | None:
        """Read the presence of a shard again; return whether it was sent until the deadline.

        None means that the shard is not here. Raises `LocalProtocolError` if the presence cannot be
        sent.
        """
        kept = self._kept.get(shard_id)
        if kept is None:
            return None
        kept.asked += 1
        asked = kept.asked
        kept.changed.notify()
        while kept.seen < asked:
            if self._kept.get(shard_id) is not kept:
                return None
            left = deadline - anyio.current_time()
            if left <= 0:
                return False
            await kept.changed.wait(left)
        if kept.problem:
            raise LocalProtocolError(kept.problem)
        return True

    async def _send(self, owner: ShardOwner, kept: _Kept) -> None:
        """Send the presence that the store has, if its revision is another."""
        while True:
            try:
                key = presence_key(owner.shard_id)
                value, found = await self._store.compare_and_set(key, None, 0)
                break
            except StoreError as error:
                self._failures.request(owner.shard_id, "presence", error)
                await anyio.sleep(_RETRY_SECONDS)
        self._failures.request(owner.shard_id, "presence", None)
        if value is None or found == kept.revision:
            return
        # Before READY `send` would wait, and then events are read without a limit.
        while owner.gateway.state is not State.READY:
            await anyio.sleep(_READY_SECONDS)
        kept.revision, kept.problem = found, ""
        try:
            await owner.gateway.send(DesiredPresence.from_bytes(value).presence)
        except (DataError, LocalProtocolError) as error:
            kept.problem = clean(str(error))
            _log.warning(
                "shard %d: the presence in the store cannot be sent: %s",
                owner.shard_id,
                kept.problem,
            )
        except GaveUpError as error:  # the iteration raises it
            kept.problem = clean(str(error))
