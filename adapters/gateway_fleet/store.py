"""Protocol of the stores: an engine that keeps the members, the logs and shared values of a fleet.

`gateway_proto.fleet.ReferenceStore` defines what each verb does. A store answers each call, or
raises `StoreError`: then the request may have been done or not, and may be sent again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from gateway_proto.fleet import LogHead, LogRecord

__all__ = ["FeedStore", "Store", "StoreError"]


class StoreError(Exception):
    """The engine did not answer, or with an error: it is away, or its settings are wrong."""


class Store(Protocol):
    """Connection to an engine, as an async context manager.

    Stores of `scoped` share the connection, and are not entered.
    """

    @property
    def keep_seconds(self) -> float | None:
        """Seconds after which an owner appends a record even without news.

        Else the engine may drop the last record of a log, which has the session. None if it never
        does.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...

    def scoped(self, prefix: str) -> Store:
        """Return a store on the same connection whose keys are under `prefix`."""

    async def heartbeat(self, member: str, value: bytes) -> dict[str, bytes]:
        """Write the value of a member, and return those of all members. Empty removes it."""

    async def head(self, shard: int) -> LogHead:
        """Return the head of a shard's log."""

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        """Append a record if the head still has the position and the id of `after`.

        Returns the record's position, or None if the append is refused. Positions increase by one.
        The first is 1, or a larger one after all records of the log were dropped.
        """

    async def compare_and_set(
        self, key: str, value: bytes | None, revision: int
    ) -> tuple[bytes | None, int]:
        """Write a value if the key still has the revision; return its value and revision.

        A `value` of None only reads. A key that was never written has None and revision 0. The
        write was done if the returned value is the written one, so writers add what is unique.
        """

    async def forget(self, count: int, keys: Sequence[str]) -> bool:
        """Have everything under the prefix removed, once the retention of its logs is over.

        These are the members, the logs of `count` shards, and the values of `keys`; readers of the
        logs may go on until then. Return whether the engine does so by itself from now on; else
        call again. Nothing is removed before twice the retention after the first call.
        """

    def records(self, shard: int, after: int) -> AsyncGenerator[tuple[int, LogRecord], None]:
        """Iterate over the kept records that follow the position `after`, with their positions.

        The iteration ends at the head.
        """


class FeedStore(Store, Protocol):
    """Store with mailboxes, whose logs can be followed: for `open_feed` and for commands.

    A mailbox keeps at most `MAX_MESSAGES` messages of `MAX_MESSAGE_SIZE` bytes each.
    """

    def scoped(self, prefix: str) -> FeedStore: ...

    async def listen(self, notify: Callable[[int], object]) -> None:
        """Call `notify` with the shard of each append, until cancelled.

        Appends may be missed, for example while the engine is away: look at the logs from time to
        time, too.
        """

    async def post(self, mailbox: str, message: bytes, ttl: float) -> bool:
        """Put a message into a mailbox for `ttl` seconds; return False if the mailbox is full.

        Messages of one mailbox must differ. An engine may round `ttl` up to a whole second. Raises
        `LocalProtocolError` for arguments that `check_message` rejects.
        """

    async def unpost(self, mailbox: str, message: bytes) -> bool:
        """Remove a message; return whether it was there: then nobody has taken it, or will."""

    async def take(self, mailbox: str) -> list[bytes]:
        """Remove and return the messages of a mailbox, in order.

        Each is returned to at most one call, and to none if the answer is lost.
        """

    async def watch(self, mailbox: str, notify: Callable[[], object]) -> None:
        """Call `notify` after each post into a mailbox, until cancelled.

        Posts may be missed, as appends in `listen`.
        """
